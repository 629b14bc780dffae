"""Errors told to Sentry, where SENTRY_DSN is set: what kind, where in the code, under which ids; never what was in them.

No messages of exceptions, no variables, no requests, no people: a partner's words and PostgreSQL's hold names and
addresses. The message is in the log, under the same `trace_id`, `job_id` or `request_id`.
"""

from __future__ import annotations

import atexit
import traceback
from collections.abc import Mapping
from typing import Any

from structlog.types import EventDict

from settings import get_settings

# What goes along of a log line: ids and names of our own.
TAGS = (
    "code",
    "correlation_id",
    "job_id",
    "kind",
    "partner",
    "process",
    "request_id",
    "step",
    "trace_id",
)
# Exceptions of one chain, and seconds in which what was not delivered yet may be, when the process ends.
MOST_CAUSES = 4
LAST_CALL = 2.0
_client: Any = None


def attach(process: str) -> None:
    """Have this process tell its errors, where an address for them is set."""
    global _client
    dsn = get_settings().sentry_dsn
    if dsn is None or _client is not None:
        return
    import sentry_sdk

    # Nothing is looked for by the library itself: each event is made below, of what may be told.
    _client = sentry_sdk.Client(
        dsn=dsn.get_secret_value(),
        default_integrations=False,
        auto_enabling_integrations=False,
        include_local_variables=False,
        max_request_body_size="never",
        server_name=process,
    )
    atexit.register(_client.close, timeout=LAST_CALL)


def watch(logger: Any, method: str, event: EventDict) -> EventDict:
    """Tell what is logged as an error; a step of every process's logging."""
    if _client is not None and event.get("level") in ("error", "critical"):
        # Other people's log lines are sentences with values in them: of these only who said it.
        record = event.get("_record")
        words = event.get("event") if record is None else f"error in {record.name}"
        tell(str(words), _exception_of(event), event)
    return event


def tell(words: str, error: BaseException | None, known: Mapping[str, Any]) -> None:
    """Tell one error under constant words, with those of the known ids that may be told."""
    if _client is None:
        return
    event: dict[str, Any] = {
        "level": "error",
        "message": words,
        "tags": {name: str(known[name]) for name in TAGS if known.get(name) is not None},
    }
    if error is not None:
        event["exception"] = {"values": [_describe(one) for one in reversed(_chain(error))]}
    _client.capture_event(event)


def _describe(error: BaseException) -> dict[str, Any]:
    frames = [
        {"filename": frame.filename, "function": frame.name, "lineno": frame.lineno}
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    kind = type(error)
    return {"type": kind.__name__, "module": kind.__module__, "stacktrace": {"frames": frames}}


def _chain(error: BaseException) -> list[BaseException]:
    """Return an exception and what it came from, the outermost first."""
    found: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in found and len(found) < MOST_CAUSES:
        found.append(one)
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return found


def _exception_of(event: EventDict) -> BaseException | None:
    found = event.get("exc_info")
    if isinstance(found, tuple):
        found = found[1]
    return found if isinstance(found, BaseException) else None
