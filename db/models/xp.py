"""The XP ledger: every point that was ever given or taken, append-only (seeds A and B)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, Id, WithCreated, WithId, WithTimes, one_of

KINDS = ("award", "reversal", "adjustment")
# The first four of each are seed B's.
SOURCE_TYPES = (
    "USER_PROBLEM_ATTEMPT",
    "MANUAL_ADJUSTMENT",
    "SPECIAL_ACHIEVEMENT",
    "DAILY_STREAK",
    "LESSON",
    "COURSE",
    "QUIZ",
    "ASSIGNMENT",
    "PARTNER_ENROLLMENT",
    "CHALLENGE",
    "REFERRAL",
    "LEGACY",
    "RECALCULATION",
)
CATEGORIES = (
    "CORRECT_ANSWER",
    "STREAK_BONUS",
    "ACHIEVEMENT",
    "MANUAL",
    "LESSON",
    "COURSE",
    "QUIZ",
    "ASSIGNMENT",
    "PARTNER_COURSE",
    "CHALLENGE",
    "REFERRAL",
    "LEGACY",
)
# What multipliers apply to: not to achievements, challenges, referrals, manual XP, history, corrections.
PRICED_SOURCE_TYPES = (
    "USER_PROBLEM_ATTEMPT",
    "DAILY_STREAK",
    "LESSON",
    "COURSE",
    "QUIZ",
    "ASSIGNMENT",
    "PARTNER_ENROLLMENT",
)
PRICED_CATEGORIES = (
    "CORRECT_ANSWER",
    "STREAK_BONUS",
    "LESSON",
    "COURSE",
    "QUIZ",
    "ASSIGNMENT",
    "PARTNER_COURSE",
)
# What the number of a kind may be. An adjustment by nothing is the audit row of a recalculation.
AMOUNTS = (
    "CASE kind WHEN 'award' THEN amount >= 0 WHEN 'reversal' THEN amount <= 0"
    " ELSE amount <> 0 OR source_type = 'RECALCULATION' END"
)


class XpTransaction(WithId, WithCreated, Base):
    """One ledger entry. Triggers fill `seq` and `balance_after`, move the user's total, and refuse any later change.

    A reversal's row can exist only if the award exists, is the same user's, and has exactly the opposite amount: the
    generated columns say which row must exist, and the foreign key finds it or refuses.
    """

    __tablename__ = "xp_transactions"
    __table_args__ = (
        CheckConstraint(one_of("kind", KINDS), name="kind"),
        CheckConstraint(one_of("source_type", SOURCE_TYPES), name="source_type"),
        CheckConstraint(one_of("category", CATEGORIES), name="category"),
        CheckConstraint(AMOUNTS, name="amount"),
        CheckConstraint("(kind = 'award') = (business_key IS NOT NULL)", name="business_key"),
        CheckConstraint("(kind = 'reversal') = (reverses_id IS NOT NULL)", name="reverses_id"),
        CheckConstraint("kind <> 'adjustment' OR transport_key IS NOT NULL", name="transport_key"),
        UniqueConstraint("id", "user_id", "kind", "amount", name="uq_xp_transactions_reversible"),
        ForeignKeyConstraint(
            ["reverses_id", "user_id", "reverses_kind", "reverses_amount"],
            [f"xp_transactions.{name}" for name in ("id", "user_id", "kind", "amount")],
            name="fk_xp_transactions_reversed_award",
        ),
        Index(
            "uq_xp_transactions_business_key",
            "user_id",
            "business_key",
            "generation",
            unique=True,
            postgresql_where=text("business_key IS NOT NULL"),
        ),
        Index(
            "uq_xp_transactions_reverses_id",
            "reverses_id",
            unique=True,
            postgresql_where=text("reverses_id IS NOT NULL"),
        ),
        Index(
            "uq_xp_transactions_adjustment",
            "user_id",
            "transport_key",
            unique=True,
            postgresql_where=text("kind = 'adjustment'"),
        ),
        Index("uq_xp_transactions_user_id_seq", "user_id", "seq", unique=True),
        Index("ix_xp_transactions_source", "source_id", "user_id", postgresql_where=text("kind = 'award'")),
        Index(
            "ix_xp_transactions_caused_by_id",
            "caused_by_id",
            postgresql_where=text("caused_by_id IS NOT NULL"),
        ),
    )

    # The order of a user's entries: drawn while the user's row is locked, which a clock is not.
    seq: Mapped[int] = mapped_column(BigInteger)
    user_id: Mapped[Id] = mapped_column(ForeignKey("users.id"))
    kind: Mapped[str]
    amount: Mapped[int]
    source_type: Mapped[str]
    source_id: Mapped[str | None]
    category: Mapped[str]
    # Why, in one word (seed A), and for people (seed B). Neither holds personal data.
    reason: Mapped[str]
    description: Mapped[str] = mapped_column(server_default=text("''"))
    business_key: Mapped[str | None]
    generation: Mapped[int] = mapped_column(server_default=text("0"))
    transport_key: Mapped[str | None]
    reverses_id: Mapped[Id | None]
    reverses_kind: Mapped[str | None] = mapped_column(
        Computed("CASE WHEN reverses_id IS NOT NULL THEN 'award'::text ELSE NULL::text END", persisted=True)
    )
    reverses_amount: Mapped[int | None] = mapped_column(
        Computed("CASE WHEN reverses_id IS NOT NULL THEN -amount ELSE NULL::integer END", persisted=True)
    )
    caused_by_id: Mapped[Id | None] = mapped_column(ForeignKey("xp_transactions.id"))
    # Whether it is taken back together with what caused it.
    revocable: Mapped[bool] = mapped_column(server_default=text("true"))
    # How the amount was priced: base, times factor in basis points; the breakdown names each multiplier.
    base: Mapped[int]
    factor: Mapped[int] = mapped_column(server_default=text("10000"))
    breakdown: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))
    balance_after: Mapped[int] = mapped_column(BigInteger)
    occurred_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class XpMultiplier(WithId, WithTimes, Base):
    """What happens from `starts_at` until before `ends_at` gives `factor` (basis points) of its XP; `xp_price` chooses.

    A scope that is null holds for everything that is priced. `active` is false where it was called off.
    """

    __tablename__ = "xp_multipliers"
    __table_args__ = (
        CheckConstraint("length(name) BETWEEN 1 AND 100", name="name"),
        CheckConstraint("factor BETWEEN 10001 AND 30000", name="factor"),
        CheckConstraint("starts_at < ends_at", name="ends_at"),
        CheckConstraint(one_of("category", PRICED_CATEGORIES), name="category"),
        CheckConstraint(one_of("source_type", PRICED_SOURCE_TYPES), name="source_type"),
        Index("ix_xp_multipliers_course_id", "course_id"),
        Index("ix_xp_multipliers_ends_at", "ends_at", postgresql_where=text("active")),
        Index("ix_xp_multipliers_created_at_id", "created_at", "id"),
    )

    name: Mapped[str]
    factor: Mapped[int]
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    course_id: Mapped[Id | None] = mapped_column(ForeignKey("courses.id", ondelete="CASCADE"))
    category: Mapped[str | None]
    source_type: Mapped[str | None]
    active: Mapped[bool] = mapped_column(server_default=text("true"))
