"""What a student sees of achievements: all that there are with exact progress, and those that are their own."""

from __future__ import annotations

import base64
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from domain import counters
from domain.conditions import Condition, Measure, leaves, progress
from domain.student_view import InvalidCursor, decode_cursor

# What is not active any more is shown to whoever has it.
LIST = text(
    """
    SELECT a.id, a.code, a.version, a.name, a.description, a.icon, a.category, a.condition, a.xp_reward, a.tiers,
        a.revocable, coalesce((
            SELECT jsonb_object_agg(u.tier, to_jsonb(u.unlocked_at)) FROM user_achievements u
            WHERE u.user_id = :user AND u.achievement_id = a.id
        ), '{}') AS unlocked
    FROM achievements a
    WHERE a.code > :after AND (a.is_active OR EXISTS (
        SELECT 1 FROM user_achievements u WHERE u.user_id = :user AND u.achievement_id = a.id
    ))
    ORDER BY a.code LIMIT :limit
    """
)
MINE = text(
    """
    SELECT u.id, u.achievement_id, a.code, a.name, a.description, a.icon, a.category, u.tier, u.version, u.unlocked_at,
        CASE u.tier WHEN 1 THEN v.definition -> 'xp_reward' ELSE v.definition -> 'tiers' -> (u.tier - 2) -> 'xp_reward' END
            AS xp_reward
    FROM user_achievements u JOIN achievements a ON a.id = u.achievement_id
    JOIN achievement_versions v ON v.achievement_id = u.achievement_id AND v.version = u.version
    WHERE u.user_id = :user AND (CAST(:at AS timestamptz) IS NULL
        OR (u.unlocked_at, u.id) < (CAST(:at AS timestamptz), CAST(:id AS uuid)))
    ORDER BY u.unlocked_at DESC, u.id DESC LIMIT :limit
    """
)


def list_achievements(session: Session, user_id: str, *, limit: int, after: str = "") -> list[dict[str, Any]]:
    """Return achievements in the order of their codes, after a code, each with the user's progress tier by tier."""
    rows = session.execute(LIST, {"user": user_id, "limit": limit, "after": after}).all()
    tiers = {row.id: _tiers(row) for row in rows}
    measures = {leaf.measure for listed in tiers.values() for tier in listed for leaf in leaves(tier[0].when)}
    found = counters.values(session, user_id, measures)
    return [
        {
            **row._mapping,
            "tiers": [
                _tell(number, condition, reward, row.unlocked.get(str(number)), found)
                for number, (condition, reward) in enumerate(tiers[row.id], 1)
            ],
        }
        for row in rows
    ]


def list_unlocked(
    session: Session, user_id: str, *, limit: int, cursor: str | None = None
) -> list[dict[str, Any]]:
    """Return the tiers that a user has unlocked, newest first; raise `InvalidCursor` for a cursor that is not ours."""
    at, last = (None, None) if cursor is None else decode_cursor(cursor)
    rows = session.execute(MINE, {"user": user_id, "limit": limit, "at": at, "id": last})
    return [dict(row._mapping) for row in rows]


def _tiers(row: Any) -> list[tuple[Condition, int]]:
    parts = [{"condition": row.condition, "xp_reward": row.xp_reward}, *row.tiers]
    return [(Condition.model_validate(part["condition"]), part["xp_reward"]) for part in parts]


def _tell(
    number: int, condition: Condition, reward: int, unlocked_at: str | None, found: dict[Measure, int]
) -> dict[str, Any]:
    """Return one tier. The percentage is rounded down, so that 100 means done."""
    return {
        "tier": number,
        "xp_reward": reward,
        "unlocked_at": unlocked_at,
        "condition": condition.to_json(),
        "percentage": int(progress(condition.when, found) * 100) if unlocked_at is None else 100,
        "counters": [
            {
                "counter": leaf.counter,
                "value": found[leaf.measure],
                "target": leaf.gte,
                "scope": leaf.scope,
                "window": leaf.window,
            }
            for leaf in leaves(condition.when)
        ],
    }


def encode_code(code: str) -> str:
    """Return the opaque cursor of the page after a code."""
    return base64.urlsafe_b64encode(f"code {code}".encode()).decode().rstrip("=")


def decode_code(cursor: str | None) -> str:
    """Return the code that a page starts after, none for the first page; raise `InvalidCursor`."""
    if cursor is None:
        return ""
    try:
        plain = base64.b64decode(
            cursor.encode("ascii") + b"=" * (-len(cursor) % 4), b"-_", validate=True
        ).decode()
    except ValueError:
        raise InvalidCursor from None
    if not plain.startswith("code ") or "\x00" in plain:
        raise InvalidCursor
    return plain.removeprefix("code ")
