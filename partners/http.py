"""The one door to the outside: every call to a partner passes here.

It stands on urllib3's connections instead of on requests' session above them, because that session costs four times
the processor time of everything else in a call (0.55 ms against 0.13 ms, measured against the sandbox).

What a call can end in, by whether the caller said that it is idempotent (repeating it does no harm):

    what happened                                idempotent       otherwise
    no connection                                RetryLater       RetryLater
    no whole answer in time, garbage, redirect   RetryLater       OutcomeUnknown
    429                                          RateLimited      RateLimited
    408, 425, 503 with Retry-After               RetryLater       RetryLater
    any other 5xx                                RetryLater       OutcomeUnknown
    401, 403 / 404 / 409                         CredentialsWrong / NotFound / Conflict
    any other 4xx                                Refused          Refused
"""

from __future__ import annotations

import json as jsonlib
import re
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

import structlog

from partners.addresses import OPEN, AddressRules
from partners.errors import (
    Conflict,
    CredentialsWrong,
    NotFound,
    OutcomeUnknown,
    PartnerError,
    RateLimited,
    Refused,
    RetryLater,
    Throttled,
)
from partners.hooks import CallRecord, Exchange, current_recorder, pass_gate, tell_witness
from partners.redaction import redact
from partners.wire import Broken, Forbidden, Reply, Stale, Unreachable, Wire

MAX_PAUSE = 86_400.0  # seconds that a partner's Retry-After is believed
MESSAGE_LENGTH = 200  # characters of a partner's own words
TOKENS_KEPT = 8  # tokens that a door remembers to keep out of messages
SECRET_LENGTH = 6  # characters; taking out shorter words would tear messages apart

# What a log line says of a call, in the order of `CallRecord`.
LOGGED = ("partner", "method", "path_template", "status", "duration_ms", "outcome")
# The fields of requests and answers that an audit may keep: ids, states and figures, nothing of a person.
SAFE_FIELDS = frozenset(
    {
        "account_id",
        "completed_at",
        "course_code",
        "enrollment_id",
        "expires_at",
        "id",
        "limit",
        "next_cursor",
        "percentage",
        "reference",
        "since",
        "status",
        "updated_at",
    }
)

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_encode = jsonlib.JSONEncoder(separators=(",", ":")).encode
log = structlog.get_logger("partners.http")


class Answer(NamedTuple):
    """What a partner answered. `json` is None where the body is empty, or is none and the call accepts that."""

    status: int
    json: Any
    headers: Message
    body: bytes = b""


