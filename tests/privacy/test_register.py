"""Every column of every table has its place in the register, and every table its time."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import text

from db.session import transaction
from domain import privacy_register, retention
from domain.privacy_access import LOOK_UP
from tests.conftest import Database
from tests.stack import rows

DOCUMENT = Path(__file__).parents[2] / "docs/privacy.md"
COLUMNS = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"


def schema() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for table, column in rows(COLUMNS):
        found.setdefault(table, set()).add(column)
    found.pop("usher_alembic_version")
    return found


def test_every_column_is_in_the_register(database: Database) -> None:
    """A new column is named in domain/privacy_register.py: as personal data, or as plain."""
    assert {table.name: table.columns for table in privacy_register.TABLES} == schema()
    for table in privacy_register.TABLES:
        assert {*table.hidden.split(), *table.searched.split()} <= table.columns, table.name
        assert len(table.personal) + len(table.plain.split()) == len(table.columns), f"{table.name}: twice"


def test_every_table_with_a_user_is_about_somebody(database: Database) -> None:
    about = {table.name for table in privacy_register.with_people()}
    told = {table for table, column in rows(COLUMNS) if column in ("user_id", "student_id")}
    assert told <= about


def test_every_condition_and_mask_is_sql(database: Database) -> None:
    names = {"user": "00000000-0000-4000-8000-000000000000", "emails": [], "callers": [], "events": []}
    with transaction() as session:
        for table in privacy_register.with_people():
            made = ", ".join(table.masks.values()) or "1"
            statement = f"SELECT {made} FROM {table.name} t WHERE {table.rows}"
            assert session.execute(text(statement), names).all() == []


def test_every_table_has_a_rule_or_a_reason(database: Database) -> None:
    """A new table gets a rule in domain/retention.py, or stands in KEPT with its reason."""
    ruled = {rule.table for rule in retention.in_force()}
    assert ruled | set(retention.KEPT) == set(schema())
    assert ruled & set(retention.KEPT) == set(), "a table with a rule needs no reason"
    assert all(retention.KEPT.values())


def test_look_ups_are_forgotten_before_other_actions(database: Database) -> None:
    for action in (LOOK_UP, "xp.adjust"):
        for days in (10, 400, 3_000):
            rows(
                "INSERT INTO staff_actions (actor, action, subject_type, created_at)"
                " VALUES ('a', :action, 'user', now() - make_interval(days => :days)) RETURNING 1",
                action=action,
                days=days,
            )
    with transaction() as session:
        for rule in retention.in_force():
            retention.forget_batch(session, rule)
    left = rows("SELECT action, extract(days FROM now() - created_at)::int FROM staff_actions ORDER BY 1, 2")
    assert left == [(LOOK_UP, 10), ("xp.adjust", 10), ("xp.adjust", 400)]


def test_the_document_shows_the_register(usher_env: dict[str, str]) -> None:
    """`usher privacy register` prints what belongs there."""
    shown = privacy_register.as_markdown(retention.kept_for())
    assert shown in DOCUMENT.read_text()
