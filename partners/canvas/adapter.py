"""Speaks to Canvas's REST API: users by SIS id, enrolments, progress through modules.

Canvas issues no certificates, and has no launch of its own: a click leads to the course, behind Canvas's sign-in.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode

from partners.base import Account, Capability, Click, Partner, Progress, ProgressPage, Redirect, Seat, Student
from partners.canvas.answers import (
    NO_PROGRESS,
    read_number,
    read_progress,
    seat_id,
    split_seat,
    tells_nothing,
)
from partners.canvas.api import ENROLLMENTS, PAGE_MAX, CanvasApi, read_list
from partners.canvas.pages import Place, next_page, params_of
from partners.connection import Connection
from partners.errors import (
    Ambiguous,
    Conflict,
    CredentialsWrong,
    NotFound,
    OutcomeUnknown,
    Refused,
    RetryLater,
)

USER = "/users/sis_user_id:{reference}"
ENROLLMENT = "/courses/{course}/enrollments/{enrollment}"
PROGRESS = "/courses/{course}/users/{user}/progress"
ALL_PROGRESS = "/courses/{course}/bulk_user_progress"
OPEN = ("active", "invited")
# A locked seat is still the student's; a concluded one is not: enrolling opens it again.
HELD = (*OPEN, "inactive")
EVERY = (*HELD, "completed")


@dataclass(frozen=True)
class Options:
    """How a Canvas is used; `options.schema.json` says what each means."""

    account: str | int = "self"
    login: str = "reference"
    login_provider: str | int | None = None


class CanvasPartner(Partner):
    """A Canvas, by an administrator's token. A seat's id is made of the numbers of its course and its user."""

    capabilities = frozenset(
        {
            Capability.ACCOUNTS,
            Capability.ENROLL,
            Capability.UNENROLL,
            Capability.SUSPEND,
            Capability.PROGRESS,
            Capability.BULK_PROGRESS,
            Capability.SSO,
        }
    )

    def __init__(self, connection: Connection, options: Options) -> None:
        """Call nobody yet; raise `CredentialsWrong` for what the connection lacks."""
        self.provider_type, self._options = connection.provider_type, options
        self._account = {"account": str(options.account)}
        self._url = connection.url()
        self._api = CanvasApi(connection)

    @classmethod
    def from_connection(cls, connection: Connection) -> CanvasPartner:
        """Return the adapter of a connection; raise `CredentialsWrong` for what it lacks or has wrong."""
        return cls(connection, Options(**connection.checked_options("canvas")))

    def find_account(self, student: Student) -> Account | None:
        """Return the user whose SIS id is the student's reference."""
        path, call = {"reference": student.reference}, f"GET {USER}"
        answer = self._api.call("GET", USER, path_args=path, idempotent=True, accept={404})
        if answer.status == 404:
            return None
        try:
            id = read_number(answer.json, "id")
        except ValueError as error:
            raise RetryLater(f"{call}: {error}", status=answer.status) from None
        if "sis_user_id" not in answer.json:
            raise CredentialsWrong(f"{call}: the token may not read SIS ids", status=answer.status)
        if answer.json["sis_user_id"] != student.reference:
            raise Ambiguous(
                f"{call}: answered a user with another SIS id; perhaps users were merged",
                status=answer.status,
            )
        return Account(id)

    def create_account(self, student: Student, *, key: str) -> Account:
        """Make the user, or bring back a deleted one; where Canvas does not make it, look whether it is there."""
        path = "/accounts/{account}/users"
        try:
            answer = self._api.call(
                "POST", path, path_args=self._account, form=self._user(student), idempotent=False
            )
        except (Conflict, Refused) as error:
            if (account := self.find_account(student)) is not None:
                return Account(account.id, adopted=True)
            if isinstance(error, Refused):
                raise
            raise OutcomeUnknown(f"POST {path}: exists, and yet is not found", status=409) from None
        try:
            return Account(read_number(answer.json, "id"))
        except ValueError as error:
            raise OutcomeUnknown(f"POST {path}: {error}", status=answer.status) from None

    def find_enrollment(self, account_id: str, course_code: str) -> Seat | None:
        """Return the user's seat in a course, locked or not."""
        found = self._api.enrollments(course_code, account_id, HELD)
        return Seat(seat_id(found[0]["course"], account_id)) if found else None

    def enroll_in_course(
        self, account_id: str, course_code: str, *, student: Student, reference: str, key: str
    ) -> Seat:
        """Take a seat without an invitation or a mail, or adopt the one that is there."""
        if (seat := self.find_enrollment(account_id, course_code)) is not None:
            return Seat(seat.id, adopted=True)
        form = {
            "enrollment[user_id]": account_id,
            "enrollment[type]": "StudentEnrollment",
            "enrollment[enrollment_state]": "active",
            "enrollment[notify]": "false",
        }
        path = {"course": course_code}
        try:
            answer = self._api.call("POST", ENROLLMENTS, path_args=path, form=form, idempotent=False)
            course, user = (read_number(answer.json, name) for name in ("course_id", "user_id"))
        except (Conflict, ValueError) as error:
            raise OutcomeUnknown(f"POST {ENROLLMENTS}: {error}") from None
        if user != account_id:
            raise OutcomeUnknown(f"POST {ENROLLMENTS}: answered an enrolment of another user")
        return Seat(seat_id(course, user))

    def unenroll(self, external_enrollment_id: str) -> None:
        """Delete the user's enrolments in the course; where there are none, it is done already."""
        course, user = split_seat(external_enrollment_id)
        try:
            found = self._api.enrollments(course, user, EVERY)
        except NotFound:
            return
        for enrollment in found:
            self._end(enrollment, "delete")

    def suspend(self, external_enrollment_id: str, *, suspended: bool) -> None:
        """Make the user's enrolments in the course inactive, or active again."""
        course, user = split_seat(external_enrollment_id)
        found = self._api.enrollments(course, user, HELD)
        if not found:
            raise NotFound(f"GET {ENROLLMENTS}: the user is not enrolled in the course")
        for enrollment in found:
            if suspended and enrollment["state"] in OPEN:
                self._end(enrollment, "inactivate")
            elif not suspended and enrollment["state"] not in OPEN:
                path = f"{ENROLLMENT}/reactivate"
                self._api.call("PUT", path, path_args=_path_of(enrollment), idempotent=True)

    def get_progress(self, external_enrollment_id: str) -> Progress:
        """Return the progress of one seat; raise `Refused` where the course has nothing that could be completed."""
        course, user = split_seat(external_enrollment_id)
        self._api.leave_room()
        path = {"course": course, "user": user}
        answer = self._api.call("GET", PROGRESS, path_args=path, idempotent=True, accept={400})
        if tells_nothing(answer.json):
            # The same words for a course that tells nothing and for a user who is not in it.
            if not self._api.enrollments(course, user, EVERY):
                raise NotFound(f"GET {PROGRESS}: the user is not enrolled in the course")
            raise Refused(f"GET {PROGRESS}: {NO_PROGRESS}", status=answer.status)
        try:
            return read_progress(answer.json, external_enrollment_id)
        except ValueError as error:
            raise RetryLater(f"GET {PROGRESS}: {error}", status=answer.status) from None

    def progress_page(self, since: str | None, limit: int) -> ProgressPage:
        """Return a page of one course's students; course after course, and from the first one again a minute later.

        Seats in courses without progress are among the rejected ones.
        """
        place, now = Place.read(since), time.time()
        if place.rests(now):
            return ProgressPage([], None)
        self._api.leave_room()
        size = min(max(limit, 1), PAGE_MAX)
        if not place.courses:
            place = self._next_courses(place, size)
        page, users, plain = ProgressPage([], None), None, False
        if place.courses:
            page, users, plain = self._students(place, size)
        return ProgressPage(page.items, place.following(users, plain=plain, now=now).cursor(), page.rejected)

    def launch(self, external_enrollment_id: str, click: Click) -> Redirect:
        """Return the way to the course, after a look whether the student's seat in it is open."""
        course, user = split_seat(external_enrollment_id)
        if not self._api.enrollments(course, user, OPEN):
            raise Refused(
                f"GET {ENROLLMENTS}: the seat is not open at Canvas: it is locked, concluded or gone"
            )
        provider = self._options.login_provider
        query = "" if provider is None else f"?{urlencode({'authentication_provider': provider})}"
        return Redirect(f"{self._url}/courses/{course}{query}", None)

    def check(self) -> None:
        """Read the account."""
        try:
            answer = self._api.call("GET", "/accounts/{account}", path_args=self._account, idempotent=True)
        except NotFound:
            raise CredentialsWrong("GET /accounts/{account}: there is no such account", status=404) from None
        try:
            read_number(answer.json, "id")
        except ValueError as error:
            raise RetryLater(f"GET /accounts/{{account}}: {error}", status=answer.status) from None

    def _user(self, student: Student) -> dict[str, str]:
        unique_id = student.email if self._options.login == "email" else student.reference
        provider = self._options.login_provider
        return {
            "user[name]": student.name,
            "user[skip_registration]": "true",
            "user[terms_of_use]": "true",
            "pseudonym[unique_id]": unique_id,
            "pseudonym[sis_user_id]": student.reference,
            "pseudonym[send_confirmation]": "false",
            "communication_channel[type]": "email",
            "communication_channel[address]": student.email,
            "communication_channel[skip_confirmation]": "true",
            "enable_sis_reactivation": "true",
        } | ({} if provider is None else {"pseudonym[authentication_provider_id]": str(provider)})

    def _end(self, enrollment: dict[str, str], task: str) -> None:
        self._api.call(
            "DELETE",
            ENROLLMENT,
            path_args=_path_of(enrollment),
            params={"task": task},
            idempotent=True,
            accept={404},
        )

    def _next_courses(self, place: Place, size: int) -> Place:
        path = "/accounts/{account}/courses"
        params = params_of(place.more) if place.more else {"with_enrollments": "true", "per_page": size}
        answer = self._api.call("GET", path, path_args=self._account, params=params, idempotent=True)
        try:
            courses = tuple(read_number(item, "id") for item in read_list(answer, path))
        except ValueError as error:
            raise RetryLater(f"GET {path}: {error}", status=answer.status) from None
        return Place(courses, next_page(answer.headers))

    def _students(self, place: Place, size: int) -> tuple[ProgressPage, str | None, bool]:
        """Return a page of the place's first course, the query of its next page, and whether it tells no progress."""
        course, plain = place.courses[0], place.plain
        call = partial(
            self._api.call, "GET", path_args={"course": course}, idempotent=True, accept={400, 404}
        )
        if not plain:
            params = params_of(place.users) if place.users else {"per_page": size}
            answer = call(ALL_PROGRESS, params=params)
            plain = tells_nothing(answer.json)
        if plain:
            first = {"type[]": "StudentEnrollment", "state[]": list(OPEN), "per_page": size}
            answer = call(ENROLLMENTS, params=params_of(place.users) if place.users else first)
        if answer.status == 404:  # Deleted since the courses were listed.
            return ProgressPage([], None), None, False
        page = ProgressPage([], None)
        for item in read_list(answer, ENROLLMENTS if plain else ALL_PROGRESS):
            _sort_student(course, item, plain, page)
        return page, next_page(answer.headers), plain


def _path_of(enrollment: dict[str, str]) -> dict[str, str]:
    return {"course": enrollment["course"], "enrollment": enrollment["id"]}


def _sort_student(course: str, item: Any, plain: bool, page: ProgressPage) -> None:
    try:
        seat = seat_id(course, read_number(item, "user_id" if plain else "id"))
    except ValueError as error:
        page.rejected.append(("?", str(error)))
        return
    try:
        if plain:
            raise ValueError(NO_PROGRESS)
        page.items.append(read_progress(item.get("progress"), seat))
    except ValueError as error:
        page.rejected.append((seat, str(error)))
