"""Manual partners: work items for staff, voucher and seat pools

Revision: 0015, after 0014
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_items()
    _create_pools()
    _create_vouchers()


def downgrade() -> None:
    for table in ("vouchers", "voucher_pools", "manual_work_items"):
        op.drop_table(table)


def _create_items() -> None:
    table = "manual_work_items"
    op.create_table(
        table,
        _id(),
        _uuid("enrollment_id"),
        _number("generation"),
        *(_text(name) for name in ("kind", "cause")),
        *(_uuid(name) for name in ("provider_id", "course_id")),
        _text("state", "'open'"),
        _number("usual_hours"),
        _time("exported_at"),
        _text("exported_by", nullable=True),
        _time("closed_at"),
        *(_text(name, nullable=True) for name in ("closed_by", "note", "access_url", "sealed_access_code")),
        _number("version", "1"),
        *_times(),
        sa.CheckConstraint("kind IN ('set_up', 'give_back')", name=op.f(f"ck_{table}_kind")),
        sa.CheckConstraint(
            "state IN ('open', 'done', 'refused', 'cancelled')", name=op.f(f"ck_{table}_state")
        ),
        sa.CheckConstraint(
            "cause IN ('by_hand', 'no_voucher', 'seat', 'voucher')", name=op.f(f"ck_{table}_cause")
        ),
        _to(table, "enrollment_id", "partner_lms_enrollments"),
        _to(table, "provider_id", "partner_lms_providers"),
        _to(table, "course_id", "partner_courses"),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint(
            "enrollment_id", "generation", "kind", name=op.f(f"uq_{table}_enrollment_id_generation_kind")
        ),
    )
    op.create_index(f"ix_{table}_created_at", table, ["created_at", "id"])
    op.create_index(
        f"ix_{table}_open",
        table,
        ["provider_id", "created_at", "id"],
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_index(
        f"ix_{table}_no_voucher",
        table,
        ["course_id", "created_at", "id"],
        postgresql_where=sa.text("state = 'open' AND cause = 'no_voucher'"),
    )


def _create_pools() -> None:
    op.create_table(
        "voucher_pools",
        _uuid("course_id"),
        _number("low_water", "10"),
        _text("level", "'ok'"),
        *_times(),
        sa.CheckConstraint("low_water >= 0", name=op.f("ck_voucher_pools_low_water")),
        sa.CheckConstraint("level IN ('ok', 'low', 'empty')", name=op.f("ck_voucher_pools_level")),
        _to("voucher_pools", "course_id", "partner_courses"),
        sa.PrimaryKeyConstraint("course_id", name=op.f("pk_voucher_pools")),
    )


def _create_vouchers() -> None:
    op.create_table(
        "vouchers",
        _id(),
        *(_uuid(name) for name in ("provider_id", "course_id")),
        *(_text(name) for name in ("sealed_code", "fingerprint")),
        _text("label", nullable=True),
        _time("expires_at"),
        _uuid("enrollment_id", nullable=True),
        *(_time(name) for name in ("taken_at", "revealed_at", "spent_at", "retired_at")),
        *_times(),
        sa.CheckConstraint(
            "revealed_at IS NULL OR enrollment_id IS NOT NULL", name=op.f("ck_vouchers_revealed")
        ),
        sa.CheckConstraint("spent_at IS NULL OR revealed_at IS NOT NULL", name=op.f("ck_vouchers_spent")),
        sa.CheckConstraint("retired_at IS NULL OR enrollment_id IS NULL", name=op.f("ck_vouchers_retired")),
        _to("vouchers", "provider_id", "partner_lms_providers"),
        _to("vouchers", "course_id", "partner_courses"),
        _to("vouchers", "enrollment_id", "partner_lms_enrollments"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vouchers")),
        sa.UniqueConstraint("provider_id", "fingerprint", name=op.f("uq_vouchers_provider_id_fingerprint")),
    )
    op.create_index(
        "uq_vouchers_held",
        "vouchers",
        ["enrollment_id"],
        unique=True,
        postgresql_where=sa.text("enrollment_id IS NOT NULL AND spent_at IS NULL"),
    )
    op.create_index(
        "ix_vouchers_free",
        "vouchers",
        ["course_id", "expires_at", "created_at", "id"],
        postgresql_where=sa.text("enrollment_id IS NULL AND retired_at IS NULL"),
    )
    op.create_index("ix_vouchers_course_id_created_at", "vouchers", ["course_id", "created_at", "id"])


def _uuid(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Uuid(as_uuid=False), nullable=nullable)


def _id() -> sa.Column[str]:
    default = sa.text("gen_random_uuid()")
    return sa.Column("id", sa.Uuid(as_uuid=False), server_default=default, nullable=False)


def _text(name: str, default: str | None = None, *, nullable: bool = False) -> sa.Column[str]:
    given = None if default is None else sa.text(default)
    return sa.Column(name, sa.Text(), server_default=given, nullable=nullable)


def _number(name: str, default: str | None = None) -> sa.Column[int]:
    given = None if default is None else sa.text(default)
    return sa.Column(name, sa.Integer(), server_default=given, nullable=False)


def _time(name: str, default: str | None = None) -> sa.Column[object]:
    given = None if default is None else sa.text(default)
    return sa.Column(name, sa.DateTime(timezone=True), server_default=given, nullable=default is None)


def _times() -> tuple[sa.Column[object], ...]:
    return tuple(_time(name, "now()") for name in ("created_at", "updated_at"))


def _to(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=op.f(f"fk_{table}_{column}_{target}"))
