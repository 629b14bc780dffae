"""Progress pulled from partners: what is due, what is new enough to be believed, and what changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from db import jobs, trace
from domain import xp, xp_partners
from domain.errors import NotFound

SYNC = "progress.sync"
SYNC_ONE = "progress.sync_one"
FETCH_CERTIFICATE = "progress.certificate"
# Mails that older versions do not know have a kind of their own: an older worker leaves them to a newer one.
MAIL = "mail.notice"

# How often a partner's whole feed is read again, in case a change was fed before we knew the seat. Seconds.
FULL_EVERY = 86_400

DUE = text(
    """
    INSERT INTO partner_sync_states (provider_id)
    SELECT id FROM partner_lms_providers WHERE active ON CONFLICT DO NOTHING
    """
)
# One look into the index of active seats for each partner: as EXISTS it became a scan of all seats, which finds nothing for
# a partner without active ones.
CLAIM_DUE = text(
    """
    UPDATE partner_sync_states s SET next_due_at = now() + coalesce(c.sync_interval, :interval) * interval '1 second'
    FROM partner_lms_providers p LEFT JOIN partner_connections c ON c.provider_type = p.provider_type
    WHERE p.id = s.provider_id AND p.active AND s.next_due_at <= now() AND p.provider_type = ANY(:types)
        AND (
            SELECT e.id FROM partner_lms_enrollments e WHERE e.provider_id = p.id AND e.status = 'active'
            ORDER BY e.id LIMIT 1
        ) IS NOT NULL
    RETURNING p.id, p.provider_type
    """
)
# The provider's own rule from how many per cent on a seat counts as completed.
COMPLETE_AT = text("SELECT complete_at FROM partner_connections WHERE provider_type = :type")
KNOWN_AWARDS = text("SELECT business_key FROM jobs WHERE kind = :kind AND business_key = ANY(:keys)")
COMPLETED = text(
    "SELECT generation, correlation_id FROM partner_lms_enrollments WHERE id = :id AND status = 'completed'"
)
# One statement for a whole batch. An answer counts only when the partner's own clock does not put it behind what we
# have; without a clock, progress may only grow. What is the same already is not written.
APPLY = text(
    """
    UPDATE partner_lms_enrollments e SET
        progress_percentage = CASE WHEN v.completed THEN greatest(v.percentage, e.progress_percentage) ELSE v.percentage END,
        status = CASE WHEN v.completed THEN 'completed' ELSE e.status END,
        completed_at = CASE WHEN v.completed THEN coalesce(v.completed_at, now()) ELSE e.completed_at END,
        progress_updated_at = coalesce(v.updated_at, e.progress_updated_at), updated_at = now()
    FROM unnest(
        CAST(:ids AS text[]), CAST(:percentages AS numeric[]), CAST(:completed AS boolean[]),
        CAST(:updated AS timestamptz[]), CAST(:completed_at AS timestamptz[])
    ) AS v(id, percentage, completed, updated_at, completed_at)
    WHERE e.provider_id = :provider AND e.external_enrollment_id = v.id AND e.status = 'active'
        AND (v.completed OR v.percentage <> e.progress_percentage)
        AND (v.percentage > e.progress_percentage OR v.completed OR v.updated_at > e.progress_updated_at)
        AND (e.progress_updated_at IS NULL OR v.updated_at IS NULL OR v.updated_at >= e.progress_updated_at)
    RETURNING e.id, e.status, e.correlation_id
    """
)


@dataclass(frozen=True)
class Report:
    """What a partner says about one seat."""

    external_enrollment_id: str
    percentage: Decimal
    completed: bool
    updated_at: datetime | None
    completed_at: datetime | None


@dataclass(frozen=True)
class Target:
    """A seat to ask about."""

    id: str
    external_enrollment_id: str
    provider_id: str
    provider_type: str
    status: str
    correlation_id: str | None


@dataclass(frozen=True)
class SyncState:
    """Where a partner's sync goes on."""

    provider_id: str
    provider_type: str
    cursor: str | None
    position: str | None
    bulk: bool


def schedule_due(session: Session, *, interval: int, partner_types: Sequence[str]) -> list[str]:
    """Ask for the sync of every partner whose turn it is; return their provider ids."""
    session.execute(DUE)
    rows = session.execute(CLAIM_DUE, {"interval": interval, "types": list(partner_types)}).all()
    for row in rows:
        ask_sync(session, str(row.id), row.provider_type)
    return [str(row.id) for row in rows]


def ask_sync(session: Session, provider_id: str, provider_type: str) -> None:
    """Ask for one partner's sync; one that is running is not doubled."""
    jobs.enqueue(
        session,
        jobs.Enqueue(
            SYNC, provider_id, queue=f"sync.{provider_type}", subject_id=provider_id, partner=provider_type
        ),
    )


