"""TalentLMS's API, version 2, as far as Epignosis publishes it: paths, filters, headers, limits, wrapping in `_data`.

The answers of course-progress and goto are not published; they are what our configuration assumes, which this fake
therefore cannot prove.
"""

from __future__ import annotations

import json
import re
from typing import Any

from werkzeug.wrappers import Request, Response

from partners.kit.fake import Fake

API_KEY = "talent-key-0123456789abcdef"
COURSES = {101: "Working Safely", 102: "Leading"}


class TalentLms(Fake):
    """One portal. `users` by id; `progress` by (user, course) for everybody who is enrolled."""

    def __init__(self) -> None:
        self.users: dict[int, dict[str, Any]] = {}
        self.progress: dict[tuple[int, int], dict[str, Any]] = {}
        super().__init__()

    def throttled(self) -> Response:
        return _error(429, "The API request rate limit has been exceeded.")

    def handle(self, request: Request) -> Response:
        if request.headers.get("X-API-Key") != API_KEY:
            return _error(401, "Invalid API key provided.")
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", request.headers.get("X-API-Version", "")):
            return _error(400, "X-API-Version is missing.")
        if request.headers.get("Accept") != "application/json":
            return _error(400, "Accept must be application/json.")
        body = request.get_json(silent=True) or {}
        for method, pattern, answer in (
            ("GET", r"/api/v2/users", self._list),
            ("POST", r"/api/v2/users", self._create),
            ("GET", r"/api/v2/users/(\d+)/courses", self._courses),
            ("POST", r"/api/v2/enrollments", self._enroll),
            ("DELETE", r"/api/v2/enrollments", self._unenroll),
            ("GET", r"/api/v2/course-progress", self._progress),
            ("GET", r"/api/v2/courses/(\d+)/users/(\d+)/goto", self._goto),
        ):
            found = re.fullmatch(pattern, request.path)
            if found and request.method == method:
                with self.lock:
                    return answer(request, body, *(int(part) for part in found.groups()))
        return _error(404, "The requested resource does not exist.")

    def add(self, login: str, email: str) -> int:
        """Make an account."""
        id = len(self.users) + 1
        self.users[id] = {"id": id, "login": login, "email": email, "status": "active"}
        return id

    def move(self, user: int, course: int, percentage: int) -> None:
        """Have somebody learn."""
        now = self.now().strftime("%Y-%m-%dT%H:%M:%S")
        done = percentage == 100
        self.progress[user, course] = {
            "progress": percentage,
            "completion_status": "completed" if done else "incomplete",
            "completion_date": now if done else None,
        }

    def _list(self, request: Request, body: dict[str, Any]) -> Response:
        login, email = request.args.get("filter[login][eq]"), request.args.get("filter[email][eq]")
        found = [
            user
            for user in self.users.values()
            if (login is None or user["login"].lower() == login.lower())
            and (email is None or user["email"] == email)
        ]
        return _data(found)

    def _create(self, request: Request, body: dict[str, Any]) -> Response:
        wanted = ("name", "surname", "login", "email", "password")
        if missing := [name for name in wanted if not isinstance(body.get(name), str) or not body[name]]:
            return _error(400, f"{missing[0]} is required")
        for name in ("login", "email"):
            if any(user[name] == body[name] for user in self.users.values()):
                return _error(422, f"The {name} has to be unique.")
        return _data(self.users[self.add(body["login"], body["email"])])

    def _courses(self, request: Request, body: dict[str, Any], user: int) -> Response:
        if user not in self.users:
            return _error(404, "The requested resource does not exist.")
        courses = [{"id": c, "name": COURSES[c]} for u, c in self.progress if u == user]
        return _data({"courses": courses})

    def _enroll(self, request: Request, body: dict[str, Any]) -> Response:
        user, course = body.get("user_id"), body.get("course_id")
        if type(user) is not int or type(course) is not int:
            return _error(400, "user_id and course_id are integers")
        if user not in self.users or course not in COURSES:
            return _error(404, "The requested resource does not exist.")
        if (user, course) in self.progress:
            return _error(422, "The user is already enrolled in this course.")
        self.move(user, course, 0)
        return _data({"user_id": user, "course_id": course})

    def _unenroll(self, request: Request, body: dict[str, Any]) -> Response:
        if self.progress.pop((body.get("user_id"), body.get("course_id")), None) is None:  # type: ignore[call-overload]
            return _error(404, "The requested resource does not exist.")
        return Response(status=204)

    def _progress(self, request: Request, body: dict[str, Any]) -> Response:
        key = (int(request.args["user_id"]), int(request.args["course_id"]))
        if key not in self.progress:
            return _error(404, "The requested resource does not exist.")
        return _data(self.progress[key])

    def _goto(self, request: Request, body: dict[str, Any], course: int, user: int) -> Response:
        if (user, course) not in self.progress:
            return _error(404, "The requested resource does not exist.")
        return _data({"goto_url": f"{self.url}/index/gotocourse/key:{len(self.calls)}{user}"})


def _data(body: Any) -> Response:
    return Response(json.dumps({"_data": body}), 200, content_type="application/json")


def _error(status: int, message: str) -> Response:
    body = {"_errors": [{"type": "invalid_request_error", "message": message}]}
    return Response(json.dumps(body), status, content_type="application/json")
