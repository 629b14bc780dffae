"""Rows to measure with: a partner with one course and students who are to be enrolled in it."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.session import transaction
from domain import enrollments
from partners.registry import provider_types

STUDENTS = text(
    "INSERT INTO users (email, name) SELECT 'student-' || n || '@example.com', 'Student ' || n"
    " FROM generate_series(1, :count) AS n RETURNING id"
)
PROVIDER = text(
    "INSERT INTO partner_lms_providers (provider_name, provider_type) VALUES ('Bench', 'sandbox') RETURNING id"
)
COURSE = text(
    "INSERT INTO partner_courses (provider_id, course_name, course_code)"
    " VALUES (:provider, 'Course', 'COURSE-1') RETURNING id"
)
PENDING = text(
    "INSERT INTO partner_lms_enrollments (provider_id, student_id, course_id)"
    " SELECT :provider, id, :course FROM users RETURNING id"
)


class Cohort(NamedTuple):
    """The ids of what was inserted."""

    provider: str
    course: str
    students: list[str]


def clear() -> None:
    """Remove every row that a benchmark makes."""
    with transaction() as session:
        session.execute(text("TRUNCATE users, partner_lms_providers, jobs, inbox_events CASCADE"))


def insert_cohort(session: Session, count: int) -> Cohort:
    """Insert the partner, the course and the students."""
    provider = str(session.execute(PROVIDER).scalar_one())
    course = str(session.execute(COURSE, {"provider": provider}).scalar_one())
    students = session.execute(STUDENTS, {"count": count}).scalars()
    return Cohort(provider, course, [str(student) for student in students])


def open_enrollments(session: Session, count: int) -> None:
    """Open enrolments as a payment does: each with the job that walks it."""
    cohort = insert_cohort(session, count)
    for student in cohort.students:
        opened = enrollments.open_enrollment(
            session,
            student_id=student,
            provider_id=cohort.provider,
            course_id=cohort.course,
            program_id=None,
            correlation_id=None,
        )
        enrollments.begin(session, enrollments.load(session, opened), provider_types())


def insert_pending(session: Session, count: int) -> list[str]:
    """Insert pending enrolments that Usher will not walk; return their ids."""
    cohort = insert_cohort(session, count)
    values = {"provider": cohort.provider, "course": cohort.course}
    return [str(row) for row in session.execute(PENDING, values).scalars()]
