"""Streaks: the facts that they follow from, and the cache of where each stands (seed D)."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import ARRAY, CheckConstraint, Date, ForeignKey, Index, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, Id, WithCreated, WithId, WithTimes


class UserActivityDay(WithCreated, Base):
    """A student was active on this date of their own calendar. Stamped once, in the zone of that moment.

    `settled_at` is set once the day has been counted and has given its XP.
    """

    __tablename__ = "user_activity_days"
    __table_args__ = (
        Index("ix_user_activity_days_unsettled", "user_id", postgresql_where=text("settled_at IS NULL")),
    )

    user_id: Mapped[Id] = mapped_column(ForeignKey("users.id"), primary_key=True)
    local_date: Mapped[date] = mapped_column(primary_key=True)
    time_zone: Mapped[str]
    active_at: Mapped[datetime]
    settled_at: Mapped[datetime | None]


class UserZoneChange(Base):
    """A user's time zone was changed: written by a trigger, whoever changes it. It excuses dates that were cut short."""

    __tablename__ = "user_zone_changes"

    user_id: Mapped[Id] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    changed_at: Mapped[datetime] = mapped_column(primary_key=True, server_default=text("now()"))
    was: Mapped[str]
    became: Mapped[str]


class StreakFreezeGrant(WithId, WithCreated, Base):
    """A freeze that staff gave. Those of the start and of milestones follow from the rules and have no row."""

    __tablename__ = "streak_freeze_grants"

    user_id: Mapped[Id] = mapped_column(ForeignKey("users.id"), index=True)
    granted_on: Mapped[date]


class StreakRestDay(WithId, WithCreated, Base):
    """Dates on which nobody has to be active, from `first_date` to `last_date` (None: for good), both included.

    `weekday` (1 is Monday) keeps it to one day of each week; `user_id` keeps it to one student.
    """

    __tablename__ = "streak_rest_days"
    __table_args__ = (
        CheckConstraint("weekday BETWEEN 1 AND 7", name="weekday"),
        CheckConstraint("first_date <= last_date", name="last_date"),
        CheckConstraint("weekday IS NOT NULL OR last_date IS NOT NULL", name="ends"),
        Index("ix_streak_rest_days_created_at_id", "created_at", "id"),
        Index("ix_streak_rest_days_user_id", "user_id"),
    )

    user_id: Mapped[Id | None] = mapped_column(ForeignKey("users.id"))
    weekday: Mapped[int | None] = mapped_column(SmallInteger)
    first_date: Mapped[date]
    last_date: Mapped[date | None]


class UserStreak(WithId, WithTimes, Base):
    """Where a streak stood on `as_of`, a date of the student's calendar: a cache of `domain.streaks.evaluate`."""

    __tablename__ = "user_streaks"
    __table_args__ = (
        # What may break overnight.
        Index("ix_user_streaks_live", "as_of", "user_id", postgresql_where=text("current_streak > 0")),
    )

    user_id: Mapped[Id] = mapped_column(ForeignKey("users.id"), unique=True)
    current_streak: Mapped[int] = mapped_column(server_default=text("0"))
    longest_streak: Mapped[int] = mapped_column(server_default=text("0"))
    last_activity_date: Mapped[date | None]
    freezes_used: Mapped[int] = mapped_column(server_default=text("0"))
    freezes_available: Mapped[int] = mapped_column(server_default=text("3"))
    covered_dates: Mapped[list[date]] = mapped_column(ARRAY(Date), server_default=text("'{}'::date[]"))
    as_of: Mapped[date]
