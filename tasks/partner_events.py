"""Events that partners sent: which seats to ask about again."""

from __future__ import annotations

import structlog
from sqlalchemy.orm import Session

from db.jobs import Claim
from domain import partner_events, payments
from workers.job import JobRun, job
from workers.outcome import Failure

log = structlog.get_logger("tasks.partner_events")


def record_failure(session: Session, held: Claim, failure: Failure) -> None:
    """Show an event that could not be dealt with where staff look; it can be replayed from there."""
    if failure.final:
        payments.mark_failed(session, held.subject_id, f"{failure.code}: {failure.message}")


@job("partner_events.process", on_failure=record_failure)
def process(run: JobRun) -> None:
    """Ask for a look at each seat that an event names. The asking is one transaction with this job's end."""

    def look(session: Session) -> None:
        outcome = partner_events.process(session, run.subject_id)
        log.info(
            "[PartnerWebhook] processed",
            asked=outcome.asked,
            skipped=outcome.skipped,
            unknown=len(outcome.unknown),
        )

    run.finally_write(look)
