"""Plays Canvas's REST API: users with SIS ids, enrolments, progress through modules. canvasapi works against it.

It follows Canvas's documents and source where they differ from what one would guess: enrolling invites unless told
otherwise, progress of a course without modules is an error object, a throttle is a 403 in plain text.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from werkzeug.wrappers import Request, Response

from partners.kit.fake import Fake

TOKEN = "canvas~0123456789abcdefABCDEF"
API = "/api/v1"
NOT_MODULE_BASED = "no progress available because this course is not module based"
LISTED = ("active", "invited", "creation_pending")


@dataclass
class User:
    """A user with one login."""

    id: int
    name: str
    unique_id: str
    sis_user_id: str | None
    email: str | None
    provider: str | None = None
    deleted: bool = False


@dataclass
class Enrollment:
    """A user in a section of a course."""

    id: int
    course_id: int
    user_id: int
    type: str
    state: str
    done: int = 0
    completed_at: datetime | None = None


@dataclass
class Course:
    """A course. `requirements` are those of its modules; None: it has no modules."""

    id: int
    sis_course_id: str
    requirements: int | None = 100


@dataclass
class Problem(Exception):
    """A call that is answered with an error."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


class FakeCanvas(Fake):
    """A Canvas with one account and two courses. `remaining` is the budget that it tells of with each answer."""

    def __init__(self) -> None:
        self.users: dict[int, User] = {}
        self.courses = {id: Course(id, f"course-{id - 100}") for id in (101, 102)}
        self.enrollments: dict[int, Enrollment] = {}
        self.mailed: list[int] = []
        self.remaining = 600.0
        self.throttle_status = 403
        # Courses in which the token has no rights.
        self.closed: set[int] = set()
        super().__init__()

    def learn(self, course_id: int, user_id: int, done: int) -> None:
        """Have a student meet so many of the course's requirements."""
        with self.lock:
            for item in self._of(course_id, user_id):
                item.done = done
                item.completed_at = (
                    self.now() if done >= (self.courses[course_id].requirements or 0) else None
                )

    def throttled(self) -> Response:
        """Return how Canvas's RequestThrottle says it, or 429."""
        told = {"X-Rate-Limit-Remaining": "0.0"}
        text = "403 Forbidden (Rate Limit Exceeded)\n"
        return Response(text, self.throttle_status, told, content_type="text/plain; charset=utf-8")

    def handle(self, request: Request) -> Response:
        """Answer one call."""
        if not request.path.startswith(f"{API}/"):
            return Response(f"<html>{request.path}</html>", 200, content_type="text/html")
        try:
            if request.headers.get("Authorization") != f"Bearer {TOKEN}":
                told = {"WWW-Authenticate": 'Bearer realm="canvas-lms"'}
                raise Problem(401, {"errors": [{"message": "Invalid access token."}]}, told)
            with self.lock:
                body, headers = self._route(request, request.path.removeprefix(f"{API}/").split("/"))
            response = _json(200, body, headers)
        except Problem as problem:
            response = _json(problem.status, problem.body, problem.headers)
        response.headers["X-Request-Cost"] = "0.05"
        response.headers["X-Rate-Limit-Remaining"] = str(self.remaining)
        return response

    def _route(self, request: Request, parts: list[str]) -> tuple[Any, dict[str, str]]:
        match (request.method, parts):
            case ("GET", ["accounts", account]):
                return {"id": self._account(account), "name": "School", "root_account_id": None}, {}
            case ("POST", ["accounts", account, "users"]):
                self._account(account)
                return self._create_user(request), {}
            case ("DELETE", ["accounts", account, "users", id]):
                user = self._user(id)
                user.deleted = True
                return self._user_json(user), {}
            case ("GET", ["accounts", account, "courses"]):
                self._account(account)
                return self._paged(request, [_course_json(item) for item in self.courses.values()])
            case ("GET", ["users", id]):
                return self._user_json(self._user(id)), {}
            case (method, ["courses", id, *rest]):
                course = self._course(id)
                if course.id in self.closed:
                    said = {"status": "unauthorized", "errors": [{"message": "user not authorized"}]}
                    raise Problem(401, said)
                return self._in_course(request, method, course, rest)
        raise _missing()

    def _in_course(
        self, request: Request, method: str, course: Course, rest: list[str]
    ) -> tuple[Any, dict[str, str]]:
        match (method, rest):
            case ("GET", []):
                return _course_json(course), {}
            case ("GET", ["enrollments"]):
                return self._paged(request, self._listed(request, course))
            case ("POST", ["enrollments"]):
                return self._enroll(request, course), {}
            case ("DELETE", ["enrollments", id]):
                return self._end(request, course, id), {}
            case ("PUT", ["enrollments", id, "reactivate"]):
                return self._reactivate(course, id), {}
            case ("GET", ["users", id, "progress"]):
                return self._progress(course, self._user(id)), {}
            case ("GET", ["bulk_user_progress"]):
                if course.requirements is None:
                    raise Problem(400, {"error": {"message": f"{NOT_MODULE_BASED}."}})
                return self._paged(request, self._all_progress(course))
        raise _missing()

    def _create_user(self, request: Request) -> dict[str, Any]:
        form = request.form
        unique_id, sis = form.get("pseudonym[unique_id]"), form.get("pseudonym[sis_user_id]")
        if not unique_id:
            raise _invalid("pseudonym", "unique_id", "blank")
        again = [item for item in self.users.values() if item.deleted and sis and item.sis_user_id == sis]
        if again and form.get("enable_sis_reactivation") in ("true", "1"):
            again[0].deleted = False
            return self._user_json(again[0])
        for item in self.users.values():
            if not item.deleted and sis and item.sis_user_id == sis:
                said = f'SIS ID "{sis}" is already in use'
                raise _invalid("pseudonym", "sis_user_id", said)
            if not item.deleted and item.unique_id == unique_id:
                said = "ID already in use for this account and authentication provider"
                raise _invalid("pseudonym", "unique_id", said)
        user = User(
            len(self.users) + 1001,
            form.get("user[name]") or unique_id,
            unique_id,
            sis,
            form.get("communication_channel[address]"),
            form.get("pseudonym[authentication_provider_id]"),
        )
        self.users[user.id] = user
        if form.get("pseudonym[send_confirmation]") == "true" or not form.get("user[skip_registration]"):
            self.mailed.append(user.id)
        return self._user_json(user)

    def _enroll(self, request: Request, course: Course) -> dict[str, Any]:
        form = request.form
        user = self._user(form.get("enrollment[user_id]") or "")
        kind = form.get("enrollment[type]") or "StudentEnrollment"
        state = form.get("enrollment[enrollment_state]") or "invited"
        if form.get("enrollment[notify]") == "true":
            self.mailed.append(user.id)
        for item in self._of(course.id, user.id):
            if item.type == kind:
                # Canvas keeps one row for a user, a course and a role, and opens it again.
                item.state = state if item.state != "active" else item.state
                return self._enrollment_json(item)
        made = Enrollment(len(self.enrollments) + 5001, course.id, user.id, kind, state)
        self.enrollments[made.id] = made
        return self._enrollment_json(made)

    def _end(self, request: Request, course: Course, id: str) -> dict[str, Any]:
        item = self._enrollment(course, id)
        task = request.form.get("task") or request.args.get("task") or "conclude"
        states = {
            "conclude": "completed",
            "delete": "deleted",
            "inactivate": "inactive",
            "deactivate": "inactive",
        }
        item.state = states[task]
        return self._enrollment_json(item)

    def _reactivate(self, course: Course, id: str) -> dict[str, Any]:
        item = self._enrollment(course, id)
        if item.state != "inactive":
            raise Problem(400, {"error": "enrollment not inactive"})
        item.state = "active"
        return self._enrollment_json(item)

    def _listed(self, request: Request, course: Course) -> list[dict[str, Any]]:
        states = request.args.getlist("state[]") or LISTED
        kinds, user = request.args.getlist("type[]"), request.args.get("user_id")
        return [
            self._enrollment_json(item)
            for item in self.enrollments.values()
            if item.course_id == course.id
            and item.state in states
            and (not kinds or item.type in kinds)
            and (user is None or str(item.user_id) == user)
        ]

    def _progress(self, course: Course, user: User) -> dict[str, Any]:
        held = [item for item in self._of(course.id, user.id) if item.state != "deleted"]
        if course.requirements is None or not held:
            return {"error": {"message": f"{NOT_MODULE_BASED} or the user is not enrolled as a student"}}
        at = held[0].completed_at
        return {
            "requirement_count": course.requirements,
            "requirement_completed_count": held[0].done,
            "next_requirement_url": None,
            "completed_at": None if at is None else at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        }

    def _all_progress(self, course: Course) -> list[dict[str, Any]]:
        users = [
            self.users[item.user_id]
            for item in self.enrollments.values()
            if item.course_id == course.id and item.type == "StudentEnrollment" and item.state in LISTED
        ]
        return [
            {"id": user.id, "display_name": user.name, "progress": self._progress(course, user)}
            for user in users
        ]

    def _paged(self, request: Request, items: list[Any]) -> tuple[Any, dict[str, str]]:
        args = request.args.to_dict(flat=False)
        size, page = int(request.args.get("per_page", 10)), int(request.args.get("page", 1))

        def link(number: int, rel: str) -> str:
            query = urlencode({**args, "page": number}, doseq=True)
            return f'<{request.base_url}?{query}>; rel="{rel}"'

        links = [link(page, "current"), link(1, "first")]
        if page * size < len(items):
            links.insert(1, link(page + 1, "next"))
        return items[(page - 1) * size : page * size], {"Link": ",".join(links)}

    def _account(self, id: str) -> int:
        if id not in ("self", "1"):
            raise _missing()
        return 1

    def _user(self, id: str) -> User:
        kind, _, value = id.rpartition(":")
        for user in self.users.values():
            known = {"": str(user.id), "sis_user_id": user.sis_user_id, "sis_login_id": user.unique_id}
            if not user.deleted and known.get(kind) == value:
                return user
        raise _missing()

    def _course(self, id: str) -> Course:
        kind, _, value = id.rpartition(":")
        for course in self.courses.values():
            if {"": str(course.id), "sis_course_id": course.sis_course_id}.get(kind) == value:
                return course
        raise _missing()

    def _of(self, course_id: int, user_id: int) -> list[Enrollment]:
        found = self.enrollments.values()
        return [item for item in found if (item.course_id, item.user_id) == (course_id, user_id)]

    def _enrollment(self, course: Course, id: str) -> Enrollment:
        item = self.enrollments.get(int(id))
        if item is None or item.course_id != course.id or item.state == "deleted":
            raise _missing()
        return item

    def _user_json(self, user: User) -> dict[str, Any]:
        return {
            "id": user.id,
            "name": user.name,
            "sortable_name": user.name,
            "sis_user_id": user.sis_user_id,
            "login_id": user.unique_id,
        }

    def _enrollment_json(self, item: Enrollment) -> dict[str, Any]:
        return {
            "id": item.id,
            "course_id": item.course_id,
            "user_id": item.user_id,
            "type": item.type,
            "role": item.type,
            "enrollment_state": item.state,
            "sis_user_id": self.users[item.user_id].sis_user_id,
        }


def _course_json(course: Course) -> dict[str, Any]:
    return {"id": course.id, "name": course.sis_course_id, "sis_course_id": course.sis_course_id}


def _json(status: int, body: Any, headers: dict[str, str]) -> Response:
    return Response(json.dumps(body), status, headers, content_type="application/json; charset=utf-8")


def _missing() -> Problem:
    return Problem(404, {"errors": [{"message": "The specified resource does not exist."}]})


def _invalid(model: str, attribute: str, said: str) -> Problem:
    wrong = {"attribute": attribute, "type": "taken", "message": said}
    return Problem(400, {"errors": {model: {attribute: [wrong]}}})
