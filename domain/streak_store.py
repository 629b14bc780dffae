"""Streaks in the database: days are stamped once, the state is computed from the facts, `user_streaks` caches it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import structlog
from sqlalchemy import text
from sqlalchemy.orm import Session

from domain import xp
from domain.errors import NotFound
from domain.levels import Curve
from domain.streaks import Facts, Rest, State, Zone, accepts, evaluate, local_date

log = structlog.get_logger("domain.streaks")

# Users of one batch of the nightly turn.
BATCH = 200

# The zone of that moment, not today's.
ZONE_AT = text(
    """
    SELECT clock_timestamp() AS now, coalesce((
        SELECT was FROM user_zone_changes c WHERE c.user_id = u.id AND c.changed_at > :at ORDER BY changed_at LIMIT 1
    ), u.time_zone) AS zone
    FROM users u WHERE u.id = :user
    """
)
STAMP = text(
    """
    INSERT INTO user_activity_days (user_id, local_date, time_zone, active_at) VALUES (:user, :date, :zone, :at)
    ON CONFLICT DO NOTHING RETURNING 1
    """
)
SETTLE = text(
    """
    UPDATE user_activity_days SET settled_at = now() WHERE user_id = :user AND settled_at IS NULL
    RETURNING local_date, active_at
    """
)
FACTS = text(
    """
    SELECT u.id, u.time_zone, clock_timestamp() AS now,
        ARRAY(SELECT local_date FROM user_activity_days d WHERE d.user_id = u.id) AS days,
        ARRAY(SELECT granted_on FROM streak_freeze_grants g WHERE g.user_id = u.id) AS grants
    FROM users u WHERE u.id = ANY(CAST(:ids AS uuid[])) ORDER BY u.id
    """
)
ZONES = text(
    "SELECT user_id, was, changed_at FROM user_zone_changes WHERE user_id = ANY(CAST(:ids AS uuid[])) ORDER BY changed_at"
)
RESTS = text(
    """
    SELECT user_id, first_date, last_date, weekday FROM streak_rest_days
    WHERE user_id IS NULL OR user_id = ANY(CAST(:ids AS uuid[]))
    """
)
SAVE = text(
    """
    INSERT INTO user_streaks (user_id, current_streak, longest_streak, last_activity_date, freezes_used,
        freezes_available, covered_dates, as_of)
    VALUES (:user, :current, :longest, :last_active, :used, :available, CAST(:covered AS date[]), :as_of)
    ON CONFLICT (user_id) DO UPDATE SET current_streak = excluded.current_streak,
        longest_streak = excluded.longest_streak, last_activity_date = excluded.last_activity_date,
        freezes_used = excluded.freezes_used, freezes_available = excluded.freezes_available,
        covered_dates = excluded.covered_dates, as_of = excluded.as_of, updated_at = now()
    """
)
LIVE_ZONES = text(
    """
    SELECT DISTINCT u.time_zone, clock_timestamp() AS now FROM user_streaks s JOIN users u ON u.id = s.user_id
    WHERE s.current_streak > 0 AND s.as_of < (now() AT TIME ZONE 'Etc/GMT-14')::date
    """
)
# Runs that were looked at on an earlier date than the one that their zone has now.
DUE = text(
    """
    SELECT u.id FROM user_streaks s JOIN users u ON u.id = s.user_id
    JOIN unnest(CAST(:zones AS text[]), CAST(:todays AS date[])) AS calendar(zone, today) ON calendar.zone = u.time_zone
    WHERE s.current_streak > 0 AND s.as_of < calendar.today AND u.id > :after
    ORDER BY u.id LIMIT :limit FOR NO KEY UPDATE OF u
    """
)


@dataclass(frozen=True)
class Standing:
    """A streak as it stands today, a date of the student's own calendar."""

    state: State
    today: date
    time_zone: str


