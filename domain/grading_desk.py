"""Assignments as staff meet them: making them, extensions, the queue, grades. Every change leaves who and why.

A grade moves XP, so the student's row is locked first, then the submission. The full XP are given at the first grade
that passes; a grade that does not pass takes them back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from domain import counters, staff, xp, xp_corrections
from domain.assignments import FIRST, SUBMISSIONS, Stale, Submission, load
from domain.errors import DomainError, NotFound, NotPossible
from domain.levels import Curve
from domain.student_view import decode_cursor

PUT = text(
    """
    INSERT INTO assignments AS a (id, course_id, lesson_id, title, description, due_date, grace_seconds,
        allow_late_submission, max_points, passing_score, xp_reward, required, is_published)
    SELECT :id, c.id, CAST(:lesson_id AS uuid), :title, :description, CAST(:due_date AS timestamptz), :grace_seconds,
        :allow_late_submission, :max_points, :passing_score, :xp_reward, :required, :is_published
    FROM courses c WHERE c.id = CAST(:course_id AS uuid) AND c.deleted_at IS NULL AND (CAST(:lesson_id AS uuid) IS NULL
        OR EXISTS (SELECT 1 FROM lessons l WHERE l.id = CAST(:lesson_id AS uuid) AND l.course_id = c.id))
    ON CONFLICT (id) DO UPDATE SET lesson_id = excluded.lesson_id, title = excluded.title,
        description = excluded.description, due_date = excluded.due_date, grace_seconds = excluded.grace_seconds,
        allow_late_submission = excluded.allow_late_submission, max_points = excluded.max_points,
        passing_score = excluded.passing_score, xp_reward = excluded.xp_reward, required = excluded.required,
        is_published = excluded.is_published, updated_at = now()
    WHERE a.course_id = excluded.course_id
    RETURNING a.created_at = a.updated_at AS made
    """
)
LIST = text(
    """
    SELECT id, course_id, lesson_id, title, description, due_date, grace_seconds, allow_late_submission, max_points,
        passing_score, xp_reward, required, is_published, created_at, updated_at
    FROM assignments
    WHERE (CAST(:course AS uuid) IS NULL OR course_id = CAST(:course AS uuid))
        AND (created_at, id) > (:moment, CAST(:last AS uuid))
    ORDER BY created_at, id LIMIT :limit
    """
)
EXTEND = text(
    """
    INSERT INTO assignment_extensions (assignment_id, user_id, due_date, granted_by)
    SELECT a.id, u.id, :due_date, :actor FROM assignments a, users u
    WHERE a.id = CAST(:assignment AS uuid) AND u.id = CAST(:user AS uuid)
    ON CONFLICT (assignment_id, user_id) DO UPDATE SET due_date = excluded.due_date, granted_by = excluded.granted_by,
        updated_at = now()
    RETURNING 1
    """
)
QUEUE = text(
    SUBMISSIONS
    + """
    JOIN assignments a ON a.id = s.assignment_id
    WHERE s.submitted_at IS NOT NULL AND (s.submitted_at, s.id) > (:moment, CAST(:last AS uuid))
        AND s.state = ANY(:states)
        AND (CAST(:course AS uuid) IS NULL OR a.course_id = CAST(:course AS uuid))
        AND (CAST(:assignment AS uuid) IS NULL OR a.id = CAST(:assignment AS uuid))
    ORDER BY s.submitted_at, s.id LIMIT :limit
    """
)
VERSIONS = text(
    """
    SELECT number, content, file_urls, late, submitted_at, score, passed, feedback, graded_at, graded_by
    FROM assignment_submission_versions WHERE submission_id = :id ORDER BY number
    """
)
LOCK_STUDENT = text(
    """
    SELECT u.id, u.email FROM users u
    WHERE u.id = (SELECT user_id FROM assignment_submissions WHERE id = CAST(:id AS uuid)) FOR NO KEY UPDATE
    """
)
HOLD = text(
    """
    SELECT s.state, s.version, s.number, s.score, a.id AS assignment_id, a.course_id, a.max_points, a.passing_score,
        a.xp_reward
    FROM assignment_submissions s JOIN assignments a ON a.id = s.assignment_id WHERE s.id = :id FOR UPDATE OF s
    """
)
GRADE = text(
    """
    WITH graded AS (
        UPDATE assignment_submissions SET state = 'graded', score = :score, passed = :passed, feedback = :feedback,
            graded_at = now(), graded_by = :grader, version = version + 1, updated_at = now()
        WHERE id = :id RETURNING id, number, score, passed, feedback, graded_at, graded_by
    )
    UPDATE assignment_submission_versions v SET score = g.score, passed = g.passed, feedback = g.feedback,
        graded_at = g.graded_at, graded_by = g.graded_by
    FROM graded g WHERE v.submission_id = g.id AND v.number = g.number
    """
)
RETURN = text(
    """
    UPDATE assignment_submissions SET state = 'returned', feedback = :feedback, version = version + 1,
        updated_at = now()
    WHERE id = :id
    """
)
WAITING = ("submitted", "resubmitted")
GRADABLE = (*WAITING, "graded")


class OwnWork(NotPossible):
    """Nobody grades their own work."""

    code = "own_work"


class NotGradable(NotPossible):
    """The submission is not in a state in which this can be done."""

    code = "submission_not_gradable"


class ScoreTooHigh(DomainError):
    """The score is above the assignment's points."""

    code = "score_too_high"


