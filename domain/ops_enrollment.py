"""Enrolments for people: lists, one with its whole timeline, and what staff may do to it, each with a reason.

A page shows a version of what it is about; whoever acts on an older one is told so.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db.models.enrollment import ENROLLMENT_STATUSES
from domain import enrollments, entitlements, staff
from domain.enrollments import STEPS, WALK
from domain.errors import DomainError, NotFound, NotPossible
from domain.ops_view import TIMELINE

Row = dict[str, Any]

# What students name to staff (`domain.student_view.failure_reference`).
REFERENCE = re.compile("[0-9a-fA-F]{8}")
# Which statuses an enrolment may be in for what.
REVOCABLE = frozenset({"pending", "active", "completed", "failed", "suspended"})
RESTORABLE = frozenset({"suspended", "revoked"})
# Steps whose outcome is an id at the partner.
WITH_PARTNER_ID = frozenset({"account", "seat"})

LIST = """
    SELECT e.id, e.status, e.created_at, e.progress_percentage, e.failure_reason, e.student_id, u.email AS student, u.name,
        p.provider_name AS provider, c.course_name, c.course_code
    FROM partner_lms_enrollments e
    JOIN users u ON u.id = e.student_id
    JOIN partner_lms_providers p ON p.id = e.provider_id
    JOIN partner_courses c ON c.id = e.course_id
    WHERE {conditions} ORDER BY e.created_at DESC, e.id DESC LIMIT :limit
