"""Awarding XP. Every change of a total is an entry; the database refuses any other.

Lock order everywhere: the user's XP row, the ledger, the enrolment, counters, jobs; many users in the order of their
ids. Every function below takes the user's row first, so callers hold nothing of that user before they call.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from db import jobs
from domain.errors import NotFound
from domain.levels import Curve
from domain.xp_errors import REFUSALS

AWARD = "xp.award"
AFTER_AWARD = "xp.after_award"
QUEUE = "xp"

# Follow-up work goes in with the award. No notification: NOTIFY takes turns at commit, and this may wait for the
# relay's next look.
ASK_AFTER = f"""
    INSERT INTO jobs (kind, business_key, queue, subject_id)
    SELECT '{AFTER_AWARD}', entry::text, '{QUEUE}', entry FROM done WHERE {{given}}
    ON CONFLICT DO NOTHING
"""  # noqa: S608
COMPLETE_LESSON = text(
    f"""
    WITH done AS MATERIALIZED (
        SELECT * FROM xp_complete_lesson(CAST(:user AS uuid), CAST(:course AS uuid), CAST(:lesson AS uuid),
            CAST(:claimed AS integer), :factor, CAST(:breakdown AS jsonb), :transport, :curve,
            CAST(:completed_at AS timestamptz))
    ), asked AS ({ASK_AFTER.format(given="outcome = 'awarded'")})
    SELECT * FROM done
    """  # noqa: S608
)
GIVE = text(
    f"""
    WITH done AS MATERIALIZED (
        SELECT given.* FROM xp_price(:factor, CAST(:breakdown AS jsonb), :source_type, :category,
            CAST(:course_id AS uuid), coalesce(CAST(:occurred_at AS timestamptz), now())) AS price,
        xp_award(CAST(:user AS uuid), :key, :base, price.factor, price.breakdown, :source_type,
            :source_id, :category, :reason, :description, CAST(:caused_by AS uuid), :revocable, :transport,
            CAST(:occurred_at AS timestamptz), :curve) AS given
    ), asked AS ({ASK_AFTER.format(given="created")})
    SELECT * FROM done
    """  # noqa: S608
)


@dataclass(frozen=True)
class Completion:
    """Who completed which lesson, and when (None: now).

    `claimed` is the XP that the caller says it gives, None where nothing is said.
    """

    user_id: str
    course_id: str
    lesson_id: str
    claimed: int | None = None
    completed_at: datetime | None = None


@dataclass(frozen=True)
class Price:
    """How an amount comes about: base times `factor` (basis points), and what the factor is made of."""

    factor: int
    breakdown: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True)
class Award:
    """What is to be awarded, for what. `key` is the business key: one standing award of a user under each.

    `course_id` is the own course that it belongs to, for multipliers of that course; `occurred_at` chooses among them.
    """

    user_id: str
    key: str
    base: int
    source_type: str
    source_id: str | None
    category: str
    reason: str
    description: str = ""
    caused_by: str | None = None
    revocable: bool = True
    occurred_at: datetime | None = None
    course_id: str | None = None


@dataclass(frozen=True)
class Given:
    """An award as it stands. `created` is False where it stood before."""

    created: bool
    entry_id: str
    awarded: int
    total_xp: int
    level_before: int
    level: int


@dataclass(frozen=True)
class LessonDone:
    """What completing a lesson gave. `course_awarded` is what completing its course with it gave on top."""

    entry_id: str
    awarded: int
    course_awarded: int
    percentage: int
    total_xp: int
    level_before: int
    level: int


def complete_lesson(
    session: Session,
    curve: Curve,
    lesson: Completion,
    *,
    price: Price | None = None,
    transport_key: str | None = None,
) -> LessonDone:
    """Complete a lesson and give its XP, with those of the course where it was the last one, in one round trip.

    Without a price, the multipliers that hold at the time make one for the lesson and one for the course.
    Raises `NotEnrolled`, `NoLesson`, `WrongAmount` (where an amount is claimed) or `CompletedBefore`.
    """
    found = session.execute(
        COMPLETE_LESSON,
        {
            "user": lesson.user_id,
            "course": lesson.course_id,
            "lesson": lesson.lesson_id,
            "claimed": lesson.claimed,
            "completed_at": lesson.completed_at,
            "transport": transport_key,
            "curve": curve.spec,
            **_priced(price),
        },
    ).one()
    if found.outcome != "awarded":
        raise REFUSALS[found.outcome](f"lesson {lesson.lesson_id}: {found.outcome}")
    return LessonDone(
        str(found.entry),
        found.awarded,
        found.course_awarded,
        found.percentage,
        found.total_after,
        found.level_before,
        found.level_after,
    )


def award(
    session: Session,
    curve: Curve,
    wanted: Award,
    *,
    price: Price | None = None,
    transport_key: str | None = None,
) -> Given:
    """Give an award, or return the one that stands under its key; one that was reversed is given anew.

    Without a price, the multipliers that held when it happened make it. What stands is never priced again.
    Raises `NotFound` when there is no such user.
    """
    values = {**vars(wanted), **_priced(price), "user": wanted.user_id, "transport": transport_key}
    found = session.execute(GIVE, {**values, "curve": curve.spec}).one()
    if found.created is None:
        raise NotFound(f"there is no user {wanted.user_id}")
    return Given(
        found.created,
        str(found.entry),
        found.awarded,
        found.total_after,
        found.level_before,
        found.level_after,
    )


def ask_lesson(session: Session, *, user_id: str, lesson_id: str) -> None:
    """Ask for the award of a lesson as a job, for callers that do not wait. The key says when it was completed: now."""
    at = session.execute(text("SELECT floor(extract(epoch FROM now()))::bigint")).scalar_one()
    jobs.enqueue(
        session, jobs.Enqueue(AWARD, f"lesson:{lesson_id}:{user_id}:{at}", QUEUE, subject_id=user_id)
    )


def _priced(price: Price | None) -> dict[str, Any]:
    if price is None:
        return {"factor": None, "breakdown": None}
    return {"factor": price.factor, "breakdown": json.dumps(list(price.breakdown))}