def begin(session: Session, provider_id: str) -> SyncState:
    """Return where this partner's sync goes on, and note when it began.

    While a pass through the whole feed is under way, `full_at` is empty: one that was broken off goes on at its cursor.
    """
    session.execute(
        text("INSERT INTO partner_sync_states (provider_id) VALUES (:id) ON CONFLICT DO NOTHING"),
        {"id": provider_id},
    )
    row = session.execute(
        text(
            """
            UPDATE partner_sync_states s SET started_at = now(), last_calls = 0, last_changed = 0, last_failed = 0,
                cursor = CASE WHEN s.full_at < now() - :full_every * interval '1 second' THEN NULL ELSE s.cursor END,
                full_at = CASE WHEN s.full_at < now() - :full_every * interval '1 second' THEN NULL ELSE s.full_at END
            FROM partner_lms_providers p WHERE p.id = s.provider_id AND s.provider_id = :id
            RETURNING s.provider_id, p.provider_type, s.cursor, s.position,
                coalesce((p.metadata ->> 'bulk_progress')::boolean, true) AS bulk
            """
        ),
        {"id": provider_id, "full_every": FULL_EVERY},
    ).one_or_none()
    if row is None:
        raise NotFound(f"there is no partner {provider_id}")
    return SyncState(str(row.provider_id), row.provider_type, row.cursor, row.position, row.bulk)


def save_place(
    session: Session,
    provider_id: str,
    *,
    cursor: str | None = None,
    position: str | None = None,
    calls: int = 0,
    changed: int = 0,
    failed: int = 0,
) -> None:
    """Remember how far the sync came, so that a killed one goes on there."""
    session.execute(
        text(
            """
            UPDATE partner_sync_states SET cursor = coalesce(:cursor, cursor), position = :position,
                last_calls = last_calls + :calls, last_changed = last_changed + :changed,
                last_failed = last_failed + :failed
            WHERE provider_id = :id
            """
        ),
        {
            "id": provider_id,
            "cursor": cursor,
            "position": position,
            "calls": calls,
            "changed": changed,
            "failed": failed,
        },
    )


def forget_place(session: Session, provider_id: str) -> None:
    """Have the next pass read the whole feed from its beginning."""
    session.execute(
        text("UPDATE partner_sync_states SET cursor = NULL, full_at = NULL WHERE provider_id = :id"),
        {"id": provider_id},
    )


def finish(session: Session, provider_id: str) -> None:
    """Note that the partner was synced through, and with it a pass through the whole feed if this was one."""
    session.execute(
        text(
            "UPDATE partner_sync_states SET finished_at = now(), position = NULL, full_at = coalesce(full_at, now())"
            " WHERE provider_id = :id"
        ),
        {"id": provider_id},
    )


def next_batch(session: Session, provider_id: str, after: str | None, limit: int) -> list[Target]:
    """Return the next active seats of a partner in id order."""
    rows = session.execute(
        text(
            """
            SELECT e.id, e.external_enrollment_id, e.provider_id, p.provider_type, e.status, e.correlation_id
            FROM partner_lms_enrollments e JOIN partner_lms_providers p ON p.id = e.provider_id
            WHERE e.provider_id = :provider AND e.status = 'active' AND e.external_enrollment_id IS NOT NULL
                AND (CAST(:after AS uuid) IS NULL OR e.id > CAST(:after AS uuid))
            ORDER BY e.id LIMIT :limit
            """
        ),
        {"provider": provider_id, "after": after, "limit": limit},
    )
    return [Target(**row._mapping) for row in rows]


def load_target(session: Session, enrollment_id: str) -> Target:
    """Return one seat; raise `NotFound` when there is no such enrolment or it has no seat yet."""
    row = session.execute(
        text(
            """
            SELECT e.id, e.external_enrollment_id, e.provider_id, p.provider_type, e.status, e.correlation_id
            FROM partner_lms_enrollments e JOIN partner_lms_providers p ON p.id = e.provider_id WHERE e.id = :id
            """
        ),
        {"id": enrollment_id},
    ).one_or_none()
    if row is None or row.external_enrollment_id is None:
        raise NotFound(f"enrolment {enrollment_id} has no seat at a partner")
    return Target(**row._mapping)


