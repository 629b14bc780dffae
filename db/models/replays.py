"""Bulk replays: who asked for one, why, and how far it came."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, Id, WithId, WithTimes, one_of

BATCH_STATES = ("canary", "running", "done", "stopped")
ITEM_STATES = ("waiting", "asked", "skipped")


class ReplayBatch(WithId, WithTimes, Base):
    """A replay of all open failures of one fingerprint: first one as a canary, then the others at a capped rate."""

    __tablename__ = "replay_batches"
    __table_args__ = (
        CheckConstraint(one_of("state", BATCH_STATES), name="state"),
        Index("ix_replay_batches_created_at", "created_at"),
    )

    fingerprint: Mapped[str]
    actor: Mapped[str]
    reason: Mapped[str]
    # Enrolments asked for per minute, once the canary got through.
    rate_per_minute: Mapped[int]
    state: Mapped[str] = mapped_column(server_default=text("'canary'"))
    stopped_reason: Mapped[str | None]
    finished_at: Mapped[datetime | None]


class ReplayItem(Base):
    """One enrolment of a bulk replay."""

    __tablename__ = "replay_items"
    __table_args__ = (
        CheckConstraint(one_of("state", ITEM_STATES), name="state"),
        Index(
            "ix_replay_items_waiting", "batch_id", "enrollment_id", postgresql_where=text("state = 'waiting'")
        ),
    )

    batch_id: Mapped[Id] = mapped_column(
        ForeignKey("replay_batches.id", ondelete="CASCADE"), primary_key=True
    )
    enrollment_id: Mapped[Id] = mapped_column(
        ForeignKey("partner_lms_enrollments.id", ondelete="CASCADE"), primary_key=True
    )
    state: Mapped[str] = mapped_column(server_default=text("'waiting'"))
    # The first that is tried; the others wait for how it ends.
    canary: Mapped[bool] = mapped_column(server_default=text("false"))
    note: Mapped[str | None]
