"""The inbox: outside events, each stored once together with the job that will look at it, in one statement."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from db import lean, trace
from db.group_commit import GroupCommit
from db.jobs import CHANNEL, NOTIFY
from db.lean import Statement

STORE = Statement(
    "store_events",
    """
    WITH given AS (
        SELECT * FROM unnest({source}, {external_id}, {type}, {payload}, {subjects}, {kind}, {queue}, {traceparent})
            AS given(source, external_id, type, payload, subjects, kind, queue, traceparent)
    ), event AS (
        INSERT INTO inbox_events (source, external_id, type, payload, state, subjects)
        SELECT source, external_id, type, payload, CASE WHEN kind IS NULL THEN 'ignored' ELSE 'received' END,
            CASE WHEN subjects IS NOT NULL THEN ARRAY(SELECT jsonb_array_elements_text(subjects)) END
        FROM given
        ON CONFLICT (source, external_id) DO NOTHING
        RETURNING id, source, external_id
    ), job AS (
        INSERT INTO jobs (kind, business_key, queue, subject_id, correlation_id, traceparent)
        SELECT kind, id::text, queue, id, id::text, traceparent
        FROM event JOIN given USING (source, external_id) WHERE kind IS NOT NULL
    )
    SELECT id, source, external_id FROM event
    """,
    source="text[]",
    external_id="text[]",
    type="text[]",
    payload="bytea[]",
    subjects="jsonb[]",
    kind="text[]",
    queue="text[]",
    traceparent="text[]",
)
# Tells the relays, after the commit: a commit that notifies holds a lock of the whole server until it is on disk.
TELL = Statement(
    "tell_relays",
    "SELECT set_config('synchronous_commit', 'off', true), pg_notify({channel}, '')",
    channel="text",
)
# Seconds after telling the relays in which they need not be told again: less than lies between two looks of theirs.
TOLD_FOR = 0.015
_told_at = -TOLD_FOR


@dataclass(frozen=True)
class Event:
    """An event to be stored. `subjects` are what a partner's event is about; without a `kind` nobody will look at it."""

    source: str
    external_id: str
    type: str
    payload: bytes
    kind: str | None
    queue: str
    subjects: list[str] | None = None
    traceparent: str | None = field(default_factory=trace.current.get)

    @property
    def key(self) -> tuple[str, str]:
        """Return what tells it from others, and what orders them."""
        return self.source, self.external_id


def store(
    session: Session,
    *,
    source: str,
    external_id: str,
    type: str,
    payload: bytes,
    kind: str | None,
    queue: str,
    subjects: list[str] | None = None,
) -> str | None:
    """Store an event and its job; return the event's id, None when it was stored before.

    `subjects` are what a partner's event is about. Without a `kind` nobody will look at it: it is kept and marked ignored.
    """
    event = Event(source, external_id, type, payload, kind, queue, subjects)
    rows = lean.execute(session, STORE, _values([event]))
    if rows:
        session.execute(NOTIFY, {"channel": CHANNEL})
    return _ids([event], rows)[0]


def _store_group(events: Sequence[Event]) -> Sequence[str | Exception | None]:
    """Store events in a transaction of their own, then tell the relays, which would find the jobs a second later.

    A relay that was told a moment ago looks once more after it found something, and so finds these as well.
    """
    global _told_at
    rows = lean.run(STORE, _values(events))
    if rows and time.monotonic() - _told_at > TOLD_FOR:
        with suppress(*lean.AWAY):
            lean.run(TELL, {"channel": CHANNEL})
            _told_at = time.monotonic()
    return _ids(events, rows)


def _values(events: Sequence[Event]) -> dict[str, Any]:
    """Return the statement's values. An event that is there twice goes in once.

    All processes insert in the same order, so those that are sent the same events never wait for each other in a circle.
    """
    new = {event.key: event for event in reversed(events)}
    rows = [new[key] for key in sorted(new)]
    return {
        "source": [row.source for row in rows],
        "external_id": [row.external_id for row in rows],
        "type": [row.type for row in rows],
        "payload": [row.payload for row in rows],
        "subjects": [None if row.subjects is None else json.dumps(row.subjects) for row in rows],
        "kind": [row.kind for row in rows],
        "queue": [row.queue for row in rows],
        "traceparent": [row.traceparent for row in rows],
    }


def _ids(events: Sequence[Event], rows: Iterable[Sequence[Any]]) -> list[str | None]:
    """Return for each event its id, None where it was stored before; of one that is there twice the first has the id."""
    ids = {(source, external_id): str(id) for id, source, external_id in rows}
    return [ids.pop(event.key, None) for event in events]


# Stores an event as `store` does, in one transaction with those that came in the same moment.
store_soon: GroupCommit[Event, str | None] = GroupCommit(
    _store_group, concerns_all=lambda error: isinstance(error, lean.AWAY)
)
