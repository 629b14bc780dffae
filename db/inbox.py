"""The inbox: outside events, stored once, together with the job that will look at them, in one statement."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.orm import Session

from db import trace
from db.jobs import CHANNEL

STORE = text(
    """
    WITH event AS (
        INSERT INTO inbox_events (source, external_id, type, payload, state, subjects)
        VALUES (:source, :external_id, :type, :payload, :state, :subjects)
        ON CONFLICT (source, external_id) DO NOTHING
        RETURNING id
    ), job AS (
        INSERT INTO jobs (kind, business_key, queue, subject_id, correlation_id, traceparent)
        SELECT CAST(:kind AS text), id::text, :queue, id, id::text, :traceparent FROM event WHERE CAST(:kind AS text) IS NOT NULL
        RETURNING id
    )
    SELECT event.id, pg_notify(:channel, '') FROM event
    """
)


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
    row = session.execute(
        STORE,
        {
            "source": source,
            "external_id": external_id,
            "type": type,
            "payload": payload,
            "subjects": subjects,
            "state": "ignored" if kind is None else "received",
            "kind": kind,
            "queue": queue,
            "channel": CHANNEL,
            "traceparent": trace.current.get(),
        },
    ).one_or_none()
    return None if row is None else str(row.id)
