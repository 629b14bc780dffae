"""A partner's roster against ours: seats that were given back and are still there, seats nobody knows, seats that are missing.

The roster is kept page by page while it is read; then everything is compared at once, in the database.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Row, TextClause, text
from sqlalchemy.orm import Session

from domain import enrollments, findings
from domain.findings import MOST, Found
from domain.reconciliation import Reconciliation

# Seats of which one transaction asks anew, or which are looked up before the place is saved.
BATCH = 100
# How long after it was given back a seat may still turn up: as long as a frozen worker or a slow partner can take.
LATE_DAYS = 30

LISTED = "SELECT unnest(external_ids) FROM reconciliation_pages WHERE reconciliation_id = :run"
STILL_THERE = text(
    f"""
    SELECT e.id, e.external_enrollment_id FROM partner_lms_enrollments e
    JOIN partner_lms_providers p ON p.id = e.provider_id
    WHERE p.provider_type = :type AND e.status = 'revoked' AND e.released_at < :started
        AND e.external_enrollment_id IN ({LISTED})
    ORDER BY e.id LIMIT :limit
    """  # noqa: S608 - our own constants
)
UNKNOWN = text(
    f"""
    SELECT DISTINCT listed.id FROM ({LISTED}) AS listed(id)
    WHERE NOT EXISTS (
        SELECT 1 FROM partner_lms_enrollments e JOIN partner_lms_providers p ON p.id = e.provider_id
        WHERE p.provider_type = ANY(:types) AND e.external_enrollment_id = listed.id
    ) AND (CAST(:seat AS text) IS NULL OR listed.id = :seat)
    ORDER BY listed.id LIMIT :limit
    """  # noqa: S608
)
MISSING = text(
    f"""
    SELECT e.id, e.external_enrollment_id, c.course_code FROM partner_lms_enrollments e
    JOIN partner_lms_providers p ON p.id = e.provider_id
    JOIN partner_courses c ON c.id = e.course_id
    WHERE p.provider_type = :type AND e.status = 'active' AND e.external_enrollment_id IS NOT NULL
        AND coalesce(e.enrolled_at, e.created_at) < :started
        AND NOT EXISTS (SELECT 1 FROM ({LISTED}) AS listed(id) WHERE listed.id = e.external_enrollment_id)
    ORDER BY e.id LIMIT :limit
    """  # noqa: S608
)
GIVEN_BACK = text(
    """
    SELECT e.id FROM partner_lms_enrollments e JOIN partner_lms_providers p ON p.id = e.provider_id
    WHERE p.provider_type = :type AND e.status = 'revoked' AND e.released_at < :started
        AND e.released_at > :started - :days * interval '1 day'
        AND (CAST(:after AS uuid) IS NULL OR e.id > CAST(:after AS uuid))
    ORDER BY e.id LIMIT :limit
    """
)


def keep_page(session: Session, run: Reconciliation, external_ids: Sequence[str]) -> None:
    """Keep a page of the partner's roster until the comparison is finished."""
    session.execute(
        text(
            "INSERT INTO reconciliation_pages (reconciliation_id, external_ids) VALUES (:run, CAST(:ids AS text[]))"
        ),
        {"run": run.id, "ids": list(external_ids)},
    )


def release_listed(session: Session, run: Reconciliation) -> int:
    """Ask anew to give back seats that are listed although they were given back before; return how many, at most `BATCH`."""
    rows = _compare(
        session, STILL_THERE, {"run": run.id, "type": run.scope, "started": run.started_at, "limit": BATCH}
    )
    for row in rows:
        release(session, run, str(row.id), row.external_enrollment_id)
    return len(rows)


def release(session: Session, run: Reconciliation, enrollment_id: str, seat_id: str) -> bool:
    """Ask anew to give back the seat of a revoked enrolment; False when it is not revoked any more."""
    asked = enrollments.release_again(session, enrollment_id, seat_id)
    if asked:
        message = f"seat {seat_id} was given back and is still there: it is given back once more"
        findings.note_repaired(
            session, run.id, run.scope, [Found("seat_leaked", "enrollment", enrollment_id, message)]
        )
    return asked


def find_unknown(
    session: Session,
    run: Reconciliation,
    types: Collection[str],
    *,
    seat_id: str | None = None,
    most: int = MOST,
) -> list[Found]:
    """Return seats at the partner that are no enrolment of ours, or whether `seat_id` is one. `types` share the platform."""
    rows = _compare(session, UNKNOWN, {"run": run.id, "types": list(types), "seat": seat_id, "limit": most})
    return [
        Found(
            "seat_unknown",
            "seat",
            row.id,
            f"the partner has the seat {row.id}, which is no enrolment of ours",
        )
        for row in rows
    ]


def find_missing(session: Session, run: Reconciliation) -> list[Found]:
    """Return active enrolments whose seat the partner does not list."""
    rows = _compare(
        session, MISSING, {"run": run.id, "type": run.scope, "started": run.started_at, "limit": MOST}
    )
    return [
        Found(
            "seat_missing",
            "enrollment",
            str(row.id),
            f"the partner does not list the seat {row.external_enrollment_id} in {row.course_code}, which is active here",
        )
        for row in rows
    ]


def adopt(
    session: Session, run: Reconciliation, types: Collection[str], enrollment_id: str, seat_id: str
) -> bool:
    """Have an active enrolment whose seat is not listed refer to the one that the partner has by our reference.

    So it is after a copy of the database was restored that is older than a refund and a second purchase. False when the
    seat is another enrolment's, or this one is not active any more.
    """
    if not find_unknown(session, run, types, seat_id=seat_id):
        return False
    moved = session.execute(
        text(
            "UPDATE partner_lms_enrollments SET external_enrollment_id = :seat, updated_at = now()"
            " WHERE id = :id AND status = 'active' RETURNING id"
        ),
        {"id": enrollment_id, "seat": seat_id},
    ).one_or_none()
    if moved is None:
        return False
    message = (
        f"the partner has the seat {seat_id} by our reference, and not the one that we knew: it is taken over"
    )
    findings.note_repaired(
        session, run.id, run.scope, [Found("seat_moved", "enrollment", enrollment_id, message)]
    )
    return True


def next_given_back(session: Session, run: Reconciliation, after: str | None) -> list[str]:
    """Return the next enrolments, in id order, whose seats were given back lately: one may have turned up since."""
    rows = session.scalars(
        GIVEN_BACK,
        {"type": run.scope, "started": run.started_at, "days": LATE_DAYS, "after": after, "limit": BATCH},
    )
    return [str(id) for id in rows]


def _compare(session: Session, query: TextClause, values: dict[str, Any]) -> Sequence[Row[Any]]:
    """Run a query that compares a whole roster, by hashing it.

    PostgreSQL cannot know how long the arrays are, and would go through them anew for each enrolment.
    """
    session.execute(text("SET LOCAL enable_nestloop = off"))
    rows = session.execute(query, values).all()
    session.execute(text("SET LOCAL enable_nestloop = on"))
    return rows
