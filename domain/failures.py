"""The list of failed attempts (`partner_lms_enrollment_failures`): written for every one, resolved when it got through."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.orm import Session

from db import lean

RECORD = text(
    """
    INSERT INTO partner_lms_enrollment_failures (
        student_id, provider_id, course_id, program_id, enrollment_id, event_id, job_id, step,
        error_code, error_message, retry_count, final
    )
    SELECT :student_id, :provider_id, :course_id, :program_id, :enrollment_id, :event_id, :job_id, :step,
        :code, :message, :retry_count, :final
    WHERE NOT :once OR NOT EXISTS (
        SELECT 1 FROM partner_lms_enrollment_failures
        WHERE event_id = :event_id AND error_message = :message AND resolved_at IS NULL
    )
    """
)

RESOLVE_FOR_EVENT = lean.Statement(
    "resolve_failures_of_event",
    """
    UPDATE partner_lms_enrollment_failures SET resolved_at = now()
    WHERE event_id = {id} AND enrollment_id IS NULL AND resolved_at IS NULL
    """,
    id="uuid",
)
RESOLVE = lean.Statement(
    "resolve_failures",
    """
    UPDATE partner_lms_enrollment_failures SET resolved_at = now()
    WHERE enrollment_id = ANY({ids}) AND resolved_at IS NULL
    """,
    ids="uuid[]",
)


def record(
    session: Session,
    *,
    code: str,
    message: str,
    retry_count: int,
    final: bool,
    step: str | None = None,
    student_id: str | None = None,
    provider_id: str | None = None,
    course_id: str | None = None,
    program_id: str | None = None,
    enrollment_id: str | None = None,
    event_id: str | None = None,
    job_id: str | None = None,
    once: bool = False,
) -> None:
    """Write one failed attempt. `retry_count` is how often it had been retried before; `once` skips an open repeat."""
    session.execute(RECORD, {key: value for key, value in locals().items() if key != "session"})


def resolve_for_enrollments(session: Session, enrollment_ids: Sequence[str]) -> None:
    """Mark the failures of enrolments as resolved, since they got through."""
    lean.execute(session, RESOLVE, {"ids": list(enrollment_ids)})


def resolve_for_event(session: Session, event_id: str) -> None:
    """Mark the failures of an event as resolved, since its order was placed."""
    lean.execute(session, RESOLVE_FOR_EVENT, {"id": event_id})
