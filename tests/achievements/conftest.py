"""Achievements that are made for a test, and what becomes of somebody who earns them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

from db.session import transaction
from domain import achievement_catalogue, achievements, counters
from domain.achievement_catalogue import Definition
from domain.levels import SQRT
from tests.stack import rows
from tests.xp.conftest import proven as proven


def at_least(counter: str, gte: int, **more: Any) -> dict[str, Any]:
    """Return the condition of one counter."""
    return {"v": 1, "when": {"counter": counter, "gte": gte, **more}}


def define(condition: dict[str, Any], **values: Any) -> Definition:
    """Return a definition with this condition."""
    return Definition.model_validate({"name": "Name", "category": "test", "condition": condition, **values})


def make(code: str, condition: dict[str, Any], **values: Any) -> str:
    """Make an achievement and return its id."""
    with transaction() as session:
        return achievement_catalogue.create(session, code, define(condition, **values))


def settle(user: str, *names: str) -> None:
    """Say that these counters changed, and do what the user's job does."""
    with transaction() as session:
        counters.note(session, user, names)
        achievements.settle(session, SQRT, user, xp_per_day=0)


def unlocked(user: str) -> list[tuple[str, int]]:
    """Return (code, tier) of what a user has."""
    found = rows(
        "SELECT a.code, u.tier FROM user_achievements u JOIN achievements a ON a.id = u.achievement_id"
        " WHERE u.user_id = :user ORDER BY 1, 2",
        user=user,
    )
    return [tuple(row) for row in found]


def sql(statement: str, **values: object) -> None:
    """Execute one statement."""
    with transaction() as session:
        session.execute(text(statement), values)
