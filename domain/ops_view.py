"""What staff look at: jobs, failures, events, enrolments and one enrolment's timeline. Read-only, paged, by index."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from db.session import find_rows
from domain.errors import NotFound

Row = dict[str, Any]

# What happened to one enrolment, but for calls to the partner and what staff did, which the console adds.
TIMELINE = """
    SELECT i.received_at AS at, 'webhook' AS what, 'done' AS state, NULL::int AS attempt, NULL::int AS duration_ms,
        i.type || ' ' || i.external_id AS detail
    FROM payment_lines l JOIN payments y ON y.id = l.payment_id JOIN inbox_events i ON i.id = y.event_id
    WHERE l.enrollment_id = :id
    UNION ALL
    SELECT y.paid_at, 'payment', y.state, NULL, NULL, y.checkout_session_id
    FROM payment_lines l JOIN payments y ON y.id = l.payment_id WHERE l.enrollment_id = :id AND y.paid_at IS NOT NULL
    UNION ALL
    SELECT s.started_at, CASE WHEN j.kind = 'mail.send' THEN 'mail ' || split_part(j.business_key, ':', 1) ELSE s.step END,
        s.state, s.attempt, s.duration_ms,
        CASE WHEN (s.result ->> 'adopted')::boolean THEN 'adopted ' || (s.result ->> 'id') ELSE s.result ->> 'id' END
    FROM jobs j JOIN job_steps s ON s.job_id = j.id WHERE j.subject_id = :id
    UNION ALL
    SELECT f.created_at, coalesce(f.step, 'attempt'), CASE WHEN f.final THEN 'failed' ELSE 'retried' END,
        f.retry_count + 1, NULL, f.error_code || ': ' || f.error_message
    FROM partner_lms_enrollment_failures f WHERE f.enrollment_id = :id
    UNION ALL
    SELECT r.created_at, 'refund', r.status, NULL, NULL, r.id || ' ' || r.amount
    FROM payment_lines l JOIN payments y ON y.id = l.payment_id
    JOIN payment_refunds r ON r.payment_intent_id = y.payment_intent_id WHERE l.enrollment_id = :id
    UNION ALL
    SELECT d.created_at, 'dispute', d.status, NULL, NULL, d.id
    FROM payment_lines l JOIN payments y ON y.id = l.payment_id
    JOIN payment_disputes d ON d.payment_intent_id = y.payment_intent_id WHERE l.enrollment_id = :id
    UNION ALL
    SELECT e.launch_checked_at, 'active', 'done', NULL, NULL, NULL
    FROM partner_lms_enrollments e WHERE e.id = :id AND e.launch_checked_at IS NOT NULL
    UNION ALL
    SELECT e.completed_at, 'completed', 'done', NULL, NULL, NULL
    FROM partner_lms_enrollments e WHERE e.id = :id AND e.completed_at IS NOT NULL
    UNION ALL
    SELECT k.created_at, 'certificate', 'done', NULL, NULL, k.certificate_number
    FROM partner_certificates k WHERE k.enrollment_id = :id
    UNION ALL
    SELECT coalesce(w.closed_at, w.created_at), 'work item ' || w.kind, w.state, NULL, NULL, w.id || coalesce(' ' || w.note, '')
    FROM manual_work_items w WHERE w.enrollment_id = :id
