"""Asks a declarative partner: sends operations, reads all their pages, finds the one item that is ours."""

from __future__ import annotations

import re
import secrets as random
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

from partners.connection import Connection
from partners.errors import Ambiguous, Conflict, CredentialsWrong, NotFound, Refused
from partners.http import Answer
from partners.rest.answers import Unreadable, read_id
from partners.rest.auth import Auth, fixed_headers
from partners.rest.operations import Operation, Request
from partners.rest.templates import Values

T = TypeVar("T")
MAX_PAGES = 20
LOOKUPS = frozenset({"find_account", "confirm_account", "find_enrollment"})
CREATES = frozenset({"create_account", "enroll"})
_LINK = re.compile(r'<([^<>]*)>\s*;[^,<]*\brel="?next"?', re.IGNORECASE)


class Engine:
    """The operations of one partner, with its door and our credentials. Threads share it."""

    def __init__(self, connection: Connection, options: Mapping[str, Any]) -> None:
        """Call nobody yet; raise `CredentialsWrong` for what is missing, `ValueError` for what cannot be sent."""
        self._url = connection.url()
        self.operations = {
            name: Operation(name, options, spec) for name, spec in options["operations"].items()
        }
        headers = {**options.get("headers", {}), **fixed_headers(options["auth"], connection)}
        if wrong := [
            name for name, value in headers.items() if not (value.isascii() and value.isprintable())
        ]:
            raise ValueError(f"the header {wrong[0]} cannot carry its value")
        self._door = connection.door(
            headers=headers,
            secrets=tuple(connection.secrets.values()),
        )
        self._auth = Auth(options["auth"], connection, self._door)

    def call(self, name: str, values: Values, more: Mapping[str, Any] | None = None) -> Answer:
        """Do an operation and return its answer, which is what was asked for. Only creates raise `Conflict`.

        `more` goes into the query.
        """
        operation = self.operations[name]
        request = Request(operation, {**values, **_always()})
        query = {**request.query, **(more or {})}
        for last in (False, True):
            headers = self._auth.headers()
            try:
                return self._send(operation, request, query, headers)
            except Conflict as error:
                if name in CREATES:
                    raise
                raise Refused(str(error), status=error.status) from None
            except CredentialsWrong:
                # A token may end before its time; nothing was done, so another one is tried once.
                if last or not self._auth.forget(headers):
                    raise
        raise AssertionError

    def _send(
        self, operation: Operation, request: Request, query: dict[str, Any], headers: dict[str, str]
    ) -> Answer:
        added = self._auth.fields()
        json, form = request.json, request.form
        if added and isinstance(json, dict):
            json = {**json, **added}
        elif added and form is not None:
            form = {**form, **added}
        elif added:
            query = {**query, **added}

        def judge(answer: Answer) -> None:
            operation.judge(
                answer, lambda: self._door.error_of(operation.call, answer, idempotent=operation.idempotent)
            )

        return self._door.call(
            operation.method,
            request.path,
            path_args=request.path_args or None,
            params=query,
            json=json,
            form=form,
            headers={**request.headers, **headers},
            idempotent=operation.idempotent,
            accept=operation.accept,
            judge=judge,
        )

    def one(self, name: str, values: Values) -> Any:
        """Return the one item that is ours, None without one; raise `Ambiguous` for two."""
        operation = self.operations[name]
        try:
            items = [item for page in self.pages(name, values) for item in operation.list_of(page)]
        except NotFound:
            if name in LOOKUPS:
                return None
            raise
        if any(not isinstance(item, dict) for item in items):
            raise operation.unclear("answered something that is no object")
        found = list(operation.ours(items, values))
        if len(found) > 1:
            raise Ambiguous(f"{operation.call}: {len(found)} matches for one reference")
        return found[0] if found else None

    def pages(self, name: str, values: Values) -> Iterator[Answer]:
        """Yield the answers of all pages; raise `Refused` for more than the configuration allows."""
        operation = self.operations[name]
        if operation.paging is None:
            yield self.call(name, values)
            return
        paging, more = operation.paging, _first_page(operation.paging)
        for _ in range(paging.get("max_pages", MAX_PAGES)):
            answer = self.call(name, values, more)
            yield answer
            following = self._following(operation, answer, more)
            if following is None:
                return
            more = following
        raise Refused(f"{operation.call}: answered more than {paging.get('max_pages', MAX_PAGES)} pages")

    def _following(
        self, operation: Operation, answer: Answer, more: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """Return the query of the next page, None after the last one."""
        paging = operation.paging or {}
        if paging["kind"] == "link":
            return self._linked(operation, answer)
        if paging["kind"] == "cursor":
            cursor = self.next_cursor(operation, answer)
            return None if cursor is None else {**more, paging["param"]: cursor}
        is_last = len(operation.list_of(answer)) < paging["size"]
        if self.next_cursor(operation, answer) is None if operation.next else is_last:
            return None
        step = paging["size"] if paging["kind"] == "offset" else 1
        return {**more, paging["param"]: more[paging["param"]] + step}

    def _linked(self, operation: Operation, answer: Answer) -> dict[str, Any] | None:
        """Return the query of the Link header's next page: of the same address, and nothing else of it is believed."""
        found = _LINK.search(answer.headers.get("Link") or "")
        if found is None:
            return None
        parts = urlsplit(found[1])
        if parts.netloc and parts.netloc != urlsplit(self._url).netloc:
            raise Refused(f"{operation.call}: its next page is at another host")
        return dict(parse_qsl(parts.query))

    def next_cursor(self, operation: Operation, answer: Answer) -> str | None:
        """Return the cursor of the next page, None after the last one."""
        following = operation.next
        if following is None:
            return None
        found = self.read(operation, lambda: following.find(answer.json))
        if found is None or found in ("", False):
            return None
        return self.read(operation, lambda: read_id(found))

    def read(self, operation: Operation, read: Callable[[], T]) -> T:
        """Return what `read` gives; what it cannot read becomes the error that the pipeline knows."""
        try:
            return read()
        except Unreadable as error:
            raise operation.unclear(str(error)) from None


def _always() -> dict[str, Any]:
    return {
        "now": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        # For vendors that insist on a password: nobody knows it, our launch needs none.
        "random": f"{random.token_urlsafe(24)}aA1!",
    }


def _first_page(paging: Mapping[str, Any]) -> dict[str, Any]:
    size = {paging["size_param"]: paging["size"]} if "size" in paging and "size_param" in paging else {}
    if paging["kind"] == "page":
        return {paging["param"]: paging.get("first", 1), **size}
    return {paging["param"]: 0, **size} if paging["kind"] == "offset" else size
