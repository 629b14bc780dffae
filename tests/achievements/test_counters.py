"""Counters are what the facts say: each of them, by course and by time, cached, rebuilt, and in SQL as in Python."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import tasks.gamification
import tasks.xp  # noqa: F401 - registers the kinds
from db.models.achievements import COUNTERS
from db.session import transaction
from domain import achievement_catalogue, achievements, counters, xp, xp_corrections
from domain.conditions import Condition, Measure, holds, leaves
from domain.levels import SQRT
from tests.achievements.conftest import at_least, define, make, sql, unlocked
from tests.conftest import Database
from tests.stack import make_course, make_students, rows, scalar
from tests.xp.conftest import complete, make_school
from workers.job import run_due

pytestmark = pytest.mark.usefixtures("proven")
DAY = timedelta(days=1)


def count(user: str, *measures: Measure) -> list[int]:
    with transaction() as session:
        found = counters.count(session, user, measures)
    return [found[measure] for measure in measures]


def every_fact(user: str, course: str) -> dict[str, int]:
    """Give a user facts behind every counter, with others beside them that do not count; return what they come to."""
    names = {"user": user, "course": course}
    provider, partner_course = make_course()
    sql(
        "INSERT INTO partner_lms_enrollments (provider_id, student_id, course_id, status, completed_at)"
        " VALUES (:p, :user, :c, 'completed', now())",
        p=provider,
        c=partner_course,
        user=user,
    )
    for state, passed, earned in (
        ("graded", True, 3),
        ("graded", True, 4),
        ("graded", False, 0),
        ("void", True, 4),
    ):
        quiz = scalar(
            "INSERT INTO quizzes (course_id, title) VALUES (:course, 'Quiz') RETURNING id", course=course
        )
        add_attempt(user, str(quiz), state, passed, earned)
    for late, passed in ((False, True), (True, True), (False, False)):
        sql(
            """
            WITH made AS (INSERT INTO assignments (course_id, title, description) VALUES (:course, 'Work', '') RETURNING id)
            INSERT INTO assignment_submissions (user_id, assignment_id, state, late, passed, graded_at, submitted_at)
            SELECT :user, id, 'graded', :late, :passed, now(), now() FROM made
            """,
            late=late,
            passed=passed,
            **names,
        )
    for status, revoked in (("valid", "NULL"), ("revoked", "now()")):
        sql(
            "INSERT INTO certificates (user_id, course_id, certificate_url, verification_code, status, name,"
            f" course_title, revoked_at) VALUES (:user, :course, 'x', :status, :status, 'Name', 'Title', {revoked})",
            status=status,
            **names,
        )
    for source, key in (
        ("REFERRAL", f"referral:{user}:referrer"),
        ("REFERRAL", f"referral:{user}:referee"),
        ("CHALLENGE", "challenge:c1:2026-11"),
    ):
        with transaction() as session:
            xp.award(session, SQRT, xp.Award(user, key, 100, source, None, source, "test"))
    for day in (0, 1, 3):
        sql(
            "INSERT INTO user_activity_days (user_id, local_date, time_zone, active_at)"
            " VALUES (:user, current_date - :day, 'UTC', now())",
            user=user,
            day=day,
        )
    return {
        "xp.total": 550,
        "xp.season": 550,
        "level": 2,
        "lessons.completed": 1,
        "courses.completed": 2,
        "quizzes.passed": 2,
        "quizzes.perfect": 1,
        "assignments.passed": 2,
        "assignments.on_time": 1,
        "certificates.earned": 1,
        "streak.longest": 3,
        "days.active": 3,
        "referrals.qualified": 1,
        "challenges.completed": 1,
        "achievements.unlocked": 0,
    }


def add_attempt(user: str, quiz: str, state: str, passed: bool, earned: int) -> None:
    sql("INSERT INTO quiz_versions (quiz_id, version, questions) VALUES (:quiz, 1, '[]')", quiz=quiz)
    sql(
        "INSERT INTO quiz_attempts (user_id, quiz_id, number, state, quiz_version, key_version, passing_score, earned,"
        " possible, passed, submitted_at) VALUES (:user, :quiz, 1, :state, 1, 1, 70, :earned, 4, :passed, now())",
        user=user,
        quiz=quiz,
        state=state,
        earned=earned,
        passed=passed if state == "graded" else None,
    )


def test_every_counter_is_what_its_facts_say_and_a_rebuild_says_the_same() -> None:
    school = make_school(lessons=1)
    [user] = school.students
    complete(school)
    expected = every_fact(user, school.course)
    with transaction() as session:
        done = achievements.rebuild_batch(session, SQRT, xp_per_day=0)
    assert (done.users, done.next_after) == (1, None)
    stored = dict(rows("SELECT name, value FROM user_counters WHERE NOT stale"))
    assert {**dict.fromkeys(COUNTERS, 0), **stored} == expected
    with transaction() as session:
        assert achievements.rebuild_batch(session, SQRT, xp_per_day=0).differed == 0
    sql("UPDATE user_counters SET value = 99 WHERE name = 'level'")
    with transaction() as session:
        assert achievements.rebuild_batch(session, SQRT, xp_per_day=0).differed == 1
    assert scalar("SELECT value FROM user_counters WHERE name = 'level'") == 2


def test_the_cache_after_a_random_history_is_what_a_rebuild_says() -> None:
    choice = random.Random(3)
    school = make_school(students=3, lessons=4)
    make("some", at_least("lessons.completed", 2), xp_reward=30, revocable=True)
    for _ in range(40):
        student, lesson = choice.randrange(3), choice.randrange(4)
        key = f"lesson:{school.lessons[lesson]}"
        standing = rows(
            "SELECT a.id FROM xp_transactions a WHERE a.user_id = :user AND a.business_key = :key"
            " AND NOT EXISTS (SELECT 1 FROM xp_transactions r WHERE r.reverses_id = a.id)",
            user=school.students[student],
            key=key,
        )
        if not standing:
            complete(school, lesson, student)
        else:
            with transaction() as session:
                xp_corrections.reverse(session, SQRT, str(standing[0][0]), reason="reversed_by_staff")
        if choice.random() < 0.5:
            run_due(["xp.after_award", counters.SETTLE, achievement_catalogue.BACKFILL])
    while run_due(["xp.after_award", counters.SETTLE, achievement_catalogue.BACKFILL]):
        pass
    state = "SELECT user_id, name, value FROM user_counters WHERE value <> 0 ORDER BY 1, 2"
    held = "SELECT user_id FROM user_achievements ORDER BY 1"
    before = rows(state), rows(held)
    with transaction() as session:
        achievements.rebuild_batch(session, SQRT, xp_per_day=0)
    after = rows(state), rows(held)
    assert after == before
    two = "SELECT user_id FROM lesson_progress GROUP BY 1 HAVING count(*) >= 2 ORDER BY 1"
    assert after[1] == rows(two)


def test_a_scope_and_a_window_count_what_lies_in_them() -> None:
    school, other = make_school(lessons=4), make_school(lessons=1)
    user = school.students[0]
    start = datetime(2026, 3, 1, 12, tzinfo=UTC)
    for lesson, days in enumerate((0, 1, 2.5, 9)):
        sql(
            "INSERT INTO lesson_progress (user_id, course_id, lesson_id, completed_at) VALUES (:u, :c, :l, :at)",
            u=user,
            c=school.course,
            l=school.lessons[lesson],
            at=start + days * DAY,
        )
    name = "lessons.completed"
    assert count(
        user,
        Measure(name),
        Measure(name, other.course),
        Measure(name, school.course),
        Measure(name, days=1),
        Measure(name, days=2),
        Measure(name, days=3),
        Measure(name, school.course, days=30),
        Measure(name, start=start, end=start + DAY),
        Measure(name, start=start + DAY, end=start + 9 * DAY),
    ) == [4, 0, 4, 1, 2, 3, 4, 1, 2]


def test_a_season_is_counted_by_when_it_happened() -> None:
    [user] = make_students(1)
    begin, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
    for number, at in enumerate((begin, end - timedelta(seconds=1), end)):
        with transaction() as session:
            wanted = xp.Award(user, f"quiz:{number}:pass", 10, "QUIZ", None, "QUIZ", "test", occurred_at=at)
            xp.award(session, SQRT, wanted)
    assert count(user, Measure("xp.season", start=begin, end=end), Measure("xp.total")) == [20, 30]


WHEN: list[dict[str, Any]] = [
    {"counter": "lessons.completed", "gte": 2},
    {"all": [{"counter": "lessons.completed", "gte": 1}, {"counter": "xp.total", "gte": 100}]},
    {"any": [{"counter": "courses.completed", "gte": 1}, {"counter": "level", "gte": 9}]},
    {
        "at_least": 2,
        "of": [
            {"counter": "lessons.completed", "gte": 1},
            {"counter": "lessons.completed", "gte": 2, "window": {"days": 1}},
            {"counter": "courses.completed", "gte": 1},
        ],
    },
]


@pytest.mark.parametrize("when", WHEN)
def test_a_dry_run_counts_who_would_unlock_it_and_changes_nothing(
    when: dict[str, Any], database: Database
) -> None:
    school = make_school(students=5, lessons=3)
    for student in range(5):
        for lesson in range(min(student, 3)):
            complete(school, lesson, student)
    condition = Condition.model_validate({"v": 1, "when": when})
    with transaction() as session:
        earned = [
            student
            for student in school.students
            if holds(
                condition.when,
                counters.values(session, student, [leaf.measure for leaf in leaves(condition.when)]),
            )
        ]
        trial = achievement_catalogue.try_out(
            session, define(condition.to_json(), tiers=[{"condition": at_least("lessons.completed", 3)}])
        )
    assert (trial.users, trial.checked, trial.unlocks) == (5, 5, [len(earned), 2])
    assert 0 < len(earned) < 5
    assert rows("SELECT * FROM user_achievements") == []
    id = make("tried", condition.to_json())
    assert run_due([achievement_catalogue.BACKFILL])
    assert [student for student in school.students if unlocked(student)] == earned
    with transaction() as session:
        assert achievement_catalogue.try_out(session, define(condition.to_json()), "tried").unlocks == [0]
    assert scalar("SELECT backfilled_at IS NOT NULL FROM achievements WHERE id = :id", id=id)
