"""Assignments for students: what is due, the draft, handing in, and the files of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Literal
from urllib.parse import quote

from flask import Blueprint, Response
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

import api.learning_problems  # noqa: F401 - registers the codes
from api import flags
from api.auth import current_identity, current_user_id, requires, requires_user
from api.courses import path_id
from api.enrollments import InputModel, UuidInput
from api.errors import Detail, Problem, read_body, read_query, read_raw
from api.idempotency import answer_once
from api.preconditions import find_version
from api.student import CamelModel, PageQuery, Uuid
from api.xp import answer_json
from db.session import transaction
from domain import assignment_files, assignments, files
from domain.course_fields import TEXT
from domain.errors import NotFound
from domain.student_view import InvalidCursor, encode_moment
from domain.xp_errors import NotEnrolled
from settings import get_settings

blueprint = Blueprint("assignments", __name__)

State = Literal["draft", "submitted", "graded", "returned", "resubmitted"]


class WorkInput(InputModel):
    """All of one's work: what is left out is gone. `fileIds` are those that uploads answered."""

    content: Annotated[str, Field(max_length=assignments.CONTENT_MAX, pattern=TEXT)] = ""
    file_ids: list[UuidInput] = Field([], max_length=assignments.FILES_MAX)


class SubmissionAnswer(CamelModel):
    """One's own submission. `version` is what `If-Match` may name; `score` is in points."""

    id: Uuid
    state: State
    version: int
    number: int
    content: str
    file_urls: list[str]
    late: bool
    score: float | None
    passed: bool | None
    feedback: str | None
    submitted_at: datetime | None
    graded_at: datetime | None
    updated_at: datetime


class AssignmentAnswer(CamelModel):
    """An assignment as its student has it: `dueDate` is with their own extension, `submission` null before a draft."""

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
    submission: SubmissionAnswer | None


class Assignments(BaseModel):
    """A page, in the order in which they were made."""

    data: list[AssignmentAnswer]
    has_more: bool
    next_cursor: str | None


class AssignmentsQuery(PageQuery):
    """`course` narrows the list to one course."""

    course: UuidInput | None = None


class UploadQuery(BaseModel):
    """The name under which the file is downloaded again; its end follows from the content."""

    name: str = Field("file", min_length=1, max_length=500)


class Upload(BaseModel):
    """What was uploaded, for telling whether it is the same again."""

    name: str
    sha256: str


class FileAnswer(CamelModel):
    """An uploaded file. It is deleted after some days unless a draft names it."""

    id: Uuid
    name: str
    media_type: str
    size: int
    url: str


@blueprint.get("/api/assignments")
@requires_user
@flags.requires("assignments")
def list_assignments() -> Response:
    """Return a page of the assignments of the caller's courses."""
    query = read_query(AssignmentsQuery)
    with transaction() as session, refusals():
        found = assignments.list_for(
            session, current_user_id(), course_id=query.course, limit=query.limit, cursor=query.cursor
        )
    page = found[: query.limit]
    more = len(found) > query.limit
    cursor = encode_moment(page[-1].created_at, page[-1].id) if more else None
    return answer_json(Assignments(data=[_view(item) for item in page], has_more=more, next_cursor=cursor))


@blueprint.get("/api/assignments/<assignment_id>")
@requires_user
@flags.requires("assignments")
def get_assignment(assignment_id: str) -> Response:
    """Return an assignment with one's own submission; `ETag` is the submission's version."""
    wanted = path_id(assignment_id, "assignment_not_found")
    with transaction() as session, refusals():
        found = assignments.find(session, current_user_id(), wanted)
    response = answer_json(_view(found))
    if found.submission is not None:
        response.headers["ETag"] = f'"{found.submission.version}"'
    return response


@blueprint.put("/api/assignments/<assignment_id>/draft")
@requires_user
@flags.requires("assignments")
def save_draft(assignment_id: str) -> Response:
    """Keep one's work without handing it in."""
    wanted, values = path_id(assignment_id, "assignment_not_found"), read_body(WorkInput)
    with transaction() as session:
        return _save(session, wanted, values, hand_in=False)


@blueprint.post("/api/assignments/<assignment_id>/submit")
@requires_user
@flags.requires("assignments")
def submit(assignment_id: str) -> Response:
    """Hand one's work in."""
    wanted, values = path_id(assignment_id, "assignment_not_found"), read_body(WorkInput)
    return answer_once(values, lambda session, _key: _save(session, wanted, values, hand_in=True))