class ReasonMissing(DomainError):
    """A grade that stands is changed only with a reason."""

    code = "reason_missing"


@dataclass(frozen=True)
class Grader:
    """Who grades: the name in the audit, and their own user id where they have one."""

    subject: str
    user_id: str | None = None


@dataclass(frozen=True)
class Grade:
    """A grade in points. `reason` says why, where it replaces one that stands."""

    score: Decimal
    feedback: str = ""
    reason: str | None = None


def put(session: Session, assignment_id: str, values: dict[str, Any], *, actor: str, reason: str) -> bool:
    """Make an assignment, or replace all that it says but its course; True where it is new. Raises `NotFound`."""
    row = session.execute(PUT, {**values, "id": assignment_id}).one_or_none()
    if row is None:
        raise NotFound("there is no such course, lesson of it, or assignment in it")
    action = "assignment.make" if row.made else "assignment.change"
    subject = ("assignment", assignment_id)
    staff.record(session, actor=actor, action=action, subject=subject, reason=reason)
    return bool(row.made)


def list_assignments(
    session: Session, *, course_id: str | None, limit: int, cursor: str | None = None
) -> list[dict[str, Any]]:
    """Return up to `limit` + 1 assignments, published or not, in the order in which they were made.

    Raises `InvalidCursor`.
    """
    moment, last = FIRST if cursor is None else decode_cursor(cursor)
    names = {"course": course_id, "moment": moment, "last": last, "limit": limit + 1}
    return [dict(row._mapping) for row in session.execute(LIST, names)]


def extend(
    session: Session, assignment_id: str, user_id: str, due: datetime, *, actor: str, reason: str
) -> None:
    """Give one student a later (or earlier) due date; raise `NotFound` without such an assignment or user."""
    names = {"assignment": assignment_id, "user": user_id, "due_date": due, "actor": actor}
    if session.execute(EXTEND, names).one_or_none() is None:
        raise NotFound("there is no such assignment or user")
    detail = {"assignment": assignment_id, "due_date": due.isoformat()}
    subject = ("user", user_id)
    staff.record(
        session, actor=actor, action="assignment.extend", subject=subject, reason=reason, detail=detail
    )


def queue(
    session: Session,
    *,
    states: tuple[str, ...] = WAITING,
    course_id: str | None = None,
    assignment_id: str | None = None,
    limit: int,
    cursor: str | None = None,
) -> list[Submission]:
    """Return up to `limit` + 1 submissions, the one that waits longest first; raise `InvalidCursor`."""
    moment, last = FIRST if cursor is None else decode_cursor(cursor)
    names = {"states": list(states), "course": course_id, "assignment": assignment_id}
    rows = session.execute(QUEUE, {**names, "moment": moment, "last": last, "limit": limit + 1})
    return [Submission(**row._mapping) for row in rows]


