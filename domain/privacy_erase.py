"""Erasing one person: the row stays under a pseudonym, so that the ledger's totals and payments still add up.

Asking is one transaction: it closes every way in, and from then on the row carries the pseudonym. A job does the rest,
stage by stage and batch by batch; each batch commits how far it came. A stage that is done again finds nothing to do.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from db import jobs
from domain import enrollments, staff, users
from domain.errors import NotFound, NotPossible
from domain.privacy_register import BY_NAME, SEATS, with_people
from domain.privacy_stages import Person, as_person, change_batch, event_marks, events_of, is_about

ERASE = "privacy.erase"
QUEUE = "control"
# Seats for which somebody has paid and which they may still use, or wait for.
OPEN = ("pending", "active", "suspended", "failed")

FIND = text("SELECT id, email, name FROM users WHERE id = CAST(:id AS uuid)")
LOCK = text("SELECT id, email, name FROM users WHERE id = CAST(:id AS uuid) FOR UPDATE")
OPEN_SEATS = text(
    "SELECT e.id, e.status, c.course_name, p.provider_name FROM partner_lms_enrollments e"
    " JOIN partner_courses c ON c.id = e.course_id JOIN partner_lms_providers p ON p.id = e.provider_id"
    " WHERE e.student_id = CAST(:user AS uuid) AND e.status = ANY(:open) ORDER BY e.created_at, e.id"
)
# Few wait, so their bodies can be searched.
WAITING = text(
    """
    SELECT external_id, source, payload FROM inbox_events t WHERE state IN ('waiting', 'failed')
        AND EXISTS (SELECT FROM unnest(CAST(:marks AS text[])) AS m (word)
            WHERE position(m.word IN lower(encode(t.payload, 'escape'))) > 0)
    ORDER BY received_at LIMIT 20
    """
)
BEGIN = text(
    """
    INSERT INTO erasures (user_id, actor, reason, revoke_certificates, words)
    VALUES (CAST(:user AS uuid), :actor, :reason, :revoke, CAST(:words AS jsonb))
    ON CONFLICT (user_id) DO UPDATE SET stage = '', place = NULL, finished_at = NULL, updated_at = now(),
        revoke_certificates = erasures.revoke_certificates OR excluded.revoke_certificates,
        words = coalesce(erasures.words, '[]'::jsonb)
    """
)
STATUS = text(
    "SELECT user_id, actor, reason, stage, counts, created_at, updated_at, finished_at FROM erasures"
    " WHERE user_id = CAST(:user AS uuid)"
)
ACCOUNTS = text(
    """
    INSERT INTO erasure_accounts (user_id, provider_id, account_id, state)
    SELECT CAST(:user AS uuid), e.provider_id, max(e.external_account_id), 'asking'
    FROM partner_lms_enrollments e WHERE e.student_id = CAST(:user AS uuid)
    GROUP BY e.provider_id ON CONFLICT (user_id, provider_id) DO NOTHING
    """
)
MAILS = text(
    f"""
    UPDATE jobs SET state = 'done', finished_at = now(), updated_at = now()
    WHERE kind IN ('mail.send', 'mail.notice') AND state IN ('ready', 'failed', 'parked') AND subject_id IN (
        SELECT CAST(:user AS uuid) UNION ALL {SEATS}
        UNION ALL SELECT id FROM certificates WHERE user_id = CAST(:user AS uuid))
    """  # noqa: S608
)
FIRST = str(uuid.UUID(int=0))


class Blocked(NotPossible):
    """Something open stands in the way of an erasure."""

    code = "erasure_blocked"


@dataclass(frozen=True)
class Line:
    """What an erasure does with a table: how many rows, which columns of theirs, and why the rest stays."""

    table: str
    rows: int
    fate: str
    columns: str
    why: str


@dataclass(frozen=True)
class Plan:
    """What an erasure would do. `blocks` says what has to be settled first, `partners` who is asked to do the same."""

    user_id: str
    lines: list[Line]
    partners: list[str]
    blocks: list[str]


def find(session: Session, given: str) -> Person:
    """Return the person with this id or e-mail address; raise `NotFound`."""
    try:
        user_id = str(uuid.UUID(given))
    except ValueError:
        user = users.find_by_email(session, given)
        if user is None:
            raise NotFound("there is no user with this id or address") from None
        user_id = user.id
    row = session.execute(FIND, {"id": user_id}).one_or_none()
    if row is None:
        raise NotFound("there is no user with this id or address")
    return as_person(session, row)


def plan(session: Session, person: Person) -> Plan:
    """Return what an erasure would do; nothing changes."""
    lines = []
    names = {**person.names, "events": list(events_of(session, person))}
    for table in with_people():
        count = f"SELECT count(*) FROM {table.name} t WHERE {table.rows}"  # noqa: S608
        rows = int(session.execute(text(count), names).scalar_one())
        if rows:
            lines.append(Line(table.name, rows, table.erase, ", ".join(table.personal), table.why))
    partners = session.execute(
        text(
            "SELECT DISTINCT p.provider_name FROM partner_lms_enrollments e JOIN partner_lms_providers p"
            " ON p.id = e.provider_id WHERE e.student_id = CAST(:user AS uuid) ORDER BY 1"
        ),
        names,
    )
    return Plan(person.id, lines, list(partners.scalars()), find_blocks(session, person))


def find_blocks(session: Session, person: Person) -> list[str]:
    """Return what stands in the way of an erasure, in words."""
    seats = session.execute(OPEN_SEATS, {"user": person.id, "open": list(OPEN)})
    found = [
        f"enrolment {row.id} ({row.course_name} at {row.provider_name}) is {row.status}: a paid seat. Refund or revoke"
        " it first, or force"
        for row in seats
    ]
    marks = [*event_marks(person.addresses), person.id]
    waiting = [
        row for row in session.execute(WAITING, {"marks": marks}) if is_about(row, person, [person.id])
    ]
    return found + [f"event {row.external_id} waits for a person: complete it, or force" for row in waiting]


def ask(
    session: Session,
    person: Person,
    *,
    actor: str,
    reason: str,
    force: bool = False,
    revoke_certificates: bool = False,
) -> str:
    """Close every way in, give the row its pseudonym, and ask for the rest; return the job's id.

    Open seats are revoked where it is forced. Asked again, the job goes through everything again. Raises `Blocked`,
    `NotFound`.
    """
    row = session.execute(LOCK, {"id": person.id}).one_or_none()
    if row is None:
        raise NotFound("there is no user with this id or address")
    person = as_person(session, row)
    blocks = find_blocks(session, person)
    if blocks and not force:
        raise Blocked("; ".join(blocks))
    _close_seats(session, person)
    words = [] if users.is_erased(person.email) else [*person.addresses, {"name": person.name}]
    values = {"user": person.id, "actor": actor, "reason": reason, "revoke": revoke_certificates}
    session.execute(BEGIN, {**values, "words": json.dumps(words)})
    for name in ("identities", "api_tokens"):
        change_batch(session, BY_NAME[name], person.names)
    session.execute(MAILS, {"user": person.id})
    session.execute(ACCOUNTS, {"user": person.id})
    change_batch(session, BY_NAME["users"], person.names)
    staff.record(
        session,
        actor=actor,
        action="privacy.erase",
        subject=("user", person.id),
        reason=reason,
        detail={"forced": force, "revoke_certificates": revoke_certificates, "blocks": len(blocks)},
    )
    job_id = jobs.enqueue(session, jobs.Enqueue(ERASE, person.id, QUEUE, subject_id=person.id))
    assert job_id is not None  # noqa: S101
    return job_id


def _close_seats(session: Session, person: Person) -> None:
    for row in session.execute(OPEN_SEATS, {"user": person.id, "open": list(OPEN)}).all():
        enrollments.revoke(session, enrollments.lock(session, str(row.id)))


def status(session: Session, user_id: str) -> dict[str, Any]:
    """Return how far somebody's erasure came, `finished_at` being null while it runs; raise `NotFound`."""
    row = session.execute(STATUS, {"user": user_id}).one_or_none()
    if row is None:
        raise NotFound(f"nobody asked for an erasure of {user_id}")
    return dict(row._mapping)
