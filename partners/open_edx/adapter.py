"""Speaks to Open edX: accounts that exist or are registered, enrolments, grades, certificates.

An account's id is its username; a seat's id is "username,course". A launch leads to the course: signing in there is the
matter of the identity provider that site and students share.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from urllib.parse import quote

from partners.base import Account, Capability, Certificate, Click, Partner, Progress, Redirect, Seat, Student
from partners.connection import Connection
from partners.errors import (
    Conflict,
    CredentialsWrong,
    OutcomeUnknown,
    PartnerError,
    RateLimited,
    Refused,
    RetryLater,
)
from partners.http import Answer
from partners.open_edx.answers import (
    is_enrolled,
    read_bulk_result,
    read_certificate,
    read_grade,
    read_username,
    split_seat,
)
from partners.open_edx.session import Session

ACCOUNTS = "/api/user/v1/accounts"
REGISTRATION = "/user_api/v1/account/registration/"
ENROLLMENT = "/api/enrollment/v1/enrollment"
BULK_ENROLL = "/api/bulk_enroll/v1/bulk_enroll/"
ROLES = "/api/enrollment/v1/roles/"
GRADES = "/api/grades/v1/courses/{course}/"
CERTIFICATES = "/api/certificates/v0/certificates/{user}/courses/{course}/"
USERNAME_LENGTH = 30  # characters that a username may have


@dataclass(frozen=True)
class Options:
    """What a site wants differently; `options.schema.json` says what each means."""

    accounts: str = "existing"
    adopt_by_email: bool | None = None
    registration_fields: Mapping[str, str] = field(default_factory=dict)
    enroll_with: str = "enrollment"
    mode: str | None = None
    token_type: str = "jwt"  # noqa: S105 -- a kind, no token
    launch_path: str = "/courses/{course}/course/"

    @property
    def registers(self) -> bool:
        """Whether accounts are made, under our username."""
        return self.accounts == "register"


class OpenEdxPartner(Partner):
    """An Open edX site."""

    capabilities = frozenset(
        {
            Capability.ACCOUNTS,
            Capability.ENROLL,
            Capability.UNENROLL,
            Capability.PROGRESS,
            Capability.CERTIFICATE,
            Capability.SSO,
        }
    )

    def __init__(self, connection: Connection, options: Options) -> None:
        """Call nobody yet."""
        self.provider_type = connection.provider_type
        self._session, self._options = Session(connection, options.token_type), options
        self._root = connection.url()

    @classmethod
    def from_connection(cls, connection: Connection) -> OpenEdxPartner:
        """Return the adapter of a connection; raise `CredentialsWrong` for what it lacks or has wrong."""
        options = Options(**connection.checked_options("open_edx", policies=("adopt_by_email",)))
        if options.adopt_by_email is False and not options.registers:
            raise CredentialsWrong(
                f"the partner {connection.provider_type}: options.adopt_by_email: without it accounts have to be"
                " made by us (options.accounts: register)"
            )
        return cls(connection, options)

    def find_account(self, student: Student) -> Account | None:
        """Return the account with our username, else, where that is allowed, the one with the e-mail address."""
        if self._options.registers:
            found = self._find_username("username", username_of(student))
            if found is not None or not self._options.adopt_by_email:
                return None if found is None else Account(found)
        found = self._find_username("email", student.email)
        return None if found is None else Account(found, adopted=True)

    def create_account(self, student: Student, *, key: str) -> Account:
        """Register the account, or adopt the one that is there; raise `Refused` where sites make accounts themselves."""
        if not self._options.registers:
            if (found := self.find_account(student)) is None:
                raise Refused(
                    "the student has no account at this site: it is made when they first sign in there"
                    " (or by the option accounts: register)"
                )
            return found
        try:
            self._register(student)
        except Conflict as error:
            if (found := self.find_account(student)) is None:
                raise Refused(
                    f"{error}: another account has the e-mail address (option adopt_by_email)", status=409
                ) from None
            return Account(found.id, adopted=True)
        return Account(username_of(student))

    def find_enrollment(self, account_id: str, course_code: str) -> Seat | None:
        """Return the account's active seat in the course."""
        call = f"{ENROLLMENT}/{{user}},{{course}}"
        path = {"user": account_id, "course": course_code}
        answer = self._session.call("GET", call, path_args=path, idempotent=True)
        found = is_enrolled(f"GET {call}", answer.json, account_id, course_code)
        return Seat(f"{account_id},{course_code}") if found else None

    def enroll_in_course(
        self, account_id: str, course_code: str, *, student: Student, reference: str, key: str
    ) -> Seat:
        """Take a seat, or adopt the one that is there."""
        if (seat := self.find_enrollment(account_id, course_code)) is not None:
            return Seat(seat.id, adopted=True)
        self._set(account_id, course_code, active=True)
        return Seat(f"{account_id},{course_code}")

    def unenroll(self, external_enrollment_id: str) -> None:
        """Give the seat back; one that is not there is given back already."""
        username, course = split_seat(external_enrollment_id)
        if self.find_enrollment(username, course) is not None:
            self._set(username, course, active=False)

    def get_progress(self, external_enrollment_id: str) -> Progress:
        """Return what the grade tells: Open edX has no other figure that others may ask for."""
        username, course = split_seat(external_enrollment_id)
        answer = self._session.call(
            "GET", GRADES, path_args={"course": course}, params={"username": username}, idempotent=True
        )
        return read_grade(f"GET {GRADES}", answer.json, external_enrollment_id, username)

    def get_certificate(self, external_enrollment_id: str) -> Certificate | None:
        """Return the certificate, None while there is none."""
        username, course = split_seat(external_enrollment_id)
        path = {"user": username, "course": course}
        answer = self._session.call("GET", CERTIFICATES, path_args=path, idempotent=True, accept={404})
        if answer.status == 404:
            return None
        return read_certificate(f"GET {CERTIFICATES}", answer.json, external_enrollment_id, self._root)

    def launch(self, external_enrollment_id: str, click: Click) -> Redirect:
        """Return the course's address, which does not expire; nobody is called."""
        _, course = split_seat(external_enrollment_id)
        path = self._options.launch_path.replace("{course}", quote(course, safe=":"))
        return Redirect(f"{self._root}{path}", None)

    def check(self) -> None:
        """Ask for our application's roles; raise `CredentialsWrong` where its user is no staff."""
        answer = self._session.call("GET", ROLES, idempotent=True)
        staff = answer.json.get("is_staff") if isinstance(answer.json, dict) else None
        if not isinstance(staff, bool):
            raise RetryLater(f"GET {ROLES}: answered no roles", status=answer.status)
        if not staff:
            raise CredentialsWrong(f"GET {ROLES}: our application's user is not staff of the whole site")

    def _find_username(self, name: str, value: str) -> str | None:
        answer = self._session.call("GET", ACCOUNTS, params={name: value}, idempotent=True, accept={404})
        return None if answer.status == 404 else read_username(f"GET {ACCOUNTS}", answer.json, name, value)

    def _register(self, student: Student) -> None:
        form = {
            "email": student.email,
            "username": username_of(student),
            "name": student.name,
            # Nobody ever uses it: students sign in through the identity provider, or ask for a new one.
            "password": f"{secrets.token_urlsafe(24)}aA1!",
            "honor_code": "true",
            "terms_of_service": "true",
            **self._options.registration_fields,
        }
        answer = self._session.call_openly(
            "POST", REGISTRATION, form=form, idempotent=False, accept={400, 403}, judge=_judge_registration
        )
        if not isinstance(answer.json, dict) or answer.json.get("success") is not True:
            raise OutcomeUnknown(f"POST {REGISTRATION}: does not say that it worked", status=answer.status)

    def _set(self, username: str, course: str, *, active: bool) -> None:
        """Open or close a seat, and see in the answer that it was done."""
        bulk = self._options.enroll_with == "bulk_enroll"
        call = f"POST {BULK_ENROLL if bulk else ENROLLMENT}"
        answer = (self._set_in_bulk if bulk else self._set_one)(username, course, active)
        try:
            if answer.json is None:
                raise LookupError
            read = read_bulk_result if bulk else is_enrolled
            now = read(call, answer.json, username, course)
        except (LookupError, RetryLater):
            raise _unclear(active, f"{call}: does not say what became of it") from None
        if now is not active:
            raise Refused(f"{call}: the seat was not {'opened' if active else 'closed'}")

    def _set_one(self, username: str, course: str, active: bool) -> Answer:
        body = {"user": username, "is_active": active, "course_details": {"course_id": course}}
        # A seat is closed whatever its mode is: with another one than it has, the site would refuse.
        if active and self._options.mode is not None:
            body["mode"] = self._options.mode
        return self._session.call("POST", ENROLLMENT, json=body, idempotent=not active)

    def _set_in_bulk(self, username: str, course: str, active: bool) -> Answer:
        body = {
            "action": "enroll" if active else "unenroll",
            "auto_enroll": True,
            "email_students": False,
            "courses": course,
            "identifiers": username,
        }
        return self._session.call("POST", BULK_ENROLL, json=body, idempotent=not active)


def username_of(student: Student) -> str:
    """Return the student's username: our reference is longer than Open edX allows, so it is a digest of it."""
    digest = base64.b32encode(sha256(student.reference.encode()).digest()).decode().lower()
    return f"usher-{digest}"[:USERNAME_LENGTH]


def _judge_registration(answer: Answer) -> None:
    """Raise what a refused registration means; the site's words are left out, since they repeat what was sent."""
    if answer.status < 400:
        return
    told = answer.json if isinstance(answer.json, dict) else {}
    if answer.status == 403 and told.get("error_code") == "forbidden-request":
        raise RateLimited(f"POST {REGISTRATION}: too many registrations (REGISTRATION_RATELIMIT)", status=403)
    if answer.status == 403:
        raise Refused(f"POST {REGISTRATION}: this site registers nobody", status=403)
    fields = ", ".join(sorted(key for key, value in told.items() if isinstance(value, list)))
    raise Refused(f"POST {REGISTRATION}: 400, wrong or missing: {fields or 'not told'}", status=400)


def _unclear(active: bool, message: str) -> PartnerError:
    return OutcomeUnknown(message) if active else RetryLater(message)
