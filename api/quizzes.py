"""Quizzes for students: the quizzes of a course, starting an attempt, saving answers, submitting, the result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Literal

from flask import Blueprint, Response
from pydantic import BaseModel, Field, JsonValue
from sqlalchemy.orm import Session

import api.course_problems
import api.quiz_problems  # noqa: F401 - both register codes
from api.auth import current_user_id, requires_user
from api.courses import path_id
from api.enrollments import InputModel, UuidInput
from api.errors import Detail, Problem, read_body, read_query
from api.flags import requires as requires_feature
from api.idempotency import answer_once
from api.student import CamelModel, PageQuery, Uuid
from api.xp import answer_json
from db.session import transaction
from domain import quizzes
from domain.errors import NotFound
from domain.levels import current_curve
from domain.quiz_editing import QUESTIONS_MAX
from domain.quiz_errors import (
    AttemptClosed,
    NoAttempt,
    NoAttemptsLeft,
    NoPoints,
    NoQuiz,
    NotGradable,
    OwnAttempt,
    Stale,
    TimeOver,
    WrongValues,
)
from domain.student_view import InvalidCursor
from domain.xp_errors import NotEnrolled

blueprint = Blueprint("quizzes", __name__)
CODES = (NoQuiz, NoAttempt, NoAttemptsLeft, AttemptClosed, TimeOver, NoPoints, NotGradable, OwnAttempt)

QuestionType = Literal[
    "single", "multiple", "true_false", "short_text", "numeric", "matching", "ordering", "essay"
]
AttemptState = Literal["open", "submitted", "graded", "void"]


class QuizAnswerInput(InputModel):
    """An answer to one question, in the shape of its type; null takes it back."""

    question_id: UuidInput
    answer: JsonValue


class QuizAnswersInput(InputModel):
    """The answers that changed; the others stay as they were saved."""

    answers: list[QuizAnswerInput] = Field(default=[], max_length=QUESTIONS_MAX)


class QuizStartInput(InputModel):
    """Nothing: the address says it all."""


class QuizSummary(CamelModel):
    """A quiz. `timeLimit` is in minutes, `passingScore` in percent; `maxAttempts` are the caller's own."""

    id: Uuid
    course_id: Uuid
    lesson_id: Uuid | None
    title: str
    description: str
    time_limit: int | None
    passing_score: int
    xp_reward: int
    required: bool
    questions: int
    points: int
    max_attempts: int
    attempts_used: int
    open_attempt_id: Uuid | None
    passed: bool


class QuizSummaries(BaseModel):
    """A page, oldest first."""

    data: list[QuizSummary]
    has_more: bool
    next_cursor: str | None


class QuizAttemptSummary(CamelModel):
    """An attempt. `submitted` waits for a person; until `graded`, `earned` counts what is graded already."""

    id: Uuid
    quiz_id: Uuid
    number: int
    state: AttemptState
    passed: bool | None
    earned: float | None
    possible: int
    passing_score: int
    started_at: datetime
    deadline_at: datetime | None
    saved_at: datetime | None
    submitted_at: datetime | None
    graded_at: datetime | None


class QuizAttemptSummaries(BaseModel):
    """A page, newest first."""

    data: list[QuizAttemptSummary]
    has_more: bool
    next_cursor: str | None


class QuizQuestion(CamelModel):
    """A question of an attempt. What it earned and the correct answer stay null until the answers are revealed."""

    id: Uuid
    type: QuestionType
    question: str
    options: Any
    points: int
    answer: Any
    earned: float | None
    feedback: str | None
    correct_answer: Any
    explanation: str | None


class QuizAttemptAnswer(QuizAttemptSummary):
    """An attempt with its questions. `serverTime` is the clock that `deadlineAt` goes by."""

    questions: list[QuizQuestion]
    revealed: bool
    server_time: datetime


@blueprint.get("/api/courses/<course_id>/quizzes")
@requires_user
@requires_feature("quizzes")
def list_quizzes(course_id: str) -> Response:
    """Return a page of the quizzes of a course that the caller is enrolled in."""
    wanted, query = path_id(course_id, "not_enrolled"), read_query(PageQuery)
    with transaction() as session, refusals():
        page = quizzes.list_quizzes(
            session, current_user_id(), wanted, limit=query.limit, cursor=query.cursor
        )
    data = [QuizSummary.model_validate(row) for row in page.items]
    return answer_json(
        QuizSummaries(data=data, has_more=page.next_cursor is not None, next_cursor=page.next_cursor)
    )


