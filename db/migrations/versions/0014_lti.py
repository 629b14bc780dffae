"""LTI: our keys, the tools that are registered, launches, deep links, line items and scores

Revision: 0014, after 0013
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

# In the order in which they are made.
TABLES = (
    "lti_keys",
    "lti_tools",
    "lti_invites",
    "lti_launches",
    "lti_links",
    "lti_line_items",
    "lti_scores",
    "lti_seen_tokens",
)


def upgrade() -> None:
    op.create_table(
        "lti_keys",
        _text("kid"),
        _json("public_jwk"),
        _text("private_key_encrypted"),
        _time("created_at", "now()"),
        _time("retired_at", nullable=True),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_lti_keys")),
    )
    op.create_table(
        "lti_tools",
        _id(),
        _uuid("provider_id"),
        _text("name", "''"),
        _text("lti_version", "'1.3'"),
        _text("client_id"),
        _text("deployment_id"),
        _text("login_url", nullable=True),
        _text("target_link_uri"),
        _text("deep_linking_url", nullable=True),
        _texts("redirect_uris"),
        _text("jwks_url", nullable=True),
        _json("public_jwks", nullable=True),
        _text("public_key", nullable=True),
        _text("consumer_key", nullable=True),
        _text("secret_encrypted", nullable=True),
        _json("custom", "'{}'::jsonb"),
        _texts("scopes"),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        _time("created_at", "now()"),
        _time("updated_at", "now()"),
        sa.CheckConstraint(
            "lti_version <> '1.1' OR (consumer_key IS NOT NULL AND secret_encrypted IS NOT NULL)",
            name=op.f("ck_lti_tools_consumer"),
        ),
        sa.CheckConstraint("lti_version IN ('1.3', '1.1')", name=op.f("ck_lti_tools_lti_version")),
        sa.ForeignKeyConstraint(
            ["provider_id"], ["partner_lms_providers.id"], name=op.f("fk_lti_tools_provider_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lti_tools")),
        sa.UniqueConstraint("client_id", name=op.f("uq_lti_tools_client_id")),
    )
    op.create_index("ix_lti_tools_provider_id", "lti_tools", ["provider_id"])
    op.create_table(
        "lti_invites",
        _id(),
        _text("token_hash"),
        _uuid("provider_id"),
        _time("expires_at"),
        _uuid("tool_id", nullable=True),
        _time("created_at", "now()"),
        sa.ForeignKeyConstraint(
            ["provider_id"], ["partner_lms_providers.id"], name=op.f("fk_lti_invites_provider_id")
        ),
        sa.ForeignKeyConstraint(["tool_id"], ["lti_tools.id"], name=op.f("fk_lti_invites_tool_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lti_invites")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_lti_invites_token_hash")),
    )
    op.create_table(
        "lti_launches",
        _id(),
        _uuid("tool_id"),
        _uuid("enrollment_id", nullable=True),
        _uuid("user_id", nullable=True),
        _text("login_hint"),
        _text("nonce", nullable=True),
        _text("state", nullable=True),
        _text("message_type"),
        _time("issued_at"),
        _time("used_at", nullable=True),
        _time("expires_at"),
        sa.ForeignKeyConstraint(
            ["enrollment_id"],
            ["partner_lms_enrollments.id"],
            name=op.f("fk_lti_launches_enrollment_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["tool_id"], ["lti_tools.id"], name=op.f("fk_lti_launches_tool_id")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_lti_launches_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lti_launches")),
        sa.UniqueConstraint("login_hint", name=op.f("uq_lti_launches_login_hint")),
    )
    op.create_index("ix_lti_launches_enrollment_id", "lti_launches", ["enrollment_id"])
    op.create_index("ix_lti_launches_issued_at", "lti_launches", ["issued_at"])
    op.create_index("ix_lti_launches_user_id", "lti_launches", ["user_id"])
    op.create_table(
        "lti_links",
        _id(),
        _uuid("tool_id"),
        _uuid("course_id"),
        _text("url", nullable=True),
        _text("title"),
        sa.Column("position", sa.Integer(), server_default=sa.text("0"), nullable=False),
        _json("custom", "'{}'::jsonb"),
        _json("line_item", nullable=True),
        _time("created_at", "now()"),
        _time("updated_at", "now()"),
        sa.ForeignKeyConstraint(["course_id"], ["partner_courses.id"], name=op.f("fk_lti_links_course_id")),
        sa.ForeignKeyConstraint(["tool_id"], ["lti_tools.id"], name=op.f("fk_lti_links_tool_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lti_links")),
    )
    op.create_index("ix_lti_links_course_id_created_at", "lti_links", ["course_id", "created_at"])
    op.create_index("ix_lti_links_tool_id", "lti_links", ["tool_id"])
    op.create_table(
        "lti_line_items",
        _id(),
        _uuid("tool_id"),
        _uuid("link_id", nullable=True),
        _uuid("course_id"),
        _text("label"),
        _points("score_maximum", nullable=False),
        _text("resource_id", nullable=True),
        _text("tag", nullable=True),
        _time("start_at", nullable=True),
        _time("end_at", nullable=True),
        sa.Column("ours", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        _time("created_at", "now()"),
        sa.CheckConstraint("score_maximum > 0", name=op.f("ck_lti_line_items_score_maximum")),
        sa.ForeignKeyConstraint(
            ["course_id"], ["partner_courses.id"], name=op.f("fk_lti_line_items_course_id")
        ),
        sa.ForeignKeyConstraint(
            ["link_id"], ["lti_links.id"], name=op.f("fk_lti_line_items_link_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(["tool_id"], ["lti_tools.id"], name=op.f("fk_lti_line_items_tool_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lti_line_items")),
    )
    op.create_index("ix_lti_line_items_course_id", "lti_line_items", ["course_id"])
    op.create_index("ix_lti_line_items_link_id", "lti_line_items", ["link_id"])
    op.create_index("ix_lti_line_items_tool_id_course_id", "lti_line_items", ["tool_id", "course_id"])
    op.create_table(
        "lti_scores",
        _id(),
        _uuid("line_item_id"),
        _uuid("user_id"),
        _uuid("enrollment_id", nullable=True),
        _points("score_given", nullable=True),
        _points("score_maximum", nullable=True),
        _text("activity_progress"),
        _text("grading_progress"),
        _text("comment", nullable=True),
        _time("scored_at"),
        _time("received_at", "now()"),
        sa.ForeignKeyConstraint(
            ["enrollment_id"],
            ["partner_lms_enrollments.id"],
            name=op.f("fk_lti_scores_enrollment_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["line_item_id"],
            ["lti_line_items.id"],
            name=op.f("fk_lti_scores_line_item_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_lti_scores_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lti_scores")),
        sa.UniqueConstraint("line_item_id", "user_id", name=op.f("uq_lti_scores_line_item_id_user_id")),
    )
    op.create_index("ix_lti_scores_enrollment_id", "lti_scores", ["enrollment_id"])
    op.create_index("ix_lti_scores_user_id", "lti_scores", ["user_id"])
    op.create_table(
        "lti_seen_tokens",
        _uuid("tool_id"),
        _text("jti"),
        _time("expires_at"),
        sa.ForeignKeyConstraint(
            ["tool_id"], ["lti_tools.id"], name=op.f("fk_lti_seen_tokens_tool_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tool_id", "jti", name=op.f("pk_lti_seen_tokens")),
    )
    op.create_index("ix_lti_seen_tokens_expires_at", "lti_seen_tokens", ["expires_at"])


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)


def _column(name: str, kind: sa.types.TypeEngine[Any], default: str | None, nullable: bool) -> sa.Column[Any]:
    given = None if default is None else sa.text(default)
    return sa.Column(name, kind, server_default=given, nullable=nullable)


def _id() -> sa.Column[Any]:
    return _column("id", sa.Uuid(as_uuid=False), "gen_random_uuid()", False)


def _uuid(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return _column(name, sa.Uuid(as_uuid=False), None, nullable)


def _text(name: str, default: str | None = None, *, nullable: bool = False) -> sa.Column[Any]:
    return _column(name, sa.Text(), default, nullable)


def _texts(name: str) -> sa.Column[Any]:
    return _column(name, postgresql.ARRAY(sa.Text()), "'{}'::text[]", False)


def _time(name: str, default: str | None = None, *, nullable: bool = False) -> sa.Column[Any]:
    return _column(name, sa.DateTime(timezone=True), default, nullable)


def _json(name: str, default: str | None = None, *, nullable: bool = False) -> sa.Column[Any]:
    return _column(name, postgresql.JSONB(none_as_null=True), default, nullable)


def _points(name: str, *, nullable: bool) -> sa.Column[Any]:
    return _column(name, sa.Numeric(14, 5), None, nullable)
