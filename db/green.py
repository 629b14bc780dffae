"""Waiting where one thread serves many callers: what waits has to let the others go on.

`attach` is called where that is so, by `api.server`; in every other process nothing here changes anything.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ParamSpec, Protocol, TypeVar

import psycopg2
from psycopg2 import extensions
from psycopg2.extensions import connection

# Seconds for each answer while a connection is made. libpq's own limit does not hold where it does not wait itself.
CONNECT_TIMEOUT = 3.0
CONNECTED = (extensions.STATUS_READY, extensions.STATUS_BEGIN, extensions.STATUS_PREPARED)

Given = ParamSpec("Given")
Result = TypeVar("Result")


class Wait(Protocol):
    """Waits until a file can be read or written; raises `TimeoutError` after this many seconds."""

    def __call__(self, file: int, timeout: float | None) -> None:
        """Wait."""


_apart: Callable[..., Any] | None = None


def attach(wait_read: Wait, wait_write: Wait, apart: Callable[..., Any]) -> None:
    """Have psycopg2 wait by these, and `run_apart` run things by `apart`."""
    global _apart
    _apart = apart
    waits = {extensions.POLL_READ: wait_read, extensions.POLL_WRITE: wait_write}

    def wait(connection: connection) -> None:
        while (state := connection.poll()) != extensions.POLL_OK:
            limit = None if connection.status in CONNECTED else CONNECT_TIMEOUT
            try:
                waits[state](connection.fileno(), limit)
            except TimeoutError:
                raise psycopg2.OperationalError("timeout expired while connecting") from None

    extensions.set_wait_callback(wait)


def connect(values: Mapping[str, Any]) -> connection | None:
    """Return a connection to the first host and address that answers; None where libpq waits itself and does all that.

    libpq would look names up without letting others go on, and does not go on to the next address after a time-out.
    """
    if _apart is None:
        return None
    failed: Exception | None = None
    for own in _addresses(values):
        try:
            made: connection = psycopg2.connect(**own)
            return made
        except psycopg2.OperationalError as error:
            failed = error
    raise failed or psycopg2.OperationalError("the address names no host")


def _addresses(values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Return what to connect to, one address after the other. Names are looked up only when it is their turn."""
    hosts = str(values.get("host") or "").split(",")
    ports = str(values.get("port") or "").split(",")
    for place, host in enumerate(hosts):
        port = ports[place] if len(ports) > 1 else ports[0]
        own = {**values, "host": host, "port": port or None}
        if not host or host.startswith("/") or "hostaddr" in values:
            yield own
            continue
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except OSError:
            yield own  # libpq says what is wrong.
            continue
        for address in dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found):
            yield {**own, "hostaddr": address}


def run_apart(function: Callable[Given, Result], *values: Given.args, **named: Given.kwargs) -> Result:
    """Return what the function returns, in a thread of its own where it would hold up everybody: it waits outside Python."""
    if _apart is None:
        return function(*values, **named)

    # An error comes back as a value: one that is raised over there is printed there first.
    def attempt() -> tuple[Result] | Exception:
        try:
            return (function(*values, **named),)
        except Exception as error:  # noqa: BLE001 - raised below
            return error

    outcome = _apart(attempt)
    if isinstance(outcome, Exception):
        raise outcome
    result: Result = outcome[0]
    return result
