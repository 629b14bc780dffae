"""Achievements to begin with. Staff edit them as they like: what is there is never overwritten."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from domain import achievement_catalogue
from domain.achievement_catalogue import Definition, TierDefinition
from domain.conditions import Condition

KNOWN = text("SELECT code FROM achievements")


def seed(session: Session) -> list[str]:
    """Make those of the common achievements that there are not yet; return their codes."""
    known = set(session.scalars(KNOWN))
    missing = {code: definition for code, definition in COMMON.items() if code not in known}
    for code, definition in missing.items():
        achievement_catalogue.create(session, code, definition)
    return list(missing)


def _reach(counter: str, *goals: tuple[int, int], **texts: Any) -> Definition:
    """Return an achievement of one counter; each goal, (how many, XP), is a tier."""
    tiers = [TierDefinition(condition=_condition(counter, gte), xp_reward=xp) for gte, xp in goals]
    first, *more = tiers
    return Definition(condition=first.condition, xp_reward=first.xp_reward, tiers=more, **texts)


def _condition(counter: str, gte: int) -> Condition:
    return Condition.model_validate({"v": 1, "when": {"counter": counter, "gte": gte}})


COMMON = {
    "lessons": _reach(
        *("lessons.completed", (1, 10), (10, 25), (50, 100), (200, 250)),
        name="Lesson by lesson",
        description="Complete lessons: 1, 10, 50, 200.",
        icon="📖",
        category="learning",
    ),
    "courses": _reach(
        *("courses.completed", (1, 50), (3, 100), (10, 300)),
        name="Finisher",
        description="Complete courses: 1, 3, 10.",
        icon="🎓",
        category="learning",
    ),
    "quizzes": _reach(
        *("quizzes.passed", (1, 10), (10, 50), (50, 150)),
        name="Quick mind",
        description="Pass quizzes: 1, 10, 50.",
        icon="✅",
        category="quizzes",
    ),
    "perfect-quizzes": _reach(
        *("quizzes.perfect", (1, 25), (10, 100)),
        name="Flawless",
        description="Answer everything in a quiz right: in 1, in 10.",
        icon="💯",
        category="quizzes",
    ),
    "assignments": _reach(
        *("assignments.passed", (1, 20), (10, 100)),
        name="Hands on",
        description="Pass assignments: 1, 10.",
        icon="🛠️",
        category="assignments",
    ),
    "on-time": _reach(
        *("assignments.on_time", (5, 50), (20, 150)),
        name="On time",
        description="Hand in what passes before it is due: 5, 20.",
        icon="⏰",
        category="assignments",
    ),
    "certificates": _reach(
        *("certificates.earned", (1, 50), (5, 200)),
        name="Certified",
        description="Earn certificates: 1, 5.",
        icon="📜",
        category="learning",
    ),
    "streak": _reach(
        *("streak.longest", (3, 15), (7, 35), (30, 150), (100, 500)),
        name="Day after day",
        description="Be active on 3, 7, 30, 100 days in a row.",
        icon="🔥",
        category="streaks",
    ),
    "active-days": _reach(
        *("days.active", (10, 20), (100, 200), (365, 500)),
        name="Regular",
        description="Be active on 10, 100, 365 days, in a row or not.",
        icon="📅",
        category="streaks",
    ),
    "levels": _reach(
        *("level", (5, 0), (10, 0), (25, 0)),
        name="Climber",
        description="Reach the levels 5, 10, 25.",
        icon="⛰️",
        category="levels",
    ),
    "all-rounder": Definition(
        name="All-rounder",
        description="A course, a quiz and an assignment, or any two of them and a certificate.",
        icon="🧭",
        category="learning",
        condition=Condition.model_validate(
            {
                "v": 1,
                "when": {
                    "at_least": 3,
                    "of": [
                        {"counter": name, "gte": 1}
                        for name in (
                            "courses.completed",
                            "quizzes.passed",
                            "assignments.passed",
                            "certificates.earned",
                        )
                    ],
                },
            }
        ),
        xp_reward=100,
    ),
    "collector": _reach(
        *("achievements.unlocked", (5, 25), (10, 50)),
        name="Collector",
        description="Unlock other achievements: 5, 10.",
        icon="🗃️",
        category="levels",
    ),
}
