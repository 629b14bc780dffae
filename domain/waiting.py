"""Events that could not be placed: what they lack, supplying it by names that people know, and letting one go."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from domain import events, failures, staff, users
from domain.errors import DomainError, NotFound, NotPossible
from domain.orders import is_uuid

Row = dict[str, Any]

LIST = text(
    """
    SELECT id, external_id, type, reason, received_at, state FROM inbox_events
    WHERE state = 'waiting'
        AND (CAST(:at AS timestamptz) IS NULL OR (received_at, id) > (CAST(:at AS timestamptz), CAST(:last AS uuid)))
    ORDER BY received_at, id LIMIT :limit
    """
)
SHOW = text(
    """
    SELECT id, external_id, type, state, reason, received_at, completion, completed_by, payload FROM inbox_events
    WHERE id = CAST(:id AS uuid)
    """
)
NAMES = text(
    """
    SELECT (SELECT email FROM users WHERE id = CAST(:student AS uuid)) AS student,
        (SELECT provider_name FROM partner_lms_providers WHERE id = CAST(:partner AS uuid)) AS partner,
        (SELECT course_name FROM partner_courses WHERE id = CAST(:course AS uuid)) AS course
    """
)
PARTNERS = text("SELECT id, provider_name FROM partner_lms_providers ORDER BY provider_name, id LIMIT 200")
COURSE = text(
    """
    SELECT id, course_code, course_name FROM partner_courses
    WHERE provider_id = CAST(:partner AS uuid)
        AND (course_code = :named OR external_course_code = :named OR lower(course_name) = lower(:named))
    ORDER BY course_code = :named DESC, course_code LIMIT 5
    """
)
KEYS = ("studentId", "partnerId", "courseId")


class Unknown(DomainError):
    """What somebody named is not there, or not only once; `field` says which of the three."""

    code = "unknown_name"

    def __init__(self, field: str, found: list[str] | None = None) -> None:
        self.field, self.found = field, found or []
        super().__init__(field)


def list_waiting(session: Session, *, limit: int, at: datetime | None, last: str | None) -> list[Row]:
    """Return events that wait for a person, the longest waiting first."""
    return [dict(row._mapping) for row in session.execute(LIST, {"limit": limit, "at": at, "last": last})]


def show(session: Session, event_id: str) -> Row:
    """Return a waiting event with what its metadata say and mean; raise `NotFound`.

    `given` maps each key to what the event, or whoever completed it, says; `names` to what stands under that id.
    """
    row = session.execute(SHOW, {"id": event_id}).one_or_none()
    if row is None:
        raise NotFound(f"there is no event {event_id}")
    given = {**_metadata(row.payload), **(row.completion or {})}
    ids = {key: given.get(key) if is_uuid(given.get(key)) else None for key in KEYS}
    names = session.execute(
        NAMES, dict(zip(("student", "partner", "course"), ids.values(), strict=True))
    ).one()
    found = {name: value for name, value in row._mapping.items() if name != "payload"}
    return {
        **found,
        "given": given,
        "names": dict(zip(KEYS, names, strict=True)),
        "customer": _customer(row.payload),
    }


def partners(session: Session) -> list[Row]:
    """Return partners by name."""
    return [dict(row._mapping) for row in session.execute(PARTNERS)]


def look_up(session: Session, *, student: str, partner: str, course: str) -> dict[str, str]:
    """Return the metadata of an order by a student's address or id, a partner's id, a course's code, name or id.

    Raises `Unknown` for the first that is not there, or not only once.
    """
    who = users.find_by_email(session, student) if "@" in student else None
    if who is None and not (is_uuid(student) and _exists(session, "users", student)):
        raise Unknown("student")
    if not (is_uuid(partner) and _exists(session, "partner_lms_providers", partner)):
        raise Unknown("partner")
    if is_uuid(course) and _exists(session, "partner_courses", course):
        found = course
    else:
        rows = session.execute(COURSE, {"partner": partner, "named": course}).all()
        exact = [row for row in rows if row.course_code == course] or rows
        if len(exact) != 1:
            raise Unknown("course", [f"{row.course_name} ({row.course_code})" for row in rows])
        found = str(exact[0].id)
    return {"studentId": student if who is None else str(who.id), "partnerId": partner, "courseId": found}


def complete(session: Session, event_id: str, metadata: dict[str, Any], *, actor: str, reason: str) -> None:
    """Supply what an event lacks and have it looked at again; raise `NotFound` or `NotPossible`."""
    events.complete(session, event_id, metadata, actor=actor)
    subject = ("event", event_id)
    staff.record(
        session, actor=actor, action="event.complete", subject=subject, reason=reason, detail=metadata
    )


def dismiss(session: Session, event_id: str, *, actor: str, reason: str) -> None:
    """Let a waiting event go: nothing is opened for it. It can be looked at again later.

    Raises `NotFound`, or `NotPossible` for one that does not wait.
    """
    event = events.find(session, event_id)
    if event.state != "waiting":
        raise NotPossible(f"the event is {event.state}, only a waiting one can be dismissed")
    session.execute(
        text(
            "UPDATE inbox_events SET state = 'ignored', reason = 'dismissed by staff', processed_at = now() WHERE id = :id"
        ),
        {"id": event.id},
    )
    failures.resolve_for_event(session, event.id)
    staff.record(session, actor=actor, action="event.dismiss", subject=("event", event.id), reason=reason)


def _exists(session: Session, table: str, id: str) -> bool:
    return session.scalar(text(f"SELECT 1 FROM {table} WHERE id = CAST(:id AS uuid)"), {"id": id}) is not None  # noqa: S608


def _object(payload: bytes) -> dict[str, Any]:
    try:
        found = json.loads(bytes(payload)).get("data", {}).get("object")
    except (ValueError, AttributeError):
        return {}
    return found if isinstance(found, dict) else {}


def _metadata(payload: bytes) -> dict[str, Any]:
    found = _object(payload).get("metadata")
    return found if isinstance(found, dict) else {}


def _customer(payload: bytes) -> dict[str, Any]:
    """Return what a checkout says of who paid: address, name, amount and currency, each None where it does not."""
    found = _object(payload)
    details = found.get("customer_details")
    who = details if isinstance(details, dict) else {}
    return {
        "email": who.get("email"),
        "name": who.get("name"),
        "amount": found.get("amount_total"),
        "currency": found.get("currency"),
    }
