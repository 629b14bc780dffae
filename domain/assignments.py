"""Assignments as students meet them: what is due when, the draft, handing it in.

draft -> submitted -> graded -> returned -> resubmitted -> graded ... There is one current row for each student and
assignment, and one version for each time it was handed in. Grading is in `domain.grading_desk`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from db import jobs
from domain import counters
from domain.errors import DomainError, NotFound, NotPossible
from domain.student_view import decode_cursor
from domain.xp_errors import NotEnrolled

FILES_MAX = 10
CONTENT_MAX = 50_000
# Where a file of ours is downloaded; it stands in `file_urls` with its id.
FILE_URL = "/api/assignment-files/"
FIRST = (datetime.fromisoformat("0001-01-02T00:00:00+00:00"), "00000000-0000-0000-0000-000000000000")

ASSIGNMENT = """
    SELECT a.id, a.course_id, a.lesson_id, a.title, a.description, coalesce(x.due_date, a.due_date) AS due_date,
        a.grace_seconds, a.allow_late_submission, a.max_points, a.passing_score, a.xp_reward, a.required,
        a.created_at, e.id AS enrollment_id, s.id AS submission_id
    FROM assignments a JOIN courses c ON c.id = a.course_id AND c.deleted_at IS NULL
    LEFT JOIN enrollments e ON e.course_id = a.course_id AND e.user_id = CAST(:user AS uuid)
    LEFT JOIN assignment_extensions x ON x.assignment_id = a.id AND x.user_id = CAST(:user AS uuid)
    LEFT JOIN assignment_submissions s ON s.assignment_id = a.id AND s.user_id = CAST(:user AS uuid)
    WHERE a.is_published
"""
ONE = text(ASSIGNMENT + " AND a.id = CAST(:id AS uuid)")
LIST = text(
    ASSIGNMENT
    + """
        AND e.id IS NOT NULL AND (CAST(:course AS uuid) IS NULL OR a.course_id = CAST(:course AS uuid))
        AND (a.created_at, a.id) > (:moment, CAST(:last AS uuid))
    ORDER BY a.created_at, a.id LIMIT :limit
    """
)
SUBMISSIONS = """
    SELECT s.id, s.user_id, s.assignment_id, s.state, s.version, s.number, s.content, s.file_urls, s.late, s.score,
        s.passed, s.feedback, s.submitted_at, s.graded_at, s.graded_by, s.updated_at
    FROM assignment_submissions s
"""
LOAD = text(SUBMISSIONS + " WHERE s.id = ANY(CAST(:ids AS uuid[]))")
BEGIN = text(
    "INSERT INTO assignment_submissions (user_id, assignment_id) VALUES (:user, :assignment) ON CONFLICT DO NOTHING"
)
HOLD = text(SUBMISSIONS + " WHERE s.user_id = :user AND s.assignment_id = :assignment FOR UPDATE OF s")
ATTACH = text(
    """
    UPDATE assignment_files SET attached_at = coalesce(attached_at, now())
    WHERE id = ANY(CAST(:ids AS uuid[])) AND user_id = :user AND assignment_id = :assignment AND stored_at IS NOT NULL
    RETURNING id
    """
)
SAVE = text(
    """
    UPDATE assignment_submissions SET content = :content, file_urls = :file_urls, version = version + 1,
        updated_at = now()
    WHERE id = :id
    """
)
HAND_IN = text(
    """
    WITH handed AS (
        UPDATE assignment_submissions SET state = :state, number = number + 1, late = :late, submitted_at = :at
        WHERE id = :id RETURNING id, number, content, file_urls, late, submitted_at
    )
    INSERT INTO assignment_submission_versions (submission_id, number, content, file_urls, late, submitted_at)
    SELECT id, number, content, file_urls, late, submitted_at FROM handed
    """
)
# What handing in makes of each state in which the student is at work.
HANDED_IN = {"draft": "submitted", "returned": "resubmitted"}


class NotOpen(NotPossible):
    """The work is with the graders: it cannot be changed until they return it."""

    code = "submission_not_open"


class TooLate(NotPossible):
    """The assignment was due, and takes nothing late."""

    code = "late_not_allowed"


class NothingToHandIn(NotPossible):
    """There is neither text nor a file."""

    code = "submission_empty"


class Stale(DomainError):
    """Somebody changed the row since the caller read it; `version` is the one that it has now."""

    code = "version_stale"

    def __init__(self, version: int) -> None:
        self.version = version
        super().__init__(f"it is at version {version} now")


class UnknownFile(DomainError):
    """A file that is named was not uploaded by this student for this assignment."""

    code = "unknown_file"


@dataclass(frozen=True)
class Work:
    """What a student has made so far: text and uploaded files."""

    content: str = ""
    file_ids: Sequence[str] = ()


@dataclass(frozen=True)
class Submission:
    """The current row of a student and an assignment. `score` is in points."""

    id: str
    user_id: str
    assignment_id: str
    state: str
    version: int
    number: int
    content: str
    file_urls: list[str]
    late: bool
    score: Decimal | None
    passed: bool | None
    feedback: str | None
    submitted_at: datetime | None
    graded_at: datetime | None
    graded_by: str | None
    updated_at: datetime


@dataclass(frozen=True)
class StudentAssignment:
    """An assignment as one student has it: `due_date` with their extension, `submission` None before they begin."""

    id: str
    course_id: str
    lesson_id: str | None
    title: str
    description: str
    due_date: datetime | None
    grace_seconds: int
    allow_late_submission: bool
    max_points: int
    passing_score: int
    xp_reward: int
    required: bool
    created_at: datetime
    submission: Submission | None


def list_for(
    session: Session, user_id: str, *, course_id: str | None, limit: int, cursor: str | None = None
) -> list[StudentAssignment]:
    """Return up to `limit` + 1 published assignments of the student's courses; raise `InvalidCursor`."""
    moment, last = FIRST if cursor is None else decode_cursor(cursor)
    names = {"user": user_id, "course": course_id, "moment": moment, "last": last, "limit": limit + 1}
    found = session.execute(LIST, names).all()
    begun = [str(row.submission_id) for row in found if row.submission_id is not None]
    submissions = {row.id: Submission(**row._mapping) for row in session.execute(LOAD, {"ids": begun})}
    return [_view(row, submissions.get(row.submission_id)) for row in found]


