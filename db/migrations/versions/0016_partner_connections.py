"""Partner connections: addresses, credentials and policies of a provider; events that partners send

Revision: 0016, after 0015
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_connections()
    _create_secrets()
    op.add_column("inbox_events", sa.Column("subjects", postgresql.ARRAY(sa.Text()), nullable=True))


def downgrade() -> None:
    op.drop_column("inbox_events", "subjects")
    op.drop_table("partner_secrets")
    op.drop_table("partner_connections")


def _create_connections() -> None:
    table = "partner_connections"
    op.create_table(
        table,
        sa.Column("provider_type", sa.Text(), nullable=False),
        sa.Column("base_url", sa.Text(), nullable=True),
        sa.Column(
            "options",
            postgresql.JSONB(none_as_null=True),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("adopt_by_email", sa.Boolean(), nullable=True),
        sa.Column("sync_interval", sa.Integer(), nullable=True),
        sa.Column("complete_at", sa.Numeric(5, 2), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("updated_by", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        *(
            sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)
            for name in ("created_at", "updated_at")
        ),
        sa.CheckConstraint("sync_interval > 0", name=op.f(f"ck_{table}_sync_interval")),
        sa.CheckConstraint("complete_at > 0 AND complete_at <= 100", name=op.f(f"ck_{table}_complete_at")),
        sa.PrimaryKeyConstraint("provider_type", name=op.f(f"pk_{table}")),
    )


def _create_secrets() -> None:
    table = "partner_secrets"
    op.create_table(
        table,
        sa.Column("provider_type", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("env_name", sa.Text(), nullable=True),
        sa.Column("sealed", sa.Text(), nullable=True),
        sa.Column("fingerprint", sa.Text(), nullable=True),
        sa.Column("set_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("set_by", sa.Text(), nullable=False),
        sa.CheckConstraint("num_nonnulls(env_name, sealed) = 1", name=op.f(f"ck_{table}_one_source")),
        sa.ForeignKeyConstraint(
            ["provider_type"], ["partner_connections.provider_type"], name=op.f(f"fk_{table}_provider_type")
        ),
        sa.PrimaryKeyConstraint("provider_type", "name", name=op.f(f"pk_{table}")),
    )
