"""Statements that are planned once for each connection, in the transaction of a session."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DataError, DBAPIError

from db import lean
from db.session import make_engine, transaction
from settings import get_settings
from tests.conftest import Database

pytestmark = pytest.mark.usefixtures("database")

DIVIDE = lean.Statement("test_divide", "SELECT 10 / {by} AS result, {note} AS note", by="int", note="text")
EVERYTHING = lean.Statement("test_everything", "SELECT * FROM lean_test")


def divide_by_nothing() -> None:
    with transaction() as session:
        session.execute(text("CREATE TABLE lean_gone (id int)"))
        lean.execute(session, DIVIDE, {"by": 0, "note": "a secret"})


def test_it_is_planned_once_and_keeps_to_its_transaction() -> None:
    with transaction() as session:
        row = lean.execute(session, DIVIDE, {"by": 5, "note": "100 % of {it}: :x"}).one()
        assert (row.result, row.note) == (2, "100 % of {it}: :x")
        assert lean.execute(session, DIVIDE, {"by": 2, "note": None}).scalar() == 5
    with pytest.raises(DataError) as caught:
        divide_by_nothing()
    # The error is SQLAlchemy's, without the values, and everything before it is undone.
    assert "a secret" not in str(caught.value)
    with transaction() as session:
        assert session.scalar(text("SELECT to_regclass('lean_gone')")) is None


def test_a_plan_that_is_old_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    when = text("SELECT prepare_time FROM pg_prepared_statements WHERE name = 'test_divide'")
    with transaction() as session:
        lean.execute(session, DIVIDE, {"by": 5, "note": None})
        first = session.scalar(when)
        lean.execute(session, DIVIDE, {"by": 5, "note": None})
        assert session.scalar(when) == first
        monkeypatch.setattr(lean, "PLANNED_FOR", 0.0)
        assert lean.execute(session, DIVIDE, {"by": 5, "note": None}).one().result == 2
        assert session.scalar(when) > first


def test_a_plan_that_a_migration_made_useless_goes_with_its_connection() -> None:
    with transaction() as session:
        session.execute(text("CREATE TABLE lean_test (id int)"))
    try:
        with transaction() as session:
            assert list(lean.execute(session, EVERYTHING, {})) == []
        with transaction() as session:
            session.execute(text("ALTER TABLE lean_test ADD COLUMN more text"))
        with pytest.raises(DBAPIError) as caught, transaction() as session:
            lean.execute(session, EVERYTHING, {})
        assert caught.value.connection_invalidated
        with transaction() as session:
            assert list(lean.execute(session, EVERYTHING, {})) == []
    finally:
        with transaction() as session:
            session.execute(text("DROP TABLE lean_test"))


def test_plans_hold_for_any_values_except_behind_a_pooler(database: Database) -> None:
    mode = text("SHOW plan_cache_mode")
    for pooled, wanted in ((False, "force_generic_plan"), (True, "auto")):
        engine = make_engine(get_settings().sqlalchemy_url(), pooled=pooled)
        with engine.connect() as connection:
            assert connection.scalar(mode) == wanted
        engine.dispose()


def test_the_connection_that_was_used_last_is_used_next() -> None:
    pid = text("SELECT pg_backend_pid()")
    with transaction() as one, transaction() as two, transaction() as three:
        assert len({session.scalar(pid) for session in (one, two, three)}) == 3
    used = set()
    for _ in range(6):
        with transaction() as session:
            used.add(session.scalar(pid))
    assert len(used) == 1
