"""What is kept for those who watch: alerts, what was counted, and what was last seen of each queue."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Double, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, Id, WithId, one_of

ALERT_KINDS = (
    "payment_not_ready",
    "queue_unclaimed",
    "beat_silent",
    "relay_silent",
    "partner_paused",
    "partner_circuit_open",
    "xp_drift",
)


class Alert(WithId, Base):
    """One occurrence of something that staff have to hear about. Of each kind and subject, one is open at a time."""

    __tablename__ = "alerts"
    __table_args__ = (
        CheckConstraint(one_of("kind", ALERT_KINDS), name="kind"),
        Index("uq_alerts_open", "kind", "subject", unique=True, postgresql_where=text("resolved_at IS NULL")),
        Index("ix_alerts_resolved_at", "resolved_at", postgresql_where=text("resolved_at IS NOT NULL")),
    )

    kind: Mapped[str]
    # The partner or the queue; empty where there is only one of its kind.
    subject: Mapped[str] = mapped_column(server_default=text("''"))
    opened_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    resolved_at: Mapped[datetime | None]
    # When staff last heard of it, and up to which moment what happened was told: what came later is news.
    told_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    told_until: Mapped[datetime | None]
    figures: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))


class PartnerCallCount(Base):
    """How many calls of one outcome a partner got before `counted_until`, also of those that are forgotten by now."""

    __tablename__ = "partner_call_counts"

    partner: Mapped[str] = mapped_column(primary_key=True)
    outcome: Mapped[str] = mapped_column(primary_key=True)
    calls: Mapped[int] = mapped_column(BigInteger)
    milliseconds: Mapped[int] = mapped_column(BigInteger)


class CountedUntil(Base):
    """Up to which moment the rows of a table are in its counts."""

    __tablename__ = "counted_until"

    name: Mapped[str] = mapped_column(primary_key=True)
    until: Mapped[datetime]


class CountedFigure(Base):
    """What takes too long to be counted at each scrape of `/metrics`, as it was counted last."""

    __tablename__ = "counted_figures"

    name: Mapped[str] = mapped_column(primary_key=True)
    # The rows of the count.
    figures: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))
    # Null until it was counted once.
    counted_at: Mapped[datetime | None]
    # Seconds that the count took.
    took: Mapped[float] = mapped_column(Double, server_default=text("0"))


class QueueState(Base):
    """What was last seen of one queue: its head, which is the job that is due the longest, and what the broker holds."""

    __tablename__ = "queue_states"

    queue: Mapped[str] = mapped_column(primary_key=True)
    # Null where nothing was due. A claim raises the token, so the same head with the same token was not claimed.
    head_id: Mapped[Id | None]
    head_token: Mapped[int | None] = mapped_column(BigInteger)
    head_since: Mapped[datetime | None]
    # Doorbells in the broker; null while it did not answer.
    depth: Mapped[int | None] = mapped_column(BigInteger)
    depth_at: Mapped[datetime | None]
