"""What changed about whose enrolment, for live updates

Revision: 0005, after 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

PARTNER = """
CREATE FUNCTION partner_enrollment_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO enrollment_changes (user_id, kind, enrollment_id, course_id, status, previous_status)
    VALUES (NEW.student_id, 'partner', NEW.id, NEW.course_id, NEW.status, OLD.status);
    RETURN NULL;
END $$
"""
OWN = """
CREATE FUNCTION own_enrollment_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO enrollment_changes (user_id, kind, enrollment_id, course_id, status, previous_status)
    VALUES (coalesce(NEW.user_id, OLD.user_id), 'own', coalesce(NEW.id, OLD.id),
        coalesce(NEW.course_id, OLD.course_id),
        CASE WHEN TG_OP = 'DELETE' THEN 'removed' WHEN NEW.completed_at IS NULL THEN 'active' ELSE 'completed' END,
        CASE WHEN TG_OP = 'INSERT' THEN NULL WHEN OLD.completed_at IS NULL THEN 'active' ELSE 'completed' END);
    RETURN NULL;
END $$
"""
TRIGGERS = (
    (
        "CREATE TRIGGER partner_enrollment_opened AFTER INSERT ON partner_lms_enrollments"
        " FOR EACH ROW EXECUTE FUNCTION partner_enrollment_changed()"
    ),
    (
        "CREATE TRIGGER partner_enrollment_changed AFTER UPDATE OF status ON partner_lms_enrollments"
        " FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION partner_enrollment_changed()"
    ),
    (
        "CREATE TRIGGER own_enrollment_opened AFTER INSERT OR DELETE ON enrollments"
        " FOR EACH ROW EXECUTE FUNCTION own_enrollment_changed()"
    ),
    (
        "CREATE TRIGGER own_enrollment_changed AFTER UPDATE OF completed_at ON enrollments"
        " FOR EACH ROW WHEN ((OLD.completed_at IS NULL) <> (NEW.completed_at IS NULL))"
        " EXECUTE FUNCTION own_enrollment_changed()"
    ),
)


def upgrade() -> None:
    op.create_table(
        "enrollment_changes",
        sa.Column("user_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column(
            "xid",
            sa.BigInteger(),
            server_default=sa.text("pg_current_xact_id()::text::bigint"),
            nullable=False,
        ),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("enrollment_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("course_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("previous_status", sa.Text(), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind IN ('partner', 'own')", name=op.f("ck_enrollment_changes_kind")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_enrollment_changes_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "xid", "id", name=op.f("pk_enrollment_changes")),
    )
    op.create_index("ix_enrollment_changes_changed_at", "enrollment_changes", ["changed_at"])
    for statement in (PARTNER, OWN, *TRIGGERS):
        op.execute(statement)


def downgrade() -> None:
    for name in ("partner_enrollment_opened", "partner_enrollment_changed"):
        op.execute(f"DROP TRIGGER {name} ON partner_lms_enrollments")
    for name in ("own_enrollment_opened", "own_enrollment_changed"):
        op.execute(f"DROP TRIGGER {name} ON enrollments")
    for name in ("partner_enrollment_changed", "own_enrollment_changed"):
        op.execute(f"DROP FUNCTION {name}")
    op.drop_table("enrollment_changes")
