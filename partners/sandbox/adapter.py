"""Speaks the sandbox partner's protocol, which a partner without an API of its own can implement as well."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from partners.addresses import OPEN, AddressRules
from partners.answers import ID_LENGTH, is_web_address, read_id, read_time, read_time_or_none
from partners.base import (
    Account,
    Capability,
    Certificate,
    Click,
    Partner,
    Progress,
    ProgressPage,
    Redirect,
    Seat,
    Student,
)
from partners.connection import Connection
from partners.errors import Ambiguous, Conflict, NotFound, OutcomeUnknown, Refused, RetryLater
from partners.hooks import CallRecord
from partners.http import HttpDoor
from partners.sandbox import signature

GONE = frozenset({"cancelled", "canceled", "deleted", "revoked"})
# Seats that one event may name.
EVENT_SEATS_MAX = 1000


class SandboxPartner(Partner):
    """A partner that speaks the sandbox protocol at `base_url`."""

    capabilities = frozenset(
        {
            Capability.ACCOUNTS,
            Capability.ENROLL,
            Capability.UNENROLL,
            Capability.PROGRESS,
            Capability.BULK_PROGRESS,
            Capability.CERTIFICATE,
            Capability.SSO,
            Capability.ERASE,
            Capability.REFUSES_TWICE,
        }
    )

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        connect_timeout: float,
        timeout: float,
        provider_type: str = "sandbox",
        webhook_secret: str | None = None,
        rules: AddressRules = OPEN,
        on_call: Callable[[CallRecord], None] | None = None,
    ) -> None:
        """Call nobody yet. Times are in seconds; `timeout` is for one whole call.

        With `webhook_secret` (several, separated by commas, while one is rotated) events of the partner are taken.
        """
        self.provider_type = provider_type
        self._webhook_secrets = [word for part in (webhook_secret or "").split(",") if (word := part.strip())]
        if self._webhook_secrets:
            self.capabilities = type(self).capabilities | {Capability.WEBHOOK_IN}
        self._door = HttpDoor(
            provider_type,
            base_url,
            connect_timeout=connect_timeout,
            timeout=timeout,
            headers={"Authorization": f"Bearer {api_key}"},
            secrets=self._webhook_secrets,
            rules=rules,
            on_call=on_call,
        )

    @classmethod
    def from_connection(cls, connection: Connection) -> SandboxPartner:
        """Return the adapter of a connection; raise `CredentialsWrong` for what it lacks."""
        return cls(
            connection.url(),
            connection.secret("api_key"),
            connect_timeout=connection.connect_timeout,
            timeout=connection.timeout,
            provider_type=connection.provider_type,
            webhook_secret=connection.secrets.get("webhook_secret"),
            rules=connection.rules,
            on_call=connection.on_call,
        )

    def find_account(self, student: Student) -> Account | None:
        """Return the account whose reference is exactly the student's."""
        params = {"reference": student.reference}
        found = self._list("/accounts", params)
        # A partner that searches loosely, or ignores what it does not know, must not give us a stranger's account.
        if not all(isinstance(item.get("reference"), str) for item in found):
            raise RetryLater("GET /accounts: answered an account without a reference")
        id = _only_id("GET /accounts", [item for item in found if item["reference"] == student.reference])
        return None if id is None else Account(id)

    def create_account(self, student: Student, *, key: str) -> Account:
        """Make the account, or adopt the one that is there."""
        body = {"reference": student.reference, "email": student.email, "name": student.name}
        try:
            return Account(self._create("/accounts", body, key))
        except Conflict:
            if (account := self.find_account(student)) is None:
                raise OutcomeUnknown("POST /accounts: exists, and yet is not found", status=409) from None
            return Account(account.id, adopted=True)

    def find_enrollment(self, account_id: str, course_code: str) -> Seat | None:
        """Return the account's live seat in the course."""
        found = self._list("/enrollments", {"account_id": account_id, "course_code": course_code})
        id = _only_id("GET /enrollments", found)
        return None if id is None else Seat(id)

    def enroll_in_course(
        self, account_id: str, course_code: str, *, student: Student, reference: str, key: str
    ) -> Seat:
        """Take a seat, or adopt the one that is there."""
        body = {"account_id": account_id, "course_code": course_code, "reference": reference}
        try:
            return Seat(self._create("/enrollments", body, key))
        except Conflict:
            if (seat := self.find_enrollment(account_id, course_code)) is None:
                raise OutcomeUnknown("POST /enrollments: exists, and yet is not found", status=409) from None
            return Seat(seat.id, adopted=True)

    def unenroll(self, external_enrollment_id: str) -> None:
        """Give the seat back; one that is not there is given back already."""
        self._door.call(
            "DELETE",
            "/enrollments/{id}",
            path_args={"id": external_enrollment_id},
            idempotent=True,
            accept={404},
        )

    def get_progress(self, external_enrollment_id: str) -> Progress:
        """Return the progress of one seat."""
        call = "/enrollments/{id}/progress"
        answer = self._door.call("GET", call, path_args={"id": external_enrollment_id}, idempotent=True)
        try:
            return read_progress(answer.json, external_enrollment_id)
        except ValueError as error:
            raise RetryLater(f"GET {call}: {error}", status=answer.status) from None

    def progress_page(self, since: str | None, limit: int) -> ProgressPage:
        """Return what changed since a cursor; raise `NotFound` where the partner has no such call."""
        params = {"limit": limit} | ({"since": since} if since else {})
        answer = self._door.call("GET", "/progress", params=params, idempotent=True, accept={405, 501})
        if answer.status in (405, 501):
            raise NotFound("GET /progress: the partner has no such call", status=answer.status)
        items, rejected = [], []
        for item in _items("GET /progress", answer.json):
            id = item.get("enrollment_id") if isinstance(item, dict) else None
            try:
                items.append(read_progress(item, id))
            except ValueError as error:
                rejected.append((str(id)[:ID_LENGTH] if isinstance(id, str | int) else "?", str(error)))
        cursor = answer.json.get("next_cursor")
        if cursor is not None and not (isinstance(cursor, str) and cursor):
            raise RetryLater("GET /progress: answered a cursor that is none", status=answer.status)
        return ProgressPage(items, cursor, rejected)

    def get_certificate(self, external_enrollment_id: str) -> Certificate | None:
        """Return the certificate, None while there is none."""
        call = "/enrollments/{id}/certificate"
        answer = self._door.call(
            "GET", call, path_args={"id": external_enrollment_id}, idempotent=True, accept={404}
        )
        if answer.status == 404:
            return None
        try:
            return _read_certificate(answer.json)
        except ValueError as error:
            raise RetryLater(f"GET {call}: {error}", status=answer.status) from None

    def erase_account(self, account_id: str) -> None:
        """Have the account and its person forgotten; partners that speak an older protocol have no such call."""
        self._door.call(
            "DELETE",
            "/accounts/{id}",
            path_args={"id": account_id},
            idempotent=True,
            accept={404, 405, 501},
        )

    def launch(self, external_enrollment_id: str, click: Click) -> Redirect:
        """Mint a launch for one click."""
        call = "/enrollments/{id}/launch"
        answer = self._door.call(
            "POST",
            call,
            path_args={"id": external_enrollment_id},
            json={"return_url": click.return_url},
            headers={"Idempotency-Key": click.key},
            idempotent=False,
        )
        url = answer.json.get("url") if isinstance(answer.json, dict) else None
        if not is_web_address(url):
            raise Refused(f"POST {call}: answered something that is no web address", status=answer.status)
        return Redirect(url, read_time_or_none(answer.json.get("expires_at")))

    def parse_webhook(self, headers: Mapping[str, str], body: bytes) -> list[str]:
        """Return the ids of the seats that a signed event names; raise `Refused` where it is not the partner's."""
        try:
            signature.verify(headers.get(signature.HEADER), body, self._webhook_secrets, time.time())
            return _read_seats(body)
        except ValueError as error:
            raise Refused(f"an event of the partner: {error}") from None

    def check(self) -> None:
        """Ask for an account that nobody has."""
        self._list("/accounts", {"reference": "usher-check"})

    def _create(self, path: str, body: dict[str, str], key: str) -> str:
        answer = self._door.call("POST", path, json=body, headers={"Idempotency-Key": key}, idempotent=False)
        try:
            return read_id(answer.json.get("id") if isinstance(answer.json, dict) else None)
        except ValueError as error:
            raise OutcomeUnknown(f"POST {path}: {error}", status=answer.status) from None

    def _list(self, path: str, params: dict[str, str]) -> list[dict[str, Any]]:
        answer = self._door.call("GET", path, params=params, idempotent=True)
        found = _items(f"GET {path}", answer.json)
        if not all(isinstance(item, dict) for item in found):
            raise RetryLater(f"GET {path}: answered a list of something else", status=answer.status)
        return found


