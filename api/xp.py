"""XP: awarding a lesson (seed A's request and answer), and what a student sees of their ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Literal

from flask import Blueprint, Response, request
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from api.auth import current_user_id, requires_user
from api.enrollments import InputModel, UserName, UuidInput, refuse_others
from api.errors import Detail, Problem, is_outage, read_body, read_query
from api.idempotency import answer_once, read_key
from api.student import CamelModel, PageQuery, Uuid
from db.group_commit import GroupCommit
from db.session import transaction
from domain import courses, xp, xp_view
from domain.levels import current_curve, stand
from domain.student_view import InvalidCursor
from domain.xp_errors import CompletedBefore, NoLesson, NotEnrolled, WrongAmount

blueprint = Blueprint("xp", __name__)
RESPOND_ASYNC = "respond-async"


class AwardInput(InputModel):
    """Which lesson was completed. `xpAmount` has to be what the lesson gives: the server decides."""

    user_id: UserName
    course_id: UuidInput
    lesson_id: UuidInput
    xp_amount: int = Field(ge=0, le=1_000_000)


class StandingAnswer(CamelModel):
    """Where a student stands. `nextLevelXp` is what the whole level takes, null on the last level of a table."""

    total_xp: int
    level: int
    level_curve: str
    current_level_xp: int
    next_level_xp: int | None


class AwardAnswer(StandingAnswer):
    """What the lesson gave, and where that leads. Completing the course with it gives `courseXpAwarded` on top."""

    xp_awarded: int
    message: str
    leveled_up: bool
    course_completed: bool
    course_xp_awarded: int


class Accepted(CamelModel):
    """The award will be made; `GET /api/xp` shows it."""

    status: str
    message: str


class Entry(CamelModel):
    """A ledger entry. `factor` is in basis points."""

    id: Uuid
    kind: Literal["award", "reversal", "adjustment"]
    amount: int
    source_type: str
    source_id: str | None
    category: str
    reason: str
    description: str
    generation: int
    reverses_id: Uuid | None
    reversed_by_id: Uuid | None
    caused_by_id: Uuid | None
    base: int
    factor: int
    breakdown: list[Any]
    balance_after: int
    occurred_at: datetime
    created_at: datetime


class Entries(BaseModel):
    """A page, newest first."""

    data: list[Entry]
    has_more: bool
    next_cursor: str | None


class EntriesQuery(PageQuery):
    """`effective` hides what was reversed together with its reversal; `audit` shows everything."""

    view: Literal["effective", "audit"] = "effective"


class Share(CamelModel):
    """XP and number of effective entries of one category, source type or day (in the user's time zone)."""

    key: str
    xp: int
    entries: int


class Shares(BaseModel):
    """Everything at once: at most a thousand keys."""

    data: list[Share]
    has_more: bool = False
    next_cursor: str | None = None


class SharesQuery(BaseModel):
    """`days` looks back that far; without it, all is counted."""

    by: Literal["category", "source", "day"] = "category"
    days: int = Field(0, ge=0, le=3660, description="0: all")


@blueprint.post("/api/xp/award")
@requires_user
def award() -> Response:
    """Complete a lesson and give its XP: 200, or 202 for a caller who prefers not to wait."""
    values = read_body(AwardInput)
    refuse_others(values.user_id)
    lesson = xp.Completion(current_user_id(), values.course_id, values.lesson_id, values.xp_amount)
    wants_async = RESPOND_ASYNC in [part.strip() for part in request.headers.get("Prefer", "").split(",")]
    if wants_async or read_key(required=False) is not None:
        return answer_once(values, lambda session, key: _award(session, lesson, key, wants_async=wants_async))
    return _award_soon(lesson)


@blueprint.get("/api/xp")
@requires_user
def standing() -> Response:
    """Return the caller's total, level and progress in it."""
    curve = current_curve()
    with transaction() as session:
        found = xp_view.standing(session, curve, current_user_id())
    return answer_json(StandingAnswer(**vars(found), level_curve=curve.name))


@blueprint.get("/api/xp/transactions")
@requires_user
def transactions() -> Response:
    """Return a page of the caller's ledger."""
    query = read_query(EntriesQuery)
    try:
        with transaction() as session:
            page = xp_view.list_entries(
                session, current_user_id(), view=query.view, limit=query.limit, cursor=query.cursor
            )
    except InvalidCursor:
        raise Problem("invalid_cursor") from None
    data = [Entry.model_validate(item) for item in page.items]
    return answer_json(
        Entries(data=data, has_more=page.next_cursor is not None, next_cursor=page.next_cursor)
    )


@blueprint.get("/api/xp/analytics")
@requires_user
def analytics() -> Response:
    """Return what the caller's XP come from."""
    query = read_query(SharesQuery)
    with transaction() as session:
        rows = xp_view.analyse(session, current_user_id(), by=query.by, days=query.days or None)
    return answer_json(Shares(data=[Share.model_validate(row) for row in rows]))


def answer_json(model: BaseModel, status: int = 200) -> Response:
    """Return a model as a JSON answer."""
    return Response(model.model_dump_json(by_alias=True), status=status, mimetype="application/json")


def _award(session: Session, lesson: xp.Completion, key: str | None, *, wants_async: bool) -> Response:
    with _refusals():
        if wants_async:
            courses.check_lesson(session, lesson)
            return _accept(session, lesson)
        return _answer(xp.complete_lesson(session, current_curve(), lesson, transport_key=key))


def _award_soon(lesson: xp.Completion) -> Response:
    """Complete a lesson in a transaction with those that are completed at the same moment, by itself where that cannot be."""
    with _refusals():
        done = _complete(lesson)
        if done is None:
            with transaction() as session:
                done = xp.complete_lesson(session, current_curve(), lesson)
    return _answer(done)


def _complete_group(lessons: Sequence[xp.Completion]) -> Sequence[xp.LessonDone | Exception | None]:
    return xp.complete_lessons(current_curve(), lessons)


_complete: GroupCommit[xp.Completion, xp.LessonDone | None] = GroupCommit(
    _complete_group, concerns_all=is_outage
)


@contextmanager
def _refusals() -> Iterator[None]:
    """Answer what the ledger refuses."""
    try:
        yield
    except NotEnrolled:
        raise Problem("not_enrolled") from None
    except NoLesson:
        raise Problem("lesson_not_found") from None
    except CompletedBefore:
        raise Problem("lesson_already_completed") from None
    except WrongAmount:
        errors = [Detail(pointer="/xpAmount", detail="is not what the lesson gives")]
        raise Problem("xp_amount_differs", errors=errors) from None


def _accept(session: Session, lesson: xp.Completion) -> Response:
    xp.ask_lesson(session, user_id=lesson.user_id, lesson_id=lesson.lesson_id)
    response = answer_json(Accepted(status="accepted", message="XP will be awarded"), 202)
    response.headers["Preference-Applied"] = RESPOND_ASYNC
    return response


def _answer(done: xp.LessonDone) -> Response:
    curve = current_curve()
    return answer_json(
        AwardAnswer(
            **vars(stand(curve, done.total_xp)),
            level_curve=curve.name,
            xp_awarded=done.awarded,
            message="XP awarded successfully",
            leveled_up=done.level > done.level_before,
            course_completed=done.percentage == 100,
            course_xp_awarded=done.course_awarded,
        )
    )