class HttpDoor:
    """The door to one partner. Threads may share it; it follows no redirects and reads nothing of the environment."""

    def __init__(
        self,
        partner: str,
        base_url: str,
        *,
        connect_timeout: float,
        timeout: float,
        headers: Mapping[str, str] | None = None,
        secrets: Collection[str] = (),
        rules: AddressRules = OPEN,
        on_call: Callable[[CallRecord], None] | None = None,
    ) -> None:
        """Open nothing yet. Times are in seconds: `timeout` is for one whole call, `connect_timeout` for an address.

        The values of `headers`, which go with every call, are taken for secrets, as are `secrets`; none of them is ever
        logged. `rules` say where the partner may be. `on_call` must not raise.
        """
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the partner's base address must be http(s)://host[:port][/path]")
        tls = parts.scheme == "https"
        port = parts.port or (443 if tls else 80)
        self._partner, self._timeout, self._on_call = partner, timeout, on_call
        self._prefix = parts.path.rstrip("/")
        self._wire = Wire(parts.hostname, port, tls=tls, connect_timeout=connect_timeout, rules=rules)
        given = dict(headers or {})
        host = parts.netloc.rpartition("@")[2]
        fixed = {
            "Host": host,
            "User-Agent": "usher",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        }
        self._head = _render_headers(fixed | given)
        words = [word for value in given.values() for word in (value, value.rpartition(" ")[2])] + [*secrets]
        # Names the credential without telling it: those who share it share its rate limit.
        named = "\n".join([base_url, self._head, *secrets])
        self._credential = sha256(named.encode()).hexdigest()[:24]
        self._secrets = [word for word in words if len(word) >= SECRET_LENGTH]
        self._tokens: deque[str] = deque(maxlen=TOKENS_KEPT)

    def call(
        self,
        method: str,
        path_template: str,
        *,
        path_args: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        form: Mapping[str, Any] | Sequence[tuple[str, Any]] | None = None,
        headers: Mapping[str, str] | None = None,
        idempotent: bool,
        accept: Collection[int] = (),
        judge: Callable[[Answer], None] | None = None,
        timeout: float | None = None,
    ) -> Answer:
        """Call the partner and return its 2xx answer, or one with a status in `accept` (`json` is then best effort).

        `form` is sent urlencoded, in place of `json`. `judge` sees such an answer first and raises the `PartnerError`
        that it means: for partners that answer errors with 200, or mean something else by a status.

        Raises a `PartnerError` otherwise, as the module's table says. A status is never retried here: the job does
        that, and counts it.
        """
        started = time.monotonic()
        status, outcome, told = None, "error", None
        try:
            pass_gate(self._partner, self._credential)
            started = time.monotonic()
            deadline = started + (timeout or self._timeout)
            request = self._render(method, path_template, path_args, params, json, form, headers)
            reply = self._send(f"{method} {path_template}", method, request, deadline, idempotent)
            status = reply.status
            if (record := current_recorder()) is not None:
                told_headers = dict(reply.headers.items())
                exchange = (method, path_template, path_args or {}, params or {}, json, form, status)
                record(Exchange(*exchange, told_headers, reply.body, [*self._secrets, *self._tokens]))
            answer = self._judge(f"{method} {path_template}", reply, idempotent, accept)
            if judge is not None:
                judge(answer)
            outcome = "ok"
            told = safe_fields(answer.json)
            return answer
        except PartnerError as error:
            outcome = error.code
            raise
        finally:
            took = round((time.monotonic() - started) * 1000, 1)
            asked = safe_fields(
                {**(params or {}), **(json if isinstance(json, dict) else {}), **(path_args or {})}
            )
            self._tell(CallRecord(self._partner, method, path_template, status, took, outcome, asked, told))

    def hide(self, token: str) -> None:
        """Keep a credential that was issued later, such as a token, out of logs and messages as well."""
        if len(token) >= SECRET_LENGTH and token not in self._tokens:
            self._tokens.append(token)

    def error_of(self, call: str, answer: Answer, *, idempotent: bool) -> PartnerError:
        """Return what the module's table makes of an answer, for a `judge` that has nothing else to say of it."""
        return self._error(call, Reply(answer.status, answer.headers, answer.body), idempotent)

    def _render(
        self,
        method: str,
        path_template: str,
        path_args: Mapping[str, str] | None,
        params: Mapping[str, Any] | None,
        json: Any,
        form: Mapping[str, Any] | Sequence[tuple[str, Any]] | None,
        headers: Mapping[str, str] | None,
    ) -> bytes:
        path = path_template.format_map(_quoted(path_args)) if path_args else path_template
        query = f"?{urlencode(params, doseq=True)}" if params else ""
        head = f"{method} {self._prefix}{path}{query} HTTP/1.1\r\n{self._head}"
        if headers:
            head += _render_headers(headers)
        body = b""
        if json is not None:
            body = _encode(json).encode()
            head += "Content-Type: application/json\r\n"
        elif form is not None:
            body = urlencode(form, doseq=True).encode()
            head += "Content-Type: application/x-www-form-urlencoded\r\n"
        if body or method in ("POST", "PUT", "PATCH"):
            head += f"Content-Length: {len(body)}\r\n"
        return f"{head}\r\n".encode("latin-1") + body

    def _send(self, call: str, method: str, request: bytes, deadline: float, idempotent: bool) -> Reply:
        try:
            try:
                return self._wire.exchange(method, request, deadline)
            except Stale:
                if not idempotent:
                    raise
                return self._wire.exchange(method, request, deadline, fresh=True)
        except Forbidden as error:
            raise CredentialsWrong(f"{call}: {error}") from error
        except Unreachable as error:
            raise RetryLater(f"{call}: the partner cannot be reached, {error}") from error
        except Broken as error:
            raise _unclear(idempotent, f"{call}: {error}", None) from error

    def _judge(self, call: str, reply: Reply, idempotent: bool, accept: Collection[int]) -> Answer:
        status, headers, body = reply
        if 200 <= status < 300 or status in accept:
            try:
                return Answer(status, jsonlib.loads(body) if body else None, headers, body)
            except (ValueError, RecursionError):
                if status in accept:
                    return Answer(status, None, headers, body)
                raise _unclear(idempotent, f"{call}: answered garbage ({status})", status) from None
        if status < 400:
            raise _unclear(idempotent, f"{call}: answered garbage ({status})", status)
        raise self._error(call, reply, idempotent)

    def _error(self, call: str, reply: Reply, idempotent: bool) -> PartnerError:
        status = reply.status
        said = self._partners_words(reply.body)
        message = f"{call}: {status}{f', {said}' if said else ''}"
        if status in _BY_STATUS:
            return _BY_STATUS[status](message, status=status)
        after = parse_retry_after(reply.headers.get("Retry-After"))
        if status == 429:
            return RateLimited(message, status=status, after=after)
        if status == 503 and after is not None:
            return RetryLater(message, status=status, after=after)
        return _unclear(idempotent, message, status) if status >= 500 else Refused(message, status=status)

    def _partners_words(self, body: bytes) -> str:
        try:
            words = _find_words(jsonlib.loads(body))
        except (ValueError, RecursionError):
            return ""
        hidden = [*self._secrets, *self._tokens]
        return redact(" ".join(words[:4000].split()), secrets=hidden, limit=MESSAGE_LENGTH)

    def _tell(self, record: CallRecord) -> None:
        if record.outcome == Throttled.code:
            return
        # What went well is in the audit; a line for each took a fourteenth of an enrolment's time.
        (log.debug if record.outcome == "ok" else log.warning)(
            "partner call", **dict(zip(LOGGED, record, strict=False))
        )
        if self._on_call is not None:
            self._on_call(record)
        tell_witness(record)


