"""Legacy imports: where each row of an old system went, what could not be placed, and entries by the thousand

Revision: 0013, after 0012
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.migrations import xp_functions_0013 as xp_sql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "legacy_sources",
        _text("name"),
        _text("time_zone", "'UTC'"),
        _text("issuer", nullable=True),
        *(_time(name) for name in ("created_at", "updated_at")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_legacy_sources")),
    )
    op.create_table(
        "legacy_tables",
        _text("source"),
        _text("table_name"),
        _number("pass_number"),
        _time("since", None),
        _time("began_at", None),
        _time("finished_at", None),
        sa.Column("cursor", postgresql.ARRAY(sa.Text()), nullable=True),
        _number("rows_total"),
        _number("rows_read"),
        _number("rows_placed"),
        *(_time(name) for name in ("created_at", "updated_at")),
        _to_source("legacy_tables"),
        sa.PrimaryKeyConstraint("source", "table_name", name=op.f("pk_legacy_tables")),
    )
    op.create_table(
        "legacy_ids",
        _text("source"),
        _text("table_name"),
        _text("legacy_id"),
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("made", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("payload", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        _time("created_at"),
        _to_source("legacy_ids"),
        sa.PrimaryKeyConstraint("source", "table_name", "legacy_id", name=op.f("pk_legacy_ids")),
    )
    op.create_index("ix_legacy_ids_id", "legacy_ids", ["id"])
    op.create_table(
        "legacy_oddities",
        _text("source"),
        _text("table_name"),
        _text("legacy_id"),
        _text("reason"),
        _text("detail", "''"),
        _number("count", "1"),
        *(_time(name) for name in ("created_at", "seen_at")),
        _to_source("legacy_oddities"),
        sa.PrimaryKeyConstraint(
            "source", "table_name", "legacy_id", "reason", name=op.f("pk_legacy_oddities")
        ),
    )
    op.add_column("enrollments", _text("legacy_source", nullable=True))
    op.execute(xp_sql.POST_BATCH)
    op.execute(xp_sql.OPEN_BATCH)
    for trigger in xp_sql.ROW_TRIGGERS:
        op.execute(trigger.format(when=xp_sql.NOT_FROM_A_TRIGGER))


def downgrade() -> None:
    for trigger in xp_sql.ROW_TRIGGERS:
        op.execute(trigger.format(when=""))
    op.execute("DROP FUNCTION xp_open_batch")
    op.execute("DROP FUNCTION xp_post_batch")
    op.drop_column("enrollments", "legacy_source")
    for table in ("legacy_oddities", "legacy_ids", "legacy_tables", "legacy_sources"):
        op.drop_table(table)


def _text(name: str, default: str | None = None, *, nullable: bool = False) -> sa.Column[str]:
    given = None if default is None else sa.text(default)
    return sa.Column(name, sa.Text(), server_default=given, nullable=nullable)


def _number(name: str, default: str = "0") -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), server_default=sa.text(default), nullable=False)


def _time(name: str, default: str | None = "now()") -> sa.Column[object]:
    given = None if default is None else sa.text(default)
    return sa.Column(name, sa.DateTime(timezone=True), server_default=given, nullable=default is None)


def _to_source(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["source"], ["legacy_sources.name"], name=op.f(f"fk_{table}_source"))
