"""XP multipliers, chosen by rule when an award is priced

Revision: 0007, after 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from db.migrations import xp_functions_0003, xp_functions_0007

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SOURCE_TYPES = (
    "source_type IN ('USER_PROBLEM_ATTEMPT', 'DAILY_STREAK', 'LESSON', 'COURSE', 'QUIZ', 'ASSIGNMENT', "
    "'PARTNER_ENROLLMENT')"
)
CATEGORIES = "category IN ('CORRECT_ANSWER', 'STREAK_BONUS', 'LESSON', 'COURSE', 'QUIZ', 'ASSIGNMENT', 'PARTNER_COURSE')"
DROP_COMPLETE_LESSON = "DROP FUNCTION xp_complete_lesson"


def upgrade() -> None:
    op.create_table(
        "xp_multipliers",
        sa.Column("id", sa.Uuid(as_uuid=False), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("factor", sa.Integer(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("course_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("source_type", sa.Text(), nullable=True),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("length(name) BETWEEN 1 AND 100", name=op.f("ck_xp_multipliers_name")),
        sa.CheckConstraint("factor BETWEEN 10001 AND 30000", name=op.f("ck_xp_multipliers_factor")),
        sa.CheckConstraint("starts_at < ends_at", name=op.f("ck_xp_multipliers_ends_at")),
        sa.CheckConstraint(CATEGORIES, name=op.f("ck_xp_multipliers_category")),
        sa.CheckConstraint(SOURCE_TYPES, name=op.f("ck_xp_multipliers_source_type")),
        sa.ForeignKeyConstraint(
            ["course_id"], ["courses.id"], name=op.f("fk_xp_multipliers_course_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_xp_multipliers")),
    )
    op.create_index("ix_xp_multipliers_course_id", "xp_multipliers", ["course_id"])
    op.create_index(
        "ix_xp_multipliers_ends_at", "xp_multipliers", ["ends_at"], postgresql_where=sa.text("active")
    )
    op.create_index("ix_xp_multipliers_created_at_id", "xp_multipliers", ["created_at", "id"])
    op.execute(xp_functions_0007.PRICE)
    op.execute(DROP_COMPLETE_LESSON)
    op.execute(xp_functions_0007.COMPLETE_LESSON)


def downgrade() -> None:
    op.execute(DROP_COMPLETE_LESSON)
    op.execute(xp_functions_0003.COMPLETE_LESSON)
    op.execute("DROP FUNCTION xp_price")
    op.drop_table("xp_multipliers")
