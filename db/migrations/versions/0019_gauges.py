"""What is kept for those who watch: alerts, counted partner calls, queues as they were last seen

Revision: 0019, after 0018
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

KINDS = (
    "'payment_not_ready', 'queue_unclaimed', 'beat_silent', 'relay_silent', 'partner_paused', 'partner_circuit_open',"
    " 'xp_drift'"
)
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", sa.Uuid(as_uuid=False), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("opened_at", TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("resolved_at", TIME, nullable=True),
        sa.Column("told_at", TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("told_until", TIME, nullable=True),
        sa.Column("figures", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.CheckConstraint(f"kind IN ({KINDS})", name=op.f("ck_alerts_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
    )
    op.create_index(
        "uq_alerts_open",
        "alerts",
        ["kind", "subject"],
        unique=True,
        postgresql_where=sa.text("resolved_at IS NULL"),
    )
    op.create_index(
        "ix_alerts_resolved_at",
        "alerts",
        ["resolved_at"],
        postgresql_where=sa.text("resolved_at IS NOT NULL"),
    )
    op.create_table(
        "partner_call_counts",
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("milliseconds", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("partner", "outcome", name=op.f("pk_partner_call_counts")),
    )
    op.create_table(
        "counted_until",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("until", TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_counted_until")),
    )
    op.create_table(
        "queue_states",
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("head_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("head_token", sa.BigInteger(), nullable=True),
        sa.Column("head_since", TIME, nullable=True),
        sa.Column("depth", sa.BigInteger(), nullable=True),
        sa.Column("depth_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("queue", name=op.f("pk_queue_states")),
    )
    op.create_index(
        "ix_partner_lms_enrollments_completed_at",
        "partner_lms_enrollments",
        ["completed_at"],
        postgresql_where=sa.text("status = 'completed'"),
    )


def downgrade() -> None:
    op.drop_index("ix_partner_lms_enrollments_completed_at", table_name="partner_lms_enrollments")
    for table in ("queue_states", "counted_until", "partner_call_counts", "alerts"):
        op.drop_table(table)
