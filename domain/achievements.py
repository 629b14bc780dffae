"""Achievements of one user: unlocked once each with their XP in the same transaction, taken back where they may be.

Only achievements that name a counter which changed are looked at, again and again until nothing changes: an unlock
itself moves counters. What is to be taken back goes first, then what is to be unlocked comes, so this ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import text
from sqlalchemy.orm import Session

from db.models.achievements import COUNTERS
from domain import counters, streak_store, xp, xp_corrections
from domain.conditions import Condition, Measure, holds, leaves
from domain.flags import enabled
from domain.levels import Curve

log = structlog.get_logger("domain.achievements")

# What an unlock moves.
MOVED = ("achievements.unlocked", *counters.OF_XP)

ENTRY = text("SELECT user_id, source_type, occurred_at FROM xp_transactions WHERE id = :id")
# Tiers that an active achievement has and the user has not.
OPEN = text(
    """
    SELECT a.id, a.code, a.version, a.revocable, tier.number, tier.body
    FROM achievements a, jsonb_array_elements(
        jsonb_build_array(jsonb_build_object('condition', a.condition, 'xp_reward', a.xp_reward)) || a.tiers
    ) WITH ORDINALITY AS tier(body, number)
    WHERE a.is_active AND (a.counters && CAST(:names AS text[]) OR a.id = CAST(:only AS uuid))
        AND NOT EXISTS (
            SELECT 1 FROM user_achievements u
            WHERE u.user_id = :user AND u.achievement_id = a.id AND u.tier = tier.number
        )
    ORDER BY a.code, tier.number
    """
)
# What the user has and may lose, by the version under which it was unlocked, with the latest award for it.
HELD = text(
    """
    SELECT u.id, u.achievement_id, a.code, u.tier, v.definition, award.id AS award, award.reversed, award.cause_reversed
    FROM user_achievements u JOIN achievements a ON a.id = u.achievement_id
    JOIN achievement_versions v ON v.achievement_id = u.achievement_id AND v.version = u.version
    LEFT JOIN LATERAL (
        SELECT t.id, EXISTS (SELECT 1 FROM xp_transactions r WHERE r.reverses_id = t.id) AS reversed,
            EXISTS (SELECT 1 FROM xp_transactions r WHERE r.reverses_id = t.caused_by_id) AS cause_reversed
        FROM xp_transactions t
        WHERE t.user_id = u.user_id AND t.business_key = 'achievement:' || a.code || ':' || u.tier
        ORDER BY t.generation DESC LIMIT 1
    ) AS award ON true
    WHERE u.user_id = :user AND (v.definition -> 'revocable')::boolean
    ORDER BY a.code, u.tier
    """
)
UNLOCK = text(
    """
    INSERT INTO user_achievements (user_id, achievement_id, tier, version) VALUES (:user, :achievement, :tier, :version)
    ON CONFLICT (user_id, achievement_id, tier) DO NOTHING RETURNING 1
    """
)
TAKE_BACK = text("DELETE FROM user_achievements WHERE id = :id")


NEXT_USERS = text("SELECT id FROM users WHERE id > :after ORDER BY id LIMIT :limit FOR NO KEY UPDATE")
# Users whose counters are built anew in one transaction.
REBUILT = 100


@dataclass(frozen=True)
class Rebuilt:
    """Users whose caches were built anew, in how many they said something else, and where to go on (None: the end)."""

    users: int
    differed: int
    next_after: str | None


@dataclass(frozen=True)
class Tier:
    """A tier of an achievement, to be unlocked or held. `number` counts from 1."""

    achievement_id: str
    code: str
    version: int
    number: int
    condition: Condition
    xp_reward: int
    revocable: bool

    @property
    def key(self) -> str:
        """Return the business key of its award."""
        return f"achievement:{self.code}:{self.number}"

    @property
    def measures(self) -> set[Measure]:
        """Return what its condition looks at."""
        return {leaf.measure for leaf in leaves(self.condition.when)}


def follow_award(session: Session, curve: Curve, entry_id: str, *, xp_per_day: int) -> str | None:
    """Do what follows from an award: the day of the streak, the counters, achievements. Safe to repeat.

    Returns the user, None where there is no such entry.
    """
    entry = session.execute(ENTRY, {"id": entry_id}).one_or_none()
    if entry is None:
        return None
    user_id = str(entry.user_id)
    names = (*counters.OF_XP, *counters.OF_SOURCE.get(entry.source_type, ()))
    active_at = entry.occurred_at if entry.source_type in counters.ACTIVE_SOURCES else None
    counters.note(session, user_id, names, active_at)
    settle(session, curve, user_id, xp_per_day=xp_per_day, cause=entry_id)
    return user_id


def settle(
    session: Session, curve: Curve, user_id: str, *, xp_per_day: int, cause: str | None = None
) -> None:
    """Settle what is open for a user: stamped days, stale counters, achievements. Safe to repeat.

    `cause` is the award that led here. Days that are settled while streaks are switched off give no XP. While
    achievements are, nothing is counted or unlocked: `usher achievements rebuild` makes up for that.
    """
    if not counters.lock(session, user_id):
        return
    per_day = xp_per_day if enabled(session, "streaks") else 0
    if streak_store.settle_days(session, curve, user_id, xp_per_day=per_day):
        counters.note(session, user_id, ("days.active", "streak.longest"))
    if enabled(session, "achievements"):
        follow(session, curve, user_id, counters.recount(session, user_id), cause)


def follow(
    session: Session, curve: Curve, user_id: str, changed: Iterable[str], cause: str | None = None
) -> None:
    """Take back and unlock what follows from counters that changed, to the end. The caller holds the user's row."""
    names = set(changed)
    for step in (_take_back, unlock):
        todo = set(names)
        while todo and step(session, curve, user_id, todo, cause):
            counters.note(session, user_id, MOVED)
            todo = counters.recount(session, user_id)
            names |= todo


