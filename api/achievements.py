"""What students see of their streak and of achievements."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from flask import Blueprint, Response
from pydantic import BaseModel, Field

from api import flags
from api.auth import current_user_id, requires_user
from api.errors import Problem, read_query
from api.student import CamelModel, PageQuery, Uuid
from api.xp import answer_json
from db.session import transaction
from domain import achievement_view, streak_store
from domain.conditions import Scope, Window
from domain.streak_store import Standing
from domain.student_view import InvalidCursor, encode_moment

blueprint = Blueprint("achievements", __name__)


class StreakAnswer(CamelModel):
    """Where a streak stands on `today`, a date of the student's own calendar.

    `currentStreak` counts active days; `frozenDates` are the missed ones that a freeze bridged. `atRisk`: today is
    not over, and without activity it costs a freeze or ends the run.
    """

    current_streak: int
    longest_streak: int
    last_activity_date: date | None
    freezes_available: int
    freezes_used: int
    frozen_dates: list[date]
    active_today: bool
    at_risk: bool
    today: date
    time_zone: str


class Progress(CamelModel):
    """How far one counter of a condition is: `value` of `target`."""

    counter: str
    value: int
    target: int
    scope: Scope | None
    window: Window | None


class TierAnswer(CamelModel):
    """A tier of an achievement. `percentage` is rounded down: 100 only when all of it is done."""

    tier: int
    xp_reward: int
    unlocked_at: datetime | None
    percentage: int = Field(ge=0, le=100)
    condition: dict[str, Any]
    counters: list[Progress]


class AchievementAnswer(CamelModel):
    """An achievement and the caller's progress in it. A `revocable` one goes when its condition does not hold any more."""

    id: Uuid
    code: str
    version: int
    name: str
    description: str
    icon: str
    category: str
    revocable: bool
    tiers: list[TierAnswer]


class AchievementsAnswer(BaseModel):
    """A page, in the order of the codes."""

    data: list[AchievementAnswer]
    has_more: bool
    next_cursor: str | None


class UnlockedAnswer(CamelModel):
    """A tier that the caller has unlocked, and what it gave."""

    id: Uuid
    achievement_id: Uuid
    code: str
    name: str
    description: str
    icon: str
    category: str
    tier: int
    version: int
    xp_reward: int
    unlocked_at: datetime


class UnlockedPage(BaseModel):
    """A page, newest first."""

    data: list[UnlockedAnswer]
    has_more: bool
    next_cursor: str | None


@blueprint.get("/api/me/streak")
@requires_user
@flags.requires("streaks")
def streak() -> Response:
    """Return the caller's streak."""
    with transaction() as session:
        return answer_json(tell_streak(streak_store.look(session, current_user_id())))


@blueprint.get("/api/achievements")
@requires_user
@flags.requires("achievements")
def achievements() -> Response:
    """Return a page of achievements with the caller's progress."""
    query = read_query(PageQuery)
    try:
        after = achievement_view.decode_code(query.cursor)
    except InvalidCursor:
        raise Problem("invalid_cursor") from None
    with transaction() as session:
        found = achievement_view.list_achievements(
            session, current_user_id(), limit=query.limit + 1, after=after
        )
    more, shown = len(found) > query.limit, found[: query.limit]
    data = [AchievementAnswer.model_validate(item) for item in shown]
    cursor = achievement_view.encode_code(shown[-1]["code"]) if more else None
    return answer_json(AchievementsAnswer(data=data, has_more=more, next_cursor=cursor))


@blueprint.get("/api/me/achievements")
@requires_user
@flags.requires("achievements")
def my_achievements() -> Response:
    """Return a page of what the caller has unlocked."""
    query = read_query(PageQuery)
    try:
        with transaction() as session:
            found = achievement_view.list_unlocked(
                session, current_user_id(), limit=query.limit + 1, cursor=query.cursor
            )
    except InvalidCursor:
        raise Problem("invalid_cursor") from None
    more, shown = len(found) > query.limit, found[: query.limit]
    data = [UnlockedAnswer.model_validate(item) for item in shown]
    cursor = encode_moment(shown[-1]["unlocked_at"], shown[-1]["id"]) if more else None
    return answer_json(UnlockedPage(data=data, has_more=more, next_cursor=cursor))


def tell_streak(found: Standing) -> StreakAnswer:
    """Return the answer about a streak."""
    state = found.state
    return StreakAnswer(
        current_streak=state.current,
        longest_streak=state.longest,
        last_activity_date=state.last_active,
        freezes_available=state.freezes_available,
        freezes_used=len(state.covered),
        frozen_dates=list(state.covered),
        active_today=state.active_today,
        at_risk=state.at_risk,
        today=found.today,
        time_zone=found.time_zone,
    )
