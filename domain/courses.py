"""The provider's own courses: enrolling, what may be completed, and deleting one with all that it gave."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from db import jobs
from domain import xp_corrections
from domain.errors import DomainError, NotFound
from domain.levels import Curve
from domain.xp import Completion
from domain.xp_errors import CompletedBefore, NoLesson, NotEnrolled, WrongAmount

DELETE = "courses.delete"
# A course of no more learners is deleted in the transaction that asks for it.
AT_ONCE = 500
# Awards reversed, or rows of learners deleted, in one transaction of the others.
BATCH = 200

# One statement: is there such a course, what is missing before it, and the enrolment.
ENROLL = text(
    """
    WITH course AS (
        SELECT id, prerequisites FROM courses WHERE id = CAST(:course AS uuid) AND published AND deleted_at IS NULL
        FOR KEY SHARE
    ), missing AS (
        SELECT array_agg(wanted.id ORDER BY wanted.id) AS ids FROM course, unnest(course.prerequisites) AS wanted(id)
        WHERE NOT EXISTS (
            SELECT 1 FROM enrollments e
            WHERE e.user_id = CAST(:user AS uuid) AND e.course_id = wanted.id AND e.completed_at IS NOT NULL
        )
    ), made AS (
        INSERT INTO enrollments (user_id, course_id)
        SELECT CAST(:user AS uuid), course.id FROM course, missing WHERE missing.ids IS NULL
        ON CONFLICT (user_id, course_id) DO NOTHING
        RETURNING id, user_id, course_id, enrolled_at, completion_percentage, xp_earned
    )
    SELECT EXISTS (SELECT 1 FROM course) AS known, missing.ids::text[] AS missing, made.*
    FROM missing LEFT JOIN made ON true
    """
)
LOOK = text(
    """
    SELECT l.xp_reward, EXISTS (
        SELECT 1 FROM lesson_progress p WHERE p.user_id = e.user_id AND p.lesson_id = l.id
    ) AS completed
    FROM enrollments e JOIN courses c ON c.id = e.course_id AND c.deleted_at IS NULL
    LEFT JOIN lessons l ON l.course_id = c.id AND l.id = :lesson AND l.published
    WHERE e.user_id = :user AND e.course_id = :course
    """
)

# What of a course gives XP: the sources of awards that go with it.
SOURCES = """
    SELECT 'COURSE' AS type, id FROM courses WHERE id = :id
    UNION ALL SELECT 'LESSON', id FROM lessons WHERE course_id = :id
    UNION ALL SELECT 'QUIZ', id FROM quizzes WHERE course_id = :id
    UNION ALL SELECT 'ASSIGNMENT', id FROM assignments WHERE course_id = :id