def versions(session: Session, submission_id: str) -> list[dict[str, Any]]:
    """Return what was handed in, in order, with the grade of each."""
    return [dict(row._mapping) for row in session.execute(VERSIONS, {"id": submission_id})]


def grade(
    session: Session, curve: Curve, submission_id: str, given: Grade, *, expected: int, grader: Grader
) -> Submission:
    """Grade a submission, or grade it anew, with what follows for XP and counters.

    `expected` is the version that the grader saw. Raises `NotFound`, `OwnWork`, `Stale`, `NotGradable`,
    `ScoreTooHigh`, or `ReasonMissing`.
    """
    student, row = _hold(session, submission_id, expected, grader)
    if row.state not in GRADABLE:
        raise NotGradable(f"the work is {row.state}")
    if given.score > row.max_points:
        raise ScoreTooHigh(f"at most {row.max_points} points")
    if row.state == "graded" and not given.reason:
        raise ReasonMissing("a grade that stands is changed only with a reason")
    passed = given.score * 100 >= row.passing_score * row.max_points
    _settle_xp(session, curve, student, row, passed=passed)
    values = {"id": submission_id, "score": given.score, "passed": passed, "feedback": given.feedback}
    session.execute(GRADE, {**values, "grader": grader.subject})
    counters.changed(session, student, "assignments.passed", "assignments.on_time")
    _record(session, grader, "submission.grade", submission_id, given.reason, row, score=given.score)
    return load(session, submission_id)


def give_back(
    session: Session,
    submission_id: str,
    feedback: str,
    *,
    due: datetime | None,
    expected: int,
    grader: Grader,
) -> Submission:
    """Return graded work for another try, with a due date of its own where one is given.

    Raises `NotFound`, `OwnWork`, `Stale` or `NotGradable`.
    """
    student, row = _hold(session, submission_id, expected, grader)
    if row.state != "graded":
        raise NotGradable(f"the work is {row.state}")
    session.execute(RETURN, {"id": submission_id, "feedback": feedback})
    if due is not None:
        extend(session, str(row.assignment_id), student, due, actor=grader.subject, reason="returned")
    _record(session, grader, "submission.return", submission_id, None, row)
    return load(session, submission_id)


def _hold(session: Session, submission_id: str, expected: int, grader: Grader) -> tuple[str, Any]:
    """Lock the student, then the submission; return the student's id and the row."""
    student = session.execute(LOCK_STUDENT, {"id": submission_id}).one_or_none()
    if student is None:
        raise NotFound(f"there is no submission {submission_id}")
    if grader.user_id == student.id or grader.subject.casefold() == student.email.casefold():
        raise OwnWork("nobody grades their own work")
    row = session.execute(HOLD, {"id": submission_id}).one()
    if row.version != expected:
        raise Stale(row.version)
    return str(student.id), row


def _settle_xp(session: Session, curve: Curve, student: str, row: Any, *, passed: bool) -> None:
    key = f"assignment:{row.assignment_id}"
    if not passed:
        xp_corrections.reverse_key(session, curve, student, key, reason="regraded")
        return
    wanted = xp.Award(
        user_id=student,
        key=key,
        base=row.xp_reward,
        source_type="ASSIGNMENT",
        source_id=str(row.assignment_id),
        category="ASSIGNMENT",
        reason="assignment_passed",
        description="Assignment passed",
        course_id=str(row.course_id),
    )
    xp.award(session, curve, wanted)


def _record(
    session: Session,
    grader: Grader,
    action: str,
    submission_id: str,
    reason: str | None,
    row: Any,
    score: Decimal | None = None,
) -> None:
    detail = {
        "number": row.number,
        "score_before": None if row.score is None else str(row.score),
        "score": None if score is None else str(score),
    }
    subject = ("submission", submission_id)
    staff.record(session, actor=grader.subject, action=action, subject=subject, reason=reason, detail=detail)
