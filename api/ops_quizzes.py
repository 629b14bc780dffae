"""What staff do with quizzes: make, edit and publish them, release the answers, have attempts graded anew."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from flask import Blueprint, Response
from pydantic import AfterValidator, BaseModel, Field, JsonValue
from sqlalchemy.orm import Session

from api.auth import current_identity, requires
from api.courses import path_id
from api.enrollments import InputModel, UuidInput
from api.errors import read_body, read_query
from api.flags import requires as requires_feature
from api.idempotency import answer_once
from api.preconditions import read_version
from api.quizzes import QuestionType, refusals
from api.student import CamelModel, PageQuery, Uuid
from api.xp import answer_json
from db.models import Question, Quiz
from db.session import transaction
from domain import quiz_editing
from domain.course_fields import Description, Line, check_text
from domain.quiz_editing import QUESTIONS_MAX, Draft, Who
from domain.quiz_grading import POINTS_MAX
from domain.quiz_grading import Question as Asked

blueprint = Blueprint("ops_quizzes", __name__)

Why = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(check_text)]
Text = Annotated[str, Field(min_length=1, max_length=5_000), AfterValidator(check_text)]


class QuizReasonInput(InputModel):
    """Why, for the audit."""

    reason: Why


class QuestionInput(InputModel):
    """A question. Without an id it is new; the shapes of `options` and `correctAnswer` follow from the type."""

    id: UuidInput | None = None
    type: QuestionType
    question: Text
    options: JsonValue = None
    correct_answer: JsonValue = None
    explanation: Text | None = None
    points: int = Field(1, ge=0, le=POINTS_MAX)
    partial_credit: bool = False


class QuizEdit(InputModel):
    """A quiz as it is to be, questions in order; a question that is left out is taken away. `timeLimit`: minutes."""

    lesson_id: UuidInput | None = None
    title: Line
    description: Description = ""
    time_limit: int | None = Field(None, ge=1, le=10_080)
    max_attempts: int = Field(3, ge=1, le=1000)
    passing_score: int = Field(70, ge=0, le=100)
    xp_reward: int = Field(25, ge=0, le=1_000_000)
    required: bool = True
    questions: list[QuestionInput] = Field(max_length=QUESTIONS_MAX)
    reason: Why | None = None

    def draft(self) -> Draft:
        """Return what the rules take."""
        asked = [Asked(**{**item.model_dump(), "id": item.id or ""}) for item in self.questions]
        names = Draft.__dataclass_fields__.keys() - {"questions"}
        return Draft(**self.model_dump(include=set(names)), questions=asked)


class QuizInput(QuizEdit):
    """A new quiz of a course, or of a lesson of it."""

    course_id: UuidInput


class StaffQuestion(CamelModel):
    """A question with its correct answer."""

    id: Uuid
    type: QuestionType
    question: str
    options: Any
    correct_answer: Any
    explanation: str | None
    points: int
    partial_credit: bool


class StaffQuizSummary(CamelModel):
    """A quiz as staff see it."""

    id: Uuid
    course_id: Uuid
    lesson_id: Uuid | None
    title: str
    description: str
    time_limit: int | None
    max_attempts: int
    passing_score: int
    xp_reward: int
    required: bool
    is_published: bool
    version: int
    answers_released_at: datetime | None
    created_at: datetime
    updated_at: datetime


class StaffQuiz(StaffQuizSummary):
    """A quiz with its questions, in order."""

    questions: list[StaffQuestion]


class StaffQuizzes(BaseModel):
    """A page, oldest first."""

    data: list[StaffQuizSummary]
    has_more: bool
    next_cursor: str | None


class StaffQuizzesQuery(PageQuery):
    """Of one course, where it is named."""

    courseId: UuidInput | None = None


class QuizRegrade(CamelModel):
    """The job that grades the attempts anew."""

    job_id: Uuid


@blueprint.get("/api/ops/quizzes")
@requires("ops")
@requires_feature("quizzes")
def list_quizzes() -> Response:
    """Return a page of quizzes, published or not."""
    query = read_query(StaffQuizzesQuery)
    with transaction() as session, refusals():
        page = quiz_editing.list_quizzes(session, query.courseId, limit=query.limit, cursor=query.cursor)
    data = [StaffQuizSummary.model_validate(quiz) for quiz in page.items]
    return answer_json(
        StaffQuizzes(data=data, has_more=page.next_cursor is not None, next_cursor=page.next_cursor)
    )


@blueprint.post("/api/ops/quizzes")
@requires("ops")
@requires_feature("quizzes")
def create() -> Response:
    """Make an unpublished quiz: 201."""
    values = read_body(QuizInput)

    def work(session: Session, _key: str | None) -> Response:
        with refusals():
            quiz = quiz_editing.create(session, values.course_id, values.draft(), who(values.reason))
            response = _answer(session, quiz, 201)
        response.headers["Location"] = f"/api/ops/quizzes/{quiz.id}"
        return response

    return answer_once(values, work)


@blueprint.get("/api/ops/quizzes/<quiz_id>")
@requires("ops")
@requires_feature("quizzes")
def get_quiz(quiz_id: str) -> Response:
    """Return a quiz with its questions and answers; the ETag is its version."""
    wanted = path_id(quiz_id, "quiz_not_found")
    with transaction() as session, refusals():
        return _answer(session, quiz_editing.load(session, wanted)[0])


@blueprint.put("/api/ops/quizzes/<quiz_id>")
@requires("ops")
@requires_feature("quizzes")
def edit(quiz_id: str) -> Response:
    """Have the quiz be as the body says, where it is still the version that `If-Match` names."""
    wanted, values, version = path_id(quiz_id, "quiz_not_found"), read_body(QuizEdit), read_version()
    with transaction() as session, refusals():
        quiz = quiz_editing.edit(session, wanted, version, values.draft(), who(values.reason))
        return _answer(session, quiz)


@blueprint.post("/api/ops/quizzes/<quiz_id>/publish")
@requires("ops")
@requires_feature("quizzes")
def publish(quiz_id: str) -> Response:
    """Show the quiz to students."""
    return _publish(quiz_id, published=True)


@blueprint.post("/api/ops/quizzes/<quiz_id>/unpublish")
@requires("ops")
@requires_feature("quizzes")
def unpublish(quiz_id: str) -> Response:
    """Take the quiz back; attempts that have begun go on."""
    return _publish(quiz_id, published=False)


@blueprint.post("/api/ops/quizzes/<quiz_id>/release-answers")
@requires("ops")
@requires_feature("quizzes")
def release_answers(quiz_id: str) -> Response:
    """Show the correct answers to everybody who has taken the quiz."""
    wanted, values = path_id(quiz_id, "quiz_not_found"), read_body(QuizReasonInput)

    def work(session: Session, _key: str | None) -> Response:
        with refusals():
            return _answer(session, quiz_editing.release_answers(session, wanted, who(values.reason)))

    return answer_once(values, work)


@blueprint.post("/api/ops/quizzes/<quiz_id>/regrade")
@requires("ops")
@requires_feature("quizzes")
def regrade(quiz_id: str) -> Response:
    """Have every attempt graded by what the quiz says now: 202."""
    wanted, values = path_id(quiz_id, "quiz_not_found"), read_body(QuizReasonInput)

    def work(session: Session, _key: str | None) -> Response:
        with refusals():
            job_id = quiz_editing.ask_regrade(session, wanted, who(values.reason))
        return answer_json(QuizRegrade(job_id=job_id), 202)

    return answer_once(values, work)


def _publish(quiz_id: str, *, published: bool) -> Response:
    wanted, values = path_id(quiz_id, "quiz_not_found"), read_body(QuizReasonInput)

    def work(session: Session, _key: str | None) -> Response:
        with refusals():
            quiz = quiz_editing.publish(session, wanted, who(values.reason), published=published)
            return _answer(session, quiz)

    return answer_once(values, work)


def who(reason: str | None) -> Who:
    return Who(current_identity().subject, reason)


def _answer(session: Session, quiz: Quiz, status: int = 200) -> Response:
    _, questions = quiz_editing.load(session, quiz.id)
    summary = StaffQuizSummary.model_validate(quiz).model_dump()
    asked = [_question(question) for question in questions]
    response = answer_json(StaffQuiz(**summary, questions=asked), status)
    response.headers["ETag"] = f'"{quiz.version}"'
    return response


def _question(question: Question) -> StaffQuestion:
    return StaffQuestion.model_validate(question)
