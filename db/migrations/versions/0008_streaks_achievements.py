"""Streaks, counters and achievements

Revision: 0008, after 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

COUNTERS = (
    "name IN ('xp.total', 'xp.season', 'level', 'lessons.completed', 'courses.completed', 'quizzes.passed', "
    "'quizzes.perfect', 'assignments.passed', 'assignments.on_time', 'certificates.earned', 'streak.longest', "
    "'days.active', 'referrals.qualified', 'challenges.completed', 'achievements.unlocked')"
)
TABLES = (
    "user_achievements",
    "achievement_versions",
    "achievements",
    "user_counters",
    "user_streaks",
    "streak_rest_days",
    "streak_freeze_grants",
    "user_zone_changes",
    "user_activity_days",
)
# Whoever changes a zone: a date that was cut short by it has to be known later.
ZONE_CHANGED = """
CREATE FUNCTION user_zone_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO user_zone_changes (user_id, was, became) VALUES (NEW.id, OLD.time_zone, NEW.time_zone)
    ON CONFLICT (user_id, changed_at) DO UPDATE SET became = excluded.became;
    RETURN NULL;
END $$
"""
# An award is followed by its job. What takes XP away, or gives them by hand, has none: it may come in bulk, from SQL.
# The user's row is locked by the ledger's own trigger, so counters and the job are taken in the usual order.
ENTRY_POSTED = """
CREATE FUNCTION counters_entry_posted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO user_counters (user_id, name)
    SELECT NEW.user_id, names.name FROM unnest(ARRAY['level', 'xp.season', 'xp.total']) AS names(name)
    ON CONFLICT DO NOTHING;
    UPDATE user_counters SET stale = true WHERE user_id = NEW.user_id AND NOT stale;
    INSERT INTO jobs (kind, business_key, queue, subject_id)
    VALUES ('gamification.settle', NEW.user_id::text, 'xp', NEW.user_id)
    ON CONFLICT (kind, business_key) DO UPDATE SET
        rerun = jobs.state = 'running',
        state = CASE WHEN jobs.state = 'running' THEN 'running' ELSE 'ready' END,
        next_run_at = CASE WHEN jobs.state = 'running' THEN jobs.next_run_at ELSE now() END,
        rung_at = NULL, attempts = 0, claims = CASE WHEN jobs.state = 'running' THEN jobs.claims ELSE 0 END,
        last_error = NULL, traceback = NULL, finished_at = NULL, updated_at = now();
    RETURN NULL;