def find(session: Session, user_id: str, assignment_id: str) -> StudentAssignment:
    """Return a published assignment of one of the student's courses; raise `NotFound` or `NotEnrolled`."""
    row = session.execute(ONE, {"user": user_id, "id": assignment_id}).one_or_none()
    if row is None:
        raise NotFound(f"there is no published assignment {assignment_id}")
    if row.enrollment_id is None:
        raise NotEnrolled(f"not enrolled in course {row.course_id}")
    if row.submission_id is None:
        return _view(row, None)
    return _view(row, load(session, str(row.submission_id)))


def load(session: Session, submission_id: str) -> Submission:
    """Return a submission; raise `NotFound`."""
    row = session.execute(LOAD, {"ids": [submission_id]}).one_or_none()
    if row is None:
        raise NotFound(f"there is no submission {submission_id}")
    return Submission(**row._mapping)


def save(
    session: Session,
    user_id: str,
    assignment_id: str,
    work: Work,
    *,
    expected: int | None = None,
    hand_in: bool = False,
) -> Submission:
    """Replace a student's work with this, and with `hand_in` hand it in as a new version.

    `expected` is the version that the caller saw, None where they do not care. Raises `NotFound`, `NotEnrolled`,
    `Stale`, `NotOpen`, `UnknownFile`, and on handing in `NothingToHandIn` or `TooLate`.
    """
    if hand_in:
        # The counters take the user's row, and that comes first everywhere.
        counters.lock(session, user_id)
    assignment = find(session, user_id, assignment_id)
    names = {"user": user_id, "assignment": assignment_id}
    session.execute(BEGIN, names)
    row = Submission(**session.execute(HOLD, names).one()._mapping)
    if expected is not None and (expected != row.version or assignment.submission is None):
        raise Stale(row.version if assignment.submission is not None else 0)
    if row.state not in HANDED_IN:
        raise NotOpen(f"the work is {row.state}")
    attached = session.scalars(ATTACH, {**names, "ids": list(work.file_ids)}).all()
    if set(attached) != set(work.file_ids):
        raise UnknownFile("a file was not uploaded for this assignment")
    urls = [FILE_URL + file_id for file_id in work.file_ids]
    session.execute(SAVE, {"id": row.id, "content": work.content, "file_urls": urls})
    if hand_in:
        _hand_in(session, assignment, row, work)
    return load(session, row.id)


def is_late(at: datetime, due: datetime | None, grace_seconds: int) -> bool:
    """Say whether `at` is after the due date and the grace that follows it."""
    return due is not None and at > due + timedelta(seconds=grace_seconds)


def _hand_in(session: Session, assignment: StudentAssignment, row: Submission, work: Work) -> None:
    if not work.content.strip() and not work.file_ids:
        raise NothingToHandIn("there is neither text nor a file")
    at = jobs.database_now(session)
    late = is_late(at, assignment.due_date, assignment.grace_seconds)
    if late and not assignment.allow_late_submission:
        raise TooLate(f"it was due at {assignment.due_date}")
    session.execute(HAND_IN, {"id": row.id, "state": HANDED_IN[row.state], "late": late, "at": at})
    counters.changed(session, row.user_id, active_at=at)


def _view(row: Row[Any], submission: Submission | None) -> StudentAssignment:
    values = {
        name: value for name, value in row._mapping.items() if name not in ("enrollment_id", "submission_id")
    }
    return StudentAssignment(**values, submission=submission)
