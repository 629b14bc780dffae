"""XP for courses of partners: a completed enrolment has its award, a revoked one has not."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.orm import Session

from db import jobs
from domain import xp, xp_corrections
from domain.errors import NotFound
from domain.levels import Curve

# What a completed partner course is worth where its metadata do not say (`xp_reward`).
REWARD = 200

LOAD = text(
    """
    SELECT e.student_id, e.status, e.completed_at, c.metadata -> 'xp_reward' AS reward
    FROM partner_lms_enrollments e JOIN partner_courses c ON c.id = e.course_id WHERE e.id = :id
    """
)


def ask(session: Session, enrollment_id: str, correlation_id: str | None = None) -> None:
    """Ask for the XP of a partner enrolment to be what its status says: given when completed, reversed when revoked."""
    jobs.enqueue(
        session,
        jobs.Enqueue(
            xp.AWARD,
            business_key(enrollment_id),
            xp.QUEUE,
            subject_id=enrollment_id,
            correlation_id=correlation_id,
        ),
    )


def settle(session: Session, curve: Curve, enrollment_id: str) -> None:
    """Give or take back the XP of a partner enrolment, whichever its status asks for; raise `NotFound`.

    A seat that is suspended or being walked anew keeps what it has: only a revocation takes it back.
    """
    row = session.execute(LOAD, {"id": enrollment_id}).one_or_none()
    if row is None:
        raise NotFound(f"there is no enrolment {enrollment_id}")
    key = business_key(enrollment_id)
    if row.status == "revoked":
        xp_corrections.reverse_key(session, curve, str(row.student_id), key, reason="enrollment_revoked")
    elif row.status == "completed":
        wanted = xp.Award(
            user_id=str(row.student_id),
            key=key,
            base=_reward(row.reward),
            source_type="PARTNER_ENROLLMENT",
            source_id=enrollment_id,
            category="PARTNER_COURSE",
            reason="partner_course_completed",
            description="Partner course completed",
            occurred_at=row.completed_at,
        )
        xp.award(session, curve, wanted)


def business_key(enrollment_id: str) -> str:
    """Return the key under which a completed partner enrolment is awarded."""
    return f"partner-enrollment:{enrollment_id}:completed"


def _reward(given: object) -> int:
    """Return the course's own reward where it is a sane number, the default where it is not."""
    sane = isinstance(given, int) and not isinstance(given, bool) and 0 <= given <= 1_000_000
    return int(str(given)) if sane else REWARD