def read_progress(item: Any, id: Any) -> Progress:
    """Return the progress that an item tells of a seat; raise `ValueError` with the reason to disbelieve it."""
    if not isinstance(item, dict):
        raise ValueError("not an object")
    if item.get("status") not in ("active", "completed"):
        raise ValueError("status is neither active nor completed")
    updated_at, completed_at = read_time(item.get("updated_at")), read_time(item.get("completed_at"))
    percentage = _percentage(item.get("percentage"))
    return Progress(read_id(id), percentage, item["status"] == "completed", updated_at, completed_at)


def _items(call: str, body: Any) -> list[Any]:
    data = body.get("data") if isinstance(body, dict) else None
    if not isinstance(data, list):
        raise RetryLater(f"{call}: answered no list")
    return data


def _only_id(call: str, found: list[dict[str, Any]]) -> str | None:
    """Return the id of the one match that is not given up, None without one; raise `Ambiguous` for two."""
    live = [item for item in found if str(item.get("status")).lower() not in GONE]
    if len(live) > 1:
        raise Ambiguous(f"{call}: {len(live)} matches for one reference")
    try:
        return read_id(live[0].get("id")) if live else None
    except ValueError as error:
        raise RetryLater(f"{call}: {error}") from None


def _percentage(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("percentage is not a number")
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise ValueError("percentage is not a number") from None
    if not number.is_finite() or not 0 <= number <= 100:
        raise ValueError("percentage is not from 0 to 100")
    return number


def _read_seats(body: bytes) -> list[str]:
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("not JSON") from None
    seats = event.get("enrollment_ids") if isinstance(event, dict) else None
    if not isinstance(seats, list) or len(seats) > EVENT_SEATS_MAX:
        raise ValueError(f"enrollment_ids is no list of up to {EVENT_SEATS_MAX} ids")
    return list(dict.fromkeys(map(read_id, seats)))


def _read_certificate(item: Any) -> Certificate:
    if not isinstance(item, dict):
        raise ValueError("not an object")
    url, verification_url = (
        address if is_web_address(address := item.get(name)) else None for name in ("url", "verification_url")
    )
    number = read_id(item.get("number"))
    issued_at, expires_at = (
        read_time_or_none(item.get("issued_at")),
        read_time_or_none(item.get("expires_at")),
    )
    return Certificate(number, url, verification_url, issued_at, expires_at, item)
