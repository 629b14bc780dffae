"""Assignments for staff: making them, extensions, the queue, grades. Each change leaves who did it and why.

What changes a submission names with `If-Match` the version that it was decided on: two graders do not overwrite each
other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Literal

from flask import Blueprint, Response
from pydantic import AfterValidator, AwareDatetime, BaseModel, Field
from sqlalchemy.orm import Session

from api import flags
from api.assignments import AssignmentsQuery, SubmissionAnswer, file_address, refusals
from api.auth import current_identity, requires
from api.courses import path_id
from api.enrollments import InputModel, UuidInput
from api.errors import Detail, Problem, read_body, read_query
from api.idempotency import answer_once
from api.ops_xp import Reason
from api.preconditions import read_version
from api.student import CamelModel, PageQuery, Uuid
from api.xp import answer_json
from db.session import transaction
from domain import assignments, grading_desk
from domain.course_fields import TEXT, Description, Line, XpReward
from domain.grading_desk import GRADABLE, WAITING, Grade, Grader
from domain.levels import current_curve
from domain.student_view import encode_moment

blueprint = Blueprint("ops_assignments", __name__)

EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
STATES = {"waiting": WAITING, "graded": ("graded",), "all": (*GRADABLE, "returned")}


def _check_date(given: datetime) -> datetime:
    if not EARLIEST <= given <= LATEST:
        raise ValueError("must be between 2000 and 2200")
    return given


Due = Annotated[AwareDatetime, AfterValidator(_check_date)]
Feedback = Annotated[str, Field(max_length=10_000, pattern=TEXT)]


class AssignmentInput(InputModel):
    """All that an assignment says; it stays in its course. `passingScore` is in percent."""

    course_id: UuidInput
    lesson_id: UuidInput | None = None
    title: Line
    description: Description = ""
    due_date: Due | None = None
    grace_seconds: int = Field(0, ge=0, le=30 * 86_400)
    allow_late_submission: bool = True
    max_points: int = Field(100, ge=1, le=1_000_000)
    passing_score: int = Field(60, ge=0, le=100)
    xp_reward: XpReward = 50
    required: bool = True
    is_published: bool = False
    reason: Reason


class AssignmentPut(CamelModel):
    """The assignment is as the body says."""

    id: Uuid
    created: bool


class StaffAssignment(CamelModel):
    """An assignment as it was put."""

    id: Uuid
    course_id: Uuid
    lesson_id: Uuid | None
    title: str
    description: str
    due_date: datetime | None
    grace_seconds: int
    allow_late_submission: bool
    max_points: int
    passing_score: int
    xp_reward: int
    required: bool
    is_published: bool
    created_at: datetime
    updated_at: datetime


class StaffAssignments(BaseModel):
    """A page, in the order in which they were made."""

    data: list[StaffAssignment]
    has_more: bool
    next_cursor: str | None


class ExtensionInput(InputModel):
    """A due date for one student."""

    due_date: Due
    reason: Reason


class ExtensionAnswer(CamelModel):
    """The extension as it stands."""

    assignment_id: Uuid
    user_id: Uuid
    due_date: datetime


class SubmissionGradeInput(InputModel):
    """A grade in points. Without a `reason` a grade that stands is not changed."""

    score: Decimal = Field(ge=0, le=1_000_000, max_digits=9, decimal_places=2)
    feedback: Feedback = ""
    reason: Reason | None = None


class SubmissionReturnInput(InputModel):
    """What to work on, and until when, if that is not the due date."""

    feedback: Annotated[Feedback, Field(min_length=1)]
    due_date: Due | None = None


class QueuedSubmission(SubmissionAnswer):
    """A submission as staff see it."""

    user_id: Uuid
    assignment_id: Uuid
    graded_by: str | None


class SubmissionQueue(BaseModel):
    """A page, what waits longest first."""

    data: list[QueuedSubmission]
    has_more: bool
    next_cursor: str | None


class SubmissionVersion(CamelModel):
    """What was handed in at one time, with its grade."""

    number: int
    content: str
    file_urls: list[str]
    late: bool
    submitted_at: datetime
    score: float | None
    passed: bool | None
    feedback: str | None
    graded_at: datetime | None
    graded_by: str | None


class StaffSubmission(QueuedSubmission):
    """A submission with everything that was handed in."""

    versions: list[SubmissionVersion]


class SubmissionsQuery(PageQuery):
    """`waiting` is what is to be graded."""

    state: Literal["waiting", "graded", "all"] = "waiting"
    course: UuidInput | None = None
    assignment: UuidInput | None = None


@blueprint.get("/api/ops/assignments")
@requires("ops")
@flags.requires("assignments")
def list_assignments() -> Response:
    """Return a page of all assignments."""
    query = read_query(AssignmentsQuery)
    with transaction() as session, _refusals():
        found = grading_desk.list_assignments(
            session, course_id=query.course, limit=query.limit, cursor=query.cursor
        )
    page, more = found[: query.limit], len(found) > query.limit
    cursor = encode_moment(page[-1]["created_at"], page[-1]["id"]) if more else None
    data = [StaffAssignment.model_validate(item) for item in page]
    return answer_json(StaffAssignments(data=data, has_more=more, next_cursor=cursor))


@blueprint.put("/api/ops/assignments/<assignment_id>")
@requires("ops")
@flags.requires("assignments")
def put_assignment(assignment_id: str) -> Response:
    """Make an assignment under an id of the caller's: 201; or replace what it says: 200."""
    wanted, values = path_id(assignment_id, "assignment_not_found"), read_body(AssignmentInput)
    with transaction() as session, _refusals("course_not_found"):
        columns = values.model_dump(exclude={"reason"})
        made = grading_desk.put(session, wanted, columns, actor=_grader().subject, reason=values.reason)
    return answer_json(AssignmentPut(id=wanted, created=made), 201 if made else 200)


