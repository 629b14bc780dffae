"""Certificates as tasks: issuing one that was earned, looking again after a reversal, deleting files that nobody uses."""

from __future__ import annotations

import structlog
from sqlalchemy.orm import Session

from db.session import transaction
from domain import assignment_files, certificates, files, flags
from domain.certificates import HeldBefore, NameMissing, NotEligible
from domain.errors import NotFound
from partners.errors import NotReadyYet
from settings import get_settings
from workers.job import JobRun, job, periodic
from workers.verdict import GiveUp

log = structlog.get_logger("tasks.certificates")

# Files deleted between two looks at the database.
BATCH = 100


@job("certificates.issue")
def issue(run: JobRun) -> None:
    """Issue the certificate that the job's key names, `{user}:{course}`; wait while they are off, or the user has no name."""
    user_id, _, course_id = run.held.business_key.partition(":")
    try:
        run.checkpoint(lambda session: _issue(session, user_id, course_id))
    except (HeldBefore, NotEligible) as reason:
        log.info("[Certificate] nothing to issue", user_id=user_id, course_id=course_id, reason=reason.code)
    except NameMissing as reason:
        raise NotReadyYet(str(reason)) from None
    except NotFound as reason:
        raise GiveUp(str(reason)) from None


@job("certificates.review")
def review(run: JobRun) -> None:
    """Revoke what a reversal took the ground from. The subject is the user."""
    revoked = run.checkpoint(lambda session: certificates.review(session, run.subject_id))
    log.info("[Certificate] reviewed", user_id=run.subject_id, revoked=revoked)


@periodic("files.sweep")
def sweep() -> None:
    """Delete uploads that were never handed in, and those whose assignment is gone, batch by batch."""
    store = get_settings().file_store()
    while True:
        with transaction() as session:
            loose = assignment_files.take_back(session, BATCH)
        for file_id in loose:
            files.remove(store, file_id)
        with transaction() as session:
            assignment_files.forget(session, loose)
        if len(loose) < BATCH:
            return


def _issue(session: Session, user_id: str, course_id: str) -> None:
    if not flags.enabled(session, "certificates"):
        raise NotReadyYet("certificates are switched off")
    certificates.issue(session, user_id, course_id)
