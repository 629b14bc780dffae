"""Own courses, the XP ledger, and idempotency keys

Revision: 0003, after 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.migrations import xp_functions_0003 as xp_sql

revision = "0003"
down_revision = "0002"

SOURCE_TYPES = (
    "source_type IN ('USER_PROBLEM_ATTEMPT', 'MANUAL_ADJUSTMENT', 'SPECIAL_ACHIEVEMENT', 'DAILY_STREAK', 'LESSON', "
    "'COURSE', 'QUIZ', 'ASSIGNMENT', 'PARTNER_ENROLLMENT', 'CHALLENGE', 'REFERRAL', 'LEGACY', 'RECALCULATION')"
)
CATEGORIES = (
    "category IN ('CORRECT_ANSWER', 'STREAK_BONUS', 'ACHIEVEMENT', 'MANUAL', 'LESSON', 'COURSE', 'QUIZ', "
    "'ASSIGNMENT', 'PARTNER_COURSE', 'CHALLENGE', 'REFERRAL', 'LEGACY')"
)
AMOUNTS = (
    "CASE kind WHEN 'award' THEN amount >= 0 WHEN 'reversal' THEN amount <= 0"
    " ELSE amount <> 0 OR source_type = 'RECALCULATION' END"
)


def upgrade() -> None:
    op.add_column(
        "users", sa.Column("total_xp", sa.BigInteger(), server_default=sa.text("0"), nullable=False)
    )
    op.add_column("users", _number("level"))
    op.add_column("users", _number("highest_level"))
    _create_courses()
    _create_enrollments()
    _create_ledger()
    _create_idempotency_keys()
    for statement in (*xp_sql.FUNCTIONS, *xp_sql.TRIGGERS):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TRIGGER xp_totals_guard_insert ON users")
    op.execute("DROP TRIGGER xp_totals_guard_update ON users")
    op.drop_table("idempotency_keys")
    op.drop_table("xp_transactions")
    for name in xp_sql.NAMES:
        op.execute(f"DROP FUNCTION {name}")
    op.execute("DROP SEQUENCE xp_transactions_seq")
    for table in ("lesson_progress", "enrollments", "lessons", "courses"):
        op.drop_table(table)
    for column in ("highest_level", "level", "total_xp"):
        op.drop_column("users", column)


def _id() -> sa.Column[str]:
    return sa.Column(
        "id", sa.Uuid(as_uuid=False), server_default=sa.text("gen_random_uuid()"), nullable=False
    )


def _uuid(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Uuid(as_uuid=False), nullable=nullable)


def _text(name: str, default: str | None = None, *, nullable: bool = False) -> sa.Column[str]:
    given = None if default is None else sa.text(default)
    return sa.Column(name, sa.Text(), server_default=given, nullable=nullable)


def _number(name: str, default: str = "0") -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), server_default=sa.text(default), nullable=False)


def _flag(name: str, default: str = "false") -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), server_default=sa.text(default), nullable=False)


def _time(name: str, default: str | None = "now()") -> sa.Column[object]:
    given = None if default is None else sa.text(default)
    return sa.Column(name, sa.DateTime(timezone=True), server_default=given, nullable=default is None)


def _create_courses() -> None:
    op.create_table(
        "courses",
        _id(),
        _text("title"),
        _text("description", "''"),
        sa.Column(
            "prerequisites",
            sa.ARRAY(sa.Uuid(as_uuid=False)),
            server_default=sa.text("'{}'::uuid[]"),
            nullable=False,
        ),
        _text("difficulty", "'beginner'"),
        sa.Column("estimated_hours", sa.Numeric(8, 2), nullable=True),
        _number("xp_reward", "200"),
        _flag("published"),
        _time("deleted_at", None),
        _time("created_at"),
        _time("updated_at"),
        sa.CheckConstraint(
            "difficulty IN ('beginner', 'intermediate', 'advanced')", name=op.f("ck_courses_difficulty")
        ),
        sa.CheckConstraint("xp_reward BETWEEN 0 AND 1000000", name=op.f("ck_courses_xp_reward")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_courses")),
    )
    op.create_table(
        "lessons",
        _id(),
        _uuid("course_id"),
        _text("title"),
        _number("position"),
        _number("xp_reward", "50"),
        _flag("published"),
        _time("created_at"),
        _time("updated_at"),
        sa.CheckConstraint("xp_reward BETWEEN 0 AND 1000000", name=op.f("ck_lessons_xp_reward")),
        sa.ForeignKeyConstraint(
            ["course_id"], ["courses.id"], name=op.f("fk_lessons_course_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lessons")),
        sa.UniqueConstraint("id", "course_id", name=op.f("uq_lessons_id_course_id")),
    )
    op.create_index("ix_lessons_course_id_position", "lessons", ["course_id", "position"])


def _create_enrollments() -> None:
    op.create_table(
        "enrollments",
        _id(),
        _uuid("user_id"),
        _uuid("course_id"),
        _time("enrolled_at"),
        _time("started_at", None),
        _time("completed_at", None),
        _number("completion_percentage"),
        _number("xp_earned"),
        sa.CheckConstraint(
            "completion_percentage BETWEEN 0 AND 100", name=op.f("ck_enrollments_completion_percentage")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_enrollments_user_id")),
        sa.ForeignKeyConstraint(["course_id"], ["courses.id"], name=op.f("fk_enrollments_course_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_enrollments")),
        sa.UniqueConstraint("user_id", "course_id", name=op.f("uq_enrollments_user_id_course_id")),
    )
    op.create_index("ix_enrollments_course_id_user_id", "enrollments", ["course_id", "user_id"])
    op.create_table(
        "lesson_progress",
        _id(),
        _uuid("user_id"),
        _uuid("lesson_id"),
        _uuid("course_id"),
        _time("completed_at"),
        sa.ForeignKeyConstraint(
            ["user_id", "course_id"],
            ["enrollments.user_id", "enrollments.course_id"],
            name="fk_lesson_progress_enrollment",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["lesson_id", "course_id"],
            ["lessons.id", "lessons.course_id"],
            name="fk_lesson_progress_lesson",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lesson_progress")),
        sa.UniqueConstraint("user_id", "lesson_id", name=op.f("uq_lesson_progress_user_id_lesson_id")),
    )
    op.create_index("ix_lesson_progress_user_id_course_id", "lesson_progress", ["user_id", "course_id"])
    op.create_index("ix_lesson_progress_lesson_id_course_id", "lesson_progress", ["lesson_id", "course_id"])


def _create_ledger() -> None:
    op.execute("CREATE SEQUENCE xp_transactions_seq")
    op.create_table(
        "xp_transactions",
        _id(),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        _uuid("user_id"),
        _text("kind"),
        sa.Column("amount", sa.Integer(), nullable=False),
        _text("source_type"),
        _text("source_id", nullable=True),
        _text("category"),
        _text("reason"),
        _text("description", "''"),
        _text("business_key", nullable=True),
        _number("generation"),
        _text("transport_key", nullable=True),
        _uuid("reverses_id", nullable=True),
        sa.Column(
            "reverses_kind",
            sa.Text(),
            sa.Computed(
                "CASE WHEN reverses_id IS NOT NULL THEN 'award'::text ELSE NULL::text END", persisted=True
            ),
            nullable=True,
        ),
        sa.Column(
            "reverses_amount",
            sa.Integer(),
            sa.Computed(
                "CASE WHEN reverses_id IS NOT NULL THEN -amount ELSE NULL::integer END", persisted=True
            ),
            nullable=True,
        ),
        _uuid("caused_by_id", nullable=True),
        _flag("revocable", "true"),
        sa.Column("base", sa.Integer(), nullable=False),
        _number("factor", "10000"),
        sa.Column("breakdown", postgresql.JSONB(), server_default=sa.text("'[]'::jsonb"), nullable=False),
        sa.Column("balance_after", sa.BigInteger(), nullable=False),
        _time("occurred_at"),
        _time("created_at"),
        *_ledger_constraints(),
    )
    _index_ledger()


def _ledger_constraints() -> list[sa.Constraint]:
    name = "ck_xp_transactions_{}".format
    ledger = [f"xp_transactions.{column}" for column in ("id", "user_id", "kind", "amount")]
    return [
        sa.CheckConstraint("kind IN ('award', 'reversal', 'adjustment')", name=op.f(name("kind"))),
        sa.CheckConstraint(SOURCE_TYPES, name=op.f(name("source_type"))),
        sa.CheckConstraint(CATEGORIES, name=op.f(name("category"))),
        sa.CheckConstraint(AMOUNTS, name=op.f(name("amount"))),
        sa.CheckConstraint("(kind = 'award') = (business_key IS NOT NULL)", name=op.f(name("business_key"))),
        sa.CheckConstraint("(kind = 'reversal') = (reverses_id IS NOT NULL)", name=op.f(name("reverses_id"))),
        sa.CheckConstraint(
            "kind <> 'adjustment' OR transport_key IS NOT NULL", name=op.f(name("transport_key"))
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_xp_transactions")),
        sa.UniqueConstraint("id", "user_id", "kind", "amount", name="uq_xp_transactions_reversible"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_xp_transactions_user_id")),
        sa.ForeignKeyConstraint(
            ["caused_by_id"], ["xp_transactions.id"], name=op.f("fk_xp_transactions_caused_by_id")
        ),
        sa.ForeignKeyConstraint(
            ["reverses_id", "user_id", "reverses_kind", "reverses_amount"],
            ledger,
            name="fk_xp_transactions_reversed_award",
        ),
    ]


def _index_ledger() -> None:
    indexes: tuple[tuple[str, list[str], bool, str | None], ...] = (
        (
            "uq_xp_transactions_business_key",
            ["user_id", "business_key", "generation"],
            True,
            "business_key IS NOT NULL",
        ),
        ("uq_xp_transactions_reverses_id", ["reverses_id"], True, "reverses_id IS NOT NULL"),
        ("uq_xp_transactions_adjustment", ["user_id", "transport_key"], True, "kind = 'adjustment'"),
        ("uq_xp_transactions_user_id_seq", ["user_id", "seq"], True, None),
        ("ix_xp_transactions_source", ["source_id", "user_id"], False, "kind = 'award'"),
        ("ix_xp_transactions_caused_by_id", ["caused_by_id"], False, "caused_by_id IS NOT NULL"),
    )
    for name, columns, unique, where in indexes:
        condition = None if where is None else sa.text(where)
        op.create_index(name, "xp_transactions", columns, unique=unique, postgresql_where=condition)


def _create_idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        _text("caller"),
        _text("key"),
        _text("fingerprint"),
        sa.Column("status", sa.Integer(), nullable=False),
        _text("media_type"),
        sa.Column("headers", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        _text("body"),
        _time("created_at"),
        sa.CheckConstraint("length(key) BETWEEN 1 AND 255", name=op.f("ck_idempotency_keys_key")),
        sa.PrimaryKeyConstraint("caller", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])