_BY_STATUS: dict[int, type[PartnerError]] = {
    401: CredentialsWrong,
    403: CredentialsWrong,
    404: NotFound,
    408: RetryLater,
    409: Conflict,
    425: RetryLater,
}


def parse_retry_after(value: str | None, *, now: datetime | None = None) -> float | None:
    """Return the seconds that a Retry-After header asks for, at most a day; None where it is absent or unreadable."""
    text = (value or "").strip()
    try:
        seconds = (
            float(text)
            if re.fullmatch(r"\d+(\.\d+)?", text)
            else _seconds_until(text, now or datetime.now(UTC))
        )
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), MAX_PAUSE)


def safe_fields(body: Any) -> dict[str, Any] | None:
    """Return what an audit may keep of a body: plain values of allowed fields; of a list, how long it is."""
    if not isinstance(body, dict):
        return None
    kept = {name: value for name, value in body.items() if name in SAFE_FIELDS and _is_plain(value)}
    if isinstance(body.get("data"), list):
        kept["found"] = len(body["data"])
    return kept or None


def _is_plain(value: Any) -> bool:
    return (
        value is None
        or isinstance(value, bool | int | float)
        or (isinstance(value, str) and len(value) <= 255)
    )


def _seconds_until(http_date: str, now: datetime) -> float:
    when = parsedate_to_datetime(http_date)
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - now.timestamp()


def _unclear(idempotent: bool, message: str, status: int | None) -> PartnerError:
    return RetryLater(message, status=status) if idempotent else OutcomeUnknown(message, status=status)


def _quoted(path_args: Mapping[str, str]) -> dict[str, str]:
    # An empty id or dots would make another path of it, with another meaning.
    if wrong := [name for name, value in path_args.items() if value.strip() in ("", ".", "..")]:
        raise Refused(f"{wrong[0]} cannot be part of an address")
    return {name: quote(value, safe="") for name, value in path_args.items()}


def _render_headers(headers: Mapping[str, str]) -> str:
    text = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    if any(_CONTROL.search(name) or _CONTROL.search(value) for name, value in headers.items()):
        raise ValueError("a header has a control character")
    return text


def _find_words(body: Any) -> str:
    """Return the text in which a JSON error says what is wrong, empty where it has none of the usual fields."""
    for name in ("message", "error_description", "detail", "error", "title", "errors", "msg"):
        found = body.get(name) if isinstance(body, dict) else None
        if isinstance(found, list) and found:
            found = found[0]
        if isinstance(found, str) and found.strip():
            return found
        if isinstance(found, dict) and found:
            return _find_words(found) or jsonlib.dumps(found)
    return ""
