"""Given-up work for people: failures by fingerprint, what a bulk replay would do, how one goes, jobs that were given up."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from domain import replays
from domain.errors import NotFound
from domain.replays import FINGERPRINT, LIKELY_CAUSES, OPEN, Plan

Row = dict[str, Any]

GROUPED = f"""
    SELECT {FINGERPRINT} AS fingerprint, p.provider_type AS partner, f.step, f.error_code, count(DISTINCT e.id) AS enrollments,
        min(f.created_at) AS oldest, max(f.created_at) AS newest,
        (array_agg(f.error_message ORDER BY f.created_at DESC))[1] AS example
    {OPEN}
"""
# The open failures are a partial index; they are grouped whole, and the page is cut out of the groups.
GROUPS = text(
    f"""
    SELECT * FROM ({GROUPED} GROUP BY 1, 2, 3, 4) AS g
    WHERE CAST(:count AS int) IS NULL OR (g.enrollments, g.fingerprint) < (:count, CAST(:last AS text))
    ORDER BY g.enrollments DESC, g.fingerprint DESC LIMIT :limit
    """  # noqa: S608
)
GROUP = text(f"{GROUPED} AND {FINGERPRINT} = :fingerprint GROUP BY 1, 2, 3, 4")
MEMBERS = text(
    f"""
    SELECT f.id, f.created_at, f.enrollment_id, f.retry_count, f.error_message, e.status, c.course_name, c.course_code
    FROM (SELECT * FROM partner_lms_enrollment_failures WHERE final AND resolved_at IS NULL
        AND (CAST(:at AS timestamptz) IS NULL OR (created_at, id) < (:at, CAST(:last AS uuid)))) AS f
    JOIN partner_lms_enrollments e ON e.id = f.enrollment_id
    JOIN partner_lms_providers p ON p.id = e.provider_id
    JOIN partner_courses c ON c.id = e.course_id
    WHERE e.status IN ('failed', 'suspended', 'revoked') AND {FINGERPRINT} = :fingerprint
    ORDER BY f.created_at DESC, f.id DESC LIMIT :limit
    """  # noqa: S608
)
COUNTS = """
    (SELECT count(*) FROM replay_items i WHERE i.batch_id = b.id AND i.state = 'waiting') AS waiting,
    (SELECT count(*) FROM replay_items i WHERE i.batch_id = b.id AND i.state = 'asked') AS asked,
    (SELECT count(*) FROM replay_items i WHERE i.batch_id = b.id AND i.state = 'skipped') AS skipped,
    (SELECT count(*) FROM replay_items i JOIN partner_lms_enrollments e ON e.id = i.enrollment_id
        WHERE i.batch_id = b.id AND i.state = 'asked' AND e.status IN ('active', 'completed')) AS through,
    (SELECT count(*) FROM replay_items i JOIN partner_lms_enrollments e ON e.id = i.enrollment_id
        WHERE i.batch_id = b.id AND i.state = 'asked' AND e.status = 'failed') AS failed_again
"""
BATCHES = text(
    f"""
    SELECT b.id, b.created_at, b.fingerprint, b.actor, b.reason, b.state, b.stopped_reason, b.rate_per_minute, {COUNTS}
    FROM (SELECT * FROM replay_batches
        WHERE CAST(:at AS timestamptz) IS NULL OR (created_at, id) < (:at, CAST(:last AS uuid))
        ORDER BY created_at DESC, id DESC LIMIT :limit) AS b
    ORDER BY b.created_at DESC, b.id DESC
    """  # noqa: S608
)
BATCH = text(
    f"""
    SELECT b.id, b.created_at, b.fingerprint, b.actor, b.reason, b.state, b.stopped_reason, b.rate_per_minute, b.finished_at,
        {COUNTS}
    FROM replay_batches b WHERE b.id = :id
    """  # noqa: S608
)
SKIPPED = text(
    """
    SELECT enrollment_id, note FROM replay_items WHERE batch_id = :id AND state = 'skipped' ORDER BY enrollment_id LIMIT 50
    """
)
# A walk's job is not among them: its enrolment is, with its failures.
JOBS = text(
    """
    SELECT id, kind, queue, state, attempts, last_error, updated_at, subject_id FROM jobs
    WHERE state IN ('failed', 'parked') AND kind <> 'enrollment.walk'
        AND (CAST(:at AS timestamptz) IS NULL OR (updated_at, id) < (:at, CAST(:last AS uuid)))
    ORDER BY updated_at DESC, id DESC LIMIT :limit
    """
)


def list_groups(session: Session, *, count: int | None, last: str | None, limit: int) -> list[Row]:
    """Return open failures by fingerprint, the most frequent first, after the group `last` of `count` enrolments."""
    rows = session.execute(GROUPS, {"count": count, "last": last, "limit": limit})
    return [_explained(dict(row._mapping)) for row in rows]


def show_group(session: Session, fingerprint: str) -> Row:
    """Return one group; raise `NotFound` when nothing of it is open any more."""
    row = session.execute(GROUP, {"fingerprint": fingerprint}).one_or_none()
    if row is None:
        raise NotFound(f"no open failure has the fingerprint {fingerprint}")
    return _explained(dict(row._mapping))


def list_members(
    session: Session, fingerprint: str, *, at: datetime | None, last: str | None, limit: int
) -> list[Row]:
    """Return the failures of a group, the newest first."""
    values = {"fingerprint": fingerprint, "at": at, "last": last, "limit": limit}
    return [dict(row._mapping) for row in session.execute(MEMBERS, values)]


def plan(session: Session, fingerprint: str, partner_types: Collection[str]) -> tuple[Plan, str]:
    """Return what a replay would do, and a version of it: another one means that something changed meanwhile."""
    planned = replays.plan(session, fingerprint, partner_types)
    members = ",".join(planned.enrollments)
    return planned, hashlib.sha256(members.encode()).hexdigest()[:16]


def list_batches(session: Session, *, at: datetime | None, last: str | None, limit: int) -> list[Row]:
    """Return bulk replays, the newest first, with how far they came."""
    values = {"at": at, "last": last, "limit": limit}
    return [dict(row._mapping) for row in session.execute(BATCHES, values)]


def show_batch(session: Session, batch_id: str) -> Row:
    """Return one bulk replay with how far it came, and up to 50 of those that were skipped; raise `NotFound`."""
    row = session.execute(BATCH, {"id": batch_id}).one_or_none()
    if row is None:
        raise NotFound(f"there is no bulk replay {batch_id}")
    skipped = [dict(item._mapping) for item in session.execute(SKIPPED, {"id": batch_id})]
    return {**row._mapping, "left_out": skipped}


def list_jobs(session: Session, *, at: datetime | None, last: str | None, limit: int) -> list[Row]:
    """Return jobs that were given up, those of walks left out, the newest first."""
    values = {"at": at, "last": last, "limit": limit}
    return [dict(row._mapping) for row in session.execute(JOBS, values)]


def _explained(group: Row) -> Row:
    return {**group, "likely_cause": LIKELY_CAUSES.get(group["error_code"], "look at the example")}
