"""A course with lessons and learners, and the proof that every test ends with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from db.session import transaction
from domain import courses, levels, xp, xp_checks
from tests.conftest import Database
from tests.stack import make_students, rows, scalar

CURVE = levels.SQRT


@dataclass(frozen=True)
class School:
    """A published course of lessons of 50 XP, and students who are enrolled in it."""

    course: str
    lessons: list[str]
    students: list[str]


def make_school(students: int = 1, lessons: int = 3) -> School:
    """Insert a course and enrol fresh students in it."""
    course = str(scalar("INSERT INTO courses (title, published) VALUES ('Course', true) RETURNING id"))
    made = rows(
        "INSERT INTO lessons (course_id, title, position, published)"
        " SELECT :course, 'Lesson ' || n, n, true FROM generate_series(1, :count) n RETURNING id",
        course=course,
        count=lessons,
    )
    people = make_students(students, prefix=f"learner-{course[:8]}")
    with transaction() as session:
        for person in people:
            courses.enroll(session, person, course)
    return School(course, [str(row[0]) for row in made], people)


def complete(school: School, lesson: int = 0, student: int = 0) -> xp.LessonDone:
    """Complete a lesson in a transaction of its own."""
    wanted = xp.Completion(school.students[student], school.course, school.lessons[lesson])
    with transaction() as session:
        return xp.complete_lesson(session, CURVE, wanted)


def totals() -> list[tuple[int, int, int]]:
    """Return total, level and highest level of each user with entries."""
    return rows(
        "SELECT total_xp, level, highest_level FROM users WHERE id IN (SELECT user_id FROM xp_transactions)"
    )


def assert_proven() -> None:
    """Total = sum = last balance for every user, each balance follows from the one before, no key stands twice."""
    with transaction() as session:
        assert xp_checks.compare(session, CURVE, limit=100_000).drifts == []
    broken = """
        SELECT count(*) FROM (
            SELECT balance_after - amount AS before,
                coalesce(lag(balance_after) OVER (PARTITION BY user_id ORDER BY seq), 0) AS last FROM xp_transactions
        ) AS steps WHERE before <> last
    """
    assert scalar(broken) == 0
    standing_twice = """
        SELECT count(*) FROM (
            SELECT 1 FROM xp_transactions a WHERE business_key IS NOT NULL
                AND NOT EXISTS (SELECT 1 FROM xp_transactions r WHERE r.reverses_id = a.id)
            GROUP BY user_id, business_key HAVING count(*) > 1
        ) AS twice
    """
    assert scalar(standing_twice) == 0


@pytest.fixture
def proven(database: Database) -> Iterator[Database]:
    """A database in which the totals are proven when the test is over."""
    yield database
    assert_proven()
