"""The interface that every partner adapter speaks, and the answers it gives.

The pipeline calls the methods in the order in which they stand here. An adapter declares what it can do as
`capabilities`; the pipeline skips what a partner does not have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum, auto
from typing import Any


class Capability(Enum):
    """What a partner can do."""

    ACCOUNTS = auto()
    ENROLL = auto()
    UNENROLL = auto()
    SUSPEND = auto()
    PROGRESS = auto()
    BULK_PROGRESS = auto()
    CERTIFICATE = auto()
    SSO = auto()
    WEBHOOK_IN = auto()
    JIT_ON_LAUNCH = auto()
    MANUAL = auto()
    ERASE = auto()
    # Makes no second account for a reference and no second seat for an account in a course: `create_account` and
    # `enroll_in_course` return what exists, also when several ask at once. So a first attempt need not look up.
    REFUSES_TWICE = auto()


@dataclass(frozen=True)
class Student:
    """Whom an account is for. `reference` is ours, constant for this student, and unique at the partner."""

    reference: str
    email: str
    name: str


@dataclass(frozen=True)
class Account:
    """An account at the partner."""

    id: str
    adopted: bool = False


@dataclass(frozen=True)
class Seat:
    """An enrolment at the partner."""

    id: str
    adopted: bool = False


@dataclass(frozen=True)
class Progress:
    """How far a student is. `percentage` is 0 to 100; `updated_at` is by the partner's clock, None where it has none."""

    external_enrollment_id: str
    percentage: Decimal
    completed: bool
    updated_at: datetime | None
    completed_at: datetime | None


@dataclass(frozen=True)
class ProgressPage:
    """One page of what changed at a partner. `next_cursor` is None on the last page."""

    items: list[Progress]
    next_cursor: str | None
    # Items that could not be read, each with the reason: they do not stop the others.
    rejected: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Certificate:
    """A certificate issued by the partner."""

    number: str
    url: str | None
    verification_url: str | None
    issued_at: datetime | None
    expires_at: datetime | None
    raw: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Click:
    """Who wants into which course now. `key` is the idempotency key of this one launch."""

    enrollment_id: str
    student: Student
    course_code: str
    return_url: str
    key: str


@dataclass(frozen=True)
class Redirect:
    """A launch that is a redirect. The URL lives until `expires_at` and must never be stored or logged."""

    url: str
    expires_at: datetime | None


@dataclass(frozen=True)
class FormPost:
    """A launch that is a form posted by the student's browser."""

    action: str
    fields: dict[str, str]


Launch = Redirect | FormPost


class Partner:
    """A partner platform. Subclasses implement what their `capabilities` name.

    Every method may raise any `partners.errors.PartnerError`. `key` arguments are idempotency keys: constant for one
    intended effect, however often it is tried.
    """

    provider_type: str
    capabilities: frozenset[Capability] = frozenset()
    # The values of its credentials, which are taken out of what it sends before that is stored. Set by the registry.
    credentials: frozenset[str] = frozenset()

    def find_account(self, student: Student) -> Account | None:
        """Return the student's account by our reference, None where there is none."""
        raise NotImplementedError

    def create_account(self, student: Student, *, key: str) -> Account:
        """Make the account; where it exists already, return that one as adopted."""
        raise NotImplementedError

    def find_enrollment(self, account_id: str, course_code: str) -> Seat | None:
        """Return the account's seat in the course, None where there is none.

        Partners without `ACCOUNTS` get the student's reference as the account's id, here and below.
        """
        raise NotImplementedError

    def enroll_in_course(
        self, account_id: str, course_code: str, *, student: Student, reference: str, key: str
    ) -> Seat:
        """Take a seat; where the account has one already, return that one as adopted."""
        raise NotImplementedError

    def unenroll(self, external_enrollment_id: str) -> None:
        """Give the seat back. A seat that is gone already is no error."""
        raise NotImplementedError

    def suspend(self, external_enrollment_id: str, *, suspended: bool) -> None:
        """Lock the seat, or open it again."""
        raise NotImplementedError

    def get_progress(self, external_enrollment_id: str) -> Progress:
        """Return the progress of one seat."""
        raise NotImplementedError

    def progress_page(self, since: str | None, limit: int) -> ProgressPage:
        """Return a page of what changed since a cursor; `since=None` starts at the beginning."""
        raise NotImplementedError

    def get_certificate(self, external_enrollment_id: str) -> Certificate | None:
        """Return the certificate, None while there is none."""
        raise NotImplementedError

    def launch(self, external_enrollment_id: str, click: Click) -> Launch:
        """Mint a launch for one click. With `JIT_ON_LAUNCH` the seat's id is our own reference."""
        raise NotImplementedError

    def erase_account(self, account_id: str) -> None:
        """Have the partner delete the account and what it holds of the person. One that is gone already is no error.

        Whether it is gone is looked up afterwards by `find_account`.
        """
        raise NotImplementedError

    def parse_webhook(self, headers: Mapping[str, str], body: bytes) -> list[str]:
        """Verify an event that the partner sent and return the ids of the seats that it is about.

        Raises `Refused` where it is not the partner's. It is a hint: what it says is read again. `headers` finds names
        in any case. Nothing is called from here, and the body is not kept from repeating: the same may come twice.
        """
        raise NotImplementedError

    def check(self) -> None:
        """Return when the credentials work; raise `CredentialsWrong` or `RetryLater` otherwise."""
        raise NotImplementedError


def iter_progress(
    partner: Partner, since: str | None, limit: int
) -> Iterator[tuple[str | None, ProgressPage]]:
    """Yield (the cursor that was asked for, the page) until the partner has no more."""
    cursor = since
    while True:
        page = partner.progress_page(cursor, limit)
        yield cursor, page
        if page.next_cursor is None or page.next_cursor == cursor:
            return
        cursor = page.next_cursor
