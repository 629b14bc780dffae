"""Certificates of our own courses

Revision: 0011, after 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_table(
        "certificates",
        sa.Column("id", sa.Uuid(as_uuid=False), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("user_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("course_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("template_id", sa.Text(), nullable=True),
        sa.Column("certificate_url", sa.Text(), nullable=False),
        sa.Column("verification_code", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'valid'"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("course_title", sa.Text(), nullable=False),
        sa.Column("hours", sa.Numeric(8, 2), nullable=True),
        _time("issued_at", "now()"),
        _time("expires_at"),
        _time("revoked_at"),
        sa.Column("superseded_by_id", sa.Uuid(as_uuid=False), nullable=True),
        _time("created_at", "now()"),
        _time("updated_at", "now()"),
        sa.CheckConstraint(
            "status IN ('valid', 'revoked', 'superseded')", name=op.f("ck_certificates_status")
        ),
        sa.CheckConstraint(
            "(status = 'revoked') = (revoked_at IS NOT NULL)", name=op.f("ck_certificates_revoked_at")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_certificates_user_id")),
        sa.ForeignKeyConstraint(
            ["course_id"], ["courses.id"], name=op.f("fk_certificates_course_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["superseded_by_id"], ["certificates.id"], name=op.f("fk_certificates_superseded_by_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificates")),
        sa.UniqueConstraint("verification_code", name=op.f("uq_certificates_verification_code")),
        sa.UniqueConstraint("superseded_by_id", name=op.f("uq_certificates_superseded_by_id")),
    )
    op.create_index(
        "uq_certificates_valid",
        "certificates",
        ["user_id", "course_id"],
        unique=True,
        postgresql_where=sa.text("status = 'valid'"),
    )
    op.create_index("ix_certificates_user_id_issued_at", "certificates", ["user_id", "issued_at", "id"])
    op.create_index("ix_certificates_issued_at_id", "certificates", ["issued_at", "id"])
    op.create_index("ix_certificates_course_id", "certificates", ["course_id"])
    # Days for which certificates of the course are valid; null: for ever.
    op.add_column("courses", sa.Column("certificate_days", sa.Integer(), nullable=True))
    op.create_check_constraint(op.f("ck_courses_certificate_days"), "courses", "certificate_days > 0")


def downgrade() -> None:
    op.drop_column("courses", "certificate_days")
    op.drop_table("certificates")


def _time(name: str, default: str | None = None) -> sa.Column[object]:
    given = None if default is None else sa.text(default)
    return sa.Column(name, sa.DateTime(timezone=True), server_default=given, nullable=default is None)
