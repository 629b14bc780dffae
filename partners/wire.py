"""Carries one request and its answer over a kept-alive connection, within a deadline and a size.

urllib3 dials (name, address, TLS, certificate), the standard library reads the answer; between them stands a reader
that lets nothing through after the deadline, so a partner that trickles bytes is cut off, in its headers as well.
"""

from __future__ import annotations

import http.client
import io
import os
import socket
import ssl
import time
from email.message import Message
from typing import Any, NamedTuple, cast

import certifi
from tenacity import RetryCallState, retry, retry_if_exception_type, wait_random
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, NameResolutionError

from partners.addresses import OPEN, AddressRules

MAX_BODY = 2 * 1024 * 1024  # bytes
MAX_ANSWER = MAX_BODY + 64 * 1024  # bytes, with headers and framing
IDLE_KEPT = 64  # connections
# Servers close idle connections after five seconds and up; using one while it is being closed would leave a POST with
# an unknown outcome.
IDLE_SECONDS = 4.0
REDIAL_WAIT = 0.4  # seconds at most between two attempts to connect


class Unreachable(Exception):
    """No connection came about: nothing was sent. The message says why, without addresses."""


class Forbidden(Exception):
    """The connection led to where a partner must not be: nothing was sent."""


class Broken(Exception):
    """The request was sent, at least in part, and no whole answer came back. The message says why."""


class Stale(Broken):
    """A connection that had been idle was closed before the first byte of an answer."""


class Reply(NamedTuple):
    """A whole answer."""

    status: int
    headers: Message
    body: bytes


def _give_up(dial: RetryCallState) -> bool:
    """Return whether to stop dialling: after three attempts, after a second, or short of the call's deadline."""
    late = time.monotonic() + REDIAL_WAIT >= dial.args[1]
    return late or dial.attempt_number >= 3 or (dial.seconds_since_start or 0) >= 1


class Wire:
    """Connections to one host, shared by threads; each is used by one thread at a time."""

    def __init__(
        self, host: str, port: int, *, tls: bool, connect_timeout: float, rules: AddressRules = OPEN
    ) -> None:
        self._address, self._rules = (host, port), rules
        self._connect_timeout = connect_timeout
        # Made once: loading the certificates takes longer than a call.
        self._tls = _tls_context() if tls else None
        self._idle: list[tuple[HTTPConnection, float]] = []
        self._owner = os.getpid()

    def exchange(self, method: str, request: bytes, deadline: float, *, fresh: bool = False) -> Reply:
        """Send a request and return its answer before `deadline`, which is by the monotonic clock.

        Raises `Unreachable`, `Broken` or `Stale`; `fresh` insists on a new connection.
        """
        kept = None if fresh else self._take_idle()
        connection = kept or self._dial(deadline)
        reader = _Reader(connection.sock, deadline)
        try:
            reply, reusable = _converse(reader, method, request)
        except (OSError, http.client.HTTPException, ValueError) as error:
            connection.close()
            closed = isinstance(error, ConnectionError | ssl.SSLEOFError)
            raise (Stale if kept and closed and not reader.taken else Broken)(_reason(error)) from error
        except BaseException:
            # Whatever stopped us, a half-read connection must not serve the next call.
            connection.close()
            raise
        if reusable and len(self._idle) < IDLE_KEPT:
            self._idle.append((connection, time.monotonic()))
        else:
            connection.close()
        return reply

    def _take_idle(self) -> HTTPConnection | None:
        if self._owner != os.getpid():
            # A fork shares its parent's sockets: their answers would get crossed.
            self._idle, self._owner = [], os.getpid()
        while self._idle:
            try:
                connection, since = self._idle.pop()
            except IndexError:  # Another thread took the last one.
                return None
            if time.monotonic() - since < IDLE_SECONDS and connection.is_connected:
                return connection
            connection.close()
        return None

    @retry(
        retry=retry_if_exception_type(Unreachable),
        stop=_give_up,
        wait=wait_random(0.1, REDIAL_WAIT),
        reraise=True,
    )
    def _dial(self, deadline: float) -> HTTPConnection:
        left = min(self._connect_timeout, deadline - time.monotonic())
        if left <= 0:
            raise Unreachable("no connection in time")
        connection = self._new_connection(left)
        try:
            connection.connect()
        except (OSError, HTTPError) as error:
            connection.close()
            raise Unreachable(_reason(error)) from error
        if not self._rules.allows(connection.sock.getpeername()[0]):
            connection.close()
            raise Forbidden("its name leads to a private address; PARTNER_PRIVATE_ADDRESSES=true allows that")
        return connection

    def _new_connection(self, timeout: float) -> HTTPConnection:
        host, port = self._address
        if self._tls is None:
            return HTTPConnection(host, port, timeout=timeout)
        return HTTPSConnection(host, port, timeout=timeout, ssl_context=self._tls)


class _Reader(io.RawIOBase):
    """A socket's reading side that ends at the deadline or after too many bytes.

    `taken` counts the bytes; `ended` says that the partner closed its side.
    """

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock, self._deadline = sock, deadline
        self.taken = 0
        self.ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        _limit_wait(self._sock, self._deadline)
        count = self._sock.recv_into(buffer)
        self.taken += count
        self.ended = count == 0
        if self.taken > MAX_ANSWER:
            raise ValueError("too large")
        return count

    def makefile(self, mode: str) -> io.BufferedReader:
        """Stand in for the socket where the standard library makes its file of it."""
        return io.BufferedReader(self)

    def send(self, data: bytes) -> None:
        """Send everything before the deadline."""
        _limit_wait(self._sock, self._deadline)
        self._sock.sendall(data)


def _converse(reader: _Reader, method: str, request: bytes) -> tuple[Reply, bool]:
    """Return the answer, and whether the connection can be used again."""
    reader.send(request)
    response = http.client.HTTPResponse(cast(socket.socket, reader), method=method)
    response.begin()
    # The standard library takes the end of the connection for the end of the headers.
    if reader.ended:
        raise ValueError("cut short")
    if response.length is not None and response.length > MAX_BODY:
        raise ValueError("too large")
    body = response.read(MAX_BODY + 1)
    if response.length or len(body) > MAX_BODY:
        raise ValueError("cut short" if response.length else "too large")
    # After an interim answer (1xx) the real one is still to come: it must not become the next call's.
    reusable = response.status >= 200 and response.isclosed() and not response.will_close
    return Reply(response.status, response.headers, body), reusable


def _limit_wait(sock: socket.socket, deadline: float) -> None:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    sock.settimeout(left)


def _tls_context() -> ssl.SSLContext:
    # The system's certificates, which a company may have added to, and certifi's for images that have none.
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def _reason(error: Exception) -> str:
    """Return what went wrong in a few words, without addresses or content."""
    cause = error.__cause__ if isinstance(error, HTTPError) and error.__cause__ else error
    if isinstance(error, NameResolutionError):
        return "its name could not be resolved"
    if isinstance(cause, TimeoutError):
        return "no answer in time"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {cause.verify_message}"
    if isinstance(cause, ConnectionRefusedError):
        return "connection refused"
    if isinstance(cause, ConnectionError | ssl.SSLError | http.client.IncompleteRead):
        return "the connection was closed"
    if isinstance(cause, ValueError) and str(cause) in ("too large", "cut short"):
        return f"the answer is {cause}"
    return (
        "the answer is not HTTP"
        if isinstance(cause, http.client.HTTPException | ValueError)
        else "network error"
    )
