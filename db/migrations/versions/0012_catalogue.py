"""The catalogue of our own courses, and feature flags

Revision: 0012, after 0011
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

SLUG = "(gen_random_uuid())::text"


def upgrade() -> None:
    _create_tables()
    # Rows that are there get a slug of their own; both tables hold thousands of rows at most.
    op.add_column("courses", _text("slug", SLUG))
    op.add_column("courses", _text("image_url", nullable=True))
    op.add_column("courses", _uuid("category_id", nullable=True))
    op.add_column("courses", sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False))
    op.create_unique_constraint(op.f("uq_courses_slug"), "courses", ["slug"])
    op.create_foreign_key(op.f("fk_courses_category_id"), "courses", "categories", ["category_id"], ["id"])
    op.create_index("ix_courses_category_id", "courses", ["category_id"])
    op.create_index("ix_courses_created_at_id", "courses", ["created_at", "id"])
    op.add_column("lessons", _text("slug", SLUG))
    op.add_column("lessons", _text("description", "''"))
    op.add_column("lessons", _text("body", "''"))
    op.add_column("lessons", _text("video_url", nullable=True))
    op.create_unique_constraint(op.f("uq_lessons_course_id_slug"), "lessons", ["course_id", "slug"])


def downgrade() -> None:
    op.drop_constraint(op.f("uq_lessons_course_id_slug"), "lessons")
    for column in ("video_url", "body", "description", "slug"):
        op.drop_column("lessons", column)
    op.drop_index("ix_courses_created_at_id", "courses")
    op.drop_index("ix_courses_category_id", "courses")
    op.drop_constraint(op.f("fk_courses_category_id"), "courses")
    op.drop_constraint(op.f("uq_courses_slug"), "courses")
    for column in ("version", "category_id", "image_url", "slug"):
        op.drop_column("courses", column)
    for table in ("attachments", "categories", "feature_flags"):
        op.drop_table(table)


def _create_tables() -> None:
    op.create_table(
        "feature_flags",
        _text("name"),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        *_times(),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_feature_flags")),
    )
    op.create_table(
        "categories",
        _id(),
        _text("slug", SLUG),
        _text("name"),
        *_times(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_categories")),
        sa.UniqueConstraint("slug", name=op.f("uq_categories_slug")),
    )
    op.create_table(
        "attachments",
        _id(),
        _uuid("course_id"),
        _text("name"),
        _text("url"),
        sa.Column("position", sa.Integer(), server_default=sa.text("0"), nullable=False),
        *_times(),
        sa.ForeignKeyConstraint(
            ["course_id"], ["courses.id"], name=op.f("fk_attachments_course_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attachments")),
        sa.UniqueConstraint("course_id", "name", name=op.f("uq_attachments_course_id_name")),
    )


def _id() -> sa.Column[str]:
    return sa.Column(
        "id", sa.Uuid(as_uuid=False), server_default=sa.text("gen_random_uuid()"), nullable=False
    )


def _uuid(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Uuid(as_uuid=False), nullable=nullable)


def _text(name: str, default: str | None = None, *, nullable: bool = False) -> sa.Column[str]:
    given = None if default is None else sa.text(default)
    return sa.Column(name, sa.Text(), server_default=given, nullable=nullable)


def _times() -> list[sa.Column[object]]:
    return [
        sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)
        for name in ("created_at", "updated_at")
    ]
