"""Multipliers: when which XP count for more. `xp_price` in the database chooses among them as it prices an award.

An award is priced once, by when the thing happened; its entry stores base, factor and breakdown. So a rule that is
added, ended or called off changes nothing that was awarded before.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.models.xp import PRICED_CATEGORIES, PRICED_SOURCE_TYPES
from domain.errors import DomainError, NotFound, NotPossible
from domain.student_view import decode_cursor

# Basis points of the least and the largest multiplier. The factor of all that hold at once is capped at the latter.
FACTOR_MIN, FACTOR_MAX = 10_001, 30_000
NAME_MAX = 100
# Within these, every time zone's years have four digits.
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC)

COLUMNS = "id, name, factor, starts_at, ends_at, course_id, category, source_type, active, created_at"
# What a rule does now. One that was called off before it began never did anything.
STATE = (
    "CASE WHEN NOT active THEN 'called_off' WHEN ends_at <= now() THEN 'ended'"
    " WHEN starts_at > now() THEN 'coming' ELSE 'holds' END AS state"
)
ADD = text(
    f"""
    INSERT INTO xp_multipliers (name, factor, starts_at, ends_at, course_id, category, source_type)
    VALUES (:name, :factor, coalesce(CAST(:starts_at AS timestamptz), now()), :ends_at, CAST(:course_id AS uuid),
        :category, :source_type)
    RETURNING {COLUMNS}, {STATE}
    """  # noqa: S608
)
COURSE = text("SELECT 1 FROM courses WHERE id = :id AND deleted_at IS NULL FOR KEY SHARE")
NOW = text("SELECT now()")
LOCK = text(
    "SELECT starts_at >= now() AS coming, active, ends_at <= now() AS over FROM xp_multipliers WHERE id = :id FOR UPDATE"
)
CALL_OFF = text(
    f"UPDATE xp_multipliers SET active = false, updated_at = now() WHERE id = :id RETURNING {COLUMNS}, {STATE}"  # noqa: S608
)
END = text(
    f"UPDATE xp_multipliers SET ends_at = now(), updated_at = now() WHERE id = :id RETURNING {COLUMNS}, {STATE}"  # noqa: S608
)
LIST = text(
    f"""
    SELECT {COLUMNS}, {STATE} FROM xp_multipliers
    WHERE CAST(:at AS timestamptz) IS NULL OR (created_at, id) < (CAST(:at AS timestamptz), CAST(:id AS uuid))
    ORDER BY created_at DESC, id DESC LIMIT :limit
    """  # noqa: S608
)


class WrongRule(DomainError):
    """A multiplier that could never hold; `field` is what is wrong about it."""

    code = "wrong_multiplier"

    def __init__(self, field: str, reason: str) -> None:
        self.field = field
        super().__init__(reason)


@dataclass(frozen=True)
class Rule:
    """A multiplier to be: `factor` in basis points, from `starts_at` (None: now) until before `ends_at`.

    Without `course_id`, `category` and `source_type` it holds for everything that multipliers apply to.
    """

    name: str
    factor: int
    ends_at: datetime
    starts_at: datetime | None = None
    course_id: str | None = None
    category: str | None = None
    source_type: str | None = None


@dataclass(frozen=True)
class RulePage:
    """Multipliers, newest first. `next_cursor` is None on the last page."""

    items: list[dict[str, Any]]
    next_cursor: str | None


def add(session: Session, rule: Rule) -> dict[str, Any]:
    """Store a multiplier and return it; raise `WrongRule`, or `NotFound` for a course that there is not."""
    _check(rule, session.execute(NOW).scalar_one())
    if rule.course_id is not None and session.execute(COURSE, {"id": rule.course_id}).one_or_none() is None:
        raise NotFound(f"there is no course {rule.course_id}")
    return dict(session.execute(ADD, vars(rule)).one()._mapping)


def end(session: Session, rule_id: str) -> dict[str, Any]:
    """End a multiplier now, or call it off before it begins; what happened while it held keeps it, also if priced later.

    Raises `NotFound`, or `NotPossible` for one that is over.
    """
    row = session.execute(LOCK, {"id": rule_id}).one_or_none()
    if row is None:
        raise NotFound(f"there is no multiplier {rule_id}")
    if row.over or not row.active:
        raise NotPossible(f"multiplier {rule_id} is over")
    return dict(session.execute(CALL_OFF if row.coming else END, {"id": rule_id}).one()._mapping)


def list_rules(session: Session, *, limit: int, cursor: str | None = None) -> RulePage:
    """Return a page of multipliers, each with its state; raise `InvalidCursor` for a cursor that is not ours."""
    at, last = (None, None) if cursor is None else decode_cursor(cursor)
    rows = session.execute(LIST, {"at": at, "id": last, "limit": limit + 1}).all()
    items = [dict(row._mapping) for row in rows]
    more = len(items) > limit
    return RulePage(items[:limit], _encode_cursor(items[limit - 1]) if more else None)


def _check(rule: Rule, now: datetime) -> None:
    for field, at in (("starts_at", rule.starts_at), ("ends_at", rule.ends_at)):
        if at is not None and not EARLIEST <= at <= LATEST:
            raise WrongRule(field, f"must be in the years {EARLIEST.year} to {LATEST.year}")
    if not 1 <= len(rule.name) <= NAME_MAX:
        raise WrongRule("name", f"must be 1 to {NAME_MAX} characters")
    if not FACTOR_MIN <= rule.factor <= FACTOR_MAX:
        raise WrongRule("factor", f"must be {FACTOR_MIN} to {FACTOR_MAX} basis points")
    if rule.category is not None and rule.category not in PRICED_CATEGORIES:
        raise WrongRule("category", f"must be one of {', '.join(PRICED_CATEGORIES)}")
    if rule.source_type is not None and rule.source_type not in PRICED_SOURCE_TYPES:
        raise WrongRule("source_type", f"must be one of {', '.join(PRICED_SOURCE_TYPES)}")
    if rule.ends_at <= (rule.starts_at or now):
        raise WrongRule("ends_at", "must be later than the start")


def _encode_cursor(last: dict[str, Any]) -> str:
    return (
        base64.urlsafe_b64encode(f"{last['created_at'].isoformat()}|{last['id']}".encode())
        .decode()
        .rstrip("=")
    )
