"""What changed for one student since they looked last: XP from the ledger, statuses from `enrollment_changes`.

Both are read from PostgreSQL by a cursor that the reader keeps, so any process can go on where another one stopped.
Entries of one user get their `seq` under that user's row lock, so a higher one never commits before a lower one.
Changes of enrolments have no such lock: there the cursor is a snapshot, and what is new is what it could not see.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from domain.levels import Curve, stand

# Days for which changes are kept; who comes back later is told where they stand now.
KEPT_DAYS = 7
# Entries, and changes of enrolments, that are told one by one. Who is further behind is told where they stand now.
MOST = 200
# Levels that one entry announces one by one, the highest of those that it reached.
MOST_LEVELS = 50
# PostgreSQL's text form of a snapshot: xmin:xmax:running,running,...
SNAPSHOT = r"(\d{1,18}):(\d{1,18}):((?:\d{1,18}(?:,\d{1,18})*)?)"
CURSOR = re.compile(rf"(\d{{1,12}})\.(\d{{1,18}})\.{SNAPSHOT}")
CURSOR_LENGTH = 4000

START = text(
    """
    SELECT extract(epoch FROM now())::bigint AS at, pg_current_snapshot()::text AS snapshot,
        coalesce((SELECT max(seq) FROM xp_transactions WHERE user_id = :user), 0) AS seq
    """
)
# One statement, so that the snapshot is the one that the rows are seen with. Rows from its future were written before
# the database was restored into another server, whose transactions count from the beginning.
CHANGES = text(
    """
    SELECT now.*, c.*
    FROM (SELECT extract(epoch FROM now())::bigint AS at, pg_current_snapshot()::text AS snapshot) AS now
    LEFT JOIN LATERAL (
        SELECT xid, id, kind, enrollment_id, course_id, status, previous_status, changed_at FROM enrollment_changes
        WHERE user_id = :user AND xid >= :xmin AND (xid >= :xmax OR xid = ANY(CAST(:running AS bigint[])))
            AND xid < split_part(now.snapshot, ':', 2)::bigint
        ORDER BY xid, id LIMIT :limit
    ) AS c ON true
    ORDER BY c.xid, c.id
    """
)
ENTRIES = text(
    """
    SELECT seq, id AS entry_id, kind, amount, category, balance_after, created_at
    FROM xp_transactions WHERE user_id = :user AND seq > :seq ORDER BY seq LIMIT :limit
    """
)


class OutOfReach(Exception):
    """What happened since the cursor cannot be told one by one: it is too old, of another database, or too much."""


@dataclass(frozen=True)
class Cursor:
    """How far somebody has read: the ledger's last entry, and the snapshot of the last look. `at` is in Unix seconds."""

    at: int
    seq: int
    xmin: int
    xmax: int
    running: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.at}.{self.seq}.{self.xmin}:{self.xmax}:{','.join(map(str, self.running))}"


@dataclass(frozen=True)
class Change:
    """Something to tell, and the cursor of who has been told it."""

    event: str
    data: dict[str, Any]
    cursor: Cursor


def parse(raw: str) -> Cursor | None:
    """Return the cursor that a client kept, None where it is not one of ours."""
    found = CURSOR.fullmatch(raw) if len(raw) <= CURSOR_LENGTH else None
    return (
        None if found is None else _cursor(int(found[1]), int(found[2]), f"{found[3]}:{found[4]}:{found[5]}")
    )


def start(session: Session, user_id: str) -> Cursor:
    """Return the cursor of somebody who knows all that is committed now."""
    row = session.execute(START, {"user": user_id}).one()
    return _cursor(row.at, row.seq, row.snapshot)


def read(session: Session, curve: Curve, user_id: str, since: Cursor) -> tuple[Cursor, list[Change]]:
    """Return what was committed since a cursor, and the next cursor; raise `OutOfReach`.

    What is told twice after an interruption (a change whose cursor was not kept) says the same both times.
    """
    values = {"user": user_id, "limit": MOST + 1}
    seen = {"xmin": since.xmin, "xmax": since.xmax, "running": list(since.running)}
    rows = session.execute(CHANGES, values | seen).all()
    now = _cursor(rows[0].at, since.seq, rows[0].snapshot)
    if now.at - since.at > KEPT_DAYS * 86_400 or now.xmax < since.xmax:
        raise OutOfReach
    entries = session.execute(ENTRIES, values | {"seq": since.seq}).all()
    changed = [row for row in rows if row.id is not None]
    if max(len(entries), len(changed)) > MOST:
        raise OutOfReach
    told = since
    changes: list[Change] = []
    for entry in entries:
        changes += _tell_entry(curve, entry, told)
        told = replace(told, seq=entry.seq)
    end = replace(now, seq=told.seq)
    for row in changed:
        # Only the last one moves the cursor: they were seen by one look.
        changes.append(Change("enrollment", _tell_enrollment(row), end if row is changed[-1] else told))
    return end, changes


def _tell_entry(curve: Curve, entry: Row[Any], told: Cursor) -> Iterator[Change]:
    """Yield the levels that an entry reached, each for itself, then the entry."""
    before, now = stand(curve, entry.balance_after - entry.amount), stand(curve, entry.balance_after)
    for level in range(max(before.level, now.level - MOST_LEVELS) + 1, now.level + 1):
        yield Change("level", {"level": level, "at": entry.created_at}, told)
    known = {name: entry._mapping[name] for name in ("entry_id", "kind", "amount", "category")}
    data = {**known, **vars(now), "previous_level": before.level, "at": entry.created_at}
    yield Change("xp", data, replace(told, seq=entry.seq))


def _tell_enrollment(row: Row[Any]) -> dict[str, Any]:
    names = ("kind", "enrollment_id", "course_id", "status", "previous_status")
    return {**{name: row._mapping[name] for name in names}, "at": row.changed_at}


def _cursor(at: int, seq: int, snapshot: str) -> Cursor:
    xmin, xmax, running = snapshot.split(":")
    return Cursor(at, seq, int(xmin), int(xmax), tuple(int(xid) for xid in running.split(",") if xid))