END $$
"""
TRIGGERS = (
    (
        "CREATE TRIGGER user_zone_changed AFTER UPDATE OF time_zone ON users"
        " FOR EACH ROW WHEN (OLD.time_zone <> NEW.time_zone) EXECUTE FUNCTION user_zone_changed()"
    ),
    (
        "CREATE TRIGGER xp_ledger_counters AFTER INSERT ON xp_transactions"
        " FOR EACH ROW WHEN (NEW.kind <> 'award' AND NEW.amount <> 0) EXECUTE FUNCTION counters_entry_posted()"
    ),
)


def upgrade() -> None:
    _create_streaks()
    _create_counters()
    _create_achievements()
    for statement in (ZONE_CHANGED, ENTRY_POSTED, *TRIGGERS):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TRIGGER xp_ledger_counters ON xp_transactions")
    op.execute("DROP TRIGGER user_zone_changed ON users")
    for name in ("counters_entry_posted", "user_zone_changed"):
        op.execute(f"DROP FUNCTION {name}")
    for table in TABLES:
        op.drop_table(table)
    # The code before knows no such jobs. What they stood for is counted from the facts after the next upgrade.
    op.execute("DELETE FROM jobs WHERE kind IN ('gamification.settle', 'achievements.backfill')")


def _id() -> sa.Column[str]:
    return sa.Column(
        "id", sa.Uuid(as_uuid=False), server_default=sa.text("gen_random_uuid()"), nullable=False
    )


def _uuid(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Uuid(as_uuid=False), nullable=nullable)


def _text(name: str, default: str | None = None) -> sa.Column[str]:
    given = None if default is None else sa.text(default)
    return sa.Column(name, sa.Text(), server_default=given, nullable=False)


def _number(name: str, default: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), server_default=sa.text(default), nullable=False)


def _flag(name: str, default: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), server_default=sa.text(default), nullable=False)


def _date(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.Date(), nullable=nullable)


def _time(name: str, default: str | None = "now()", *, nullable: bool = False) -> sa.Column[object]:
    given = None if default is None else sa.text(default)
    return sa.Column(name, sa.DateTime(timezone=True), server_default=given, nullable=nullable)


def _user(table: str, ondelete: str | None = None) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["user_id"], ["users.id"], name=op.f(f"fk_{table}_user_id"), ondelete=ondelete
    )


def _create_streaks() -> None:
    op.create_table(
        "user_activity_days",
        _uuid("user_id"),
        _date("local_date"),
        _text("time_zone"),
        _time("active_at", None),
        _time("settled_at", None, nullable=True),
        _time("created_at"),
        _user("user_activity_days"),
        sa.PrimaryKeyConstraint("user_id", "local_date", name=op.f("pk_user_activity_days")),
    )
    op.create_index(
        "ix_user_activity_days_unsettled",
        "user_activity_days",
        ["user_id"],
        postgresql_where=sa.text("settled_at IS NULL"),
    )
    op.create_table(
        "user_zone_changes",
        _uuid("user_id"),
        _time("changed_at"),
        _text("was"),
        _text("became"),
        _user("user_zone_changes", "CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "changed_at", name=op.f("pk_user_zone_changes")),
    )
    op.create_table(
        "streak_freeze_grants",
        _id(),
        _uuid("user_id"),
        _date("granted_on"),
        _time("created_at"),
        _user("streak_freeze_grants"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_streak_freeze_grants")),
    )
    op.create_index(op.f("ix_streak_freeze_grants_user_id"), "streak_freeze_grants", ["user_id"])
    _create_rest_days()
    op.create_table(
        "user_streaks",
        _id(),
        _uuid("user_id"),
        _number("current_streak", "0"),
        _number("longest_streak", "0"),
        _date("last_activity_date", nullable=True),
        _number("freezes_used", "0"),
        _number("freezes_available", "3"),
        sa.Column(
            "covered_dates", sa.ARRAY(sa.Date()), server_default=sa.text("'{}'::date[]"), nullable=False
        ),
        _date("as_of"),
        _time("created_at"),
        _time("updated_at"),
        _user("user_streaks"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_streaks")),
        sa.UniqueConstraint("user_id", name=op.f("uq_user_streaks_user_id")),
    )
    op.create_index(
        "ix_user_streaks_live",
        "user_streaks",
        ["as_of", "user_id"],
        postgresql_where=sa.text("current_streak > 0"),
    )


def _create_rest_days() -> None:
    name = "ck_streak_rest_days_{}".format
    op.create_table(
        "streak_rest_days",
        _id(),
        _uuid("user_id", nullable=True),
        sa.Column("weekday", sa.SmallInteger(), nullable=True),
        _date("first_date"),
        _date("last_date", nullable=True),
        _time("created_at"),
        sa.CheckConstraint("weekday BETWEEN 1 AND 7", name=op.f(name("weekday"))),
        sa.CheckConstraint("first_date <= last_date", name=op.f(name("last_date"))),
        sa.CheckConstraint("weekday IS NOT NULL OR last_date IS NOT NULL", name=op.f(name("ends"))),
        _user("streak_rest_days"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_streak_rest_days")),
    )
    op.create_index("ix_streak_rest_days_created_at_id", "streak_rest_days", ["created_at", "id"])
    op.create_index("ix_streak_rest_days_user_id", "streak_rest_days", ["user_id"])


def _create_counters() -> None:
    op.create_table(
        "user_counters",
        _uuid("user_id"),
        _text("name"),
        sa.Column("value", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        _flag("stale", "true"),
        _time("updated_at"),
        sa.CheckConstraint(COUNTERS, name=op.f("ck_user_counters_name")),
        _user("user_counters"),
        sa.PrimaryKeyConstraint("user_id", "name", name=op.f("pk_user_counters")),
    )
    op.create_index("ix_user_counters_stale", "user_counters", ["user_id"], postgresql_where=sa.text("stale"))


def _create_achievements() -> None:
    op.create_table(
        "achievements",
        _id(),
        _text("code"),
        _number("version", "1"),
        _text("name"),
        _text("description", "''"),
        _text("icon", "''"),
        _text("category"),
        sa.Column("condition", postgresql.JSONB(), nullable=False),
        _number("xp_reward", "0"),
        sa.Column("tiers", postgresql.JSONB(), server_default=sa.text("'[]'::jsonb"), nullable=False),
        sa.Column("counters", sa.ARRAY(sa.Text()), nullable=False),
        _flag("revocable", "false"),
        _flag("is_active", "true"),
        _uuid("backfill_after", nullable=True),
        _time("backfilled_at", None, nullable=True),
        _time("created_at"),
        _time("updated_at"),
        sa.CheckConstraint("xp_reward BETWEEN 0 AND 1000000", name=op.f("ck_achievements_xp_reward")),
        sa.CheckConstraint("jsonb_array_length(tiers) <= 9", name=op.f("ck_achievements_tiers")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_achievements")),
        sa.UniqueConstraint("code", name=op.f("uq_achievements_code")),
    )
    op.create_index("ix_achievements_counters", "achievements", ["counters"], postgresql_using="gin")
    op.create_table(
        "achievement_versions",
        _uuid("achievement_id"),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("definition", postgresql.JSONB(), nullable=False),
        _time("created_at"),
        sa.ForeignKeyConstraint(
            ["achievement_id"],
            ["achievements.id"],
            name=op.f("fk_achievement_versions_achievement_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("achievement_id", "version", name=op.f("pk_achievement_versions")),
    )
    op.create_table(
        "user_achievements",
        _id(),
        _uuid("user_id"),
        _uuid("achievement_id"),
        _number("tier", "1"),
        _number("version", "1"),
        _time("unlocked_at"),
        sa.CheckConstraint("tier BETWEEN 1 AND 10", name=op.f("ck_user_achievements_tier")),
        _user("user_achievements"),
        sa.ForeignKeyConstraint(
            ["achievement_id"], ["achievements.id"], name=op.f("fk_user_achievements_achievement_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_achievements")),
        sa.UniqueConstraint(
            "user_id",
            "achievement_id",
            "tier",
            name=op.f("uq_user_achievements_user_id_achievement_id_tier"),
        ),
    )
    op.create_index(
        "ix_user_achievements_user_id_unlocked_at", "user_achievements", ["user_id", "unlocked_at", "id"]
    )
    op.create_index("ix_user_achievements_achievement_id", "user_achievements", ["achievement_id"])
