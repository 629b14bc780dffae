"""Deleting courses takes back what they gave, once each, however often the worker dies."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

import tasks.xp  # noqa: F401 - registers the kinds
from db.session import transaction
from domain import courses
from domain.errors import NotFound
from domain.xp_errors import NotEnrolled
from tests.conftest import Database
from tests.stack import ROOT, make_students, rows, scalar, wait_until
from tests.xp.conftest import CURVE, complete, make_school
from workers.job import run_due

WORKER = """
import tasks.xp
from domain import courses
from workers.job import run_due
courses.delete_batch.__defaults__ = (25,)
run_due(["courses.delete"])
"""
REVERSALS = "SELECT count(*) FROM xp_transactions WHERE kind = 'reversal'"
STANDING = """
    SELECT count(*) FROM xp_transactions a WHERE kind = 'award'
        AND NOT EXISTS (SELECT 1 FROM xp_transactions r WHERE r.reverses_id = a.id)
"""


def delete(course: str) -> bool:
    with transaction() as session:
        return courses.delete(session, CURVE, course)


def sql(statement: str, **values: object) -> None:
    with transaction() as session:
        session.execute(courses.text(statement), values)


def test_a_small_course_goes_at_once_and_others_keep_theirs(proven: Database) -> None:
    school, other = make_school(3, lessons=1), make_school(2)
    for student in range(3):
        complete(school, student=student)
    complete(other)
    assert delete(school.course)
    assert rows("SELECT id::text FROM courses") == [(other.course,)]
    assert scalar(REVERSALS) == 6
    assert scalar(STANDING) == 1
    with pytest.raises(NotFound):
        delete(school.course)


def test_a_course_of_1200_goes_in_batches_and_a_killed_worker_costs_nothing(
    proven: Database, usher_env: dict[str, str]
) -> None:
    school = make_school(lessons=1)
    make_students(1199, prefix="crowd")
    sql(
        "INSERT INTO enrollments (user_id, course_id) SELECT id, :course FROM users ON CONFLICT DO NOTHING",
        course=school.course,
    )
    sql(
        "SELECT count(*) FROM users u, xp_complete_lesson(u.id, CAST(:course AS uuid), CAST(:lesson AS uuid), 50,"
        " 10000, '[]', NULL, 'sqrt') AS done",
        course=school.course,
        lesson=school.lessons[0],
    )
    assert scalar(STANDING) == 2400
    assert not delete(school.course)
    with pytest.raises(NotEnrolled):
        complete(school)
    for _ in range(2):
        before = scalar(REVERSALS)
        worker = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            env={**os.environ, **usher_env},
            cwd=ROOT,
            stderr=subprocess.DEVNULL,
        )
        wait_until(lambda before=before: scalar(REVERSALS) > before, 30)
        time.sleep(0.02)
        worker.kill()
        worker.wait()
        assert 0 < scalar(STANDING) < 2400
        sql("UPDATE jobs SET next_run_at = now() WHERE kind = 'courses.delete'")
    assert run_due(["courses.delete"])
    assert scalar(STANDING) == 0
    assert scalar(REVERSALS) == 2400
    assert rows("SELECT id FROM courses") == rows("SELECT id FROM enrollments") == []
    assert rows("SELECT DISTINCT total_xp, level, highest_level FROM users") == [(0, 0, 1)]
    assert rows("SELECT state FROM jobs WHERE kind = 'courses.delete'") == [("done",)]
