"""XP as tasks: awards that nobody waits for, what follows from an award, deletions in batches, the nightly proof."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import structlog
from sqlalchemy.orm import Session

from db.session import transaction
from domain import achievements, alerts, certificates, courses, xp, xp_checks, xp_partners
from domain.errors import NotFound
from domain.levels import current_curve
from domain.xp_errors import CompletedBefore, NoLesson, NotEnrolled
from settings import get_settings
from workers.job import JobRun, job, periodic
from workers.verdict import GiveUp

log = structlog.get_logger("tasks.xp")


@job("xp.award")
def award(run: JobRun) -> None:
    """Give what the job's key names: `lesson:{lesson}:{user}:{epoch}` or `partner-enrollment:{id}:completed`."""
    kind, name, *rest = run.held.business_key.split(":")
    try:
        if kind == "lesson":
            run.checkpoint(lambda session: _complete(session, run.subject_id, name, rest))
        else:
            run.checkpoint(lambda session: xp_partners.settle(session, current_curve(), run.subject_id))
    except CompletedBefore:
        log.info("[AwardXP] completed before", user_id=run.subject_id, lesson_id=name)
    except (NotEnrolled, NoLesson, NotFound) as reason:
        raise GiveUp(str(reason)) from None


@job("xp.after_award")
def after_award(run: JobRun) -> None:
    """Do what follows from an award: streak, counters, achievements, certificates. The subject is the ledger entry."""
    per_day = get_settings().streak_xp
    with transaction() as session:
        achievements.follow_award(session, current_curve(), run.subject_id, xp_per_day=per_day)
    run.checkpoint(lambda session: certificates.follow_award(session, run.subject_id))
    log.info("[AwardXP] awarded", entry_id=run.subject_id)


@job("courses.delete")
def delete_course(run: JobRun) -> None:
    """Delete a course batch by batch; a killed worker's successor goes on with what is left."""
    while run.checkpoint(lambda session: courses.delete_batch(session, current_curve(), run.subject_id)):
        pass


@periodic("xp.verify")
def verify() -> None:
    """Compare every total with its ledger, chunk by chunk; repair what differs, and tell staff in one mail."""
    run = str(uuid.uuid4())
    after: str | None = xp_checks.FIRST
    while after is not None:
        with transaction() as session:
            chunk = xp_checks.compare(session, current_curve(), after)
            for drift in chunk.drifts:
                xp_checks.repair(session, current_curve(), drift, actor="usher", run=run)
            if chunk.drifts:
                alerts.tell_of_drift(session, run)
        after = chunk.next_after


def _complete(session: Session, user_id: str, lesson_id: str, rest: list[str]) -> None:
    """Complete a lesson at the time that the key ends with; one of an earlier version ends with the user."""
    course_id = courses.course_of(session, lesson_id)
    at = datetime.fromtimestamp(int(rest[1]), UTC) if len(rest) > 1 else None
    xp.complete_lesson(
        session, current_curve(), xp.Completion(user_id, course_id, lesson_id, completed_at=at)
    )
