"""XP as tasks: awards that nobody waits for, what follows from an award, deletions in batches, the nightly proof."""

from __future__ import annotations

import structlog
from sqlalchemy.orm import Session

from db.session import transaction
from domain import courses, levels, xp, xp_checks, xp_partners
from domain.errors import NotFound
from domain.levels import Curve
from domain.xp_errors import CompletedBefore, NoLesson, NotEnrolled
from settings import get_settings
from workers.job import JobRun, job, periodic
from workers.verdict import GiveUp

log = structlog.get_logger("tasks.xp")


@job("xp.award")
def award(run: JobRun) -> None:
    """Give the award that the job's key names: `lesson:{lesson}:{user}` or `partner-enrollment:{id}:completed`."""
    kind, name, _ = run.held.business_key.split(":", 2)
    try:
        if kind == "lesson":
            run.checkpoint(lambda session: _complete(session, run.subject_id, name))
        else:
            run.checkpoint(lambda session: xp_partners.settle(session, _curve(), run.subject_id))
    except CompletedBefore:
        log.info("[AwardXP] completed before", user_id=run.subject_id, lesson_id=name)
    except (NotEnrolled, NoLesson, NotFound) as reason:
        raise GiveUp(str(reason)) from None


@job("xp.after_award")
def after_award(run: JobRun) -> None:
    """Do what follows from an award. The subject is the ledger entry."""
    log.info("[AwardXP] awarded", entry_id=run.subject_id)


@job("courses.delete")
def delete_course(run: JobRun) -> None:
    """Delete a course batch by batch; a killed worker's successor goes on with what is left."""
    while run.checkpoint(lambda session: courses.delete_batch(session, _curve(), run.subject_id)):
        pass


@periodic("xp.verify")
def verify() -> None:
    """Compare every total with its ledger, chunk by chunk; repair and report what differs."""
    after: str | None = xp_checks.FIRST
    while after is not None:
        with transaction() as session:
            chunk = xp_checks.compare(session, _curve(), after)
            for drift in chunk.drifts:
                xp_checks.repair(session, _curve(), drift, actor="usher")
        after = chunk.next_after


def _complete(session: Session, user_id: str, lesson_id: str) -> None:
    course_id = courses.course_of(session, lesson_id)
    xp.complete_lesson(session, _curve(), xp.Completion(user_id, course_id, lesson_id))


def _curve() -> Curve:
    return levels.parse(get_settings().level_curve)
