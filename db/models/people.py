"""Students and staff, and what changed for them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, Id, WithId, WithTimes, one_of

CHANGE_KINDS = ("partner", "own")


class User(WithId, WithTimes, Base):
    """A person. The id is the one that a checkout's metadata carries as `studentId`."""

    __tablename__ = "users"
    __table_args__ = ({"postgresql_with": {"fillfactor": "85"}},)

    email: Mapped[str]
    name: Mapped[str] = mapped_column(server_default=text("''"))
    time_zone: Mapped[str] = mapped_column(server_default=text("'UTC'"))
    # The language of pages and mails; None: what the browser asks for, English in mails.
    locale: Mapped[str | None]
    # Mails beyond those that a purchase needs, and whether a list of learners may show this one.
    wants_streak_mail: Mapped[bool] = mapped_column(server_default=text("false"))
    wants_progress_mail: Mapped[bool] = mapped_column(server_default=text("true"))
    visible_to_others: Mapped[bool] = mapped_column(server_default=text("false"))
    # Caches of the XP ledger, moved by its triggers only: the sum of the entries, its level, the highest one ever.
    total_xp: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    level: Mapped[int] = mapped_column(server_default=text("0"))
    highest_level: Mapped[int] = mapped_column(server_default=text("0"))


Index("uq_users_email_lower", func.lower(User.email), unique=True)


class EnrollmentChange(Base):
    """An enrolment was opened, changed its status or went away. Written by triggers, read by live updates.

    `xid` is the transaction that wrote the row: with a snapshot of an earlier look, a reader knows exactly which rows
    it has not seen, in whatever order the transactions committed.
    """

    __tablename__ = "enrollment_changes"
    __table_args__ = (
        CheckConstraint(one_of("kind", CHANGE_KINDS), name="kind"),
        Index("ix_enrollment_changes_changed_at", "changed_at"),
    )

    user_id: Mapped[Id] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    xid: Mapped[int] = mapped_column(
        BigInteger, primary_key=True, server_default=text("pg_current_xact_id()::text::bigint")
    )
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    kind: Mapped[str]
    enrollment_id: Mapped[Id]
    course_id: Mapped[Id]
    status: Mapped[str]
    previous_status: Mapped[str | None]
    changed_at: Mapped[datetime] = mapped_column(server_default=func.now())
