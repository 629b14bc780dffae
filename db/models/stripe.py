"""What came from outside (the inbox) and what was paid."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    LargeBinary,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, Id, WithId, WithTimes, one_of

INBOX_STATES = ("received", "done", "ignored", "waiting", "failed")
PAYMENT_STATES = ("awaiting", "paid", "failed", "expired")


class InboxEvent(WithId, Base):
    """An event as it arrived, stored once for each (source, external id). Its id is the correlation id of all that follows."""

    __tablename__ = "inbox_events"
    __table_args__ = (
        UniqueConstraint("source", "external_id"),
        CheckConstraint(one_of("state", INBOX_STATES), name="state"),
        Index("ix_inbox_events_received_at", "received_at"),
        Index(
            "ix_inbox_events_waiting", "received_at", postgresql_where=text("state IN ('waiting', 'failed')")
        ),
        Index("ix_inbox_events_type_received_at", "type", "received_at"),
        Index("ix_inbox_events_new", "received_at", postgresql_where=text("state = 'received'")),
        Index("ix_inbox_events_ignored", "received_at", postgresql_where=text("state = 'ignored'")),
        {"postgresql_with": {"autovacuum_vacuum_scale_factor": "0.02"}},
    )

    source: Mapped[str]
    external_id: Mapped[str]
    type: Mapped[str]
    payload: Mapped[bytes] = mapped_column(LargeBinary)
    state: Mapped[str] = mapped_column(server_default=text("'received'"))
    reason: Mapped[str | None]
    # What a partner's event is about: ids of seats, as they were read when its signature was checked.
    subjects: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    # Metadata that staff supplied for an event that could not be placed; it wins over the event's own.
    completion: Mapped[dict[str, Any] | None]
    completed_by: Mapped[str | None]
    received_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    processed_at: Mapped[datetime | None]


class Payment(WithId, WithTimes, Base):
    """One Stripe checkout session. What it bought are its lines."""

    __tablename__ = "payments"
    __table_args__ = (
        UniqueConstraint("checkout_session_id"),
        CheckConstraint(one_of("state", PAYMENT_STATES), name="state"),
        Index("ix_payments_payment_intent_id", "payment_intent_id"),
    )

    checkout_session_id: Mapped[str]
    payment_intent_id: Mapped[str | None]
    state: Mapped[str]
    amount_total: Mapped[int | None] = mapped_column(BigInteger)
    currency: Mapped[str | None]
    event_id: Mapped[Id | None] = mapped_column(ForeignKey("inbox_events.id", ondelete="SET NULL"))
    paid_at: Mapped[datetime | None]


class PaymentLine(Base):
    """One seat that a payment bought. A seat bought twice has two lines; refunding one of them leaves it."""

    __tablename__ = "payment_lines"

    payment_id: Mapped[Id] = mapped_column(ForeignKey("payments.id", ondelete="CASCADE"), primary_key=True)
    enrollment_id: Mapped[Id] = mapped_column(
        ForeignKey("partner_lms_enrollments.id"), primary_key=True, index=True
    )
    # In the currency's smallest unit; None where the session did not say.
    amount: Mapped[int | None] = mapped_column(BigInteger)


class PaymentCharge(WithTimes, Base):
    """What a charge said of its refunds: the largest `amount_refunded` that was ever told, since events come in any order."""

    __tablename__ = "payment_charges"

    id: Mapped[str] = mapped_column(primary_key=True)
    payment_intent_id: Mapped[str] = mapped_column(index=True)
    amount: Mapped[int] = mapped_column(BigInteger)
    amount_refunded: Mapped[int] = mapped_column(BigInteger)


class PaymentRefund(WithTimes, Base):
    """One refund, at the furthest status that was told."""

    __tablename__ = "payment_refunds"

    id: Mapped[str] = mapped_column(primary_key=True)
    payment_intent_id: Mapped[str] = mapped_column(index=True)
    amount: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[str]
    # How far the status is on a refund's way: a status that is behind is old news.
    rank: Mapped[int]
    # The course whose line it pays back, where the refund's metadata or a person says so.
    course_id: Mapped[Id | None]


class PaymentDispute(WithTimes, Base):
    """One dispute, at the furthest status that was told."""

    __tablename__ = "payment_disputes"

    id: Mapped[str] = mapped_column(primary_key=True)
    payment_intent_id: Mapped[str] = mapped_column(index=True)
    status: Mapped[str]
    rank: Mapped[int]
