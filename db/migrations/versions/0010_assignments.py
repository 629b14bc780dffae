"""Assignments, what is handed in, and its files

Revision: 0010, after 0009
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

WAITING = "state IN ('submitted', 'resubmitted')"
LOOSE = "attached_at IS NULL OR assignment_id IS NULL"


def upgrade() -> None:
    _create_assignments()
    _create_submissions()
    _create_versions()
    _create_files()


def downgrade() -> None:
    for table in (
        "assignment_files",
        "assignment_submission_versions",
        "assignment_submissions",
        "assignment_extensions",
        "assignments",
    ):
        op.drop_table(table)


def _uuid(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Uuid(as_uuid=False), nullable=nullable)


def _id() -> sa.Column[str]:
    default = sa.text("gen_random_uuid()")
    return sa.Column("id", sa.Uuid(as_uuid=False), server_default=default, nullable=False)


def _text(name: str, default: str | None = None, *, nullable: bool = False) -> sa.Column[str]:
    given = None if default is None else sa.text(default)
    return sa.Column(name, sa.Text(), server_default=given, nullable=nullable)


def _number(name: str, default: str | None) -> sa.Column[int]:
    given = None if default is None else sa.text(default)
    return sa.Column(name, sa.Integer(), server_default=given, nullable=False)


def _flag(name: str, default: str | None) -> sa.Column[bool]:
    given = None if default is None else sa.text(default)
    return sa.Column(name, sa.Boolean(), server_default=given, nullable=False)


def _time(name: str, default: str | None = None, *, nullable: bool = True) -> sa.Column[object]:
    given = None if default is None else sa.text(default)
    return sa.Column(name, sa.DateTime(timezone=True), server_default=given, nullable=nullable)


def _times() -> tuple[sa.Column[object], ...]:
    return tuple(_time(name, "now()", nullable=False) for name in ("created_at", "updated_at"))


def _files() -> sa.Column[list[str]]:
    return sa.Column("file_urls", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'::text[]"), nullable=False)


def _grade() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("score", sa.Numeric(10, 2), nullable=True),
        sa.Column("passed", sa.Boolean(), nullable=True),
        _text("feedback", nullable=True),
        _time("graded_at"),
        _text("graded_by", nullable=True),
    )


def _check(table: str, name: str, condition: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=op.f(f"ck_{table}_{name}"))


def _create_assignments() -> None:
    op.create_table(
        "assignments",
        _id(),
        _uuid("course_id"),
        _uuid("lesson_id", nullable=True),
        _text("title"),
        _text("description", "''"),
        _time("due_date"),
        _number("grace_seconds", "0"),
        _flag("allow_late_submission", "true"),
        _number("max_points", "100"),
        _number("passing_score", "60"),
        _number("xp_reward", "50"),
        _flag("required", "true"),
        _flag("is_published", "false"),
        *_times(),
        _check("assignments", "max_points", "max_points BETWEEN 1 AND 1000000"),
        _check("assignments", "passing_score", "passing_score BETWEEN 0 AND 100"),
        _check("assignments", "grace_seconds", "grace_seconds BETWEEN 0 AND 2592000"),
        _check("assignments", "xp_reward", "xp_reward BETWEEN 0 AND 1000000"),
        sa.ForeignKeyConstraint(
            ["course_id"], ["courses.id"], name=op.f("fk_assignments_course_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["lesson_id", "course_id"],
            ["lessons.id", "lessons.course_id"],
            name="fk_assignments_lesson",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assignments")),
    )
    op.create_index("ix_assignments_course_id", "assignments", ["course_id"])
    op.create_index("ix_assignments_created_at_id", "assignments", ["created_at", "id"])
    op.create_index("ix_assignments_lesson_id", "assignments", ["lesson_id"])
    op.create_table(
        "assignment_extensions",
        _uuid("assignment_id"),
        _uuid("user_id"),
        _time("due_date", nullable=False),
        _text("granted_by"),
        *_times(),
        sa.ForeignKeyConstraint(
            ["assignment_id"],
            ["assignments.id"],
            name=op.f("fk_assignment_extensions_assignment_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_assignment_extensions_user_id")),
        sa.PrimaryKeyConstraint("assignment_id", "user_id", name=op.f("pk_assignment_extensions")),
    )
    op.create_index("ix_assignment_extensions_user_id", "assignment_extensions", ["user_id"])


def _create_submissions() -> None:
    op.create_table(
        "assignment_submissions",
        _id(),
        _uuid("user_id"),
        _uuid("assignment_id"),
        _text("state", "'draft'"),
        _number("version", "1"),
        _number("number", "0"),
        _text("content", "''"),
        _files(),
        _flag("late", "false"),
        _time("submitted_at"),
        *_grade(),
        *_times(),
        _check(
            "assignment_submissions",
            "state",
            "state IN ('draft', 'submitted', 'graded', 'returned', 'resubmitted')",
        ),
        _check("assignment_submissions", "score", "score >= 0"),
        _check("assignment_submissions", "graded", "(graded_at IS NULL) = (passed IS NULL)"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_assignment_submissions_user_id")),
        sa.ForeignKeyConstraint(
            ["assignment_id"],
            ["assignments.id"],
            name=op.f("fk_assignment_submissions_assignment_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assignment_submissions")),
        sa.UniqueConstraint(
            "user_id", "assignment_id", name=op.f("uq_assignment_submissions_user_id_assignment_id")
        ),
    )
    op.create_index("ix_assignment_submissions_assignment_id", "assignment_submissions", ["assignment_id"])
    op.create_index(
        "ix_assignment_submissions_submitted_at_id", "assignment_submissions", ["submitted_at", "id"]
    )
    op.create_index(
        "ix_assignment_submissions_waiting",
        "assignment_submissions",
        ["submitted_at", "id"],
        postgresql_where=sa.text(WAITING),
    )


def _create_versions() -> None:
    op.create_table(
        "assignment_submission_versions",
        _uuid("submission_id"),
        _number("number", None),
        _text("content"),
        _files(),
        _flag("late", None),
        _time("submitted_at", nullable=False),
        *_grade(),
        sa.ForeignKeyConstraint(
            ["submission_id"],
            ["assignment_submissions.id"],
            name=op.f("fk_assignment_submission_versions_submission_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("submission_id", "number", name=op.f("pk_assignment_submission_versions")),
    )


def _create_files() -> None:
    op.create_table(
        "assignment_files",
        _id(),
        _uuid("user_id"),
        _uuid("assignment_id", nullable=True),
        _text("name"),
        _text("media_type"),
        _number("size", None),
        _text("sha256"),
        _time("stored_at"),
        _time("attached_at"),
        _time("created_at", "now()", nullable=False),
        _check("assignment_files", "size", "size > 0"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_assignment_files_user_id")),
        sa.ForeignKeyConstraint(
            ["assignment_id"],
            ["assignments.id"],
            name=op.f("fk_assignment_files_assignment_id"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assignment_files")),
        sa.UniqueConstraint(
            "user_id",
            "assignment_id",
            "sha256",
            "name",
            name=op.f("uq_assignment_files_user_id_assignment_id_sha256_name"),
        ),
    )
    op.create_index("ix_assignment_files_assignment_id", "assignment_files", ["assignment_id"])
    op.create_index(
        "ix_assignment_files_loose", "assignment_files", ["created_at"], postgresql_where=sa.text(LOOSE)
    )
