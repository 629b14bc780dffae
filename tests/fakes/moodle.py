"""A Moodle site for tests: its web service with state, and the answers of a real Moodle 4.3.

Shapes, texts and errors are those of tests/data/moodle_transcripts.jsonl, which a test replays in whole. Badges,
mod_customcert and the races are from the products' public source.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

from werkzeug.wrappers import Request, Response

from partners.kit.fake import Fake

TRANSCRIPTS = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "data" / "moodle_transcripts.jsonl").read_text().splitlines()
]
RECORDED_ROOT = "http://127.0.0.1:28080"
TOKEN = "b7c1f0e2a94d4d7d8a5c3f6e1d2b9a80"
WRITES = ("core_user_create_users", "enrol_manual_enrol_users", "enrol_manual_unenrol_users")
# What was in the recorded token's service, in its order.
SERVICE = (
    "core_webservice_get_site_info",
    "core_user_create_users",
    "core_user_get_users_by_field",
    "core_user_get_users",
    "core_user_update_users",
    "core_user_delete_users",
    "enrol_manual_enrol_users",
    "enrol_manual_unenrol_users",
    "core_enrol_get_users_courses",
    "core_enrol_get_enrolled_users",
    "core_completion_get_course_completion_status",
    "core_completion_get_activities_completion_status",
    "core_completion_override_activity_completion_status",
    "gradereport_user_get_grade_items",
    "gradereport_overview_get_course_grades",
    "core_course_get_courses_by_field",
    "core_course_get_courses",
    "auth_userkey_request_login_url",
    "core_completion_mark_course_self_completed",
    "core_badges_get_user_badges",
)
CUSTOMCERT = ("core_course_get_contents", "mod_customcert_list_issues")
ELSEWHERE = ("core_group_create_groups",)


class MoodleError(Exception):
    """What Moodle throws: the class of its exception, the errorcode, the message."""


def recorded(case: str) -> Any:
    """Return what the real Moodle answered in a case."""
    return json.loads(next(item["body"] for item in TRANSCRIPTS if item["case"] == case))


def invalid_parameter() -> MoodleError:
    """Return the error that stands for everything wrong with a parameter, duplicates included."""
    return MoodleError("invalid_parameter_exception", "invalidparameter", "Invalid parameter value detected")


class FakeMoodle(Fake):
    """A site. `service` is what the token may call; `before_insert` runs between its checks and its writes."""

    def __init__(self, *, next_user: int = 17, service: tuple[str, ...] = SERVICE) -> None:
        super().__init__()
        self.root, self.service, self.mapping_field = self.url, list(service), "idnumber"
        self.users: dict[int, dict[str, Any]] = {}
        self.courses: dict[int, dict[str, Any]] = {}
        # (user, course) -> whether it is suspended.
        self.enrolments: dict[tuple[int, int], bool] = {}
        # Enrolments by another method than by hand.
        self.others: set[tuple[int, int]] = set()
        self.progress: dict[tuple[int, int], float] = {}
        self.badges: list[dict[str, Any]] = []
        self.issues: list[dict[str, Any]] = []
        self.bodies: list[str] = []
        self.paths: list[str] = []
        self.allow_same_email = False
        self.before_insert: Callable[[str], None] = lambda function: None
        self.make_key: Callable[[], str] = lambda: secrets.token_hex(16)
        self._next_user = next_user
        self.add_user(2, "admin", "admin@example.com", "Admin", "User", auth="manual")

    def add_user(self, id: int, username: str, email: str, first: str, last: str, **more: Any) -> int:
        user = {"id": id, "username": username, "firstname": first, "lastname": last} | {
            "fullname": f"{first} {last}",
            "email": email,
            "idnumber": "",
            "auth": "userkey",
        }
        self.users[id] = recorded("lookup hit")[0] | user | more
        return id

    def add_course(self, id: int, idnumber: str, short: str, full: str, *, completion: bool = True) -> None:
        names = {"id": id, "fullname": full, "displayname": full, "shortname": short, "idnumber": idnumber}
        self.courses[id] = (
            recorded("course by idnumber")["courses"][0] | names | {"enablecompletion": int(completion)}
        )

    def issue(self, user_id: int, course_id: int, name: str = "Passed", at: int = 1_795_180_000) -> None:
        """Give a badge of the course, and a certificate of its mod_customcert (whose instance is the course's id)."""
        digest = secrets.token_hex(20)
        self.badges.append(
            {"name": name, "courseid": course_id, "userid": user_id, "uniquehash": digest}
            | {"dateissued": at, "dateexpire": None, "email": self.users[user_id]["email"]}
        )
        code = secrets.token_hex(5)
        user = self.users[user_id]
        self.issues.append(
            {
                "issue": {"id": len(self.issues) + 1, "customcertid": course_id, "code": code}
                | {"emailed": True, "timecreated": at},
                "user": {"id": user_id, "fullname": user["fullname"], "username": user["username"]},
                "template": {"id": 1, "name": name, "contextid": 40},
            }
        )

    def writes(self, request: Request) -> bool:
        return request.values.get("wsfunction") in WRITES

    def handle(self, request: Request) -> Response:
        """Answer a call; errors come with 200."""
        given = request.values.to_dict()
        with self.lock:
            self.paths.append(request.full_path)
            self.bodies.append(request.get_data(as_text=True))
        if request.path != "/webservice/rest/server.php":
            return Response("<html>Not found</html>", 404)
        try:
            answer = self._call(given)
        except MoodleError as error:
            answer = dict(zip(("exception", "errorcode", "message"), error.args, strict=True))
        if given.get("moodlewsrestformat") == "json":
            text = json.dumps(answer, separators=(",", ":")).replace("/", "\\/")
            return Response(self._at_root(text, "\\/"), content_type="application/json")
        text = f'<?xml version="1.0" encoding="UTF-8" ?>\n<RESPONSE>\n{_xml(answer)}</RESPONSE>\n'
        return Response(self._at_root(text, "/"), content_type="application/xml; charset=utf-8")

    def _at_root(self, text: str, slash: str) -> str:
        return text.replace(RECORDED_ROOT.replace("/", slash), self.root.replace("/", slash))

    def _call(self, given: dict[str, str]) -> Any:
        if given.get("wstoken") != TOKEN:
            raise MoodleError("moodle_exception", "invalidtoken", "Invalid token - token not found")
        function = given.get("wsfunction", "")
        if function not in (*SERVICE, *CUSTOMCERT, *ELSEWHERE):
            words = "Can't find data record in database table external_functions."
            raise MoodleError("dml_missing_record_exception", "invalidrecord", words)
        if function not in self.service:
            raise MoodleError("webservice_access_exception", "accessexception", "Access control exception")
        return getattr(self, f"_{function}")(given)

    def _core_webservice_get_site_info(self, given: dict[str, str]) -> Any:
        version = {"auth_userkey_request_login_url": "2022081901"}
        functions = [{"name": name, "version": version.get(name, "2023100900")} for name in self.service]
        return {
            "sitename": "Test",
            "username": "admin",
            "firstname": "Admin",
            "lastname": "User",
            "fullname": "Admin User",
            "lang": "en",
            "userid": 2,
            "siteurl": RECORDED_ROOT,
            "userpictureurl": f"{RECORDED_ROOT}/theme/image.php/boost/core/1795179229/u/f1",
            "functions": functions,
            "downloadfiles": 1,
            "uploadfiles": 0,
            "release": "4.3 (Build: 20231009)",
            "version": "2023100900",
            "mobilecssurl": "",
            "advancedfeatures": [{"name": name, "value": 1} for name in ("usecomments", "usetags")],
        }

    def _core_user_get_users_by_field(self, given: dict[str, str]) -> Any:
        field, value = given["field"], given["values[0]"]
        return [user for user in self.users.values() if str(user[field]) == value]

    def _core_user_create_users(self, given: dict[str, str]) -> Any:
        names = ("username", "email", "firstname", "lastname", "idnumber", "auth", "password")
        user = {name: given.get(f"users[0][{name}]", "") for name in names}
        username, email = user["username"], user["email"]
        with self.lock:
            taken = [item["email"] for item in self.users.values()]
            if (
                not all(user[name] for name in ("username", "email", "firstname", "lastname"))
                or username != username.lower()
                or any(mark in user["firstname"] + user["lastname"] for mark in "<>")
                or self._named(username)
                or (email in taken and not self.allow_same_email)
            ):
                raise invalid_parameter()
            if user["auth"] != "userkey" and len(user["password"]) < 8:
                words = "<div>Passwords must have at least 8 characters.</div>"
                raise MoodleError("moodle_exception", words, f"error/{words}")
        self.before_insert("core_user_create_users")
        with self.lock:
            if self._named(username):
                raise MoodleError("dml_write_exception", "dmlwriteexception", "Error writing to database")
            id, self._next_user = self._next_user, self._next_user + 1
            more = {"idnumber": user["idnumber"], "auth": user["auth"] or "manual"}
            self.add_user(id, username, email, user["firstname"], user["lastname"], **more)
        return [{"id": id, "username": username}]

    def _named(self, username: str) -> bool:
        return any(user["username"] == username for user in self.users.values())

    def _core_course_get_courses_by_field(self, given: dict[str, str]) -> Any:
        field, value = given["field"], given["value"]
        found = [course for course in self.courses.values() if str(course[field]) == value]
        return {"courses": found, "warnings": []}

    def _enrol_manual_enrol_users(self, given: dict[str, str]) -> Any:
        user, course, role = (
            int(given[f"enrolments[0][{name}]"]) for name in ("userid", "courseid", "roleid")
        )
        if course not in self.courses:
            raise invalid_parameter()
        if role != 5:
            words = f"this role ({role}) to this user ({user}) in this course ({course})."
            words = f"You don't have the permission to assign {words}"
            raise MoodleError("moodle_exception", "wsusercannotassign", words)
        if user not in self.users:
            words = "User ID does not exist or is deleted!"
            words = f"Coding error detected, it must be fixed by a programmer: {words}"
            raise MoodleError("coding_exception", "codingerror", words)
        suspended = given.get("enrolments[0][suspend]") == "1"
        known = (user, course) in self.enrolments
        self.before_insert("enrol_manual_enrol_users")
        with self.lock:
            if not known and (user, course) in self.enrolments:
                raise MoodleError("dml_write_exception", "dmlwriteexception", "Error writing to database")
            self.enrolments[user, course] = suspended

    def _enrol_manual_unenrol_users(self, given: dict[str, str]) -> Any:
        user, course = (int(given[f"enrolments[0][{name}]"]) for name in ("userid", "courseid"))
        if user not in self.users:
            raise invalid_parameter()
        with self.lock:
            self.enrolments.pop((user, course), None)

    def _core_enrol_get_users_courses(self, given: dict[str, str]) -> Any:
        user, counted = int(given["userid"]), given.get("returnusercount", "1") == "1"
        return [self._row(user, id, counted) for id in self.courses if self._is_active(user, id)]

    def _is_active(self, user: int, course: int) -> bool:
        return self.enrolments.get((user, course)) is False or (user, course) in self.others

    def _row(self, user: int, course_id: int, counted: bool) -> dict[str, Any]:
        course, row = self.courses[course_id], recorded("progress list")[0]
        row |= {name: course[name] for name in ("id", "shortname", "fullname", "displayname", "idnumber")}
        row["enrolledusercount"] = sum(course_id == id for _, id in self.enrolments)
        if not counted:
            del row["enrolledusercount"]
        if not course["enablecompletion"]:
            without = ("enablecompletion", "completionhascriteria", "completionusertracked")
            return row | dict.fromkeys(without, False) | {"progress": None, "completed": None}
        done = self.progress.get((user, course_id), 0)
        return row | {"progress": done, "completed": done >= 100}

    def _core_completion_get_activities_completion_status(self, given: dict[str, str]) -> Any:
        return recorded("activities")

    def _core_completion_get_course_completion_status(self, given: dict[str, str]) -> Any:
        user, course = int(given["userid"]), int(given["courseid"])
        if not self.courses[course]["enablecompletion"]:
            raise MoodleError("moodle_exception", "cannotviewreport", "You cannot view this report")
        if not self._is_active(user, course):
            raise MoodleError("moodle_exception", "notenroled", "You are not enrolled in this course")
        return recorded("course completion")

    def _gradereport_user_get_grade_items(self, given: dict[str, str]) -> Any:
        report, user = recorded("grades"), self.users[int(given["userid"])]
        course = self.courses[int(given["courseid"])]
        ids = {"courseid": course["id"], "courseidnumber": course["idnumber"], "userid": user["id"]}
        report["usergrades"][0] |= ids | {
            "userfullname": user["fullname"],
            "useridnumber": user["idnumber"],
        }
        return report

    def _auth_userkey_request_login_url(self, given: dict[str, str]) -> Any:
        value = given.get(f"user[{self.mapping_field}]")
        # A suspended user gets one as well.
        if not any(str(user[self.mapping_field]) == value for user in self.users.values()):
            raise invalid_parameter()
        return {"loginurl": f"{RECORDED_ROOT}/auth/userkey/login.php?key={self.make_key()}"}

    def _core_badges_get_user_badges(self, given: dict[str, str]) -> Any:
        user, course = int(given["userid"]), int(given.get("courseid", 0))
        found = [
            badge for badge in self.badges if badge["userid"] == user and course in (0, badge["courseid"])
        ]
        return {"badges": [_without(badge, "userid") for badge in found], "warnings": []}

    def _core_course_get_contents(self, given: dict[str, str]) -> Any:
        course = int(given["courseid"])
        modules = [{"id": 9, "instance": course, "modname": "customcert", "name": "Certificate"}]
        return [{"id": 1, "name": "General", "modules": modules}, {"id": 2, "name": "Topic 1", "modules": []}]

    def _mod_customcert_list_issues(self, given: dict[str, str]) -> Any:
        return [item for item in self.issues if str(item["user"]["id"]) == given.get("userid")]


def _without(item: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key != name}


def _xml(value: Any) -> str:
    if isinstance(value, dict):
        keys = (f'<KEY name="{key}">{_xml(item)}</KEY>\n' for key, item in value.items())
        return f"<SINGLE>\n{''.join(keys)}</SINGLE>\n"
    if isinstance(value, list):
        return f"<MULTIPLE>\n{''.join(map(_xml, value))}</MULTIPLE>\n"
    return f"<VALUE>{escape(str(value), quote=False)}</VALUE>\n"
