"""Speaks to Moodle: accounts of the auth_userkey plug-in, manual enrolments, completion, badges, login links.

An account's username and idnumber are our reference. A seat's id is "user:course", both by Moodle's numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from partners.answers import is_web_address
from partners.base import Account, Capability, Certificate, Click, Partner, Progress, Redirect, Seat, Student
from partners.connection import Connection
from partners.errors import (
    Ambiguous,
    Conflict,
    CredentialsWrong,
    NotFound,
    OutcomeUnknown,
    PartnerError,
    Refused,
)
from partners.moodle.answers import (
    read_badges,
    read_field,
    read_issues,
    read_list,
    read_progress,
    read_rows,
    split_seat,
)
from partners.moodle.service import Service

# The functions that have to be in the token's service.
NEEDED = (
    "auth_userkey_request_login_url",
    "core_course_get_courses_by_field",
    "core_enrol_get_users_courses",
    "core_user_create_users",
    "core_user_get_users_by_field",
    "core_webservice_get_site_info",
    "enrol_manual_enrol_users",
    "enrol_manual_unenrol_users",
)
NEEDED_FOR_CERTIFICATES = {
    "badges": ("core_badges_get_user_badges",),
    "customcert": ("core_course_get_contents", "mod_customcert_list_issues"),
    "none": (),
}
NAME_LENGTH = 100  # characters that Moodle keeps of a first or a last name


@dataclass(frozen=True)
class Options:
    """What a site wants differently; `options.schema.json` says what each means."""

    course_field: str = "idnumber"
    adopt_by_email: bool = False
    role_id: int = 5
    sso_field: str = "idnumber"
    certificates: str = "badges"
    badge_name: str | None = None


class MoodlePartner(Partner):
    """A Moodle site."""

    capabilities = frozenset(
        {
            Capability.ACCOUNTS,
            Capability.ENROLL,
            Capability.UNENROLL,
            Capability.SUSPEND,
            Capability.PROGRESS,
            Capability.CERTIFICATE,
            Capability.SSO,
        }
    )

    def __init__(self, connection: Connection, options: Options) -> None:
        """Call nobody yet."""
        self.provider_type = connection.provider_type
        self._service, self._options = Service(connection), options
        self._root = connection.url()
        if options.certificates == "none":
            self.capabilities = MoodlePartner.capabilities - {Capability.CERTIFICATE}

    @classmethod
    def from_connection(cls, connection: Connection) -> MoodlePartner:
        """Return the adapter of a connection; raise `CredentialsWrong` for what it lacks or has wrong."""
        return cls(connection, Options(**connection.checked_options("moodle", policies=("adopt_by_email",))))

    def find_account(self, student: Student) -> Account | None:
        """Return the account with our username; with `adopt_by_email`, else the only one with the e-mail address."""
        user = self._find_user("username", _username(student))
        if user is None and self._options.adopt_by_email:
            user = self._find_user("email", student.email)
            return None if user is None else Account(str(user["id"]), adopted=True)
        return None if user is None else Account(str(user["id"]))

    def create_account(self, student: Student, *, key: str) -> Account:
        """Make the account, or adopt the one that is there."""
        username = _username(student)
        first, last = _names(student.name)
        user = {
            "username": username,
            "email": student.email,
            "firstname": first,
            "lastname": last,
            "idnumber": username,
            "auth": "userkey",
        }
        try:
            made = self._service.call("core_user_create_users", {"users": [user]}, idempotent=False)
        except (Conflict, Refused) as error:
            # Moodle says the same of a duplicate and of a wrong parameter.
            if (found := self.find_account(student)) is None:
                raise Refused(
                    f"{error}, and the student has no account: another one may have the e-mail address"
                    " (option adopt_by_email)",
                    status=error.status,
                ) from None
            return Account(found.id, adopted=True)
        match made:
            case [{"id": int(id), "username": str(name)}] if type(id) is int and name == username:
                return Account(str(id))
        raise OutcomeUnknown("core_user_create_users: answered no account")

    def find_enrollment(self, account_id: str, course_code: str) -> Seat | None:
        """Return the account's seat in the course. A suspended one is not found: Moodle does not list it."""
        field = self._options.course_field
        found = [item for item in self._list_courses(account_id) if str(item.get(field)) == course_code]
        if len(found) > 1:
            raise Ambiguous(f"core_enrol_get_users_courses: {len(found)} courses with one {field}")
        return Seat(f"{account_id}:{found[0]['id']}") if found else None

    def enroll_in_course(
        self, account_id: str, course_code: str, *, student: Student, reference: str, key: str
    ) -> Seat:
        """Take a seat, or adopt the one that is there. A suspended one is opened again."""
        if (seat := self.find_enrollment(account_id, course_code)) is not None:
            return Seat(seat.id, adopted=True)
        course_id = self._find_course(course_code)
        try:
            self._enrol(account_id, course_id, suspended=False, idempotent=False)
        except (Conflict, Refused) as error:
            if (seat := self.find_enrollment(account_id, course_code)) is None:
                raise Refused(str(error), status=error.status) from None
            return Seat(seat.id, adopted=True)
        return Seat(f"{account_id}:{course_id}")

    def unenroll(self, external_enrollment_id: str) -> None:
        """Give the seat back; raise `Refused` where another enrolment method still holds it."""
        user_id, course_id = split_seat(external_enrollment_id)
        seat = {"userid": user_id, "courseid": course_id}
        refused: PartnerError | None = None
        try:
            self._service.call("enrol_manual_unenrol_users", {"enrolments": [seat]}, idempotent=True)
        except (Conflict, NotFound, Refused) as error:
            refused = error
        if any(item["id"] == course_id for item in self._list_courses(str(user_id))):
            raise Refused(f"the student is still enrolled, not by hand: {refused or 'nothing to undo'}")

    def suspend(self, external_enrollment_id: str, *, suspended: bool) -> None:
        """Lock the seat, or open it again."""
        user_id, course_id = split_seat(external_enrollment_id)
        try:
            self._enrol(str(user_id), course_id, suspended=suspended, idempotent=True)
        except Conflict as error:
            raise NotFound(str(error), status=error.status) from None

    def get_progress(self, external_enrollment_id: str) -> Progress:
        """Return the progress of one seat; 0 where the course does not track completion."""
        user_id, course_id = split_seat(external_enrollment_id)
        for item in self._list_courses(str(user_id)):
            if item["id"] == course_id:
                return read_progress(external_enrollment_id, item)
        raise NotFound("core_enrol_get_users_courses: the student is not enrolled in this course")

    def get_certificate(self, external_enrollment_id: str) -> Certificate | None:
        """Return the certificate that was issued last for the seat's course, None while there is none."""
        user_id, course_id = split_seat(external_enrollment_id)
        if self._options.certificates == "customcert":
            return self._find_customcert(user_id, course_id)
        return self._find_badge(user_id, course_id)

    def launch(self, external_enrollment_id: str, click: Click) -> Redirect:
        """Mint a login link to the course. Moodle says nothing of its lifetime: the plug-in's default is 60 s."""
        user_id, course_id = split_seat(external_enrollment_id)
        user = self._find_user("id", str(user_id))
        if user is None:
            raise NotFound("core_user_get_users_by_field: there is no such account")
        if user.get("suspended") is True:
            # The plug-in would log in a suspended user as well.
            raise Refused("core_user_get_users_by_field: the account is suspended at Moodle")
        field = self._options.sso_field
        if not user.get(field):
            raise Refused(f"the account has no {field}, by which the plug-in auth_userkey finds it")
        call = "auth_userkey_request_login_url"
        try:
            answer = self._service.call(call, {"user": {field: user[field]}}, idempotent=True)
        except Conflict as error:
            raise Refused(
                f"{error}: its mapping field may be another one (option sso_field)", status=error.status
            ) from None
        url = read_field(call, answer, "loginurl")
        if not is_web_address(url):
            raise Refused(f"{call}: answered something that is no web address")
        course = f"{url.partition('/auth/userkey/')[0]}/course/view.php?id={course_id}"
        return Redirect(f"{url}{'&' if '?' in url else '?'}wantsurl={quote(course, safe='')}", None)

    def check(self) -> None:
        """Ask who we are; raise `CredentialsWrong` that names the functions which the token's service lacks."""
        call = "core_webservice_get_site_info"
        listed = read_list(call, read_field(call, self._service.read(call), "functions"))
        known = {item.get("name") for item in listed}
        needed = (*NEEDED, *NEEDED_FOR_CERTIFICATES[self._options.certificates])
        if missing := [name for name in needed if name not in known]:
            raise CredentialsWrong(f"the token's service lacks the functions {', '.join(sorted(missing))}")

    def _enrol(self, user_id: str, course_id: int, *, suspended: bool, idempotent: bool) -> None:
        seat = {
            "roleid": self._options.role_id,
            "userid": user_id,
            "courseid": course_id,
            "suspend": suspended,
        }
        call = "enrol_manual_enrol_users"
        if self._service.call(call, {"enrolments": [seat]}, idempotent=idempotent) is not None:
            raise OutcomeUnknown(f"{call}: answered something else than null")

    def _find_user(self, field: str, value: str) -> dict[str, Any] | None:
        """Return the only user with exactly this value, None without one; raise `Ambiguous` for several."""
        call = "core_user_get_users_by_field"
        listed = read_rows(call, self._service.read(call, field=field, values=[value]))
        if any(field not in item for item in listed):
            raise CredentialsWrong(f"{call}: the token may not see {field} (moodle/user:viewalldetails)")
        found = [item for item in listed if str(item[field]).lower() == value.lower()]
        if len(found) > 1:
            raise Ambiguous(f"{call}: {len(found)} accounts with one {field}")
        return found[0] if found else None

    def _find_course(self, course_code: str) -> int:
        call, field = "core_course_get_courses_by_field", self._options.course_field
        answer = self._service.read(call, field=field, value=course_code)
        listed = read_rows(call, read_field(call, answer, "courses"))
        found = [item["id"] for item in listed if str(item.get(field, course_code)) == course_code]
        if len(found) > 1:
            raise Ambiguous(f"{call}: {len(found)} courses with one {field}")
        if not found:
            raise NotFound(f"{call}: there is no course with this {field}, or the token may not see it")
        return int(found[0])

    def _list_courses(self, user_id: str) -> list[dict[str, Any]]:
        call = "core_enrol_get_users_courses"
        return read_rows(call, self._service.read(call, userid=user_id, returnusercount=False))

    def _find_badge(self, user_id: int, course_id: int) -> Certificate | None:
        call = "core_badges_get_user_badges"
        answer = self._service.read(call, userid=user_id, courseid=course_id)
        badges = read_field(call, answer, "badges")
        return read_badges(call, badges, self._options.badge_name or "", self._root)

    def _find_customcert(self, user_id: int, course_id: int) -> Certificate | None:
        call, kind = "core_course_get_contents", "customcert"
        only = [{"name": "modname", "value": kind}]
        sections = read_list(call, self._service.read(call, courseid=course_id, options=only))
        modules = [item for section in sections for item in read_list(call, section.get("modules"))]
        instances = [item.get("instance") for item in modules if item.get("modname") == kind]
        if not instances:
            return None
        call = "mod_customcert_list_issues"
        return read_issues(call, self._service.read(call, userid=user_id), user_id, instances, self._root)


def _username(student: Student) -> str:
    # Moodle refuses upper case.
    return student.reference.lower()


def _names(name: str) -> tuple[str, str]:
    """Return first and last name: Moodle wants both, and refuses markup."""
    words = name.partition("@")[0].replace("<", " ").replace(">", " ").split()
    first, last = (words[0], " ".join(words[1:])) if words else ("-", "-")
    return first[:NAME_LENGTH], last[:NAME_LENGTH] or "-"
