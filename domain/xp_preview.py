"""What a reversal would change, found out by doing it, with all that follows, in a transaction that is not kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from domain import achievements, certificate_review, xp_corrections
from domain.levels import Curve, stand

TOTAL = text("SELECT total_xp FROM users WHERE id = :user")
UNLOCKED = text(
    """
    SELECT a.id || ':' || u.tier AS key, a.name || CASE WHEN u.tier > 1 THEN ' (' || u.tier || ')' ELSE '' END AS name
    FROM user_achievements u JOIN achievements a ON a.id = u.achievement_id WHERE u.user_id = :user
    """
)
PERCENTAGES = text(
    """
    SELECT c.title AS course, e.completion_percentage AS percentage
    FROM enrollments e JOIN courses c ON c.id = e.course_id WHERE e.user_id = :user
    """
)
CERTIFIED = text("SELECT course_title FROM certificates WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY 1")

ENTRY = text(
    """
    SELECT t.id, t.kind, t.amount, t.source_type, t.source_id, t.reason, t.description, t.base, t.factor,
        t.balance_after, t.occurred_at, r.id AS reversed_by_id
    FROM xp_transactions t LEFT JOIN xp_transactions r ON r.reverses_id = t.id
    WHERE t.id = CAST(:entry AS uuid) AND t.user_id = CAST(:user AS uuid)
    """
)


@dataclass(frozen=True)
class Change:
    """A figure before and after."""

    before: int
    after: int


@dataclass(frozen=True)
class Preview:
    """What would be different. `achievements` and `certificates` are those that would be taken back."""

    entries: int
    total: Change
    level: Change
    achievements: list[str]
    courses: dict[str, Change]
    certificates: list[str]


@dataclass(frozen=True)
class _State:
    total: int
    unlocked: dict[str, str]
    percentages: dict[str, int]


def find_entry(session: Session, user_id: str, entry_id: str) -> dict[str, Any] | None:
    """Return an entry of somebody's ledger, None where it is not theirs."""
    row = session.execute(ENTRY, {"user": user_id, "entry": entry_id}).one_or_none()
    return None if row is None else dict(row._mapping)


def preview(session: Session, curve: Curve, user_id: str, entry_id: str) -> Preview:
    """Return what reversing an award would change. What is done here is undone before this returns.

    Raises what `xp_corrections.reverse` raises.
    """
    with session.begin_nested() as attempt:
        try:
            # What is still to follow from earlier facts is no part of it.
            achievements.settle(session, curve, user_id, xp_per_day=0)
            before = _look(session, user_id)
            posted = xp_corrections.reverse(session, curve, entry_id, reason="reversed_by_staff")
            achievements.settle(session, curve, user_id, xp_per_day=0)
            undone = certificate_review.find_undone(session, user_id)
            titles = list(session.scalars(CERTIFIED, {"ids": undone}))
            after = _look(session, user_id)
        finally:
            attempt.rollback()
    return _compare(curve, posted.entries, before, after, titles)


def _look(session: Session, user_id: str) -> _State:
    who: dict[str, Any] = {"user": user_id}
    return _State(
        int(session.execute(TOTAL, who).scalar_one()),
        {row.key: row.name for row in session.execute(UNLOCKED, who)},
        {row.course: row.percentage for row in session.execute(PERCENTAGES, who)},
    )


def _compare(curve: Curve, entries: int, before: _State, after: _State, certificates: list[str]) -> Preview:
    levels = Change(stand(curve, before.total).level, stand(curve, after.total).level)
    lost = sorted(name for key, name in before.unlocked.items() if key not in after.unlocked)
    courses = {
        course: Change(was, after.percentages[course])
        for course, was in sorted(before.percentages.items())
        if after.percentages[course] != was
    }
    return Preview(entries, Change(before.total, after.total), levels, lost, courses, certificates)
