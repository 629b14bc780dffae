"""Comparing with Stripe and with partners: each comparison, how far it came, and what it found."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, Id, WithCreated, WithId, one_of

OCCASIONS = ("hourly", "daily", "asked")


class Reconciliation(WithId, WithCreated, Base):
    """One comparison of what we hold with what somebody else holds; it goes on where it stopped."""

    __tablename__ = "reconciliations"
    __table_args__ = (
        CheckConstraint(one_of("occasion", OCCASIONS), name="occasion"),
        Index("ix_reconciliations_scope_created_at", "scope", "created_at"),
    )

    # `stripe`, or a partner's provider type.
    scope: Mapped[str]
    occasion: Mapped[str]
    since: Mapped[datetime | None]
    # What is being compared, and how far that came: a Unix time, a cursor, an id.
    phase: Mapped[str | None]
    place: Mapped[str | None]
    looked_at: Mapped[int] = mapped_column(server_default=text("0"))
    finished_at: Mapped[datetime | None]


class ReconciliationPage(Base):
    """A page of a partner's roster as it was read; gone once the comparison is finished."""

    __tablename__ = "reconciliation_pages"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    reconciliation_id: Mapped[Id] = mapped_column(
        ForeignKey("reconciliations.id", ondelete="CASCADE"), index=True
    )
    external_ids: Mapped[list[str]] = mapped_column(ARRAY(Text))


class Finding(WithId, Base):
    """Something that does not agree. It was repaired, or is open until a person, or the facts, resolved it."""

    __tablename__ = "reconciliation_findings"
    __table_args__ = (
        Index(
            "uq_reconciliation_findings_open",
            "scope",
            "kind",
            "subject_type",
            "subject_id",
            unique=True,
            postgresql_where=text("resolved_at IS NULL"),
        ),
        Index(
            "ix_reconciliation_findings_resolved_at",
            "resolved_at",
            postgresql_where=text("resolved_at IS NOT NULL"),
        ),
    )

    # The comparison that saw it last.
    reconciliation_id: Mapped[Id | None] = mapped_column(
        ForeignKey("reconciliations.id", ondelete="SET NULL"), index=True
    )
    scope: Mapped[str]
    kind: Mapped[str]
    subject_type: Mapped[str]
    subject_id: Mapped[str]
    message: Mapped[str]
    repaired: Mapped[bool] = mapped_column(server_default=text("false"))
    first_seen_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    last_seen_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    resolved_at: Mapped[datetime | None]
