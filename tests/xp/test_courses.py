"""Deleting courses takes back what they gave, once each, however often the worker dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

import tasks.xp  # noqa: F401 - registers the kinds
from db.session import transaction
from domain import courses, xp, xp_corrections
from domain.errors import NotFound
from domain.xp_errors import NotEnrolled
from tests.conftest import Database
from tests.stack import ROOT, make_students, rows, scalar
from tests.xp.conftest import CURVE, complete, make_school
from workers.job import run_due

# A worker that is shot in its tenth batch, with the reversals made and not committed.
WORKER = """
import os, signal
import tasks.xp
from domain import courses
from workers.job import run_due
real, batches = courses.delete_batch, []
def delete_batch(session, curve, course_id):
    batches.append(real(session, curve, course_id, 25))
    if len(batches) == 10:
        os.kill(os.getpid(), signal.SIGKILL)
    return batches[-1]
courses.delete_batch = delete_batch
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


def test_a_small_number_of_learners_with_many_awards_is_no_small_course(
    proven: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courses, "AT_ONCE", 3)
    school = make_school(1, lessons=3)
    for lesson in range(3):
        complete(school, lesson)
    assert not delete(school.course)
    assert scalar(REVERSALS) == 0
    assert run_due(["courses.delete"])
    assert scalar(STANDING) == 0


def test_a_look_before_counts_what_follows_and_not_what_was_reversed(proven: Database) -> None:
    school, other = make_school(3, lessons=2), make_school(1)
    for student in range(2):
        complete(school, 0, student)
    complete(school, 1)
    complete(other)
    with transaction() as session:
        first = str(session.scalar(courses.text("SELECT id FROM xp_transactions ORDER BY seq LIMIT 1")))
        badge = xp.Award(
            school.students[0], "badge", 30, "SPECIAL_ACHIEVEMENT", None, "ACHIEVEMENT", "x", caused_by=first
        )
        xp.award(session, CURVE, badge)
        xp.award(session, CURVE, replace(badge, key="kept", revocable=False))
    entry = str(scalar("SELECT id FROM xp_transactions WHERE user_id = :id", id=school.students[1]))
    with transaction() as session:
        found = courses.preview(session, school.course)
        assert found == courses.Deletion("Course", learners=3, awards=5, users=2, xp=380)
        xp_corrections.reverse(session, CURVE, entry, reason="reversed_by_staff")
        assert courses.preview(session, school.course).xp == 330
    total = scalar("SELECT sum(total_xp) FROM users")
    assert delete(school.course)
    assert scalar("SELECT sum(total_xp) FROM users") == total - 330
    with pytest.raises(NotFound), transaction() as session:
        courses.preview(session, school.course)


def test_quizzes_and_assignments_of_the_course_give_back_what_they_gave(proven: Database) -> None:
    school = make_school()
    [user] = school.students
    quiz = str(
        scalar("INSERT INTO quizzes (course_id, title) VALUES (:id, 'Quiz') RETURNING id", id=school.course)
    )
    task = str(
        scalar(
            "INSERT INTO assignments (course_id, title, due_date) VALUES (:id, 'Task', now()) RETURNING id",
            id=school.course,
        )
    )
    with transaction() as session:
        for kind, source in (("QUIZ", quiz), ("ASSIGNMENT", task)):
            xp.award(session, CURVE, xp.Award(user, f"{kind}:{source}", 25, kind, source, kind, "x"))
        assert courses.preview(session, school.course).xp == 50
    assert delete(school.course)
    assert scalar("SELECT total_xp FROM users") == 0
    assert rows("SELECT id FROM quizzes") == rows("SELECT id FROM assignments") == []


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
        worker = subprocess.run(
            [sys.executable, "-c", WORKER],
            env={**os.environ, **usher_env},
            cwd=ROOT,
            stderr=subprocess.DEVNULL,
        )
        assert worker.returncode == -signal.SIGKILL
        # Nine batches of 25 lasted; of an award and the one that it caused, either may come first.
        assert before + 9 * 25 <= scalar(REVERSALS) <= before + 9 * 50
        assert scalar(REVERSALS) + scalar(STANDING) == 2400
        sql("UPDATE jobs SET next_run_at = now() WHERE kind = 'courses.delete'")
    assert run_due(["courses.delete"])
    assert scalar(STANDING) == 0
    assert scalar(REVERSALS) == 2400
    assert rows("SELECT id FROM courses") == rows("SELECT id FROM enrollments") == []
    assert rows("SELECT DISTINCT total_xp, level, highest_level FROM users") == [(0, 0, 1)]
    assert rows("SELECT state FROM jobs WHERE kind = 'courses.delete'") == [("done",)]