"""


def list_jobs(session: Session, *, state: str | None, kind: str | None, limit: int) -> list[Row]:
    """Return jobs, those that need somebody first: failed and parked, then by due time."""
    return find_rows(
        session,
        """
        SELECT id, kind, business_key, queue, state, attempts, next_run_at, last_error, updated_at FROM jobs
        WHERE (CAST(:state AS text) IS NULL OR state = :state) AND (CAST(:kind AS text) IS NULL OR kind = :kind)
        ORDER BY state IN ('failed', 'parked') DESC, next_run_at DESC LIMIT :limit
        """,
        state=state,
        kind=kind,
        limit=limit,
    )


def show_job(session: Session, job_id: str) -> Row:
    """Return one job with its steps; raise `NotFound`."""
    found = find_rows(session, "SELECT * FROM jobs WHERE id = :id", id=job_id)
    if not found:
        raise NotFound(f"there is no job {job_id}")
    steps = find_rows(session, "SELECT * FROM job_steps WHERE job_id = :id ORDER BY started_at", id=job_id)
    return {**found[0], "steps": steps}


def list_failures(session: Session, *, open_only: bool, limit: int) -> list[Row]:
    """Return failed attempts, newest first. `open_only` leaves out what got through and what will be retried."""
    return find_rows(
        session,
        """
        SELECT f.id, f.created_at, f.enrollment_id, f.event_id, u.email AS student, p.provider_name AS provider,
            c.course_code AS course, f.step, f.error_code, f.error_message, f.retry_count, f.final, f.resolved_at
        FROM partner_lms_enrollment_failures f
        LEFT JOIN users u ON u.id = f.student_id
        LEFT JOIN partner_lms_providers p ON p.id = f.provider_id
        LEFT JOIN partner_courses c ON c.id = f.course_id
        WHERE NOT :open_only OR (f.final AND f.resolved_at IS NULL)
        ORDER BY f.created_at DESC LIMIT :limit
        """,
        open_only=open_only,
        limit=limit,
    )


def show_failure(session: Session, failure_id: str) -> Row:
    """Return one failed attempt with all its columns; raise `NotFound`."""
    found = find_rows(session, "SELECT * FROM partner_lms_enrollment_failures WHERE id = :id", id=failure_id)
    if not found:
        raise NotFound(f"there is no failure {failure_id}")
    return found[0]


def list_events(session: Session, *, state: str | None, limit: int) -> list[Row]:
    """Return inbox events, newest first, without their payload."""
    return find_rows(
        session,
        """
        SELECT id, source, external_id, type, state, reason, received_at, processed_at FROM inbox_events
        WHERE CAST(:state AS text) IS NULL OR state = :state ORDER BY received_at DESC LIMIT :limit
        """,
        state=state,
        limit=limit,
    )


def show_event(session: Session, event_id: str) -> Row:
    """Return one event by our id or the sender's; raise `NotFound`."""
    found = find_rows(
        session,
        """
        SELECT id, source, external_id, type, state, reason, completion, completed_by, received_at, processed_at,
            octet_length(payload) AS payload_bytes
        FROM inbox_events WHERE id::text = :id OR external_id = :id
        """,
        id=event_id,
    )
    if not found:
        raise NotFound(f"there is no event {event_id}")
    return found[0]


def list_enrollments(session: Session, *, status: str | None, student: str | None, limit: int) -> list[Row]:
    """Return enrolments, newest first, of one status or one student (an e-mail address or an id)."""
    return find_rows(
        session,
        """
        SELECT e.id, e.status, u.email AS student, p.provider_name AS provider, c.course_code AS course,
            e.progress_percentage, e.created_at, e.enrolled_at, e.completed_at, e.failure_reason
        FROM partner_lms_enrollments e
        JOIN users u ON u.id = e.student_id
        JOIN partner_lms_providers p ON p.id = e.provider_id
        JOIN partner_courses c ON c.id = e.course_id
        WHERE (CAST(:status AS text) IS NULL OR e.status = :status)
            AND (CAST(:student AS text) IS NULL OR lower(u.email) = lower(:student) OR u.id::text = :student)
        ORDER BY e.created_at DESC LIMIT :limit
        """,
        status=status,
        student=student,
        limit=limit,
    )


def show_enrollment(session: Session, enrollment_id: str) -> Row:
    """Return one enrolment with its timeline: payment, steps, failures, mails, in the order in which they happened."""
    found = find_rows(
        session,
        """
        SELECT e.*, u.email AS student, p.provider_name AS provider, p.provider_type, c.course_name, c.course_code
        FROM partner_lms_enrollments e
        JOIN users u ON u.id = e.student_id
        JOIN partner_lms_providers p ON p.id = e.provider_id
        JOIN partner_courses c ON c.id = e.course_id
        WHERE e.id = :id
        """,
        id=enrollment_id,
    )
    if not found:
        raise NotFound(f"there is no enrolment {enrollment_id}")
    return {**found[0], "timeline": timeline(session, enrollment_id)}


def timeline(session: Session, enrollment_id: str) -> list[Row]:
    """Return what happened to an enrolment: `{at, what, state, attempt, duration_ms, detail}`, oldest first."""
    return find_rows(session, f"{TIMELINE} ORDER BY 1", id=enrollment_id)