"""
BY_STUDENT = "e.student_id = (SELECT id FROM users WHERE lower(email) = lower(:find))"
BY_ID = "(e.id = CAST(:find AS uuid) OR e.student_id = CAST(:find AS uuid))"
# A seat's id at whichever partner has one of it: one look into the index for each partner.
BY_SEAT = "e.id IN (SELECT s.id FROM partner_lms_providers q JOIN partner_lms_enrollments s"
BY_SEAT += " ON s.provider_id = q.id AND s.external_enrollment_id = :find)"
BY_REFERENCE = "e.id >= CAST(:first AS uuid) AND e.id <= CAST(:final AS uuid)"
PROVIDERS = text(
    "SELECT id, provider_name, provider_type FROM partner_lms_providers ORDER BY provider_name, id"
)
SHOW = text(
    """
    SELECT e.id, e.status, e.generation, e.student_id, e.created_at, e.enrolled_at, e.completed_at, e.launch_checked_at,
        e.released_at, e.progress_percentage, e.progress_updated_at, e.external_account_id, e.external_enrollment_id,
        e.failure_reason, e.correlation_id, u.email AS student, u.name, p.provider_name AS provider, p.provider_type,
        c.course_name, c.course_code, j.id AS job_id, j.state AS job_state, j.token AS job_token, j.attempts AS job_attempts,
        j.next_run_at AS job_due, j.last_error AS job_error
    FROM partner_lms_enrollments e
    JOIN users u ON u.id = e.student_id
    JOIN partner_lms_providers p ON p.id = e.provider_id
    JOIN partner_courses c ON c.id = e.course_id
    LEFT JOIN jobs j ON j.kind = :walk AND j.business_key = e.id::text
    WHERE e.id = :id
    """
)
# Oldest first. `key` tells entries of one moment apart.
WHOLE_TIMELINE = text(
    f"""
    WITH entries (at, what, state, attempt, duration_ms, detail) AS (
        {TIMELINE}
        UNION ALL
        SELECT k.at, 'call ' || k.method || ' ' || k.path_template, k.outcome, k.attempt, k.duration_ms,
            coalesce(k.status::text, '')
        FROM partner_calls k WHERE k.subject_id = :id
        UNION ALL
        SELECT a.created_at, 'staff ' || a.action, 'done', NULL, NULL, a.actor || coalesce(': ' || a.reason, '')
        FROM staff_actions a WHERE a.subject_id = CAST(:id AS text)
    )
    SELECT * FROM (
        SELECT *, md5(concat_ws('|', what, state, attempt, detail)) AS key FROM entries
    ) AS keyed
    WHERE CAST(:at AS timestamptz) IS NULL OR (at, key) > (:at, CAST(:last AS text))
    ORDER BY at, key LIMIT :limit
    """  # noqa: S608
)
STEPS_DONE = text(
    """
    SELECT s.step, s.state, s.attempt, s.started_at, s.finished_at FROM jobs j JOIN job_steps s ON s.job_id = j.id
    WHERE j.kind = :walk AND j.business_key = :id ORDER BY s.started_at
    """
)
MARK_DONE = text(
    """
    INSERT INTO job_steps (job_id, step, state, token, result, finished_at)
    SELECT id, :step, 'done', token, CAST(:result AS jsonb), clock_timestamp() FROM jobs WHERE kind = :walk AND business_key = :id
    ON CONFLICT (job_id, step) DO UPDATE SET state = 'done', result = excluded.result, finished_at = excluded.finished_at,
        token = excluded.token
    """
)


class Stale(DomainError):
    """Somebody or something changed it since the page was shown."""

    code = "stale_version"


@dataclass(frozen=True)
class Who:
    """Who acts, why, and on which version of what they saw."""

    actor: str
    reason: str
    version: str


def list_providers(session: Session) -> list[Row]:
    """Return the partners by name, for a choice."""
    return [dict(row._mapping) for row in session.execute(PROVIDERS)]


def list_enrollments(
    session: Session,
    *,
    status: str | None,
    provider_id: str | None,
    find: str | None,
    at: datetime | None,
    last: str | None,
    limit: int,
) -> list[Row]:
    """Return enrolments, the newest first.

    `find` is a student's whole e-mail address or id, or of an enrolment our id, the partner's, or its reference for support.
    """
    conditions, values = _find(find)
    if at is not None:
        conditions.append("(e.created_at, e.id) < (:at, CAST(:last AS uuid))")
    if status in ENROLLMENT_STATUSES:
        conditions.append("e.status = :status")
    if provider_id is not None:
        conditions.append("e.provider_id = CAST(:provider AS uuid)")
    statement = text(LIST.format(conditions=" AND ".join(conditions) or "true"))
    values |= {"at": at, "last": last, "status": status, "provider": provider_id, "limit": limit}
    return [dict(row._mapping) for row in session.execute(statement, values)]


def _find(find: str | None) -> tuple[list[str], Row]:
    if find is None:
        return [], {}
    if "@" in find:
        return [BY_STUDENT], {"find": find}
    try:
        return [BY_ID], {"find": str(uuid.UUID(find))}
    except ValueError:
        pass
    if REFERENCE.fullmatch(find):
        first, final = f"{find}-0000-0000-0000-000000000000", f"{find}-ffff-ffff-ffff-ffffffffffff"
        return [f"({BY_REFERENCE} OR {BY_SEAT})"], {"find": find, "first": first, "final": final}
    return [BY_SEAT], {"find": find}


def show(session: Session, enrollment_id: str) -> Row:
    """Return one enrolment with its walk, its steps, what its payments entitle to, and its version; raise `NotFound`."""
    row = session.execute(SHOW, {"id": enrollment_id, "walk": WALK}).one_or_none()
    if row is None:
        raise NotFound(f"there is no enrolment {enrollment_id}")
    steps = session.execute(STEPS_DONE, {"id": enrollment_id, "walk": WALK})
    found = dict(row._mapping)
    return {
        **found,
        "steps": [dict(step._mapping) for step in steps],
        "entitled": entitlements.target(session, enrollment_id),
        "version": _version(found),
    }


def list_timeline(
    session: Session, enrollment_id: str, *, at: datetime | None, last: str | None, limit: int
) -> list[Row]:
    """Return what happened: webhook, payment, steps, failures, calls to the partner, mails, what staff did. Oldest first."""
    values = {"id": enrollment_id, "at": at, "last": last, "limit": limit}
    return [dict(row._mapping) for row in session.execute(WHOLE_TIMELINE, values)]


def replay(
    session: Session, enrollment_id: str, who: Who, *, partner_types: Collection[str], from_step: str | None
) -> None:
    """Have what was given up tried again, from a step where one is named; raise `Stale`, `NotFound`, `NotPossible`."""
    _lock(session, enrollment_id, who)
    enrollments.replay(session, enrollment_id, partner_types=partner_types, from_step=from_step)
    _record(session, "failures.retry", enrollment_id, who, {"from_step": from_step} if from_step else {})


def skip(
    session: Session,
    enrollment_id: str,
    who: Who,
    *,
    step: str,
    partner_id: str | None,
    partner_types: Collection[str],
) -> None:
    """Take a step for done that was done at the partner by hand, and go on after it. The reason is the evidence.

    `partner_id` is the account's or the seat's id there. Raises `Stale`, `NotFound`, and `NotPossible` for what was not
    given up, an unknown step, a missing id, and a seat that another enrolment has.
    """
    _lock(session, enrollment_id, who)
    if step not in STEPS:
        raise NotPossible(f"there is no step {step!r}; the steps are {', '.join(STEPS)}")
    if step in WITH_PARTNER_ID and not partner_id:
        raise NotPossible(f"the step {step} needs the id that the partner gave")
    enrollments.replay(session, enrollment_id, partner_types=partner_types)
    enrollment = enrollments.load(session, enrollment_id)
    result = {"skipped": True, **({"id": partner_id} if step in WITH_PARTNER_ID else {})}
    values = {"step": enrollment.step(step), "result": json.dumps(result), "walk": WALK, "id": enrollment_id}
    session.execute(MARK_DONE, values)
    try:
        if step == "account":
            enrollments.record_accounts(session, [(enrollment, partner_id or "")])
        elif step == "seat":
            enrollments.record_seats(session, [(enrollment, partner_id or "")])
    except IntegrityError:
        raise NotPossible("another enrolment has this seat") from None
    _record(session, "enrollment.skip", enrollment_id, who, {"step": step, "partner_id": partner_id})


def revoke(session: Session, enrollment_id: str, who: Who) -> None:
    """Take a seat away by hand. What Stripe tells of its payment afterwards decides anew."""
    enrollment = _lock(session, enrollment_id, who)
    if enrollment.status not in REVOCABLE:
        raise NotPossible(f"enrolment {enrollment_id} is {enrollment.status} already")
    enrollments.revoke(session, enrollment)
    _record(session, "enrollment.revoke", enrollment_id, who, {"was": enrollment.status})


def restore(session: Session, enrollment_id: str, who: Who) -> None:
    """Open a suspended or revoked seat anew by hand. What Stripe tells of its payment afterwards decides anew."""
    enrollment = _lock(session, enrollment_id, who)
    if enrollment.status not in RESTORABLE:
        raise NotPossible(f"enrolment {enrollment_id} is {enrollment.status}, there is nothing to restore")
    enrollments.restore(session, enrollment)
    _record(session, "enrollment.restore", enrollment_id, who, {"was": enrollment.status})


def _lock(session: Session, enrollment_id: str, who: Who) -> enrollments.Enrollment:
    """Lock the enrolment and return it; raise `Stale` where it is not what the person saw."""
    enrollment = enrollments.lock(session, enrollment_id)
    row = session.execute(SHOW, {"id": enrollment_id, "walk": WALK}).one()
    if _version(dict(row._mapping)) != who.version:
        raise Stale(f"enrolment {enrollment_id} has changed")
    return enrollment


def _version(found: Row) -> str:
    return f"{found['generation']}:{found['status']}:{found['job_state']}:{found['job_token']}"


def _record(session: Session, action: str, enrollment_id: str, who: Who, detail: Row) -> None:
    staff.record(
        session,
        actor=who.actor,
        action=action,
        subject=("enrollment", enrollment_id),
        reason=who.reason,
        detail=detail,
    )
