"""Erasures, the accounts at partners that go with them, and a caller's id that never is an erased user's

Revision: 0020, after 0019
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

UUID = sa.Uuid(as_uuid=False)
TIME = sa.DateTime(timezone=True)
TIMES = ("created_at", "updated_at")
# As in 0006; a subject that is an erased user's id is nobody.
CALLER = """
CREATE OR REPLACE FUNCTION usher_user_id() RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
BEGIN ATOMIC
    WITH claims AS (
        SELECT coalesce(said ->> 'iss', 'supabase') AS issuer, said ->> 'sub' AS subject
        FROM (SELECT nullif(current_setting('request.jwt.claims', true), '')::jsonb AS said) AS request
    )
    SELECT coalesce(
        (SELECT i.user_id FROM identities i JOIN claims c ON i.issuer = c.issuer AND i.subject = c.subject),
        (SELECT u.id FROM users u JOIN claims c ON u.id = CASE
            WHEN c.subject ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN c.subject::uuid END{unless})
    );
END
"""
NOT_ERASED = " WHERE u.email <> 'erased-' || u.id || '@usher.invalid'"


def _times() -> list[sa.Column[object]]:
    return [sa.Column(name, TIME, server_default=sa.text("now()"), nullable=False) for name in TIMES]


def _caller(unless: str) -> str:
    return CALLER.replace("{unless}", unless)


def upgrade() -> None:
    op.create_table(
        "erasures",
        sa.Column("user_id", UUID, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("revoke_certificates", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("words", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column("stage", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("place", sa.Text(), nullable=True),
        sa.Column("counts", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
        *_times(),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_erasures_user_id_users")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_erasures")),
    )
    op.create_table(
        "erasure_accounts",
        sa.Column("id", UUID, server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("user_id", UUID, nullable=False),
        sa.Column("provider_id", UUID, nullable=False),
        sa.Column("account_id", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("closed_by", sa.Text(), nullable=True),
        sa.Column("closed_at", TIME, nullable=True),
        *_times(),
        sa.CheckConstraint("state IN ('asking', 'by_hand', 'gone')", name=op.f("ck_erasure_accounts_state")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_erasure_accounts_user_id_users")),
        sa.ForeignKeyConstraint(
            ["provider_id"],
            ["partner_lms_providers.id"],
            name=op.f("fk_erasure_accounts_provider_id_partner_lms_providers"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasure_accounts")),
        sa.UniqueConstraint("user_id", "provider_id", name=op.f("uq_erasure_accounts_user_id_provider_id")),
    )
    op.create_index(
        "ix_erasure_accounts_open",
        "erasure_accounts",
        ["created_at", "id"],
        postgresql_where=sa.text("state <> 'gone'"),
    )
    op.execute(_caller(NOT_ERASED))


def downgrade() -> None:
    op.execute(_caller(""))
    op.drop_table("erasure_accounts")
    op.drop_table("erasures")
