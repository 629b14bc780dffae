"""Plays SCORM Cloud, API v2: ping, registrations, launch links, postbacks. The vendor's own SDK works against it.

What a second POST of a registration id does is not documented. Here it does the worst that could be: it is billed again
and wipes what was learned. `billed` counts.
"""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from werkzeug.wrappers import Request, Response

from partners.kit.fake import Fake

APP_ID, SECRET_KEY = "app-0123456789", "sEcReT-kEy-0123456789abcdef"
BASE = "/api/v2"


@dataclass
class Registration:
    """A learner in a course."""

    id: str
    course_id: str
    learner: dict[str, Any]
    created: datetime
    updated: datetime
    post_back: dict[str, Any] | None = None
    amount: float = 0.0
    completion: str = "INCOMPLETE"
    success: str = "UNKNOWN"
    score: float | None = None
    completed_at: datetime | None = None


@dataclass
class Launch:
    """A minted launch link."""

    registration_id: str
    redirect: str | None
    expires_at: datetime


@dataclass
class _List:
    """What a `more` token stands for."""

    filters: dict[str, str] = field(default_factory=dict)
    offset: int = 0


class FakeScormCloud(Fake):
    """An application with two courses. `page_size` is how many registrations stand on one page of the list."""

    def __init__(self, courses: tuple[str, ...] = ("course-1", "course-2")) -> None:
        self.courses = set(courses)
        self.registrations: dict[str, Registration] = {}
        self.launches: dict[str, Launch] = {}
        self.billed: list[str] = []
        self.page_size = 100
        # Whether tokens of the list are worthless by now.
        self.forgets = False
        super().__init__()

    def learn(self, id: str, amount: float, *, success: str = "UNKNOWN", score: float | None = None) -> None:
        """Move a learner on; 1.0 completes the course."""
        with self.lock:
            found = self.registrations[id]
            found.amount, found.success, found.score, found.updated = amount, success, score, self.now()
            found.completion = "COMPLETED" if amount >= 1 else "INCOMPLETE"
            found.completed_at = self.now() if amount >= 1 else None

    def postback(self, id: str, *, form: bool = False, user: str = "", password: str = "") -> Any:
        """Return headers and body of what would be posted about a registration."""
        data = json.dumps(self._schema(self.registrations[id]))
        if form:
            body = urlencode({"data": data, "userName": user, "password": password})
            return {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}, body.encode()
        basic = b64encode(f"{user}:{password}".encode()).decode()
        named = {"Content-Type": "application/json; charset=UTF-8", "Authorization": f"Basic {basic}"}
        return named, data.encode()

    def handle(self, request: Request) -> Response:
        """Answer one call."""
        if request.path.startswith("/launch/"):
            return self._play(request.path.rpartition("/")[2])
        given = request.authorization
        if given is None or (given.username, given.password) != (APP_ID, SECRET_KEY):
            return self._say(401, {"error": "Authorization Required."})
        parts = request.path.removeprefix(BASE).strip("/").split("/")
        with self.lock:
            return self._route(request, parts)

    def _route(self, request: Request, parts: list[str]) -> Response:
        match (request.method, parts):
            case ("GET", ["ping"]):
                return self._say(200, {"apiMessage": "API: Up", "currentTime": self.now().isoformat()})
            case ("POST", ["registrations"]):
                return self._create(request)
            case ("GET", ["registrations"]):
                return self._list(request)
            case (method, ["registrations", id, *rest]):
                found = self.registrations.get(id)
                if found is None:
                    return self._say(404, {"message": f"Could not find registration with id '{id}'"})
                return self._one(request, method, found, rest)
        return self._say(404, {"message": "no such call"})

    def _one(self, request: Request, method: str, found: Registration, rest: list[str]) -> Response:
        match (method, rest):
            case ("HEAD", []):
                return Response(status=200)
            case ("GET", []):
                return self._say(200, self._schema(found))
            case ("DELETE", []):
                del self.registrations[found.id]
                return Response(status=204)
            case ("POST", ["launchLink"]):
                return self._mint(request, found)
        return self._say(404, {"message": "no such call"})

    def _create(self, request: Request) -> Response:
        body = request.get_json(force=True, silent=True)
        learner = body.get("learner") if isinstance(body, dict) else None
        id = body.get("registrationId") if isinstance(body, dict) else None
        if not isinstance(id, str) or not 0 < len(id) <= 255:
            return self._say(400, {"message": "registrationId is missing or too long"})
        if not isinstance(learner, dict) or not learner.get("id"):
            return self._say(400, {"message": "learner.id is missing"})
        if body.get("courseId") not in self.courses:
            return self._say(404, {"message": f"Could not find course with id '{body.get('courseId')}'"})
        now = self.now()
        self.billed.append(id)
        self.registrations[id] = Registration(id, body["courseId"], learner, now, now, body.get("postBack"))
        return Response(status=204)

    def _mint(self, request: Request, found: Registration) -> Response:
        body = request.get_json(force=True, silent=True) or {}
        seconds = body.get("expiry", 120)
        if not isinstance(seconds, int) or not 10 <= seconds <= 300:
            return self._say(400, {"message": "expiry must be from 10 to 300"})
        ticket = f"t{len(self.launches)}"
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        self.launches[ticket] = Launch(found.id, body.get("redirectOnExitUrl"), until)
        return self._say(200, {"launchLink": f"{request.host_url}launch/{ticket}"})

    def _play(self, ticket: str) -> Response:
        launch = self.launches.get(ticket)
        if launch is None or launch.expires_at < datetime.now(UTC):
            return Response("This link is not valid any more.", 403)
        return Response(f"playing {launch.registration_id}, then {launch.redirect}", 200)

    def _list(self, request: Request) -> Response:
        args = request.args.to_dict()
        if "more" in args:
            place = None if self.forgets else _read_token(args.pop("more"))
            if place is None or args:
                return self._say(
                    400, {"message": "the more token is not valid, or other filters stand beside it"}
                )
        else:
            place = _List(args)
        try:
            since, until = (_moment(place.filters.get(name)) for name in ("since", "until"))
        except ValueError:
            return self._say(400, {"message": "since and until are ISO 8601"})
        found = [
            item
            for item in sorted(self.registrations.values(), key=lambda item: (item.updated, item.id))
            if (since is None or item.updated >= since)
            and (until is None or item.updated <= until)
            and place.filters.get("courseId", item.course_id) == item.course_id
            and place.filters.get("learnerId", item.learner["id"]) == item.learner["id"]
        ]
        end = place.offset + self.page_size
        body: dict[str, Any] = {"registrations": [self._schema(item) for item in found[place.offset : end]]}
        if end < len(found):
            body["more"] = _token(_List(place.filters, end))
        return self._say(200, body)

    def _schema(self, item: Registration) -> dict[str, Any]:
        told: dict[str, Any] = {
            "id": item.id,
            "instance": 0,
            "updated": _iso(item.updated),
            "createdDate": _iso(item.created),
            "registrationCompletion": item.completion,
            "registrationCompletionAmount": item.amount,
            "registrationSuccess": item.success,
            "totalSecondsTracked": 0.0,
            "course": {"id": item.course_id, "title": item.course_id, "version": 0},
            "learner": item.learner,
        }
        if item.score is not None:
            told["score"] = {"scaled": item.score}
        if item.completed_at is not None:
            told["completedDate"] = _iso(item.completed_at)
        return told

    def _say(self, status: int, body: dict[str, Any]) -> Response:
        return Response(json.dumps(body), status, content_type="application/json")


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _token(place: _List) -> str:
    return urlsafe_b64encode(json.dumps([place.filters, place.offset]).encode()).decode()


def _read_token(token: str) -> _List | None:
    try:
        return _List(*json.loads(urlsafe_b64decode(token)))
    except (ValueError, TypeError):
        return None
