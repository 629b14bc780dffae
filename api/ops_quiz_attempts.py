"""What staff do with attempts at quizzes: grade essays, void attempts, grant time and attempts."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from flask import Blueprint, Response
from pydantic import AfterValidator, BaseModel, Field, WithJsonSchema
from sqlalchemy.orm import Session

from api.auth import current_identity, requires
from api.courses import path_id
from api.enrollments import InputModel, UuidInput
from api.errors import read_body, read_query
from api.flags import requires as requires_feature
from api.idempotency import answer_once
from api.ops_quizzes import QuizReasonInput, StaffQuestion, Why, who
from api.preconditions import read_version
from api.quizzes import AttemptState, QuizAttemptSummary, refusals
from api.student import CamelModel, PageQuery, Uuid
from api.xp import answer_json
from db.session import transaction
from domain import quiz_staff
from domain.course_fields import check_text
from domain.levels import current_curve
from domain.quiz_editing import QUESTIONS_MAX
from domain.quiz_grading import POINTS_MAX
from domain.quiz_staff import Mark, Marked, Waiting

blueprint = Blueprint("ops_quiz_attempts", __name__)

Feedback = Annotated[str, Field(max_length=5_000), AfterValidator(check_text)]
# A number or, exactly as it was typed, a string.
POINTS_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 0, "maximum": POINTS_MAX},
        {"type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]{1,2})?$"},
    ]
}
Points = Annotated[
    Decimal,
    Field(ge=0, le=POINTS_MAX, max_digits=6, decimal_places=2),
    WithJsonSchema(POINTS_SCHEMA, mode="validation"),
]


class QuizMarkInput(InputModel):
    """Points for an essay, at most its own, to two places."""

    question_id: UuidInput
    earned: Points
    feedback: Feedback | None = None


class QuizGradeInput(InputModel):
    """Marks of one attempt; essays that are left out keep theirs, or wait on."""

    marks: list[QuizMarkInput] = Field(min_length=1, max_length=QUESTIONS_MAX)
    reason: Why | None = None


class QuizAccommodationInput(InputModel):
    """What a student gets on top, in one quiz or, without one, in all; attempts that begin from now on have it."""

    user_id: UuidInput
    quiz_id: UuidInput | None = None
    time_factor: float = Field(1, ge=1, le=10)
    extra_attempts: int = Field(0, ge=0, le=1000)
    reason: Why


class QuizQueueQuery(PageQuery):
    """Of one quiz, where it is named."""

    quizId: UuidInput | None = None


class WaitingAttempt(CamelModel):
    """An attempt that waits for a person."""

    id: Uuid
    quiz_id: Uuid
    quiz_title: str
    user_id: Uuid
    user_name: str
    number: int
    version: int
    submitted_at: datetime


class WaitingAttempts(BaseModel):
    """A page, the longest waiting first."""

    data: list[WaitingAttempt]
    has_more: bool
    next_cursor: str | None


class QuizMark(CamelModel):
    """Points that were given by `usher` or by a `person`; `earned` is exact, such as 2/3."""

    earned: str
    by: str
    feedback: str | None = None


class StaffAttemptQuestion(StaffQuestion):
    """A question of an attempt with its answer, and its mark, null while it waits for one."""

    answer: Any
    mark: QuizMark | None


class StaffAttempt(QuizAttemptSummary):
    """An attempt with everything that is known of it; `version` is its ETag."""

    user_id: Uuid
    version: int
    quiz_version: int
    key_version: int
    questions: list[StaffAttemptQuestion]


class VoidedAttempt(CamelModel):
    """The attempt counts for nothing any more."""

    id: Uuid
    state: AttemptState


class QuizAccommodationAnswer(CamelModel):
    """What the student gets on top."""

    user_id: Uuid
    quiz_id: Uuid | None
    time_factor: float
    extra_attempts: int


@blueprint.post("/api/ops/quiz-accommodations")
@requires("ops")
@requires_feature("quizzes")
def accommodate() -> Response:
    """Set what a student gets on top: more time, more attempts."""
    values = read_body(QuizAccommodationInput)

    def work(session: Session, _key: str | None) -> Response:
        factor = round(values.time_factor * 10_000)
        with refusals("user_not_found"):
            quiz_staff.accommodate(
                session, values.user_id, values.quiz_id, factor, values.extra_attempts, who(values.reason)
            )
        given = values.model_dump(exclude={"reason", "time_factor"})
        return answer_json(QuizAccommodationAnswer(**given, time_factor=factor / 10_000))

    return answer_once(values, work)


@blueprint.get("/api/ops/quiz-attempts")
@requires("ops")
@requires_feature("quizzes")
def queue() -> Response:
    """Return a page of the attempts that wait for a person."""
    query = read_query(QuizQueueQuery)
    with transaction() as session, refusals():
        page = quiz_staff.queue(session, query.quizId, limit=query.limit, cursor=query.cursor)
    data = [_waiting(item) for item in page.items]
    return answer_json(
        WaitingAttempts(data=data, has_more=page.next_cursor is not None, next_cursor=page.next_cursor)
    )


@blueprint.get("/api/ops/quiz-attempts/<attempt_id>")
@requires("ops")
@requires_feature("quizzes")
def get_attempt(attempt_id: str) -> Response:
    """Return an attempt with answers, key and marks; the ETag is its version."""
    wanted = path_id(attempt_id, "quiz_attempt_not_found")
    with transaction() as session, refusals():
        return _answer_attempt(session, wanted)


@blueprint.post("/api/ops/quiz-attempts/<attempt_id>/grade")
@requires("ops")
@requires_feature("quizzes")
def grade(attempt_id: str) -> Response:
    """Give essays their points, where the attempt is still the version that `If-Match` names."""
    wanted, values = path_id(attempt_id, "quiz_attempt_not_found"), read_body(QuizGradeInput)
    marks = [Mark(item.question_id, item.earned, item.feedback) for item in values.marks]

    def work(session: Session, _key: str | None) -> Response:
        given = quiz_staff.Given(read_version(), marks, current_identity().user_id)
        with refusals():
            quiz_staff.grade(session, current_curve(), wanted, given, who(values.reason))
            return _answer_attempt(session, wanted)

    return answer_once(values, work)


@blueprint.post("/api/ops/quiz-attempts/<attempt_id>/void")
@requires("ops")
@requires_feature("quizzes")
def void(attempt_id: str) -> Response:
    """Have an attempt count for nothing: the student may start another one instead."""
    wanted, values = path_id(attempt_id, "quiz_attempt_not_found"), read_body(QuizReasonInput)

    def work(session: Session, _key: str | None) -> Response:
        with refusals():
            attempt = quiz_staff.void(session, current_curve(), wanted, who(values.reason))
        return answer_json(VoidedAttempt.model_validate(attempt))

    return answer_once(values, work)


def _waiting(item: Waiting) -> WaitingAttempt:
    names = ("id", "quiz_id", "user_id", "number", "version", "submitted_at")
    values = {name: getattr(item.attempt, name) for name in names}
    return WaitingAttempt(**values, quiz_title=item.title, user_name=item.student)


def _answer_attempt(session: Session, attempt_id: str) -> Response:
    session.flush()
    attempt, questions = quiz_staff.view(session, attempt_id)
    names = StaffAttempt.model_fields.keys() - {"questions"}
    values = {name: getattr(attempt, name) for name in names}
    response = answer_json(StaffAttempt(**values, questions=[_marked(item) for item in questions]))
    response.headers["ETag"] = f'"{attempt.version}"'
    return response


def _marked(item: Marked) -> StaffAttemptQuestion:
    mark = None if item.mark is None else QuizMark(**item.mark)
    return StaffAttemptQuestion(**vars(item.question), answer=item.answer, mark=mark)
