"""Streaks and achievements as tasks: what follows from a changed fact, new achievements for everybody, the nightly turn."""

from __future__ import annotations

from db.session import transaction
from domain import achievement_catalogue, achievements, streak_store
from domain.counters import FIRST
from domain.levels import current_curve
from settings import get_settings
from workers.job import JobRun, job, periodic


@job("gamification.settle")
def settle(run: JobRun) -> None:
    """Settle what is open for a user, the job's subject."""
    per_day = get_settings().streak_xp
    # A transaction of its own, without the job's row: that of the user comes first, and all of it may be done twice.
    with transaction() as session:
        achievements.settle(session, current_curve(), run.subject_id, xp_per_day=per_day)


@job("achievements.backfill")
def backfill(run: JobRun) -> None:
    """Show an achievement to everybody batch by batch; a killed worker's successor goes on with who is left."""
    while run.checkpoint(
        lambda session: achievement_catalogue.backfill_batch(session, current_curve(), run.subject_id)
    ):
        pass


@periodic("gamification.nightly")
def nightly() -> None:
    """Look at every run whose zone has begun a new date since it was looked at last."""
    with transaction() as session:
        calendar = streak_store.live_zones(session)
    after: str | None = FIRST
    while calendar and after is not None:
        with transaction() as session:
            after = streak_store.refresh_due(session, calendar, after)
