"""The sandbox partner's protocol, call by call. Knows the state and JSON, nothing of sockets or faults."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from partners.sandbox.state import Account, Enrollment, State, fingerprint

LAUNCH_SECONDS = 120
PAGE_DEFAULT, PAGE_MAX = 100, 1000

Json = dict[str, Any]


class Problem(Exception):
    """A call that is answered with an error: the status and a message for people."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


@dataclass(slots=True)
class Call:
    """One request, taken apart, and what became of it.

    `name` is the call as the protocol writes it, `base` the address it came to, `at` when it came (Unix seconds).
    `status` stays None while there is no answer, and for good where the connection was dropped.
    """

    name: str
    path: str
    id: str = ""
    body: Json = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None
    base: str = ""
    at: float = 0.0
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Ticket:
    """A minted launch."""

    enrollment: Enrollment
    return_url: str
    expires_at: float


class Protocol:
    """Answers calls. A handler returns (status, JSON body or None) or raises `Problem`."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.launches: dict[str, Ticket] = {}
        self.handlers: dict[str, Callable[[Call], tuple[int, Json | None]]] = {
            "POST /accounts": self.create_account,
            "GET /accounts": self.find_accounts,
            "DELETE /accounts/{id}": self.forget_account,
            "POST /enrollments": self.enroll,
            "GET /enrollments": self.find_enrollments,
            "DELETE /enrollments/{id}": self.unenroll,
            "GET /enrollments/{id}/progress": self.progress,
            "GET /progress": self.changes,
            "GET /enrollments/{id}/certificate": self.certificate,
            "POST /enrollments/{id}/launch": self.launch,
        }

    def name(self, method: str, parts: list[str]) -> str | None:
        """Return the call that a method and a split path mean, None where there is no such call."""
        if len(parts) > 1:
            parts = [parts[0], "{id}", *parts[2:]]
        name = f"{method} /{'/'.join(parts)}"
        return name if name in self.handlers else None

    def answer(self, call: Call) -> tuple[int, Json | None]:
        """Do the call, or repeat the first answer to its idempotency key. Only work that was done is remembered."""
        if call.key is None or not call.name.startswith("POST"):
            return self.handlers[call.name](call)
        digest = fingerprint(call.path, call.body)
        try:
            kept = self.state.answer_for(call.key, digest)
        except ValueError as error:
            raise Problem(422, str(error)) from None
        if kept is not None:
            return 201, kept
        status, answer = self.handlers[call.name](call)
        self.state.keep_answer(call.key, digest, answer or {})
        return status, answer

    def create_account(self, call: Call) -> tuple[int, Json]:
        """Make an account; 409 if the reference exists."""
        reference, email = _text(call.body, "reference"), _text(call.body, "email")
        name = call.body.get("name")
        if not isinstance(name, str):
            raise Problem(422, "name is missing")
        if "@" not in email:
            raise Problem(422, "email is not an e-mail address")
        if reference in self.state.accounts_by_reference:
            raise Problem(409, "reference exists")
        return 201, {"id": self.state.add_account(reference, email, name).id}

    def find_accounts(self, call: Call) -> tuple[int, Json]:
        """Find an account by the caller's reference."""
        account = self.state.accounts_by_reference.get(_text(call.query, "reference"))
        return 200, {"data": [] if account is None else [account_json(account)]}

    def forget_account(self, call: Call) -> tuple[int, None]:
        """Forget a person, and give back their seats; the second time as well."""
        account = self.state.accounts.get(call.id)
        if account is None:
            raise Problem(404, "unknown account")
        self.state.forget(account)
        return 204, None

    def enroll(self, call: Call) -> tuple[int, Json]:
        """Take a seat; 409 if the pair exists. Course codes that start with REFUSE are refused, to try that out."""
        account = self.state.accounts.get(_text(call.body, "account_id"))
        course_code, reference = _text(call.body, "course_code"), _text(call.body, "reference")
        if account is None:
            raise Problem(422, "unknown account")
        if course_code.startswith("REFUSE"):
            raise Problem(422, "this course cannot be booked")
        if account.seat_in(course_code) is not None:
            raise Problem(409, "pair exists")
        return 201, {"id": self.state.add_enrollment(account, course_code, reference, time.time()).id}

    def find_enrollments(self, call: Call) -> tuple[int, Json]:
        """Find an account's live seat in a course."""
        account = self.state.accounts.get(_text(call.query, "account_id"))
        seat = account.seat_in(_text(call.query, "course_code")) if account is not None else None
        return 200, {"data": [] if seat is None else [{"id": seat.id, "status": seat.status}]}

    def unenroll(self, call: Call) -> tuple[int, None]:
        """Give a seat back; the second time as well."""
        enrollment = self.state.enrollments.get(call.id)
        if enrollment is None:
            raise Problem(404, "unknown enrollment")
        self.state.delete(enrollment)
        return 204, None

    def progress(self, call: Call) -> tuple[int, Json]:
        """Tell how far one seat is."""
        return 200, progress_json(self._live(call.id))

    def changes(self, call: Call) -> tuple[int, Json]:
        """Tell what changed since a cursor. A seat stands where its latest change was, so at most once."""
        limit = call.query.get("limit", str(PAGE_DEFAULT))
        if not limit.isdecimal() or not 1 <= int(limit) <= PAGE_MAX:
            raise Problem(422, f"limit is a number from 1 to {PAGE_MAX}")
        try:
            page, cursor = self.state.changes_since(call.query.get("since"), int(limit))
        except ValueError as error:
            raise Problem(422, str(error)) from None
        data = [{"enrollment_id": item.id, **progress_json(item)} for item in page]
        return 200, {"data": data, "next_cursor": cursor}

    def certificate(self, call: Call) -> tuple[int, Json]:
        """Show the certificate; 404 until the course is completed."""
        enrollment = self._live(call.id)
        if enrollment.completed_at is None:
            raise Problem(404, "no certificate yet")
        number = f"SBX-{enrollment.id.removeprefix('enr_')}"
        return 200, {
            "number": number,
            "url": f"{call.base}/certificates/{number}",
            "verification_url": f"{call.base}/certificates/{number}",
            "issued_at": iso(enrollment.completed_at),
            "expires_at": None,
        }

    def launch(self, call: Call) -> tuple[int, Json]:
        """Mint a launch for one click. It works for two minutes."""
        enrollment = self._live(call.id)
        return_url = _text(call.body, "return_url")
        if not is_http(return_url):
            raise Problem(422, "return_url is not an http(s) address")
        now = time.time()
        self._forget_expired(now)
        token = secrets.token_urlsafe(24)
        self.launches[token] = ticket = Ticket(enrollment, return_url, now + LAUNCH_SECONDS)
        return 201, {"url": f"{call.base}/launch/{token}", "expires_at": iso(ticket.expires_at)}

    def _forget_expired(self, now: float) -> None:
        while self.launches and (first := next(iter(self.launches.items())))[1].expires_at <= now:
            del self.launches[first[0]]

    def _live(self, id: str) -> Enrollment:
        enrollment = self.state.enrollments.get(id)
        if enrollment is None or enrollment.deleted:
            raise Problem(404, "unknown enrollment")
        return enrollment


def account_json(account: Account) -> Json:
    """Return an account as the protocol shows it."""
    return {"id": account.id, "reference": account.reference, "email": account.email}


def progress_json(enrollment: Enrollment) -> Json:
    """Return a seat's progress as the protocol shows it."""
    completed_at = enrollment.completed_at
    return {
        "percentage": enrollment.percentage,
        "status": enrollment.status,
        "updated_at": iso(enrollment.updated_at),
        "completed_at": None if completed_at is None else iso(completed_at),
    }


def iso(at: float) -> str:
    """Return a Unix time as ISO 8601 in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def _text(source: Mapping[str, Any], name: str) -> str:
    value = source.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 2000:
        raise Problem(422, f"{name} is missing")
    return value


def is_http(url: str) -> bool:
    """Return whether this is an http(s) address."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)