@blueprint.get("/api/quizzes/<quiz_id>/attempts")
@requires_user
@requires_feature("quizzes")
def list_attempts(quiz_id: str) -> Response:
    """Return a page of the caller's own attempts at a quiz."""
    wanted, query = path_id(quiz_id, "quiz_not_found"), read_query(PageQuery)
    with transaction() as session, refusals():
        page = quizzes.list_attempts(
            session, current_user_id(), wanted, limit=query.limit, cursor=query.cursor
        )
    data = [QuizAttemptSummary.model_validate(row) for row in page.items]
    return answer_json(
        QuizAttemptSummaries(data=data, has_more=page.next_cursor is not None, next_cursor=page.next_cursor)
    )


@blueprint.post("/api/quizzes/<quiz_id>/attempts")
@requires_user
@requires_feature("quizzes")
def start(quiz_id: str) -> Response:
    """Begin an attempt: 201, or 200 with the one that is open."""
    wanted, values = path_id(quiz_id, "quiz_not_found"), read_body(QuizStartInput)

    def work(session: Session, _key: str | None) -> Response:
        with refusals():
            attempt, created = quizzes.start(session, current_curve(), current_user_id(), wanted)
            response = _answer(session, attempt.id, 201 if created else 200)
        response.headers["Location"] = f"/api/quiz-attempts/{attempt.id}"
        return response

    return answer_once(values, work)


@blueprint.get("/api/quiz-attempts/<attempt_id>")
@requires_user
@requires_feature("quizzes")
def get_attempt(attempt_id: str) -> Response:
    """Return the caller's own attempt: what is asked, what was saved, and the result."""
    wanted = path_id(attempt_id, "quiz_attempt_not_found")
    with transaction() as session, refusals():
        return _answer(session, wanted)


@blueprint.put("/api/quiz-attempts/<attempt_id>/answers")
@requires_user
@requires_feature("quizzes")
def save(attempt_id: str) -> Response:
    """Keep answers; the same request again changes nothing."""
    wanted, values = path_id(attempt_id, "quiz_attempt_not_found"), read_body(QuizAnswersInput)
    with transaction() as session, refusals():
        attempt = quizzes.save(session, current_user_id(), wanted, _answers(values))
        return answer_json(QuizAttemptSummary.model_validate(attempt))


@blueprint.post("/api/quiz-attempts/<attempt_id>/submit")
@requires_user
@requires_feature("quizzes")
def submit(attempt_id: str) -> Response:
    """Keep the last answers and submit the attempt; the answer is the result."""
    wanted, values = path_id(attempt_id, "quiz_attempt_not_found"), read_body(QuizAnswersInput)

    def work(session: Session, _key: str | None) -> Response:
        with refusals():
            quizzes.submit(session, current_curve(), current_user_id(), wanted, _answers(values))
            return _answer(session, wanted)

    return answer_once(values, work)


@contextmanager
def refusals(not_found: str = "course_not_found") -> Iterator[None]:
    """Turn what the rules of quizzes refuse into problems."""
    try:
        yield
    except CODES as refusal:
        raise Problem(refusal.code) from None
    except Stale as refusal:
        raise Problem("stale_version", headers={"ETag": f'"{refusal.current}"'}) from None
    except WrongValues as refusal:
        errors = [Detail(pointer=f"/{pointer}", detail=detail) for pointer, detail in refusal.errors]
        raise Problem("validation_failed", errors=errors) from None
    except NotEnrolled:
        raise Problem("not_enrolled") from None
    except NotFound:
        raise Problem(not_found) from None
    except InvalidCursor:
        raise Problem("invalid_cursor") from None


def _answers(values: QuizAnswersInput) -> list[tuple[str, Any]]:
    return [(item.question_id, item.answer) for item in values.answers]


def _answer(session: Session, attempt_id: str, status: int = 200) -> Response:
    session.flush()
    found = quizzes.view(session, current_user_id(), attempt_id)
    summary = QuizAttemptSummary.model_validate(found.attempt).model_dump()
    answer = QuizAttemptAnswer(
        **summary,
        questions=[QuizQuestion.model_validate(item) for item in found.questions],
        revealed=found.revealed,
        server_time=found.now,
    )
    return answer_json(answer, status)
