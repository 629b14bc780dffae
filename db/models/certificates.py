"""Certificates of our own courses (seed D)."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from sqlalchemy import CheckConstraint, ForeignKey, Index, Numeric, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, Id, WithId, WithTimes, one_of

STATUSES = ("valid", "revoked", "superseded")


class Certificate(WithId, WithTimes, Base):
    """A certificate. What it says is a snapshot and outlives the course; it is never deleted, since its code is printed.

    `expires_at` makes a valid one expired; that is computed, not stored.
    """

    __tablename__ = "certificates"
    __table_args__ = (
        CheckConstraint(one_of("status", STATUSES), name="status"),
        CheckConstraint("(status = 'revoked') = (revoked_at IS NOT NULL)", name="revoked_at"),
        # One standing certificate of a person and a course; earlier ones are revoked or superseded.
        Index(
            "uq_certificates_valid",
            "user_id",
            "course_id",
            unique=True,
            postgresql_where=text("status = 'valid'"),
        ),
        Index("ix_certificates_user_id_issued_at", "user_id", "issued_at", "id"),
        Index("ix_certificates_issued_at_id", "issued_at", "id"),
        Index("ix_certificates_course_id", "course_id"),
    )

    user_id: Mapped[Id] = mapped_column(ForeignKey("users.id"))
    course_id: Mapped[Id | None] = mapped_column(ForeignKey("courses.id", ondelete="SET NULL"))
    template_id: Mapped[str | None]
    # Where it can be checked: a path of ours, or the address that an imported one had.
    certificate_url: Mapped[str]
    verification_code: Mapped[str] = mapped_column(unique=True)
    status: Mapped[str] = mapped_column(server_default=text("'valid'"))
    name: Mapped[str]
    course_title: Mapped[str]
    hours: Mapped[Decimal | None] = mapped_column(Numeric(8, 2))
    issued_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    superseded_by_id: Mapped[Id | None] = mapped_column(ForeignKey("certificates.id"), unique=True)
