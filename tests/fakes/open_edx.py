"""An Open edX site for tests: token endpoint, accounts, enrolments, grades, certificates, with state.

Written from the public source of openedx/edx-platform (user_api, user_authn, enrollments, bulk_enroll, instructor,
grades, certificates). No real site was asked.
"""

from __future__ import annotations

import json
import re
import secrets
from typing import Any
from urllib.parse import unquote

from werkzeug.wrappers import Request, Response

from partners.kit.fake import Fake

CLIENT_ID = "usher-client-4711"
CLIENT_SECRET = "kV9mQ2xT7bN4cR8wZ1yL5pD3"
TOKEN_PATH = "/oauth2/access_token"
USERNAME = re.compile(r"[\w .@_+-]{2,30}$")


class FakeOpenEdx(Fake):
    """A site. `staff`: what our application's user is; `tokens` are those that are good now."""

    def __init__(self) -> None:
        super().__init__()
        self.staff, self.registers, self.registrations_left = True, True, 1000
        self.lifetime: Any = 3600
        self.tokens: set[str] = set()
        self.tokens_made = 0
        # username -> e-mail address
        self.users: dict[str, str] = {}
        self.courses: set[str] = set()
        # Courses that the enrolment API does not open; bulk_enroll does.
        self.closed: set[str] = set()
        # Courses in which an error befalls whoever is enrolled.
        self.broken: set[str] = set()
        self.enrollments: dict[tuple[str, str], dict[str, Any]] = {}
        self.grades: dict[tuple[str, str], tuple[float, bool]] = {}
        self.certificates: dict[tuple[str, str], dict[str, Any]] = {}
        self.forms: list[dict[str, str]] = []
        self.headers: list[str] = []

    def writes(self, request: Request) -> bool:
        return request.method == "POST" and request.path != TOKEN_PATH

    def spared(self, request: Request) -> bool:
        return request.path == TOKEN_PATH

    def certify(self, username: str, course: str, status: str = "downloadable") -> None:
        """Make a certificate."""
        self.certificates[username, course] = {
            "username": username,
            "course_id": course,
            "certificate_type": "honor",
            "created_date": "2026-11-20T12:00:00+0000",
            "status": status,
            "is_passing": True,
            "download_url": f"/certificates/{secrets.token_hex(16)}",
            "grade": "0.98",
        }

    def handle(self, request: Request) -> Response:
        """Answer a call."""
        path = unquote(request.path)
        if path == TOKEN_PATH:
            return self._token(request)
        if path == "/user_api/v1/account/registration/":
            return self._register(request)
        with self.lock:
            self.headers.append(request.headers.get("Authorization", ""))
            if self.headers[-1].partition(" ")[2] not in self.tokens:
                return _json({"detail": "Authentication credentials were not provided."}, 401)
        if path == "/api/user/v1/accounts":
            return self._accounts(request)
        if path == "/api/enrollment/v1/roles/":
            return _json({"roles": [], "is_staff": self.staff})
        if path == "/api/enrollment/v1/enrollment" and request.method == "POST":
            return self._enroll(request)
        if found := re.fullmatch(r"/api/enrollment/v1/enrollment/([^,]+),(.+)", path):
            # Not enrolled is 200 without a body.
            return _json(self.enrollments.get((found[1], found[2])))
        if path == "/api/bulk_enroll/v1/bulk_enroll/":
            return self._bulk_enroll(request)
        if found := re.fullmatch(r"/api/grades/v1/courses/(.+)/", path):
            return self._grade(request.args["username"], found[1])
        if found := re.fullmatch(r"/api/certificates/v0/certificates/([^/]+)/courses/(.+)/", path):
            known = self.certificates.get((found[1], found[2]))
            return _json(known) if known else _json({"error_code": "no_certificate_for_user"}, 404)
        return Response("<html>Not found</html>", 404)

    def _token(self, request: Request) -> Response:
        form = request.form
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return _json({"error": "invalid_client"}, 401)
        if form.get("grant_type") != "client_credentials":
            return _json({"error": "unsupported_grant_type"}, 400)
        token = f"eyJ{secrets.token_hex(16)}.{secrets.token_hex(24)}.{secrets.token_hex(16)}"
        with self.lock:
            self.tokens.add(token)
            self.tokens_made += 1
        kind = "JWT" if form.get("token_type") == "jwt" else "Bearer"
        return _json(
            {"access_token": token, "expires_in": self.lifetime, "token_type": kind, "scope": "read"}
        )

    def _accounts(self, request: Request) -> Response:
        name, email = request.args.get("username"), request.args.get("email")
        found = [user for user in self.users if user == name or self.users[user] == email]
        if not found:
            return Response("", 404)
        shown = [{"username": user, "email": self.users[user], "is_active": True} for user in found]
        return _json(shown if self.staff else [{"username": user} for user in found])

    def _register(self, request: Request) -> Response:
        form = request.form.to_dict()
        email, username = form.get("email", ""), form.get("username", "")
        with self.lock:
            self.forms.append(form)
            if self.registrations_left <= 0:
                return _json({"error_code": "forbidden-request"}, 403)
            self.registrations_left -= 1
            if not self.registers:
                return Response("Account creation not allowed.", 403)
            taken = {"email": email in self.users.values(), "username": username in self.users}
            if any(taken.values()):
                words = [{"user_message": f"{email} {username}"}]
                errors = {name: words for name, is_taken in taken.items() if is_taken}
                return _json(errors | {"error_code": f"duplicate-{'-'.join(errors)}"}, 409)
            wrong = [name for name in ("name", "password", "honor_code") if not form.get(name)]
            wrong += [] if USERNAME.match(username) else ["username"]
            if wrong:
                words = [{"user_message": f"wrong for {email}"}]
                return _json(dict.fromkeys(wrong, words) | {"error_code": "validation-error"}, 400)
            self.users[username] = email
        return _json({"success": True, "redirect_url": f"{self.url}/dashboard"})

    def _enroll(self, request: Request) -> Response:
        body = request.get_json()
        user, course = body["user"], body["course_details"]["course_id"]
        if not self.staff:
            return Response("", 404)
        if user not in self.users:
            return _json({"message": f"The user {user} does not exist."}, 406)
        if course not in self.courses:
            return _json({"message": f"No course '{course}' found for enrollment"}, 400)
        with self.lock:
            known = self.enrollments.get((user, course))
            if known and body.get("mode") not in (None, known["mode"]) and not body["is_active"]:
                return _json({"message": "Enrollment mode mismatch. Won't deactivate."}, 400)
            if course in self.closed and not (known and known["is_active"]) and body["is_active"]:
                return _json({"message": "An error occurred while creating the new course enrollment"}, 400)
            made = self._put(user, course, body["is_active"], body.get("mode"))
        return _json(made)

    def _put(self, user: str, course: str, active: bool, mode: str | None = None) -> dict[str, Any]:
        known = self.enrollments.get((user, course), {"mode": "audit"})
        details = {"course_id": course, "course_name": "A course", "invite_only": False}
        made = {"created": "2026-11-20T12:00:00Z", "mode": mode or known["mode"], "is_active": active}
        self.enrollments[user, course] = made | {"course_details": details, "user": user}
        return self.enrollments[user, course]

    def _bulk_enroll(self, request: Request) -> Response:
        if not self.staff:
            return _json({"detail": "You do not have permission to perform this action."}, 403)
        body = request.get_json()
        done = {
            course: {
                "action": body["action"],
                "auto_enroll": body["auto_enroll"],
                "results": [
                    self._bulk_one(body["action"] == "enroll", course, user)
                    for user in body["identifiers"].split(",")
                ],
            }
            for course in body["courses"].split(",")
        }
        return _json(
            {name: body[name] for name in ("action", "auto_enroll", "email_students")} | {"courses": done}
        )

    def _bulk_one(self, active: bool, course: str, user: str) -> dict[str, Any]:
        if user not in self.users:
            return {"identifier": user, "invalidIdentifier": True}
        if course in self.broken or course not in self.courses:
            return {"identifier": user, "error": True}
        with self.lock:
            known = self.enrollments.get((user, course), {"is_active": False})["is_active"]
            self._put(user, course, active)
        state = {"user": True, "allowed": False, "auto_enroll": False}
        before, after = state | {"enrollment": known}, state | {"enrollment": active}
        return {"identifier": user, "before": before, "after": after}

    def _grade(self, user: str, course: str) -> Response:
        if (user, course) not in self.enrollments:
            words = "The user matching the requested username is not enrolled in this course"
            return _json({"developer_message": words, "error_code": "user_not_enrolled"}, 404)
        percent, passed = self.grades.get((user, course), (0.0, False))
        grade = {"username": user, "email": self.users[user], "course_id": course, "passed": passed}
        return _json([grade | {"percent": percent, "letter_grade": "Pass" if passed else None}])


def _json(value: Any, status: int = 200) -> Response:
    """Return an answer as Django REST framework renders it: None is no body."""
    return Response("" if value is None else json.dumps(value), status, content_type="application/json")
