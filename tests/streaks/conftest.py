"""Students, and times that are so many days ago by the database's clock."""

from __future__ import annotations

from datetime import datetime, timedelta

from db.session import transaction
from domain import achievements, counters, streak_store
from domain.levels import SQRT
from tests.stack import scalar


def now() -> datetime:
    """Return the database's clock."""
    at = scalar("SELECT now()")
    assert isinstance(at, datetime)
    return at


def be_active(user: str, *days_ago: int) -> None:
    """Report activity of earlier days, each in a transaction of its own."""
    for days in days_ago:
        with transaction() as session:
            counters.changed(session, user, active_at=now() - timedelta(days=days))


def settle(user: str, xp_per_day: int = 0) -> None:
    """Do what the user's job does."""
    with transaction() as session:
        achievements.settle(session, SQRT, user, xp_per_day=xp_per_day)


def look(user: str) -> streak_store.Standing:
    """Return the user's streak from the facts."""
    with transaction() as session:
        return streak_store.look(session, user)
