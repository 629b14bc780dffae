"""Thinkific's Admin API, version 1, by its published OpenAPI document: paths, fields, types, statuses.

Where the document is silent (what a second enrolment answers) this fake does what our configuration hopes, and proves
nothing.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

from werkzeug.wrappers import Request, Response

from partners.kit.fake import Fake

API_KEY = "thinkific-key-0123456789abcdef"
SUBDOMAIN = "school"
COURSES = {11: "Working Safely", 12: "Leading"}
PAUSE = 30  # seconds that a throttle asks for


class Thinkific(Fake):
    """One site. `users` and `enrollments` by id."""

    def __init__(self) -> None:
        self.users: dict[int, dict[str, Any]] = {}
        self.enrollments: dict[int, dict[str, Any]] = {}
        super().__init__()

    def throttled(self) -> Response:
        reset = int(self.now().timestamp()) + PAUSE
        return Response(
            "Rate limit exceeded", 429, {"RateLimit-Reset": str(reset), "RateLimit-Remaining": "0"}
        )

    def handle(self, request: Request) -> Response:
        sent = (request.headers.get("X-Auth-API-Key"), request.headers.get("X-Auth-Subdomain"))
        if sent != (API_KEY, SUBDOMAIN):
            return _json({"error": "Unauthorized"}, 401)
        body = request.get_json(silent=True) or {}
        for method, pattern, answer in (
            ("GET", r"/users", self._list_users),
            ("POST", r"/users", self._create_user),
            ("GET", r"/users/([^/]+)", self._show_user),
            ("GET", r"/users/(\d+)/authentications/SSO", self._show_authentication),
            ("GET", r"/enrollments", self._list_enrollments),
            ("POST", r"/enrollments", self._create_enrollment),
            ("GET", r"/enrollments/(\d+)", self._show_enrollment),
            ("PUT", r"/enrollments/(\d+)", self._update_enrollment),
        ):
            found = re.fullmatch(pattern, request.path)
            if found and request.method == method:
                with self.lock:
                    return answer(request, body, *found.groups())
        return _not_found()

    def add(self, reference: str, email: str) -> int:
        """Make a user with an external id."""
        id = 1000 + len(self.users)
        self.users[id] = {"id": id, "email": email, "external_id": reference, "created_at": self._time()}
        return id

    def move(self, id: int, share: float) -> None:
        """Have somebody learn: a share from 0 to 1."""
        done = share >= 1
        self.enrollments[id] |= {
            "percentage_completed": share,
            "completed": done,
            "completed_at": self._time() if done else None,
            "updated_at": self._time(),
        }

    def _time(self) -> str:
        return self.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def _list_users(self, request: Request, body: dict[str, Any]) -> Response:
        return _page(request, [_shown(user) for user in self.users.values()])

    def _create_user(self, request: Request, body: dict[str, Any]) -> Response:
        wanted = ("first_name", "last_name", "email")
        wrong = {name: ["can't be blank"] for name in wanted if not body.get(name)}
        for name in ("email", "external_id"):
            if any(user[name] == body.get(name) for user in self.users.values()):
                wrong[name] = ["has already been taken"]
        if wrong:
            return _json({"errors": wrong}, 422)
        return _json(_shown(self.users[self.add(body["external_id"], body["email"])]), 201)

    def _show_user(self, request: Request, body: dict[str, Any], id: str) -> Response:
        if request.args.get("provider") == "SSO":
            found = [user for user in self.users.values() if user["external_id"] == id]
        else:
            found = [self.users[int(id)]] if id.isdecimal() and int(id) in self.users else []
        return _json(_shown(found[0])) if found else _not_found()

    def _show_authentication(self, request: Request, body: dict[str, Any], id: str) -> Response:
        user = self.users.get(int(id))
        if user is None:
            return _not_found()
        return _json({"provider": "SSO", "external_id": user["external_id"]})

    def _list_enrollments(self, request: Request, body: dict[str, Any]) -> Response:
        wanted = {name: request.args.get(f"query[{name}]") for name in ("user_id", "course_id")}
        found = [
            item
            for item in self.enrollments.values()
            if all(value is None or str(item[name]) == value for name, value in wanted.items())
        ]
        return _page(request, found)

    def _create_enrollment(self, request: Request, body: dict[str, Any]) -> Response:
        user, course = body.get("user_id"), body.get("course_id")
        if type(course) is not int or course not in COURSES:
            return _json({"errors": ["Course could not be found."]}, 422)
        if type(user) is not int or user not in self.users:
            return _json({"errors": ["User could not be found."]}, 422)
        if any((item["user_id"], item["course_id"]) == (user, course) for item in self.enrollments.values()):
            return _json({"errors": ["User is already enrolled."]}, 422)
        id = 5000 + len(self.enrollments)
        self.enrollments[id] = {
            "id": id,
            "user_email": self.users[user]["email"],
            "user_name": "",
            "user_id": user,
            "course_name": COURSES[course],
            "course_id": course,
            "expired": False,
            "is_free_trial": "activated_at" not in body,
            "started_at": None,
            "activated_at": body.get("activated_at"),
            "expiry_date": None,
        }
        self.move(id, 0.0)
        return _json(self.enrollments[id], 201)

    def _show_enrollment(self, request: Request, body: dict[str, Any], id: str) -> Response:
        found = self.enrollments.get(int(id))
        return _not_found() if found is None else _json(found)

    def _update_enrollment(self, request: Request, body: dict[str, Any], id: str) -> Response:
        if int(id) not in self.enrollments:
            return _not_found()
        expiry = body.get("expiry_date")
        if not isinstance(expiry, str):
            return _json({"errors": ["Expiry date is no date."]}, 422)
        expired = datetime.fromisoformat(expiry) <= self.now()
        self.enrollments[int(id)] |= {"expiry_date": expiry, "expired": expired}
        return Response(status=204)


def _shown(user: dict[str, Any]) -> dict[str, Any]:
    """A user as the document has it: the external id is not shown."""
    return {name: value for name, value in user.items() if name != "external_id"}


def _page(request: Request, found: list[dict[str, Any]]) -> Response:
    page, limit = int(request.args.get("page", 1)), int(request.args.get("limit", 25))
    items = found[(page - 1) * limit : page * limit]
    more = page + 1 if page * limit < len(found) else None
    return _json({"items": items, "meta": {"pagination": {"current_page": page, "next_page": more}}})


def _not_found() -> Response:
    return _json({"error": "Record not found."}, 404)


def _json(body: Any, status: int = 200) -> Response:
    return Response(json.dumps(body), status, content_type="application/json")
