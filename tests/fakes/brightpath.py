"""A made-up partner with a protocol of its own, which no code of Usher knows."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qs

from werkzeug.wrappers import Request, Response

from partners.kit.fake import Fake

USER, PASSWORD = "usher-account", "brightpath-password-0123"
PAGE = 2
STEPS = 20  # of a course


class Brightpath(Fake):
    """People and places in courses. Errors come with status 200."""

    def __init__(self) -> None:
        self.people: dict[int, dict[str, Any]] = {}
        self.places: dict[int, dict[str, Any]] = {}
        self.tokens: set[str] = set()
        self.logins = 0
        super().__init__()

    def spared(self, request: Request) -> bool:
        return request.path == "/session"

    def throttled(self) -> Response:
        return Response("please slow down", 403, {"Retry-After": "9"})

    def handle(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs(request.get_data(as_text=True)).items()}
        with self.lock:
            if request.path == "/session":
                return self._log_in(form)
            if request.headers.get("X-Session") not in self.tokens:
                return _no("SESSION", "log in first")
            for method, pattern, answer in (
                ("GET", r"/people", self._list_people),
                ("POST", r"/people", self._add_person),
                ("GET", r"/people/(\d+)/places", self._list_places),
                ("POST", r"/places", self._add_place),
                ("POST", r"/places/(\d+)/void", self._void),
                ("GET", r"/places/(\d+)", self._show),
                ("GET", r"/places/(\d+)/diploma", self._diploma),
                ("POST", r"/places/(\d+)/ticket", self._ticket),
            ):
                found = re.fullmatch(pattern, request.path)
                if found and request.method == method:
                    return answer(request, form, *(int(part) for part in found.groups()))
        return _no("UNKNOWN", "no such thing")

    def add(self, tag: str, mail: str) -> int:
        """Add a person."""
        no = len(self.people) + 1
        self.people[no] = {"no": no, "tag": tag, "mail": mail}
        return no

    def move(self, no: int, percentage: int) -> None:
        """Have somebody learn."""
        at = self._time()
        passed = percentage == 100
        with self.lock:
            self.places[no] |= {
                "done": percentage * STEPS // 100,
                "state": "passed" if passed else "open",
                "touched": at,
                "passed": at if passed else None,
            }

    def _time(self) -> int:
        return int(self.now().timestamp() * 1000)

    def _log_in(self, form: dict[str, str]) -> Response:
        if (form.get("user"), form.get("password")) != (USER, PASSWORD):
            return Response("who?", 401)
        self.logins += 1
        token = f"session-token-{self.logins:04}"
        self.tokens.add(token)
        return _yes(session={"token": token})

    def _list_people(self, request: Request, form: dict[str, str]) -> Response:
        page, wanted = int(request.args.get("page", 1)), request.args.get("q", "")
        # Its search is loose: it finds whatever begins alike.
        found = [person for person in self.people.values() if person["tag"].startswith(wanted[:12])]
        return _yes(people=found[(page - 1) * PAGE : page * PAGE])

    def _add_person(self, request: Request, form: dict[str, str]) -> Response:
        if any(person["tag"] == form["tag"] for person in self.people.values()):
            return _no("EXISTS", "this tag is taken")
        return _yes(person=self.people[self.add(form["tag"], form["mail"])])

    def _list_places(self, request: Request, form: dict[str, str], person: int) -> Response:
        return _yes(places=[place for place in self.places.values() if place["person"] == person])

    def _add_place(self, request: Request, form: dict[str, str]) -> Response:
        person, course = int(form["person"]), form["course"]
        if course.startswith("CLOSED"):
            return _no("CLOSED", "nobody gets in there")
        held = [item for item in self.places.values() if (item["person"], item["course"]) == (person, course)]
        if any(item["state"] != "void" for item in held):
            return _no("EXISTS", "has a place")
        no = len(self.places) + 1
        self.places[no] = {"no": no, "person": person, "course": course, "memo": form["memo"]}
        self.move(no, 0)
        return _yes()

    def _void(self, request: Request, form: dict[str, str], no: int) -> Response:
        if no not in self.places:
            return _no("UNKNOWN", "no such place")
        self.places[no]["state"] = "void"
        return _yes()

    def _show(self, request: Request, form: dict[str, str], no: int) -> Response:
        return _yes(place=self.places[no]) if no in self.places else _no("UNKNOWN", "no such place")

    def _diploma(self, request: Request, form: dict[str, str], no: int) -> Response:
        place = self.places.get(no)
        if place is None or place["state"] != "passed":
            return _no("UNKNOWN", "no diploma")
        link = f"https://brightpath.example/diplomas/{no}"
        return _yes(diploma={"serial": f"BP-{no}", "link": link, "at": place["passed"]})

    def _ticket(self, request: Request, form: dict[str, str], no: int) -> Response:
        if no not in self.places:
            return _no("UNKNOWN", "no such place")
        link = f"https://brightpath.example/enter/{no}-{len(self.calls)}"
        return _yes(ticket={"link": link, "until": self._time() + 60_000})


def _yes(**more: Any) -> Response:
    return Response(json.dumps({"ok": True, **more}), 200, content_type="application/json")


def _no(code: str, message: str) -> Response:
    body = {"ok": False, "error": {"code": code, "message": message}}
    return Response(json.dumps(body), 200, content_type="application/json")
