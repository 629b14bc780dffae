"""The adapter whose partner is described by its configuration (docs/declarative-partners.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from partners.answers import is_web_address
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
from partners.errors import (
    Ambiguous,
    Conflict,
    CredentialsWrong,
    NotFound,
    OutcomeUnknown,
    Refused,
)
from partners.rest.answers import (
    Unreadable,
    read_certificate,
    read_id,
    read_progress,
    read_time,
)
from partners.rest.auth import secrets_of, sign
from partners.rest.engine import Engine
from partners.rest.operations import LookUp, Operation
from partners.rest.templates import Template, Values, as_text, compile_tree, fill_tree
from partners.rest.webhook import Webhook

# Which operations give which capability.
_CAPABILITIES = {
    "create_account": Capability.ACCOUNTS,
    "enroll": Capability.ENROLL,
    "unenroll": Capability.UNENROLL,
    "suspend": Capability.SUSPEND,
    "progress": Capability.PROGRESS,
    "progress_list": Capability.BULK_PROGRESS,
    "certificate": Capability.CERTIFICATE,
    "launch": Capability.SSO,
}


class RestPartner(Partner):
    """A partner that speaks as its configuration says; it can do what operations are configured for."""

    def __init__(self, connection: Connection) -> None:
        """Call nobody yet; raise `CredentialsWrong` for options that are wrong, or what is missing."""
        options = connection.checked_options("rest")
        self.provider_type = connection.provider_type
        self._connection, self._secrets = connection, secrets_of(connection)
        self._pairs = options.get("seats") == "pair"
        self._times: str = options.get("times", "iso")
        self._jwt: Mapping[str, Any] | None = options.get("launch_jwt")
        self._webhook = Webhook(options["webhook"], self._secrets) if "webhook" in options else None
        try:
            self._engine = Engine(connection, options)
            if self._jwt is not None:
                connection.rules.check_url(self._jwt["url"])
        except (ValueError, UnicodeError) as error:
            raise CredentialsWrong(f"the partner {self.provider_type}: {error}") from None
        self.capabilities = self._list_capabilities()

    @classmethod
    def from_connection(cls, connection: Connection) -> RestPartner:
        """Return the adapter of a connection; raise `CredentialsWrong` for what it lacks."""
        return cls(connection)

    # The interface

    def find_account(self, student: Student) -> Account | None:
        """Return the account whose reference is exactly the student's."""
        values = _student(student)
        id = self._find("find_account", values)
        if id is None:
            return None
        is_open = "confirm_account" in self._engine.operations
        if is_open and self._engine.one("confirm_account", {**values, "account_id": id}) is None:
            raise Ambiguous(f"account {id} was found, and does not show our reference")
        return Account(id)

    def create_account(self, student: Student, *, key: str) -> Account:
        """Make the account, or adopt the one that is there."""

        def found() -> str | None:
            account = self.find_account(student)
            return None if account is None else account.id

        return Account(*self._create("create_account", {**_student(student), "key": key}, found))

    def find_enrollment(self, account_id: str, course_code: str) -> Seat | None:
        """Return the account's live seat in the course."""
        id = self._find_seat(account_id, course_code)
        return None if id is None else Seat(id)

    def enroll_in_course(
        self, account_id: str, course_code: str, *, student: Student, reference: str, key: str
    ) -> Seat:
        """Take a seat, or adopt the one that is there."""
        values = {
            **_student(student),
            "account_id": account_id,
            "course_code": course_code,
            "reference": reference,
            "key": key,
        }
        return Seat(*self._create("enroll", values, lambda: self._find_seat(account_id, course_code)))

    def unenroll(self, external_enrollment_id: str) -> None:
        """Give the seat back; one that is not there is given back already."""
        try:
            self._engine.call("unenroll", self._seat(external_enrollment_id))
        except NotFound:
            return

    def suspend(self, external_enrollment_id: str, *, suspended: bool) -> None:
        """Lock the seat, or open it again."""
        self._engine.call("suspend" if suspended else "resume", self._seat(external_enrollment_id))

    def get_progress(self, external_enrollment_id: str) -> Progress:
        """Return the progress of one seat."""
        operation = self._engine.operations["progress"]
        item = self._engine.one("progress", self._seat(external_enrollment_id))
        if item is None:
            raise NotFound(f"{operation.call}: does not tell of this seat")
        return self._engine.read(operation, lambda: self._progress(operation, item, external_enrollment_id))

    def progress_page(self, since: str | None, limit: int) -> ProgressPage:
        """Return what changed since a cursor."""
        operation = self._engine.operations["progress_list"]
        paging = operation.paging or {}
        values = {"limit": min(limit, paging.get("size", limit))}
        answer = self._engine.call("progress_list", values, {} if since is None else {paging["param"]: since})
        items, rejected = [], []
        for item in operation.list_of(answer):
            id = "?"
            try:
                id = read_id(operation.result["id"].find(item))
                items.append(self._progress(operation, item, id))
            except Unreadable as error:
                rejected.append((id, str(error)))
        return ProgressPage(items, self._engine.next_cursor(operation, answer), rejected)

    def get_certificate(self, external_enrollment_id: str) -> Certificate | None:
        """Return the certificate, None while there is none."""
        operation = self._engine.operations["certificate"]
        try:
            item = self._engine.one("certificate", self._seat(external_enrollment_id))
        except NotFound:
            return None
        if item is None:
            return None
        return self._engine.read(
            operation, lambda: read_certificate(item, operation.result, times=self._times)
        )

    def launch(self, external_enrollment_id: str, click: Click) -> Redirect:
        """Mint a launch for one click."""
        values = {
            **_student(click.student),
            **self._seat(external_enrollment_id),
            "course_code": click.course_code,
            "return_url": click.return_url,
            "key": click.key,
        }
        if self._jwt is not None:
            return self._sign_launch(self._jwt, values)
        operation = self._engine.operations["launch"]
        answer = self._engine.call("launch", values)
        found = self._engine.read(
            operation, lambda: {name: item.find(answer.json) for name, item in operation.result.items()}
        )
        if not is_web_address(found["url"]) or self._tells_secret(found["url"]):
            raise Refused(f"{operation.call}: answered no address to send somebody to", status=answer.status)
        return Redirect(
            found["url"],
            self._engine.read(operation, lambda: read_time(found.get("expires_at"), self._times)),
        )

    def parse_webhook(self, headers: Mapping[str, str], body: bytes) -> list[str]:
        """Verify an event and return the seats that it is about; raise `Refused` where it is not the partner's."""
        if self._webhook is None:
            raise Refused(f"the partner {self.provider_type} sends no events")
        return self._webhook.read(headers, body)

    def check(self) -> None:
        """Ask what is harmless, and works with the right credentials only."""
        self._engine.call("check", {})

    # How it is done

    def _list_capabilities(self) -> frozenset[Capability]:
        found = {_CAPABILITIES[name] for name in self._engine.operations if name in _CAPABILITIES}
        if self._jwt is not None:
            found.add(Capability.SSO)
        if self._webhook is not None:
            found.add(Capability.WEBHOOK_IN)
        if Capability.SSO in found and Capability.ENROLL not in found:
            found.add(Capability.JIT_ON_LAUNCH)
        return frozenset(found)

    def _create(self, name: str, values: Values, find: Callable[[], str | None]) -> tuple[str, bool]:
        """Return the id of what was made, and whether it was there already."""
        operation = self._engine.operations[name]
        try:
            answer = self._engine.call(name, values)
        except Conflict as error:
            if (id := find()) is not None:
                return id, True
            if isinstance(error, LookUp):
                raise error.refusal from None
            raise OutcomeUnknown(
                f"{operation.call}: exists, and yet is not found", status=error.status
            ) from None
        if name == "enroll" and self._pairs:
            return _pair(values["account_id"], values["course_code"]), False
        if "id" in operation.result:
            return self._engine.read(
                operation, lambda: read_id(operation.result["id"].find(answer.json))
            ), False
        if (id := find()) is None:
            raise OutcomeUnknown(f"{operation.call}: was done, and yet is not found", status=answer.status)
        return id, False

    def _find(self, name: str, values: Values) -> str | None:
        operation = self._engine.operations[name]
        item = self._engine.one(name, values)
        if item is None:
            return None
        try:
            return read_id(operation.result["id"].find(item))
        except Unreadable as error:
            raise Refused(f"{operation.call}: {error}") from None

    def _find_seat(self, account_id: str, course_code: str) -> str | None:
        values = {"account_id": account_id, "course_code": course_code}
        if not self._pairs:
            return self._find("find_enrollment", values)
        found = self._engine.one("find_enrollment", values)
        return None if found is None else _pair(account_id, course_code)

    def _progress(self, operation: Operation, item: Any, id: str) -> Progress:
        return read_progress(item, id, operation.result, full=operation.full, times=self._times)

    def _seat(self, id: str) -> dict[str, str]:
        if not self._pairs:
            return {"seat_id": id}
        account_id, _, course_code = id.partition(":")
        if not account_id or not course_code:
            raise NotFound("the seat's id is not of the form ACCOUNT:COURSE")
        return {"seat_id": id, "account_id": account_id, "course_code": course_code}

    def _sign_launch(self, spec: Mapping[str, Any], values: Values) -> Redirect:
        claims = fill_tree(compile_tree(spec["claims"]), values)
        lifetime: int | None = spec.get("lifetime")
        token = sign(claims, Template(spec["key"]).text(self._secrets), lifetime)
        query = {
            name: as_text(item)
            for name, item in fill_tree(compile_tree(spec.get("query", {})), values).items()
        }
        expires_at = None if lifetime is None else datetime.now(UTC) + timedelta(seconds=lifetime)
        return Redirect(f"{spec['url']}?{urlencode({spec['param']: token, **query})}", expires_at)

    def _tells_secret(self, url: str) -> bool:
        return any(len(secret) >= 6 and secret in url for secret in self._connection.secrets.values())


def _student(student: Student) -> dict[str, str]:
    first, _, last = student.name.strip().rpartition(" ")
    return {
        "student.reference": student.reference,
        "student.email": student.email,
        "student.name": student.name,
        "student.first_name": first or last,
        "student.last_name": last,
    }


def _pair(account_id: str, course_code: str) -> str:
    if not account_id or ":" in account_id or not course_code:
        raise Refused(
            "account and course cannot stand for a seat: an account's id here has a colon or is empty"
        )
    return f"{account_id}:{course_code}"
