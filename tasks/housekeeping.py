"""What keeps the tables small and the waiting list short."""

from __future__ import annotations

import structlog

from db.session import transaction
from domain import payments, retention
from workers.job import periodic

log = structlog.get_logger("tasks.housekeeping")


@periodic("housekeeping.reconsider_waiting")
def reconsider_waiting() -> None:
    """Look again at payments whose student, partner or course we did not know."""
    with transaction() as session:
        asked = payments.reconsider_waiting(session)
    if asked:
        log.info("[StripeWebhook] reconsidering", events=asked)


@periodic("housekeeping.trim")
def trim() -> None:
    """Forget what has passed its time, batch by batch; what is left when a turn is cut short goes with the next."""
    for rule in retention.in_force():
        forgotten = 0
        while count := _forget(rule):
            forgotten += count
        if forgotten:
            log.info("forgotten", table=rule.table, rows=forgotten)


def _forget(rule: retention.Rule) -> int:
    with transaction() as session:
        return retention.forget_batch(session, rule)
