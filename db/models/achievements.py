"""Achievements, who has unlocked which, and the counters that they stand on (seed D)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, ForeignKey, Index, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, Id, WithCreated, WithId, WithTimes, one_of

COUNTERS = (
    "xp.total",
    "xp.season",
    "level",
    "lessons.completed",
    "courses.completed",
    "quizzes.passed",
    "quizzes.perfect",
    "assignments.passed",
    "assignments.on_time",
    "certificates.earned",
    "streak.longest",
    "days.active",
    "referrals.qualified",
    "challenges.completed",
    "achievements.unlocked",
)


class UserCounter(Base):
    """How much of something a user has done: a cache of the facts, counted anew while `stale`."""

    __tablename__ = "user_counters"
    __table_args__ = (
        CheckConstraint(one_of("name", COUNTERS), name="name"),
        Index("ix_user_counters_stale", "user_id", postgresql_where=text("stale")),
    )

    user_id: Mapped[Id] = mapped_column(ForeignKey("users.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    stale: Mapped[bool] = mapped_column(server_default=text("true"))
    updated_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class Achievement(WithId, WithTimes, Base):
    """An achievement as it holds now. `condition` and `xp_reward` are those of tier 1, `tiers` holds the higher ones.

    `counters` are those that its conditions name, for finding it when one of them changes. While a version is shown to
    everybody who was there before it, `backfilled_at` is null and `backfill_after` the last user that was looked at.
    """

    __tablename__ = "achievements"
    __table_args__ = (
        CheckConstraint("xp_reward BETWEEN 0 AND 1000000", name="xp_reward"),
        CheckConstraint("jsonb_array_length(tiers) <= 9", name="tiers"),
        Index("ix_achievements_counters", "counters", postgresql_using="gin"),
    )

    code: Mapped[str] = mapped_column(unique=True)
    version: Mapped[int] = mapped_column(server_default=text("1"))
    name: Mapped[str]
    description: Mapped[str] = mapped_column(server_default=text("''"))
    icon: Mapped[str] = mapped_column(server_default=text("''"))
    category: Mapped[str]
    condition: Mapped[dict[str, Any]]
    xp_reward: Mapped[int] = mapped_column(server_default=text("0"))
    tiers: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))
    counters: Mapped[list[str]] = mapped_column(ARRAY(Text))
    # Whether it is taken back when its condition does not hold any more.
    revocable: Mapped[bool] = mapped_column(server_default=text("false"))
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    backfill_after: Mapped[Id | None]
    backfilled_at: Mapped[datetime | None]


class AchievementVersion(WithCreated, Base):
    """What an achievement was in one of its versions. Written once."""

    __tablename__ = "achievement_versions"

    achievement_id: Mapped[Id] = mapped_column(
        ForeignKey("achievements.id", ondelete="CASCADE"), primary_key=True
    )
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    definition: Mapped[dict[str, Any]]


class UserAchievement(WithId, Base):
    """A tier that a user has unlocked, under the version of that time. It goes when a revocable one is taken back."""

    __tablename__ = "user_achievements"
    __table_args__ = (
        UniqueConstraint("user_id", "achievement_id", "tier"),
        CheckConstraint("tier BETWEEN 1 AND 10", name="tier"),
        Index("ix_user_achievements_user_id_unlocked_at", "user_id", "unlocked_at", "id"),
        Index("ix_user_achievements_achievement_id", "achievement_id"),
    )

    user_id: Mapped[Id] = mapped_column(ForeignKey("users.id"))
    achievement_id: Mapped[Id] = mapped_column(ForeignKey("achievements.id"))
    tier: Mapped[int] = mapped_column(server_default=text("1"))
    version: Mapped[int] = mapped_column(server_default=text("1"))
    unlocked_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