"""
# What learners left in it, some rows at a time; the few rows that describe the course go with its own.
LEFT = (
    """
    DELETE FROM quiz_attempts WHERE id IN (
        SELECT a.id FROM quizzes q JOIN quiz_attempts a ON a.quiz_id = q.id WHERE q.course_id = :id LIMIT :limit
    ) RETURNING 1
    """,
    """
    DELETE FROM assignment_submissions WHERE id IN (
        SELECT s.id FROM assignments a JOIN assignment_submissions s ON s.assignment_id = a.id
        WHERE a.course_id = :id LIMIT :limit
    ) RETURNING 1
    """,
    """
    DELETE FROM enrollments WHERE id IN (
        SELECT id FROM enrollments WHERE course_id = :id ORDER BY user_id LIMIT :limit
    ) RETURNING 1
    """,
)
# More learners or standing awards than this?
LARGE = text(
    """
    SELECT (SELECT count(*) FROM (SELECT 1 FROM enrollments WHERE course_id = :id LIMIT :many + 1) AS learners) > :many
        OR (SELECT count(*) FROM (
            SELECT 1 FROM xp_transactions a WHERE a.kind = 'award' AND a.source_id = ANY(:sources)
                AND NOT EXISTS (SELECT 1 FROM xp_transactions r WHERE r.reverses_id = a.id)
            LIMIT :many + 1
        ) AS awards) > :many
    """
)
# The standing awards, with the revocable ones that they caused.
PREVIEW = text(
    f"""
    WITH RECURSIVE sources AS ({SOURCES}), standing AS (
        SELECT a.id, a.user_id, a.amount FROM sources
        JOIN xp_transactions a ON a.source_id = sources.id::text AND a.source_type = sources.type AND a.kind = 'award'
        WHERE NOT EXISTS (SELECT 1 FROM xp_transactions r WHERE r.reverses_id = a.id)
        UNION
        SELECT a.id, a.user_id, a.amount FROM standing
        JOIN xp_transactions a ON a.caused_by_id = standing.id AND a.revocable
        WHERE NOT EXISTS (SELECT 1 FROM xp_transactions r WHERE r.reverses_id = a.id)
    )
    SELECT (SELECT title FROM courses WHERE id = :id) AS title,
        (SELECT count(*) FROM enrollments WHERE course_id = :id) AS learners,
        count(*) AS awards, count(DISTINCT user_id) AS users, coalesce(sum(amount), 0)::bigint AS xp
    FROM standing
    """  # noqa: S608
)


class AlreadyEnrolled(DomainError):
    """The student is enrolled in this course already."""

    code = "already_enrolled"


class PrerequisitesMissing(DomainError):
    """Other courses have to be completed first; `missing` holds their ids."""

    code = "prerequisites_missing"

    def __init__(self, missing: list[str]) -> None:
        self.missing = missing
        super().__init__(f"complete first: {', '.join(missing)}")


@dataclass(frozen=True)
class Enrolled:
    """A new enrolment, as seed A publishes it."""

    id: str
    user_id: str
    course_id: str
    enrolled_at: datetime
    completion_percentage: int
    xp_earned: int


@dataclass(frozen=True)
class Deletion:
    """What goes with a course: enrolments (`learners`), standing awards, whose they are (`users`), and their XP."""

    title: str
    learners: int
    awards: int
    users: int
    xp: int


def enroll(session: Session, user_id: str, course_id: str) -> Enrolled:
    """Enrol a student in a published course, in one statement.

    Raises `NotFound`, `PrerequisitesMissing` or `AlreadyEnrolled`.
    """
    row = session.execute(ENROLL, {"user": user_id, "course": course_id}).one()
    if not row.known:
        raise NotFound(f"there is no published course {course_id}")
    if row.missing:
        raise PrerequisitesMissing(list(row.missing))
    if row.id is None:
        raise AlreadyEnrolled(f"enrolled in course {course_id} already")
    values = {name: value for name, value in row._mapping.items() if name not in ("known", "missing")}
    return Enrolled(**values)


def check_lesson(session: Session, lesson: Completion) -> None:
    """Raise what completing the lesson would raise now; for requests that do not wait for it."""
    names = {"user": lesson.user_id, "course": lesson.course_id, "lesson": lesson.lesson_id}
    row = session.execute(LOOK, names).one_or_none()
    if row is None:
        raise NotEnrolled(f"not enrolled in course {lesson.course_id}")
    if row.xp_reward is None:
        raise NoLesson(f"course {lesson.course_id} has no lesson {lesson.lesson_id}")
    if lesson.claimed is not None and lesson.claimed != row.xp_reward:
        raise WrongAmount(f"lesson {lesson.lesson_id} gives another amount")
    if row.completed:
        raise CompletedBefore(f"lesson {lesson.lesson_id} was completed before")


def course_of(session: Session, lesson_id: str) -> str:
    """Return the course that a lesson is in; raise `NoLesson`."""
    found = session.scalar(text("SELECT course_id FROM lessons WHERE id = :id"), {"id": lesson_id})
    if found is None:
        raise NoLesson(f"there is no lesson {lesson_id}")
    return str(found)


def preview(session: Session, course_id: str) -> Deletion:
    """Return what deleting a course would take with it; raise `NotFound`. Changes nothing."""
    row = session.execute(PREVIEW, {"id": course_id}).one()
    if row.title is None:
        raise NotFound(f"there is no course {course_id}")
    return Deletion(**row._mapping)


def ask_deletion(session: Session, course_id: str) -> str:
    """Close a course for good and ask for its deletion; return the job's id. Asking again has the same job go on.

    From now on nobody earns in it: the row is locked against awards under way, and those that come later find it
    deleted. Raises `NotFound`.
    """
    _close(session, course_id)
    return str(jobs.enqueue(session, jobs.Enqueue(DELETE, course_id, "xp", subject_id=course_id)))


def delete(session: Session, curve: Curve, course_id: str) -> bool:
    """Delete a course with every award that it and its lessons gave; True where that is done already.

    Where that concerns more than `AT_ONCE` learners or awards, a job does it in batches, and False is returned.
    Raises `NotFound`.
    """
    _close(session, course_id)
    sources = [source_id for _, source_id in _sources(session, course_id)]
    found = session.execute(LARGE, {"id": course_id, "sources": sources, "many": AT_ONCE}).scalar_one()
    if found:
        ask_deletion(session, course_id)
        return False
    while delete_batch(session, curve, course_id):
        pass
    return True


def delete_batch(session: Session, curve: Curve, course_id: str, limit: int = BATCH) -> bool:
    """Take a course's deletion one batch further; False when it is gone. May stop between any two batches."""
    reversed_now = xp_corrections.reverse_sources(
        session,
        curve,
        _sources(session, course_id),
        reason="source_deleted",
        description="The course was deleted",
        limit=limit,
    )
    if reversed_now:
        return True
    for statement in LEFT:
        if session.execute(text(statement), {"id": course_id, "limit": limit}).all():
            return True
    session.execute(text("DELETE FROM courses WHERE id = :id"), {"id": course_id})
    return False


def _close(session: Session, course_id: str) -> None:
    """Mark a course as deleted and hold its row; raise `NotFound`."""
    row = session.execute(text("SELECT 1 FROM courses WHERE id = :id FOR UPDATE"), {"id": course_id})
    if row.one_or_none() is None:
        raise NotFound(f"there is no course {course_id}")
    session.execute(
        text("UPDATE courses SET deleted_at = coalesce(deleted_at, now()), published = false WHERE id = :id"),
        {"id": course_id},
    )
    # Nobody can complete it from now on, so nothing may wait for it.
    session.execute(
        text(
            "UPDATE courses SET prerequisites = array_remove(prerequisites, CAST(:id AS uuid)), version = version + 1"
            " WHERE CAST(:id AS uuid) = ANY(prerequisites)"
        ),
        {"id": course_id},
    )


def _sources(session: Session, course_id: str) -> list[tuple[str, str]]:
    return [(row.type, str(row.id)) for row in session.execute(text(SOURCES), {"id": course_id})]
