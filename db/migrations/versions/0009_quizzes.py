"""Quizzes, their questions and versions, attempts, accommodations

Revision: 0009, after 0008
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TYPES = (
    "type IN ('single', 'multiple', 'true_false', 'short_text', 'numeric', 'matching', 'ordering', 'essay')"
)


def upgrade() -> None:
    _create_quizzes()
    _create_questions()
    _create_attempts()
    _create_accommodations()


def downgrade() -> None:
    for table in ("quiz_accommodations", "quiz_attempts", "quiz_versions", "questions", "quizzes"):
        op.drop_table(table)


def _id() -> sa.Column[str]:
    return sa.Column(
        "id", sa.Uuid(as_uuid=False), server_default=sa.text("gen_random_uuid()"), nullable=False
    )


def _uuid(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Uuid(as_uuid=False), nullable=nullable)


def _text(name: str, default: str | None = None, *, nullable: bool = False) -> sa.Column[str]:
    given = None if default is None else sa.text(default)
    return sa.Column(name, sa.Text(), server_default=given, nullable=nullable)


def _number(name: str, default: str | None = None, *, nullable: bool = False) -> sa.Column[int]:
    given = None if default is None else sa.text(default)
    return sa.Column(name, sa.Integer(), server_default=given, nullable=nullable)


def _flag(name: str, default: str = "false") -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), server_default=sa.text(default), nullable=False)


def _json(name: str, default: str | None = None, *, nullable: bool = False) -> sa.Column[object]:
    given = None if default is None else sa.text(default)
    return sa.Column(name, postgresql.JSONB(), server_default=given, nullable=nullable)


def _time(name: str, default: str | None = "now()") -> sa.Column[object]:
    given = None if default is None else sa.text(default)
    return sa.Column(name, sa.DateTime(timezone=True), server_default=given, nullable=default is None)


def _computed(
    name: str, type_: sa.types.TypeEngine[Any], sql: str, *, nullable: bool = True
) -> sa.Column[object]:
    return sa.Column(name, type_, sa.Computed(sql, persisted=True), nullable=nullable)


def _check(table: str, name: str, sql: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(sql, name=op.f(f"ck_{table}_{name}"))


def _cascade(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column], [f"{target}.id"], name=op.f(f"fk_{table}_{column}"), ondelete="CASCADE"
    )


def _create_quizzes() -> None:
    op.create_table(
        "quizzes",
        _id(),
        _uuid("course_id"),
        _uuid("lesson_id", nullable=True),
        _text("title"),
        _text("description", "''"),
        _number("time_limit", nullable=True),
        _number("max_attempts", "3"),
        _number("passing_score", "70"),
        _number("xp_reward", "25"),
        _flag("required", "true"),
        _flag("is_published"),
        _number("version", "1"),
        _time("answers_released_at", None),
        _time("created_at"),
        _time("updated_at"),
        _check("quizzes", "time_limit", "time_limit BETWEEN 1 AND 10080"),
        _check("quizzes", "max_attempts", "max_attempts BETWEEN 1 AND 1000"),
        _check("quizzes", "passing_score", "passing_score BETWEEN 0 AND 100"),
        _check("quizzes", "xp_reward", "xp_reward BETWEEN 0 AND 1000000"),
        _cascade("quizzes", "course_id", "courses"),
        sa.ForeignKeyConstraint(
            ["lesson_id", "course_id"],
            ["lessons.id", "lessons.course_id"],
            name="fk_quizzes_lesson",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quizzes")),
    )
    op.create_index("ix_quizzes_course_id", "quizzes", ["course_id", "created_at", "id"])
    op.create_index("ix_quizzes_lesson_id", "quizzes", ["lesson_id"])
    op.create_index("ix_quizzes_created_at_id", "quizzes", ["created_at", "id"])


def _create_questions() -> None:
    op.create_table(
        "questions",
        _id(),
        _uuid("quiz_id"),
        _text("type"),
        _text("question"),
        _json("options", nullable=True),
        _json("correct_answer", nullable=True),
        _text("explanation", nullable=True),
        _number("points", "1"),
        _flag("partial_credit"),
        _number("order"),
        _time("created_at"),
        _check("questions", "type", TYPES),
        _check("questions", "points", "points BETWEEN 0 AND 1000"),
        _check("questions", "correct_answer", "(type = 'essay') = (correct_answer IS NULL)"),
        _cascade("questions", "quiz_id", "quizzes"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_questions")),
    )
    op.create_index("ix_questions_quiz_id_order", "questions", ["quiz_id", "order"])
    op.create_table(
        "quiz_versions",
        _uuid("quiz_id"),
        _number("version"),
        _json("questions"),
        _time("created_at"),
        _cascade("quiz_versions", "quiz_id", "quizzes"),
        sa.PrimaryKeyConstraint("quiz_id", "version", name=op.f("pk_quiz_versions")),
    )


def _create_attempts() -> None:
    op.create_table(
        "quiz_attempts",
        _id(),
        _uuid("user_id"),
        _uuid("quiz_id"),
        _number("number"),
        _text("state", "'open'"),
        _number("version", "1"),
        _number("quiz_version"),
        _number("key_version"),
        _number("passing_score"),
        _json("answers", "'{}'::jsonb"),
        _json("marks", "'{}'::jsonb"),
        sa.Column("earned", sa.Numeric(14, 6), nullable=True),
        _number("possible"),
        sa.Column("passed", sa.Boolean(), nullable=True),
        _time("started_at"),
        _time("deadline_at", None),
        _time("saved_at", None),
        _time("submitted_at", None),
        _time("graded_at", None),
        _computed("score", sa.Double(), "earned::double precision"),
        _computed("total_points", sa.Integer(), "possible", nullable=False),
        _computed("time_spent", sa.Integer(), "EXTRACT(epoch FROM (submitted_at - started_at))::integer"),
        _computed("completed_at", sa.DateTime(timezone=True), "submitted_at"),
        _time("created_at"),
        _time("updated_at"),
        *_attempt_constraints(),
    )
    is_open = sa.text("state = 'open'")
    op.create_index(
        "uq_quiz_attempts_open",
        "quiz_attempts",
        ["user_id", "quiz_id"],
        unique=True,
        postgresql_where=is_open,
    )
    op.create_index(
        "ix_quiz_attempts_deadline_at", "quiz_attempts", ["deadline_at", "id"], postgresql_where=is_open
    )
    op.create_index(
        "ix_quiz_attempts_waiting",
        "quiz_attempts",
        ["submitted_at", "id"],
        postgresql_where=sa.text("state = 'submitted'"),
    )
    op.create_index(
        "ix_quiz_attempts_quiz_id_key_version", "quiz_attempts", ["quiz_id", "key_version", "user_id", "id"]
    )


def _attempt_constraints() -> list[sa.Constraint]:
    versions = ["quiz_versions.quiz_id", "quiz_versions.version"]
    return [
        _check("quiz_attempts", "state", "state IN ('open', 'submitted', 'graded', 'void')"),
        _check("quiz_attempts", "passed", "(state = 'graded') = (passed IS NOT NULL)"),
        _check(
            "quiz_attempts",
            "submitted_at",
            "state NOT IN ('submitted', 'graded') OR submitted_at IS NOT NULL",
        ),
        _check("quiz_attempts", "earned", "earned BETWEEN 0 AND possible"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_quiz_attempts_user_id")),
        _cascade("quiz_attempts", "quiz_id", "quizzes"),
        *(
            sa.ForeignKeyConstraint(
                ["quiz_id", column], versions, name=f"fk_quiz_attempts_{column}", ondelete="CASCADE"
            )
            for column in ("quiz_version", "key_version")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quiz_attempts")),
        sa.UniqueConstraint(
            "user_id", "quiz_id", "number", name=op.f("uq_quiz_attempts_user_id_quiz_id_number")
        ),
    ]


def _create_accommodations() -> None:
    op.create_table(
        "quiz_accommodations",
        _id(),
        _uuid("user_id"),
        _uuid("quiz_id", nullable=True),
        _number("time_factor", "10000"),
        _number("extra_attempts", "0"),
        _time("created_at"),
        _time("updated_at"),
        _check("quiz_accommodations", "time_factor", "time_factor BETWEEN 10000 AND 100000"),
        _check("quiz_accommodations", "extra_attempts", "extra_attempts BETWEEN 0 AND 1000"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_quiz_accommodations_user_id")),
        _cascade("quiz_accommodations", "quiz_id", "quizzes"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quiz_accommodations")),
    )
    op.create_index(
        "uq_quiz_accommodations_quiz",
        "quiz_accommodations",
        ["user_id", "quiz_id"],
        unique=True,
        postgresql_where=sa.text("quiz_id IS NOT NULL"),
    )
    op.create_index(
        "uq_quiz_accommodations_all",
        "quiz_accommodations",
        ["user_id"],
        unique=True,
        postgresql_where=sa.text("quiz_id IS NULL"),
    )
    op.create_index("ix_quiz_accommodations_quiz_id", "quiz_accommodations", ["quiz_id"])
