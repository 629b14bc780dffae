"""What is counted beside the scrapes of /metrics, and how tables that are updated all day are kept

Revision: 0021, after 0020
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

# Setting these blocks neither readers nor writers, and rewrites nothing: a fillfactor holds for pages from now on.
KEPT = {
    # What changes often in them is not indexed, but for a status: with room on its page a new version needs no new index
    # entries.
    "partner_lms_enrollments": {"fillfactor": "85"},
    "users": {"fillfactor": "85"},
    "enrollments": {"fillfactor": "85"},
    # Each row leaves the index of what is due: such indexes are short only as long as what left them is vacuumed.
    "jobs": {"autovacuum_vacuum_scale_factor": "0.02", "autovacuum_vacuum_cost_delay": "0"},
    "inbox_events": {"autovacuum_vacuum_scale_factor": "0.02"},
}


def upgrade() -> None:
    op.create_table(
        "counted_figures",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("figures", postgresql.JSONB(), server_default=sa.text("'[]'::jsonb"), nullable=False),
        sa.Column("counted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("took", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_counted_figures")),
    )
    for table, parameters in KEPT.items():
        told = ", ".join(f"{name} = {value}" for name, value in parameters.items())
        op.execute(f"ALTER TABLE {table} SET ({told})")
    # A job's new version always needs new index entries, since each changes when it is due: room on its page is for nothing.
    op.execute("ALTER TABLE jobs RESET (fillfactor)")


def downgrade() -> None:
    op.execute("ALTER TABLE jobs SET (fillfactor = 70)")
    for table, parameters in KEPT.items():
        op.execute(f"ALTER TABLE {table} RESET ({', '.join(parameters)})")
    op.drop_table("counted_figures")
