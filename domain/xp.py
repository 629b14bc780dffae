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

from db import jobs, lean
from db.lean import Statement
from domain.errors import DomainError, NotFound
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
# As above for several who complete one lesson each, each judged for itself. It waits for nobody: who is held by somebody
# else, or does not exist, is left out. All are held before the first is judged, so two lessons of one student are both.
COMPLETE_LESSONS = Statement(
    "complete_lessons",
    f"""
    WITH free AS MATERIALIZED (
        SELECT w.* FROM unnest({{users}}, {{courses}}, {{lessons}}, {{claimed}}, {{completed_at}})
            WITH ORDINALITY AS w(user_id, course_id, lesson_id, claimed, completed_at, n)
        JOIN courses c ON c.id = w.course_id JOIN users u ON u.id = w.user_id
        FOR KEY SHARE OF c SKIP LOCKED FOR NO KEY UPDATE OF u SKIP LOCKED
    ), done AS MATERIALIZED (
        SELECT held.n, given.* FROM (SELECT * FROM free ORDER BY n) AS held,
            xp_complete_lesson(held.user_id, held.course_id, held.lesson_id, held.claimed, NULL, NULL, NULL, {{curve}},
                held.completed_at) AS given
    ), asked AS ({ASK_AFTER.format(given="outcome = 'awarded'")})
    SELECT n, outcome, entry, awarded, course_awarded, percentage, total_after, level_before, level_after FROM done
    """,  # noqa: S608
    users="uuid[]",
    courses="uuid[]",
    lessons="uuid[]",
    claimed="integer[]",
    completed_at="timestamptz[]",
    curve="text",
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
        raise _refusal(found.outcome, lesson)
    return LessonDone(
        str(found.entry),
        found.awarded,
        found.course_awarded,
        found.percentage,
        found.total_after,
        found.level_before,
        found.level_after,
    )


def complete_lessons(curve: Curve, lessons: Sequence[Completion]) -> list[LessonDone | DomainError | None]:
    """Complete each of these lessons as `complete_lesson` does, all in one transaction of its own, waiting for nobody.

    The multipliers that hold at the time make the prices. A refusal stands in its lesson's place. None says that this
    one was left out and has to be completed by itself: another transaction works on the same student or deletes the
    course, or one of them does not exist. Raises `psycopg2.Error`, and nothing is completed then, as far as is known.
    """
    values = {
        "users": [lesson.user_id for lesson in lessons],
        "courses": [lesson.course_id for lesson in lessons],
        "lessons": [lesson.lesson_id for lesson in lessons],
        "claimed": [lesson.claimed for lesson in lessons],
        "completed_at": [lesson.completed_at for lesson in lessons],
        "curve": curve.spec,
    }
    done: list[LessonDone | DomainError | None] = [None] * len(lessons)
    for n, outcome, *given in lean.run(COMPLETE_LESSONS, values):
        done[n - 1] = LessonDone(*given) if outcome == "awarded" else _refusal(outcome, lessons[n - 1])
    return done


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


def _refusal(outcome: str, lesson: Completion) -> DomainError:
    return REFUSALS[outcome](f"lesson {lesson.lesson_id}: {outcome}")


def _priced(price: Price | None) -> dict[str, Any]:
    if price is None:
        return {"factor": None, "breakdown": None}
    return {"factor": price.factor, "breakdown": json.dumps(list(price.breakdown))}