def stamp(session: Session, user_id: str, at: datetime) -> bool:
    """Note that a student was active at an instant that the server or a partner tells; False where that adds no day.

    What is more than a week late or on a date that has not begun is not taken.
    """
    row = session.execute(ZONE_AT, {"user": user_id, "at": at}).one_or_none()
    if row is None:
        return False
    if not accepts(row.zone, at, row.now):
        log.info("[Streak] not taken: too late, or ahead", user_id=user_id, at=at.isoformat())
        return False
    values = {"user": user_id, "date": local_date(row.zone, at), "zone": row.zone, "at": at}
    return session.execute(STAMP, values).one_or_none() is not None


def settle_days(session: Session, curve: Curve, user_id: str, *, xp_per_day: int) -> int:
    """Count the days that were stamped since the last time and give their XP, once each; return how many there were.

    The caller holds the user's row.
    """
    days = sorted(tuple(row) for row in session.execute(SETTLE, {"user": user_id}))
    if days:
        refresh(session, [user_id])
    for day, at in days if xp_per_day > 0 else []:
        wanted = xp.Award(
            user_id=user_id,
            key=f"streak:{day}",
            base=xp_per_day,
            source_type="DAILY_STREAK",
            source_id=None,
            category="STREAK_BONUS",
            reason="active_day",
            description="Active day",
            occurred_at=at,
        )
        xp.award(session, curve, wanted)
    return len(days)


def look(session: Session, user_id: str) -> Standing:
    """Return a user's streak from the facts, whatever the cache says; raise `NotFound`."""
    found = _load(session, [user_id])
    if not found:
        raise NotFound(f"there is no user {user_id}")
    return _stand(*found[0])


def refresh(session: Session, ids: Sequence[str]) -> None:
    """Bring the cache of some users up to date. The caller holds their rows."""
    for row, facts in _load(session, ids):
        standing = _stand(row, facts)
        state = standing.state
        session.execute(
            SAVE,
            {
                "user": row.id,
                "current": state.current,
                "longest": state.longest,
                "last_active": state.last_active,
                "used": len(state.covered),
                "available": state.freezes_available,
                "covered": list(state.covered),
                "as_of": standing.today,
            },
        )


def live_zones(session: Session) -> dict[str, date]:
    """Return the zones of runs that may not have been looked at today, with each zone's date."""
    return {row.time_zone: local_date(row.time_zone, row.now) for row in session.execute(LIVE_ZONES)}


def refresh_due(session: Session, calendar: dict[str, date], after: str, limit: int = BATCH) -> str | None:
    """Look at some runs whose date has changed; return the last user, None where nothing is left.

    It may stop between any two batches: what was looked at is not due again on that date.
    """
    values = {"zones": list(calendar), "todays": list(calendar.values()), "after": after, "limit": limit}
    ids = [str(id) for id in session.scalars(DUE, values)]
    refresh(session, ids)
    return ids[-1] if ids else None


def _load(session: Session, ids: Sequence[str]) -> list[tuple[Any, Facts]]:
    """Return (row, facts) of each of these users that exists, in the order of their ids."""
    names = {"ids": list(ids)}
    zones: dict[str, list[Zone]] = defaultdict(list)
    for row in session.execute(ZONES, names):
        zones[str(row.user_id)].append(Zone(row.was, row.changed_at))
    rests: dict[str | None, list[Rest]] = defaultdict(list)
    for row in session.execute(RESTS, names):
        rests[row.user_id].append(Rest(row.first_date, row.last_date, row.weekday))
    return [
        (
            row,
            Facts(
                days=frozenset(row.days),
                zones=(*zones[str(row.id)], Zone(row.time_zone)),
                grants=tuple(row.grants),
                rest=(*rests[None], *rests[str(row.id)]),
            ),
        )
        for row in session.execute(FACTS, names)
    ]


def _stand(row: Any, facts: Facts) -> Standing:
    today = local_date(row.time_zone, row.now)
    return Standing(evaluate(facts, today), today, row.time_zone)
