"""The whole ledger as records, for before it goes: entries in the order of their making, with people's addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

BATCH = 1_000
ANY = text("SELECT EXISTS (SELECT 1 FROM xp_transactions)")
NEXT = text(
    """
    SELECT u.email, t.* FROM xp_transactions t JOIN users u ON u.id = t.user_id
    WHERE t.seq > :after ORDER BY t.seq LIMIT :limit
    """
)


def any_entries(session: Session) -> bool:
    """Say whether anybody ever earned anything."""
    return bool(session.execute(ANY).scalar_one())


def entries(transaction: Callable[[], AbstractContextManager[Session]]) -> Iterator[dict[str, Any]]:
    """Yield every entry, each batch read in a transaction of its own."""
    after = -1
    while True:
        with transaction() as session:
            found = [dict(row._mapping) for row in session.execute(NEXT, {"after": after, "limit": BATCH})]
        yield from found
        if len(found) < BATCH:
            return
        after = found[-1]["seq"]
