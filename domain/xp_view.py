"""What a student sees of their XP: where they stand, the entries page by page, and what they come from."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from domain.errors import NotFound
from domain.levels import Curve, Standing, stand
from domain.student_view import InvalidCursor

# The effective view hides pairs: awards that were reversed, and their reversals.
HIDDEN = {
    "audit": "",
    "effective": " AND t.kind <> 'reversal' AND r.id IS NULL",
}
ENTRIES = """
    SELECT t.id, t.seq, t.kind, t.amount, t.source_type, t.source_id, t.category, t.reason, t.description,
        t.generation, t.reverses_id, r.id AS reversed_by_id, t.caused_by_id, t.base, t.factor, t.breakdown,
        t.balance_after, t.occurred_at, t.created_at
    FROM xp_transactions t LEFT JOIN xp_transactions r ON r.reverses_id = t.id
    WHERE t.user_id = :user AND t.seq < :before{hidden} ORDER BY t.seq DESC LIMIT :limit
"""
# What an entry is counted under. Days are those of the user's own time zone.
GROUPS = {
    "category": "t.category",
    "source": "t.source_type",
    "day": "to_char(t.occurred_at AT TIME ZONE u.time_zone, 'YYYY-MM-DD')",
}
ANALYTICS = """
    SELECT {group} AS key, sum(t.amount)::bigint AS xp, count(*) AS entries
    FROM xp_transactions t JOIN users u ON u.id = t.user_id LEFT JOIN xp_transactions r ON r.reverses_id = t.id
    WHERE t.user_id = :user AND t.kind <> 'reversal' AND r.id IS NULL
        AND (CAST(:days AS integer) IS NULL OR t.occurred_at >= now() - make_interval(days => CAST(:days AS integer)))
    GROUP BY 1 ORDER BY {order} LIMIT 1000
"""
# What stands of a source, then the course that was completed with it.
GAINED = text(
    """
    WITH given AS (
        SELECT a.* FROM xp_transactions a
        WHERE a.source_id = :source AND a.user_id = :user AND a.kind = 'award' AND a.source_type = :type
            AND NOT EXISTS (SELECT 1 FROM xp_transactions r WHERE r.reverses_id = a.id)
        ORDER BY a.seq DESC LIMIT 1
    )
    SELECT amount, balance_after, occurred_at, seq FROM given
    UNION ALL SELECT c.amount, c.balance_after, c.occurred_at, c.seq
    FROM given g JOIN xp_transactions c ON c.caused_by_id = g.id AND c.source_type = 'COURSE'
    WHERE NOT EXISTS (SELECT 1 FROM xp_transactions r WHERE r.reverses_id = c.id)
    ORDER BY seq
    """
)
NEWEST = 2**63 - 1


@dataclass(frozen=True)
class EntryPage:
    """Ledger entries, newest first. `next_cursor` is None on the last page."""

    items: list[dict[str, Any]]
    next_cursor: str | None


def standing(session: Session, curve: Curve, user_id: str) -> Standing:
    """Return where a user stands; raise `NotFound`. A read of one row, however long the ledger is."""
    total = session.scalar(text("SELECT total_xp FROM users WHERE id = :id"), {"id": user_id})
    if total is None:
        raise NotFound(f"there is no user {user_id}")
    return stand(curve, int(total))


@dataclass(frozen=True)
class Gain:
    """What a source gave that still stands. `course` is what completing the course with it gave on top."""

    xp: int
    course: int
    level_before: int
    level: int
    at: datetime


def find_gain(session: Session, curve: Curve, user_id: str, source_type: str, source_id: str) -> Gain | None:
    """Return what the user has from a lesson, quiz or assignment; None where nothing of it stands."""
    rows = session.execute(GAINED, {"user": user_id, "type": source_type, "source": source_id}).all()
    if not rows:
        return None
    first, last = rows[0], rows[-1]
    return Gain(
        xp=first.amount,
        course=sum(row.amount for row in rows[1:]),
        level_before=curve.level(first.balance_after - first.amount),
        level=curve.level(last.balance_after),
        at=first.occurred_at,
    )


def list_entries(
    session: Session, user_id: str, *, view: str, limit: int, cursor: str | None = None
) -> EntryPage:
    """Return a page of a user's entries, `effective` or `audit`; raise `InvalidCursor` for a cursor that is not ours."""
    before = NEWEST if cursor is None else decode_cursor(cursor)
    statement = text(ENTRIES.format(hidden=HIDDEN[view]))
    rows = session.execute(statement, {"user": user_id, "before": before, "limit": limit + 1}).all()
    items = [dict(row._mapping) for row in rows]
    more = len(items) > limit
    return EntryPage(items[:limit], encode_cursor(items[limit - 1]["seq"]) if more else None)


def analyse(session: Session, user_id: str, *, by: str, days: int | None) -> list[dict[str, Any]]:
    """Return XP and number of effective entries by category, source or day; of the last `days`, None for all."""
    order = "1 DESC" if by == "day" else "2 DESC, 1"
    statement = text(ANALYTICS.format(group=GROUPS[by], order=order))
    return [dict(row._mapping) for row in session.execute(statement, {"user": user_id, "days": days})]


def encode_cursor(seq: int) -> str:
    """Return the opaque cursor of the page after an entry."""
    return base64.urlsafe_b64encode(f"x{seq}".encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> int:
    """Return what a page starts before; raise `InvalidCursor`."""
    try:
        plain = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), b"-_", validate=True)
        mark, number = plain[:1], plain[1:].decode("ascii")
    except ValueError:
        raise InvalidCursor from None
    if mark != b"x" or not number.isdecimal() or int(number) > NEWEST:
        raise InvalidCursor
    return int(number)