@blueprint.post("/api/assignments/<assignment_id>/files")
@requires_user
@flags.requires("assignments")
def upload(assignment_id: str) -> Response:
    """Take a file, which is the body as it is: 201. The same file again is the same row."""
    wanted, query = path_id(assignment_id, "assignment_not_found"), read_query(UploadQuery)
    content = read_raw(get_settings().upload_max_bytes)
    outcome = _store(wanted, query.name, content)

    def work(session: Session, _key: str | None) -> Response:
        if isinstance(outcome, Problem):
            raise outcome
        with refusals():
            assignment_files.mark_stored(session, outcome.id)
        return answer_json(outcome, 201)

    return answer_once(Upload(name=query.name, sha256=hashlib.sha256(content).hexdigest()), work)


@blueprint.get("/api/assignment-files/<file_id>")
@requires("student", "ops")
@flags.requires("assignments")
def download(file_id: str) -> Response:
    """Send a file to its student or to staff, to be saved and never to be shown as a page of ours."""
    wanted, identity = path_id(file_id, "file_not_found"), current_identity()
    with refusals("file_not_found"):
        with transaction() as session:
            found = assignment_files.find(
                session, wanted, user_id=identity.user_id, staff=identity.role == "ops"
            )
        pieces = files.read(get_settings().file_store(), found.id)
    response = Response(pieces, mimetype=found.media_type)
    response.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(found.name, safe='')}"
    response.headers["Content-Length"] = str(found.size)
    return response


def file_address(url: str) -> str:
    """Return the address of a file: ours in full, an imported one as it is."""
    return f"{get_settings().app_url}{url}" if url.startswith("/") else url


@contextmanager
def refusals(not_found: str = "assignment_not_found") -> Iterator[None]:
    """Turn what the rules of assignments and files refuse into problems."""
    try:
        yield
    except InvalidCursor:
        raise Problem("invalid_cursor") from None
    except NotFound:
        raise Problem(not_found) from None
    except NotEnrolled:
        raise Problem("not_enrolled") from None
    except assignments.Stale as refusal:
        raise Problem("stale_version", headers={"ETag": f'"{refusal.version}"'}) from None
    except assignments.UnknownFile:
        errors = [Detail(pointer="/fileIds", detail="names a file that was not uploaded here by you")]
        raise Problem("validation_failed", errors=errors) from None
    except (assignments.NotOpen, assignments.TooLate, assignments.NothingToHandIn) as refusal:
        raise Problem(refusal.code) from None
    except assignment_files.TooManyFiles as refusal:
        raise Problem(refusal.code) from None
    except files.UnknownType as refusal:
        raise Problem(refusal.code) from None
    except files.StoreUnavailable as refusal:
        raise Problem(refusal.code, headers={"Retry-After": "5"}) from None


def store(assignment_id: str, name: str, content: bytes) -> assignment_files.Stored:
    """Store a file outside of any transaction and return its row, which is still to be marked; raise the problem."""
    with refusals():
        with transaction() as session:
            made = assignment_files.reserve(
                session, current_user_id(), assignment_id, name=name, content=content
            )
        files.put(get_settings().file_store(), made.id, content)
    return made


def _store(assignment_id: str, name: str, content: bytes) -> FileAnswer | Problem:
    """Return the stored file, or why it is not: a request that is repeated may not need it."""
    try:
        made = store(assignment_id, name, content)
    except Problem as refusal:
        return refusal
    return FileAnswer(**vars(made), url=file_address(assignments.FILE_URL + made.id))


def _save(session: Session, assignment_id: str, values: WorkInput, *, hand_in: bool) -> Response:
    work = assignments.Work(values.content, values.file_ids)
    expected = find_version()
    with refusals():
        saved = assignments.save(
            session, current_user_id(), assignment_id, work, expected=expected, hand_in=hand_in
        )
    response = answer_json(_submission(saved))
    response.headers["ETag"] = f'"{saved.version}"'
    return response


def _view(found: assignments.StudentAssignment) -> AssignmentAnswer:
    values = {
        **vars(found),
        "submission": None if found.submission is None else _submission(found.submission),
    }
    return AssignmentAnswer.model_validate(values)


def _submission(found: assignments.Submission) -> SubmissionAnswer:
    urls = [file_address(url) for url in found.file_urls]
    return SubmissionAnswer.model_validate({**vars(found), "file_urls": urls})