def apply(session: Session, provider_id: str, provider_type: str, reports: Iterable[Report]) -> int:
    """Write what changed, ask for certificate and XP of what was completed; return the number of rows written."""
    # One report a seat, the newest by the partner's clock: an UPDATE ... FROM takes an arbitrary one of several.
    newest: dict[str, Report] = {}
    for report in reports:
        other = newest.get(report.external_enrollment_id)
        if other is None or _is_newer(report, other):
            newest[report.external_enrollment_id] = report
    if not newest:
        return 0
    complete_at = session.scalar(COMPLETE_AT, {"type": provider_type})
    batch = [
        replace(
            report,
            completed=report.completed or (complete_at is not None and report.percentage >= complete_at),
        )
        for report in newest.values()
    ]
    rows = session.execute(
        APPLY,
        {
            "provider": provider_id,
            "ids": [report.external_enrollment_id for report in batch],
            "percentages": [report.percentage for report in batch],
            "completed": [report.completed for report in batch],
            "updated": [report.updated_at for report in batch],
            "completed_at": [report.completed_at for report in batch],
        },
    ).all()
    if completed := [row for row in rows if row.status == "completed"]:
        _ask_what_follows(session, provider_type, completed)
    return len(rows)


def _ask_what_follows(session: Session, provider_type: str, completed: Sequence[Row[Any]]) -> None:
    """Ask for the certificates and the XP of enrolments that were just completed, whose rows are still locked."""
    awards = {xp_partners.business_key(str(row.id)): row for row in completed}
    # A seat that was revoked and bought again has had its turn before, and gets another one.
    known = set(session.scalars(KNOWN_AWARDS, {"kind": xp.AWARD, "keys": list(awards)}))
    for key in known:
        xp_partners.ask(session, str(awards[key].id), awards[key].correlation_id)
    asked = [_certificate_job(row, provider_type) for row in completed]
    asked += [_award_job(key, row) for key, row in awards.items() if key not in known]
    jobs.enqueue_once(session, asked, [trace.current.get()] * len(asked))


def _certificate_job(row: Row[Any], provider_type: str) -> jobs.Enqueue:
    return jobs.Enqueue(
        FETCH_CERTIFICATE,
        str(row.id),
        queue=f"sync.{provider_type}",
        subject_id=str(row.id),
        partner=provider_type,
        correlation_id=row.correlation_id,
    )


def _award_job(key: str, row: Row[Any]) -> jobs.Enqueue:
    return jobs.Enqueue(xp.AWARD, key, xp.QUEUE, subject_id=str(row.id), correlation_id=row.correlation_id)


def ask_single(session: Session, targets: Iterable[Target], delay: float) -> list[str]:
    """Ask for single syncs of seats that could not be read with the others: each retries and fails alone.

    Returns the jobs' ids.
    """
    return [str(jobs.enqueue(session, _single_job(target, delay))) for target in targets]


def _single_job(target: Target, delay: float) -> jobs.Enqueue:
    return jobs.Enqueue(
        SYNC_ONE,
        target.id,
        queue=f"sync.{target.provider_type}",
        subject_id=target.id,
        partner=target.provider_type,
        correlation_id=target.correlation_id,
        delay=delay,
    )


def save_certificate(
    session: Session,
    enrollment_id: str,
    *,
    number: str,
    url: str | None,
    verification_url: str | None,
    issued_at: datetime | None,
    expires_at: datetime | None,
) -> None:
    """Store the certificate of an enrolment; a second call brings it up to date."""
    session.execute(
        text(
            """
            WITH stored AS (
                INSERT INTO partner_certificates (enrollment_id, student_id, partner_id, certificate_number,
                    certificate_url, verification_url, issued_date, expiration_date)
                SELECT id, student_id, provider_id, :number, :url, :verification_url, :issued_at, :expires_at
                FROM partner_lms_enrollments WHERE id = :id
                ON CONFLICT (enrollment_id) DO UPDATE SET certificate_number = excluded.certificate_number,
                    certificate_url = excluded.certificate_url, verification_url = excluded.verification_url,
                    issued_date = excluded.issued_date, expiration_date = excluded.expiration_date
                RETURNING enrollment_id
            )
            UPDATE partner_lms_enrollments e SET external_certificate_id = :number, updated_at = now()
            FROM stored WHERE e.id = stored.enrollment_id
            """
        ),
        {
            "id": enrollment_id,
            "number": number,
            "url": url,
            "verification_url": verification_url,
            "issued_at": issued_at,
            "expires_at": expires_at,
        },
    )
    tell_completed(session, enrollment_id)


def tell_completed(session: Session, enrollment_id: str) -> None:
    """Ask for the mail that says so, once for each generation of the seat, unless it is completed no more."""
    row = session.execute(COMPLETED, {"id": enrollment_id}).one_or_none()
    if row is not None:
        key = f"completed:{enrollment_id}:{row.generation}"
        wanted = jobs.Enqueue(
            MAIL, key, queue="mail", subject_id=enrollment_id, correlation_id=row.correlation_id
        )
        jobs.enqueue(session, wanted, once=True)


def _is_newer(report: Report, other: Report) -> bool:
    if report.updated_at is None or other.updated_at is None:
        return report.percentage >= other.percentage
    return report.updated_at >= other.updated_at
