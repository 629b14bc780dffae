"""Stored Stripe events become enrolments."""

from __future__ import annotations

import structlog
from sqlalchemy.orm import Session

from db.jobs import Claim
from domain import payments
from partners.registry import provider_types
from workers.job import JobRun, job
from workers.outcome import Failure

log = structlog.get_logger("tasks.payments")


def record_failure(session: Session, held: Claim, failure: Failure) -> None:
    """Show an event that could not be dealt with where staff look; it can be replayed from there."""
    if failure.final:
        payments.mark_failed(session, held.subject_id, f"{failure.code}: {failure.message}")


@job("payments.process", on_failure=record_failure, keeps="enrollment.walk")
def process(run: JobRun) -> None:
    """Decide what a Stripe event means. The decision, the enrolment and its job are one transaction with this job's end."""

    def decide(session: Session) -> None:
        state = payments.process(session, run.subject_id, provider_types())
        log.info("[StripeWebhook] processed", state=state)

    run.finally_write(decide)
