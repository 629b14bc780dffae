"""The console: indexes of its lists, and the workers that give signs of life

Revision: 0018, after 0017
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

INDEXES: dict[str, tuple[str, list[str], str | None]] = {
    "ix_partner_lms_enrollments_created_at": ("partner_lms_enrollments", ["created_at", "id"], None),
    "ix_partner_lms_enrollments_provider_id_created_at": (
        "partner_lms_enrollments",
        ["provider_id", "created_at"],
        None,
    ),
    "ix_inbox_events_type_received_at": ("inbox_events", ["type", "received_at"], None),
    "ix_inbox_events_new": ("inbox_events", ["received_at"], "state = 'received'"),
    "ix_inbox_events_ignored": ("inbox_events", ["received_at"], "state = 'ignored'"),
    "ix_replay_batches_created_at": ("replay_batches", ["created_at"], None),
}


def upgrade() -> None:
    op.create_table(
        "worker_nodes",
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("queues", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("connected", sa.Boolean(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("node", name=op.f("pk_worker_nodes")),
    )
    for name, (table, columns, condition) in INDEXES.items():
        where = None if condition is None else sa.text(condition)
        op.create_index(name, table, columns, postgresql_where=where)


def downgrade() -> None:
    for name, (table, _, _) in reversed(INDEXES.items()):
        op.drop_index(name, table_name=table)
    op.drop_table("worker_nodes")
