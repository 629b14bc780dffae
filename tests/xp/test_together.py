"""Lessons that are completed together, in one transaction: each is judged, and fails, for itself."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg2
import pytest
from sqlalchemy import text

import api.xp
from db.session import transaction
from domain import tokens, xp
from domain.xp_errors import CompletedBefore, NoLesson, NotEnrolled, WrongAmount
from settings import get_settings
from tests.conftest import Database
from tests.stack import make_students, rows, scalar, wait_until
from tests.xp.conftest import CURVE, School, make_school

pytestmark = pytest.mark.usefixtures("proven")
TOO_MUCH = 2**31 - 1


@pytest.fixture(params=["straight", "pooled"])
def way(request: pytest.FixtureRequest, database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Straight to PostgreSQL, or as where a pooler stands before it, which lets nothing be prepared."""
    if request.param == "pooled":
        monkeypatch.setenv("DATABASE_DIRECT_URL", get_settings().database_url.get_secret_value())
        get_settings.cache_clear()
        assert get_settings().is_pooled()
    yield str(request.param)
    get_settings.cache_clear()


def wish(school: School, student: int = 0, lesson: int = 0, claimed: int | None = 50) -> xp.Completion:
    """Return the wish of a student to have a lesson completed."""
    return xp.Completion(school.students[student], school.course, school.lessons[lesson], claimed)


def given(done: object) -> tuple[int, int, int]:
    """Return what it gave, what the course gave, and the total."""
    assert isinstance(done, xp.LessonDone), done
    return done.awarded, done.course_awarded, done.total_xp


def test_each_is_judged_for_itself_and_in_order(way: str) -> None:
    school, stranger = make_school(students=3), make_students(1)[0]
    wishes = [
        wish(school),
        wish(school, student=1, claimed=1),
        wish(school, lesson=1, claimed=None),
        wish(school),
        xp.Completion(school.students[1], school.course, str(uuid.uuid4()), 50),
        xp.Completion(stranger, school.course, school.lessons[0], 50),
        wish(school, student=2),
        wish(school, lesson=2),
    ]
    found = xp.complete_lessons(CURVE, wishes)
    assert [given(found[place]) for place in (0, 2, 6, 7)] == [
        (50, 0, 50),
        (50, 0, 100),
        (50, 0, 50),
        (50, 200, 350),
    ]
    assert [type(found[place]) for place in (1, 3, 4, 5)] == [
        WrongAmount,
        CompletedBefore,
        NoLesson,
        NotEnrolled,
    ]
    assert scalar("SELECT count(*) FROM lesson_progress") == 4
    entries = rows("SELECT id::text FROM xp_transactions WHERE source_type = 'LESSON' ORDER BY 1")
    assert rows("SELECT business_key FROM jobs WHERE kind = 'xp.after_award' ORDER BY 1") == entries


def test_nobody_waits_for_a_student_or_a_course_that_somebody_else_holds(database: Database) -> None:
    school, other = make_school(students=2), make_school()
    wishes = [wish(school), wish(school, student=1), wish(other)]
    with transaction() as session:
        session.execute(
            text("SELECT 1 FROM users WHERE id = :id FOR NO KEY UPDATE"), {"id": school.students[0]}
        )
        session.execute(text("SELECT 1 FROM courses WHERE id = :id FOR UPDATE"), {"id": other.course})
        held, free, closed = xp.complete_lessons(CURVE, wishes)
    assert (held, given(free), closed) == (None, (50, 0, 50), None)
    assert xp.complete_lessons(CURVE, [xp.Completion(str(uuid.uuid4()), school.course, "0" * 32)]) == [None]
    assert [type(done) for done in xp.complete_lessons(CURVE, wishes)] == [
        xp.LessonDone,
        CompletedBefore,
        xp.LessonDone,
    ]


def test_what_fails_leaves_nothing_behind(database: Database) -> None:
    school = make_school(students=2)
    break_enrollment(school, 1)
    with pytest.raises(psycopg2.DataError):
        xp.complete_lessons(CURVE, [wish(school), wish(school, student=1)])
    assert scalar("SELECT count(*) FROM xp_transactions") == 0
    assert scalar("SELECT count(*) FROM lesson_progress") == 0


def test_over_http_those_who_come_together_share_a_transaction(database: Database) -> None:
    assert post_together(make_school(students=4)) == [200, 200, 200, 200]
    assert rows("SELECT count(DISTINCT xmin::text), count(*) FROM xp_transactions") == [(2, 4)]


def test_over_http_one_that_fails_takes_no_other_along(database: Database) -> None:
    school = make_school(students=4)
    break_enrollment(school, 2)
    assert post_together(school) == [200, 200, 500, 200]
    assert rows("SELECT count(DISTINCT xmin::text), count(*) FROM xp_transactions") == [(3, 3)]


def post_together(school: School) -> list[int]:
    """Have each student complete a lesson, the first made to wait while the others gather; return the statuses."""
    post = make_poster(school)
    names = {"user": school.students[0], "lesson": school.lessons[0], "course": school.course}
    with ThreadPoolExecutor(len(school.students)) as pool:
        with transaction() as session:
            session.execute(
                text(
                    "INSERT INTO lesson_progress (user_id, lesson_id, course_id) VALUES (:user, :lesson, :course)"
                ),
                names,
            )
            answers = [pool.submit(post, 0)]
            wait_until(lambda: scalar("SELECT count(*) FROM pg_locks WHERE NOT granted") == 1, 30)
            answers += [pool.submit(post, student) for student in range(1, len(school.students))]
            wait_until(lambda: len(api.xp._complete._queue) == len(school.students) - 1, 30)
            session.rollback()
        return [answer.result() for answer in answers]


def break_enrollment(school: School, student: int) -> None:
    """Have a student's next award fail inside the database: what their enrolment earned is at the end of its numbers."""
    rows(
        "UPDATE enrollments SET xp_earned = :most WHERE user_id = :user RETURNING id",
        most=TOO_MUCH,
        user=school.students[student],
    )


def make_poster(school: School) -> Callable[[int], int]:
    """Return what posts a student's first lesson and returns the status."""
    from api.app import create_app

    app = create_app()
    emails: dict[str, str] = {str(id): email for id, email in rows("SELECT id, email FROM users")}
    with transaction() as session:
        plains = [tokens.mint(session, "student", emails[id], 1)[0] for id in school.students]

    def post(student: int) -> int:
        body: dict[str, Any] = {
            "userId": school.students[student],
            "courseId": school.course,
            "lessonId": school.lessons[0],
            "xpAmount": 50,
        }
        headers = {"Authorization": f"Bearer {plains[student]}"}
        return app.test_client().post("/api/xp/award", json=body, headers=headers).status_code

    return post