@blueprint.put("/api/ops/assignments/<assignment_id>/extensions/<user_id>")
@requires("ops")
@flags.requires("assignments")
def extend(assignment_id: str, user_id: str) -> Response:
    """Give one student another due date."""
    wanted, student = path_id(assignment_id, "assignment_not_found"), path_id(user_id, "user_not_found")
    values = read_body(ExtensionInput)
    with transaction() as session, _refusals("assignment_not_found"):
        grading_desk.extend(
            session, wanted, student, values.due_date, actor=_grader().subject, reason=values.reason
        )
    return answer_json(ExtensionAnswer(assignment_id=wanted, user_id=student, due_date=values.due_date))


@blueprint.get("/api/ops/submissions")
@requires("ops")
@flags.requires("assignments")
def queue() -> Response:
    """Return a page of what was handed in."""
    query = read_query(SubmissionsQuery)
    with transaction() as session, _refusals():
        found = grading_desk.queue(
            session,
            states=STATES[query.state],
            course_id=query.course,
            assignment_id=query.assignment,
            limit=query.limit,
            cursor=query.cursor,
        )
    page, cursor = found[: query.limit], None
    if len(found) > query.limit and page[-1].submitted_at is not None:
        cursor = encode_moment(page[-1].submitted_at, page[-1].id)
    data = [QueuedSubmission.model_validate(_values(item)) for item in page]
    return answer_json(SubmissionQueue(data=data, has_more=cursor is not None, next_cursor=cursor))


@blueprint.get("/api/ops/submissions/<submission_id>")
@requires("ops")
@flags.requires("assignments")
def get_submission(submission_id: str) -> Response:
    """Return a submission with all its versions; `ETag` is what `If-Match` has to name."""
    wanted = path_id(submission_id, "submission_not_found")
    with transaction() as session, _refusals():
        return _answer(session, assignments.load(session, wanted))


@blueprint.post("/api/ops/submissions/<submission_id>/grade")
@requires("ops")
@flags.requires("assignments")
def grade(submission_id: str) -> Response:
    """Grade what was handed in, or change a grade."""
    wanted, values = path_id(submission_id, "submission_not_found"), read_body(SubmissionGradeInput)
    given = Grade(values.score, values.feedback, values.reason)

    def work(session: Session, _key: str | None) -> Response:
        expected = _version()
        with _refusals():
            graded = grading_desk.grade(
                session, current_curve(), wanted, given, expected=expected, grader=_grader()
            )
        return _answer(session, graded)

    return answer_once(values, work)


@blueprint.post("/api/ops/submissions/<submission_id>/return")
@requires("ops")
@flags.requires("assignments")
def give_back(submission_id: str) -> Response:
    """Return graded work for another try."""
    wanted, values = path_id(submission_id, "submission_not_found"), read_body(SubmissionReturnInput)

    def work(session: Session, _key: str | None) -> Response:
        expected = _version()
        with _refusals():
            returned = grading_desk.give_back(
                session, wanted, values.feedback, due=values.due_date, expected=expected, grader=_grader()
            )
        return _answer(session, returned)

    return answer_once(values, work)


def _grader() -> Grader:
    identity = current_identity()
    return Grader(identity.subject, identity.user_id)


def _version() -> int:
    version = read_version()
    assert version is not None  # noqa: S101 - it was required
    return version


def _values(found: assignments.Submission) -> dict[str, object]:
    return {**vars(found), "file_urls": [file_address(url) for url in found.file_urls]}


def _answer(session: Session, found: assignments.Submission) -> Response:
    versions = grading_desk.versions(session, found.id)
    for version in versions:
        version["file_urls"] = [file_address(url) for url in version["file_urls"]]
    response = answer_json(StaffSubmission.model_validate({**_values(found), "versions": versions}))
    response.headers["ETag"] = f'"{found.version}"'
    return response


@contextmanager
def _refusals(not_found: str = "submission_not_found") -> Iterator[None]:
    """Turn what the rules of grading refuse into problems."""
    try:
        with refusals(not_found):
            yield
    except (grading_desk.OwnWork, grading_desk.NotGradable) as refusal:
        raise Problem(refusal.code) from None
    except grading_desk.ScoreTooHigh as refusal:
        raise _wrong("/score", f"{refusal}") from None
    except grading_desk.ReasonMissing as refusal:
        raise _wrong("/reason", f"{refusal}") from None


def _wrong(pointer: str, detail: str) -> Problem:
    return Problem("validation_failed", errors=[Detail(pointer=pointer, detail=detail)])
