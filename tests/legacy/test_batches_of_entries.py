"""Entries by the thousand: the same proof as one at a time, and no way around the ledger's rules."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from db.session import transaction
from tests.conftest import Database
from tests.stack import make_students, rows

ENTRY = (
    "(user_id, kind, amount, source_type, category, reason, business_key)"
    " SELECT CAST(:user AS uuid), 'award', n, 'LEGACY', 'LEGACY', 'r', 'k' || n FROM generate_series(1, :count) n"
)


def post(user: str, count: int, table: str = "xp_batch") -> None:
    with transaction() as session:
        session.execute(text("SELECT xp_open_batch()"))
        session.execute(text(f"INSERT INTO {table} {ENTRY}"), {"user": user, "count": count})


def test_many_entries_of_one_user_are_one_chain(proven: Database) -> None:
    (user,) = make_students(1)
    post(user, 30)
    assert rows("SELECT total_xp, level, highest_level FROM users") == [(465, 2, 2)]
    balances = rows("SELECT balance_after FROM xp_transactions ORDER BY seq")
    assert balances == [(n * (n + 1) // 2,) for n in range(1, 31)]


def test_a_user_that_does_not_exist_is_refused_and_nothing_is_posted(proven: Database) -> None:
    with pytest.raises(DBAPIError, match="balance_after"):
        post("11111111-2222-4333-8444-555555555555", 2)
    assert rows("SELECT 1 FROM xp_transactions") == []


def test_the_ledger_itself_is_guarded_as_before(proven: Database) -> None:
    (user,) = make_students(1)
    entry = ENTRY.replace("business_key)", "business_key, base)").replace("'k' || n FROM", "'k' || n, n FROM")
    with pytest.raises(DBAPIError, match="one entry of a user"), transaction() as session:
        session.execute(text(f"INSERT INTO xp_transactions {entry}"), {"user": user, "count": 2})
    post(user, 2)
    for statement in ("UPDATE xp_transactions SET amount = 9", "DELETE FROM xp_transactions"):
        with pytest.raises(DBAPIError, match="append-only"), transaction() as session:
            session.execute(text(statement))
    with pytest.raises(DBAPIError, match="post an entry instead"), transaction() as session:
        session.execute(text("UPDATE users SET total_xp = 7"))