def rebuild_batch(
    session: Session, curve: Curve, after: str = counters.FIRST, limit: int = REBUILT, *, xp_per_day: int
) -> Rebuilt:
    """Build the streaks and counters of some users anew from the facts, and settle what follows. Safe to repeat."""
    ids = [str(id) for id in session.scalars(NEXT_USERS, {"after": after, "limit": limit})]
    streak_store.refresh(session, ids)
    differed = 0
    for user_id in ids:
        differed += counters.rebuild(session, user_id)
        settle(session, curve, user_id, xp_per_day=xp_per_day)
        if enabled(session, "achievements"):
            follow(session, curve, user_id, COUNTERS)
    return Rebuilt(len(ids), differed, ids[-1] if len(ids) == limit else None)


def unlock(
    session: Session,
    curve: Curve,
    user_id: str,
    names: Iterable[str],
    cause: str | None = None,
    only: str | None = None,
) -> bool:
    """Unlock each tier that names one of these counters, or is of the achievement `only`, and whose condition holds.

    Returns whether there was one. The caller holds the user's row.
    """
    rows = session.execute(OPEN, {"user": user_id, "names": sorted(names), "only": only}).all()
    tiers = [
        Tier(str(row.id), row.code, row.version, row.number, **_read(row.body), revocable=row.revocable)
        for row in rows
    ]
    found = _values(session, user_id, tiers)
    earned = [tier for tier in tiers if holds(tier.condition.when, found)]
    return sum(_give(session, curve, user_id, tier, cause) for tier in earned) > 0


def _take_back(session: Session, curve: Curve, user_id: str, names: Iterable[str], cause: str | None) -> bool:
    """Take back what does not hold any more; give XP anew that went with their cause while the condition holds still."""
    rows = [
        row
        for row in session.execute(HELD, {"user": user_id})
        if not set(names).isdisjoint(row.definition["counters"])
    ]
    tiers = [_held(row) for row in rows]
    found = _values(session, user_id, tiers)
    moved = False
    for row, tier in zip(rows, tiers, strict=True):
        if not holds(tier.condition.when, found):
            session.execute(TAKE_BACK, {"id": row.id})
            xp_corrections.reverse_key(session, curve, user_id, tier.key, reason="achievement_revoked")
            log.info("[Achievement] taken back", user_id=user_id, code=tier.code, tier=tier.number)
            moved = True
        elif row.reversed and row.cause_reversed:
            _award(session, curve, user_id, tier, cause)
            moved = True
    return moved


def _give(session: Session, curve: Curve, user_id: str, tier: Tier, cause: str | None) -> bool:
    values = {
        "user": user_id,
        "achievement": tier.achievement_id,
        "tier": tier.number,
        "version": tier.version,
    }
    if session.execute(UNLOCK, values).one_or_none() is None:
        return False
    _award(session, curve, user_id, tier, cause)
    log.info("[Achievement] unlocked", user_id=user_id, code=tier.code, tier=tier.number)
    return True


def _award(session: Session, curve: Curve, user_id: str, tier: Tier, cause: str | None) -> None:
    if tier.xp_reward == 0:
        return
    wanted = xp.Award(
        user_id=user_id,
        key=tier.key,
        base=tier.xp_reward,
        source_type="SPECIAL_ACHIEVEMENT",
        source_id=tier.achievement_id,
        category="ACHIEVEMENT",
        reason="achievement_unlocked",
        description="Achievement unlocked",
        caused_by=cause,
        revocable=tier.revocable,
    )
    xp.award(session, curve, wanted)


def _values(session: Session, user_id: str, tiers: Sequence[Tier]) -> dict[Measure, int]:
    return counters.values(session, user_id, {measure for tier in tiers for measure in tier.measures})


def _held(row: Any) -> Tier:
    """Return a held tier as its version has it."""
    body = row.definition if row.tier == 1 else row.definition["tiers"][row.tier - 2]
    return Tier(str(row.achievement_id), row.code, 0, row.tier, **_read(body), revocable=True)


def _read(body: Any) -> dict[str, Any]:
    return {"condition": Condition.model_validate(body["condition"]), "xp_reward": body["xp_reward"]}
