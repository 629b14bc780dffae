"""Partners without an API: what staff have to do there by hand, and pools of vouchers."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, Id, WithId, WithTimes, one_of

ITEM_KINDS = ("set_up", "give_back")
ITEM_STATES = ("open", "done", "refused", "cancelled")
# Why it is a person's work: the partner's seats are set up by hand, its pool was empty, its seat has to be given back.
ITEM_CAUSES = ("by_hand", "no_voucher", "seat", "voucher")
POOL_LEVELS = ("ok", "low", "empty")


class ManualWorkItem(WithId, WithTimes, Base):
    """What a person does at a partner for one generation of an enrolment: setting its seat up, or giving it back."""

    __tablename__ = "manual_work_items"
    __table_args__ = (
        UniqueConstraint("enrollment_id", "generation", "kind"),
        CheckConstraint(one_of("kind", ITEM_KINDS), name="kind"),
        CheckConstraint(one_of("state", ITEM_STATES), name="state"),
        CheckConstraint(one_of("cause", ITEM_CAUSES), name="cause"),
        Index("ix_manual_work_items_created_at", "created_at", "id"),
        Index(
            "ix_manual_work_items_open",
            "provider_id",
            "created_at",
            "id",
            postgresql_where=text("state = 'open'"),
        ),
        Index(
            "ix_manual_work_items_no_voucher",
            "course_id",
            "created_at",
            "id",
            postgresql_where=text("state = 'open' AND cause = 'no_voucher'"),
        ),
    )

    enrollment_id: Mapped[Id] = mapped_column(ForeignKey("partner_lms_enrollments.id"))
    generation: Mapped[int]
    kind: Mapped[str]
    cause: Mapped[str]
    provider_id: Mapped[Id] = mapped_column(ForeignKey("partner_lms_providers.id"))
    course_id: Mapped[Id] = mapped_column(ForeignKey("partner_courses.id"))
    state: Mapped[str] = mapped_column(server_default=text("'open'"))
    # What the student is told: how long it usually takes.
    usual_hours: Mapped[int]
    exported_at: Mapped[datetime | None]
    exported_by: Mapped[str | None]
    closed_at: Mapped[datetime | None]
    closed_by: Mapped[str | None]
    # What staff say of it: the evidence that it was done, or why it was refused.
    note: Mapped[str | None]
    # How the student gets in, where it is not the partner's website; the code is sealed (domain/secrets.py).
    access_url: Mapped[str | None]
    sealed_access_code: Mapped[str | None]
    version: Mapped[int] = mapped_column(server_default=text("1"))


class VoucherPool(WithTimes, Base):
    """The pool of one course: at how many vouchers it counts as low, and what staff were last told of it."""

    __tablename__ = "voucher_pools"
    __table_args__ = (
        CheckConstraint("low_water >= 0", name="low_water"),
        CheckConstraint(one_of("level", POOL_LEVELS), name="level"),
    )

    course_id: Mapped[Id] = mapped_column(ForeignKey("partner_courses.id"), primary_key=True)
    low_water: Mapped[int] = mapped_column(server_default=text("10"))
    level: Mapped[str] = mapped_column(server_default=text("'ok'"))


class Voucher(WithId, WithTimes, Base):
    """A partner's code for one seat. It goes to one enrolment; once anybody saw it, never to another."""

    __tablename__ = "vouchers"
    __table_args__ = (
        UniqueConstraint("provider_id", "fingerprint"),
        CheckConstraint("revealed_at IS NULL OR enrollment_id IS NOT NULL", name="revealed"),
        CheckConstraint("spent_at IS NULL OR revealed_at IS NOT NULL", name="spent"),
        CheckConstraint("retired_at IS NULL OR enrollment_id IS NULL", name="retired"),
        # An enrolment holds one at a time.
        Index(
            "uq_vouchers_held",
            "enrollment_id",
            unique=True,
            postgresql_where=text("enrollment_id IS NOT NULL AND spent_at IS NULL"),
        ),
        # In the order in which they are handed out: what expires first goes first.
        Index(
            "ix_vouchers_free",
            "course_id",
            "expires_at",
            "created_at",
            "id",
            postgresql_where=text("enrollment_id IS NULL AND retired_at IS NULL"),
        ),
        Index("ix_vouchers_course_id_created_at", "course_id", "created_at", "id"),
    )

    provider_id: Mapped[Id] = mapped_column(ForeignKey("partner_lms_providers.id"))
    course_id: Mapped[Id] = mapped_column(ForeignKey("partner_courses.id"))
    # The code is sealed (domain/secrets.py); the fingerprint is keyed, and tells only whether a code came before.
    sealed_code: Mapped[str]
    fingerprint: Mapped[str]
    # Which delivery it came with, in staff's words.
    label: Mapped[str | None]
    expires_at: Mapped[datetime | None]
    enrollment_id: Mapped[Id | None] = mapped_column(ForeignKey("partner_lms_enrollments.id"))
    taken_at: Mapped[datetime | None]
    # When somebody first saw the code, the student or staff.
    revealed_at: Mapped[datetime | None]
    # When a code that had been seen ended with its enrolment.
    spent_at: Mapped[datetime | None]
    retired_at: Mapped[datetime | None]
