"""Events that partners send: hints which seats to ask about. What they say of a seat is never believed, only asked."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from db import inbox, jobs
from domain import progress
from domain.progress import Target

PROCESS = "partner_events.process"
TYPE = "partner.hint"
# Seconds between a hint and the look that follows. What else is said of the same seat meanwhile asks for the same look.
DELAY = 5.0
# Unknown seats that the note on an event names.
NAMED = 5

# A repeat of an event that was dealt with: partners that sign neither an id nor a time send the same bytes again.
DEALT_WITH = text(
    """
    SELECT i.id FROM inbox_events i LEFT JOIN jobs j ON j.kind = :kind AND j.business_key = i.id::text
    WHERE i.source = :source AND i.external_id = :external_id AND (j.state IS NULL OR j.state = 'done')
    """
)
EVENT = text(
    "SELECT CAST(substring(source FROM 9) AS uuid) AS provider_id, subjects FROM inbox_events WHERE id = :id FOR UPDATE"
)
PROVIDER = text(
    """
    SELECT p.provider_type FROM inbox_events i
    JOIN partner_lms_providers p ON p.id = CAST(substring(i.source FROM 9) AS uuid) WHERE i.id = :id
    """
)
# A look that is to come anyway keeps its time: it may be waiting for a pause that the partner asked for.
SEATS = text(
    """
    SELECT e.id, e.external_enrollment_id, e.provider_id, p.provider_type, e.status, e.correlation_id,
        e.status = 'active' AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.kind = :single AND j.business_key = e.id::text
            AND j.state = 'ready') AS to_ask
    FROM partner_lms_enrollments e JOIN partner_lms_providers p ON p.id = e.provider_id
    WHERE e.provider_id = :provider AND e.external_enrollment_id = ANY(:seats) ORDER BY e.id
    """
)


@dataclass(frozen=True)
class Outcome:
    """What came of an event: seats that are asked about, those that need not be, and those that nobody knows."""

    asked: int
    skipped: int
    unknown: list[str]


def find_provider(session: Session, provider_id: str) -> str | None:
    """Return the type of an active provider, None where there is none with this id."""
    found: str | None = session.scalar(
        text("SELECT provider_type FROM partner_lms_providers WHERE id = :id AND active"), {"id": provider_id}
    )
    return found


def store(
    session: Session, provider_id: str, provider_type: str, *, payload: bytes, seats: list[str]
) -> str | None:
    """Store an event whose signature was checked, and its job; return its id, None for a repeat.

    `seats` are the partner's ids as they were read then: signatures are good for minutes, so nobody can check later.
    A repeat inserts nothing; where the first one was dealt with, it is looked at once more.
    """
    source, external_id = f"partner:{provider_id}", hashlib.sha256(payload).hexdigest()
    stored = inbox.store(
        session,
        source=source,
        external_id=external_id,
        type=TYPE,
        payload=payload,
        kind=PROCESS,
        queue=f"sync.{provider_type}",
        subjects=[_storable(seat) for seat in seats],
    )
    if stored is None:
        values = {"kind": PROCESS, "source": source, "external_id": external_id}
        before = session.scalar(DEALT_WITH, values)
        if before is not None:
            ask(session, str(before), delay=DELAY)
    return stored


def ask(session: Session, event_id: str, *, delay: float = 0.0) -> None:
    """Have a stored event looked at, once more where it was before."""
    provider_type = session.execute(PROVIDER, {"id": event_id}).scalar_one()
    queue = f"sync.{provider_type}"
    jobs.enqueue(
        session,
        jobs.Enqueue(
            PROCESS, event_id, queue=queue, subject_id=event_id, correlation_id=event_id, delay=delay
        ),
    )


def process(session: Session, event_id: str) -> Outcome:
    """Ask for a look at each active seat that the event names, and note which seats are not ours."""
    event = session.execute(EVENT, {"id": event_id}).one()
    named = event.subjects or []
    values = {"provider": event.provider_id, "seats": named, "single": progress.SYNC_ONE}
    rows = session.execute(SEATS, values).all()
    targets = [
        Target(**{name: value for name, value in row._mapping.items() if name != "to_ask"})
        for row in rows
        if row.to_ask
    ]
    progress.ask_single(session, targets, DELAY)
    known = {row.external_enrollment_id for row in rows}
    unknown = [seat for seat in named if seat not in known]
    session.execute(
        text("UPDATE inbox_events SET state = 'done', reason = :note, processed_at = now() WHERE id = :id"),
        {"id": event_id, "note": _note(unknown, len(named))},
    )
    return Outcome(len(targets), len(rows) - len(targets), unknown)


def _storable(seat: str) -> str:
    """Return an id without what PostgreSQL cannot keep; an id that had such characters is none of ours."""
    return seat.encode(errors="replace").decode().replace("\0", "?")


def _note(unknown: list[str], named: int) -> str | None:
    if not unknown:
        return None
    listed = ", ".join(unknown[:NAMED]) + (", ..." if len(unknown) > NAMED else "")
    return f"{len(unknown)} of {named} seats are not ours: {listed}"
