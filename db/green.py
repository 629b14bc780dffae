"""Waiting where one thread serves many callers: what waits has to let the others go on.

`attach` is called where that is so, by `api.server`; in every other process nothing here changes anything.
"""

from __future__ import annotations

from collections.abc import Callable
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


def run_apart(function: Callable[Given, Result], *values: Given.args, **named: Given.kwargs) -> Result:
    """Return what the function returns, in a thread of its own where it would hold up everybody: it waits outside Python."""
    if _apart is None:
        return function(*values, **named)
    result: Result = _apart(lambda: function(*values, **named))
    return result
