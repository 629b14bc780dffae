"""Live updates for a signed-in student: server-sent events, and the same as one answer for those who poll.

PostgreSQL is looked at every `LIVE_POLL` seconds, for as long as a stream is open; nothing has to ring. So there are only
so many of them in a process, and each ends after `LIVE_SECONDS` for its client to return.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from types import FrameType
from typing import Any, Literal

import structlog
from flask import Blueprint, Flask, Response, current_app, request
from pydantic import BaseModel, Field
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from api.auth import current_identity, current_user_id, is_still, requires_user
from api.errors import Problem, read_query
from api.profile import StatsAnswer, answer_tagged
from api.student import CamelModel, Uuid
from api.xp import StandingAnswer
from db.session import transaction
from domain import live
from domain.errors import NotFound
from domain.levels import current_curve
from settings import get_settings

# Streams that one user may hold in one process: a window, and one that has not noticed yet that it was closed.
MOST_OF_ONE_USER = 2
# Seconds: the longest silence on a stream, the pause before a client comes back, between two looks at the sign-in.
HEARTBEAT = 5.0
RETRY = 2.0
RECHECK = 30.0
# Seconds after which a client that was sent away may try to stream again.
RETRY_AFTER = 60
EXTENSION = "usher_live"
# What tells that the database does not answer just now.
AWAY = (OperationalError, InterfaceError, PoolTimeout)

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)
blueprint = Blueprint("live", __name__)


class XpEvent(StandingAnswer):
    """An entry of the ledger, and where it led. `amount` may be negative."""

    entry_id: Uuid
    kind: Literal["award", "reversal", "adjustment"]
    category: str
    amount: int
    previous_level: int
    at: datetime


class LevelEvent(CamelModel):
    """A level was reached; an entry that passes several makes one event for each."""

    level: int
    at: datetime


class EnrollmentEvent(CamelModel):
    """An enrolment is new (`previousStatus` is null), has another status, or went away (`removed`, own courses only)."""

    kind: Literal["partner", "own"]
    enrollment_id: Uuid
    course_id: Uuid
    status: str
    previous_status: str | None
    at: datetime


class LiveEvent(CamelModel):
    """One event: `event` is its type, `data` what the stream would say."""

    id: str
    event: str = Field(json_schema_extra={"enum": ["state", "xp", "level", "enrollment"]})
    data: StatsAnswer | XpEvent | LevelEvent | EnrollmentEvent


class EventBatch(CamelModel):
    """What a poll answers. Send `lastEventId` with the next one."""

    data: list[LiveEvent]
    last_event_id: str


class EventsQuery(BaseModel):
    """`poll` asks for one answer instead of a stream; `lastEventId` is for clients that cannot set the header."""

    poll: bool = Field(False, description="1: answer at once, as JSON")
    last_event_id: str = Field("", alias="lastEventId", description="In place of the header Last-Event-ID")


class Streams:
    """Who holds a stream in this process."""

    def __init__(self) -> None:
        self._lock, self._held = threading.Lock(), Counter[str]()
        self.stopping = False

    def take(self, user_id: str, most: int) -> bool:
        """Count one more stream of a user; False where that is too many."""
        with self._lock:
            if self.stopping or self._held.total() >= most or self._held[user_id] >= MOST_OF_ONE_USER:
                return False
            self._held[user_id] += 1
            return True

    def give(self, user_id: str) -> None:
        """Count one less."""
        with self._lock:
            self._held[user_id] -= 1
            self._held += Counter()  # Those with none are forgotten.


@blueprint.record
def set_up(state: Any) -> None:
    """Give an app its streams, and have them end as soon as gunicorn asks its process to stop."""
    app: Flask = state.app
    streams = app.extensions[EXTENSION] = Streams()
    before = signal.getsignal(signal.SIGTERM)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        return

    def stop(number: int, frame: FrameType | None) -> None:
        streams.stopping = True
        before(number, frame)

    signal.signal(signal.SIGTERM, stop)


@blueprint.get("/api/me/events")
@requires_user
def events() -> Response:
    """Stream what changes for the caller, or with `poll=1` answer what changed since `Last-Event-ID`."""
    query = read_query(EventsQuery)
    user_id = current_user_id()
    since = live.parse(request.headers.get("Last-Event-ID") or query.last_event_id)
    try:
        with transaction() as session:
            cursor, told = look(session, user_id, since)
    except NotFound:
        raise Problem("no_student") from None
    if query.poll:
        return answer_tagged(EventBatch(data=told, last_event_id=str(cursor)))
    streams: Streams = current_app.extensions[EXTENSION]
    if not streams.take(user_id, get_settings().live_streams):
        wait = {"Retry-After": str(RETRY_AFTER)}
        if request.headers.get("Accept") == "text/event-stream":
            # A browser's EventSource stops at 204, as the HTML standard has it, and calls it no error.
            return Response(status=204, headers=wait)
        raise Problem("too_many_streams", headers=wait)
    stream = _stream(streams, user_id, cursor, told, _make_check())
    response = Response(stream, mimetype="text/event-stream")
    response.call_on_close(lambda: streams.give(user_id))
    response.headers["X-Accel-Buffering"] = "no"
    return response


def look(session: Session, user_id: str, since: live.Cursor | None) -> tuple[live.Cursor, list[LiveEvent]]:
    """Return what is new since a cursor, and the next one; where that cannot be told, where the student stands.

    With nothing new the cursor stays what the client has. Raises `NotFound`.
    """
    try:
        if since is None:
            raise live.OutOfReach
        cursor, changes = live.read(session, current_curve(), user_id, since)
    except live.OutOfReach:
        cursor = live.start(session, user_id)
        return cursor, [LiveEvent(id=str(cursor), event="state", data=StatsAnswer.read(session, user_id))]
    return cursor if changes else since, [_tell(change) for change in changes]


def _stream(
    streams: Streams,
    user_id: str,
    cursor: live.Cursor,
    told: list[LiveEvent],
    is_welcome: Callable[[], bool],
) -> Iterator[str]:
    settings = get_settings()
    began = spoken = checked = time.monotonic()
    yield f"retry: {int(RETRY * 1000)}\n\n"
    while True:
        now = time.monotonic()
        if told or now - spoken >= HEARTBEAT:
            spoken = now
            yield "".join(map(_format, told)) or ":\n\n"
        if now - checked >= RECHECK:
            checked = now
            if not is_welcome():
                return
        if streams.stopping or now - began >= settings.live_seconds:
            return
        time.sleep(settings.live_poll)
        cursor, told = _look_again(user_id, cursor)


def _make_check() -> Callable[[], bool]:
    """Return what says whether the caller would be let in now; while the database is away, nobody is sent away."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    environ, identity = request.environ, current_identity()

    def is_welcome() -> bool:
        try:
            with app.request_context(environ):
                return is_still(identity)
        except AWAY:
            return True

    return is_welcome


def _look_again(user_id: str, cursor: live.Cursor) -> tuple[live.Cursor, list[LiveEvent]]:
    """Look once more; while the database is away there is nothing new."""
    try:
        with transaction() as session:
            return look(session, user_id, cursor)
    except AWAY as error:
        log.warning("[Live] database does not answer", error=type(error).__name__)
        return cursor, []


def _tell(change: live.Change) -> LiveEvent:
    data: XpEvent | LevelEvent | EnrollmentEvent
    if change.event == "xp":
        data = XpEvent(**change.data, level_curve=current_curve().name)
    elif change.event == "level":
        data = LevelEvent(**change.data)
    else:
        data = EnrollmentEvent(**change.data)
    return LiveEvent(id=str(change.cursor), event=change.event, data=data)


def _format(told: LiveEvent) -> str:
    return f"id: {told.id}\nevent: {told.event}\ndata: {told.data.model_dump_json(by_alias=True)}\n\n"
