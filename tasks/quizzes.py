"""Quizzes as tasks: attempts whose time is over, and grading again after a correction."""

from __future__ import annotations

import structlog

from db.session import transaction
from domain import quiz_editing, quizzes
from domain.levels import current_curve
from workers.job import JobRun, job, periodic

log = structlog.get_logger("tasks.quizzes")


@periodic("quizzes.expire")
def expire() -> None:
    """Ask for the submission of every open attempt whose time is over, batch by batch."""
    asked = 1
    while asked:
        with transaction() as session:
            asked = quizzes.ask_close(session)


@job("quizzes.close")
def close(run: JobRun) -> None:
    """Submit what was saved of an attempt and grade it. The subject is the attempt."""
    if run.checkpoint(lambda session: quizzes.close_overdue(session, current_curve(), run.subject_id)):
        log.info("[Quiz] submitted at the deadline", attempt_id=run.subject_id)


@job("quizzes.regrade")
def regrade(run: JobRun) -> None:
    """Grade a quiz's attempts anew, batch by batch; a killed worker's successor goes on with what is left."""
    while run.checkpoint(
        lambda session: quiz_editing.regrade_batch(session, current_curve(), run.subject_id)
    ):
        pass
