"""How each partner is doing, what may be asked of it, and what was asked."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, Identity, Index, Numeric, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, Id


class PartnerState(Base):
    """One row for each kind of partner: whether it is paused, its circuit breaker, and its limits."""

    __tablename__ = "partner_states"

    partner: Mapped[str] = mapped_column(primary_key=True)
    paused_at: Mapped[datetime | None]
    paused_by: Mapped[str | None]
    paused_reason: Mapped[str | None]
    # Failures in a row. Past the threshold the circuit opens: nothing is asked until `open_until`, then one probe.
    failures: Mapped[int] = mapped_column(server_default=text("0"))
    # How often in a row it opened; each time for longer.
    opened: Mapped[int] = mapped_column(server_default=text("0"))
    open_until: Mapped[datetime | None]
    # Jobs at once, and calls per second over all workers. None: the setting, and no limit.
    concurrency: Mapped[int | None]
    rate_per_second: Mapped[Decimal | None] = mapped_column(Numeric(10, 3))
    burst: Mapped[int] = mapped_column(server_default=text("1"))
    updated_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class RateLimit(Base):
    """The shared rate limit of one credential (GCRA): when the next call is due if all keep to the rate."""

    __tablename__ = "rate_limits"

    key: Mapped[str] = mapped_column(primary_key=True)
    tat: Mapped[datetime]


class PartnerCall(Base):
    """One call to a partner, for the audit: fields on an allow-list only, never bodies, credentials or addresses."""

    __tablename__ = "partner_calls"
    __table_args__ = (
        Index("ix_partner_calls_at", "at"),
        Index("ix_partner_calls_subject_id_at", "subject_id", "at"),
        Index("ix_partner_calls_partner_at", "partner", "at"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    partner: Mapped[str]
    method: Mapped[str]
    path_template: Mapped[str]
    status: Mapped[int | None]
    outcome: Mapped[str]
    duration_ms: Mapped[int]
    attempt: Mapped[int]
    job_id: Mapped[Id | None]
    # The enrolment (or the partner, for a sync) that it was made for.
    subject_id: Mapped[Id | None]
    request: Mapped[dict[str, Any] | None]
    answer: Mapped[dict[str, Any] | None]
