"""What staff do with stored events: look again, or supply what was missing."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from db import jobs
from db.models import InboxEvent
from domain import partner_events
from domain.errors import NotFound, NotPossible
from domain.orders import OPTIONAL_KEYS, REQUIRED_KEYS
from domain.payments import HANDLED_TYPES

PROCESS = "payments.process"


def find(session: Session, event_id: str) -> InboxEvent:
    """Return an event by our id or the sender's, locked; raise `NotFound`."""
    found = session.execute(
        text("SELECT id FROM inbox_events WHERE id::text = :id OR external_id = :id"), {"id": event_id}
    ).scalar()
    if found is None:
        raise NotFound(f"there is no event {event_id}")
    return session.get_one(InboxEvent, str(found), with_for_update=True)


def replay(session: Session, event_id: str) -> str:
    """Have an event looked at again; return its id. What it did already is not done twice.

    Raises `NotFound`, or `NotPossible` for an event that nothing listens to.
    """
    event = find(session, event_id)
    if event.type != partner_events.TYPE and (event.source != "stripe" or event.type not in HANDLED_TYPES):
        raise NotPossible(f"nothing listens to {event.type}")
    session.execute(
        text("UPDATE inbox_events SET state = 'received', reason = NULL WHERE id = :id"), {"id": event.id}
    )
    if event.type == partner_events.TYPE:
        partner_events.ask(session, event.id)
        return event.id
    jobs.enqueue(
        session,
        jobs.Enqueue(PROCESS, event.id, queue="payments", subject_id=event.id, correlation_id=event.id),
    )
    return event.id


def complete(session: Session, event_id: str, metadata: dict[str, Any], *, actor: str) -> str:
    """Supply the metadata that a waiting event lacks, and have it looked at again; return its id.

    Raises `NotFound`, or `NotPossible` when it does not wait or a key is not one of ours.
    """
    event = find(session, event_id)
    if event.state != "waiting":
        raise NotPossible(f"event {event.external_id} is {event.state}, only a waiting one can be completed")
    unknown = set(metadata) - {*REQUIRED_KEYS, *OPTIONAL_KEYS}
    if unknown or not metadata:
        raise NotPossible(
            f"give any of {', '.join([*REQUIRED_KEYS, *OPTIONAL_KEYS])}, not {', '.join(sorted(unknown)) or 'nothing'}"
        )
    session.execute(
        text(
            "UPDATE inbox_events SET completion = coalesce(completion, '{}'::jsonb) || CAST(:given AS jsonb),"
            " completed_by = :actor WHERE id = :id"
        ),
        {"given": json.dumps(metadata), "actor": actor, "id": event.id},
    )
    return replay(session, event.id)
