"""XP that nobody waits for: lessons, partner courses completed and revoked, the nightly proof."""

from __future__ import annotations

import pytest

import tasks.xp as xp_tasks
from db.session import transaction
from domain import xp, xp_checks, xp_partners
from tests.stack import make_course, make_students, rows, scalar
from tests.xp.conftest import CURVE, make_school
from workers.job import run_due

pytestmark = pytest.mark.usefixtures("proven")


def sql(statement: str, **values: object) -> None:
    with transaction() as session:
        session.execute(xp.text(statement), values)


def partner_enrollment(metadata: str = "{}") -> str:
    provider, course = make_course()
    sql("UPDATE partner_courses SET metadata = CAST(:metadata AS jsonb)", metadata=metadata)
    [student] = make_students(1)
    return str(
        scalar(
            "INSERT INTO partner_lms_enrollments (provider_id, student_id, course_id, status)"
            " VALUES (:p, :s, :c, 'active') RETURNING id",
            p=provider,
            s=student,
            c=course,
        )
    )


def settle(enrollment: str, status: str) -> int:
    sql(
        "UPDATE partner_lms_enrollments SET status = CAST(:status AS text), completed_at ="
        " CASE :status WHEN 'completed' THEN coalesce(completed_at, now() - interval '1 day') ELSE completed_at END",
        status=status,
    )
    with transaction() as session:
        xp_partners.ask(session, enrollment)
    assert run_due(["xp.award"])
    return int(scalar("SELECT total_xp FROM users"))


def test_a_lesson_that_was_asked_for_is_awarded_once() -> None:
    school = make_school()
    for _ in range(2):
        with transaction() as session:
            xp.ask_lesson(session, user_id=school.students[0], lesson_id=school.lessons[0])
        assert run_due(["xp.award"])
    assert rows("SELECT total_xp FROM users") == [(50,)]
    assert rows("SELECT DISTINCT state FROM jobs WHERE kind = 'xp.award'") == [("done",)]
    assert run_due(["xp.after_award"])
    assert not run_due(["xp.after_award"])


def test_a_lesson_of_no_enrolment_is_given_up_and_says_why() -> None:
    school = make_school()
    sql("DELETE FROM enrollments")
    with transaction() as session:
        xp.ask_lesson(session, user_id=school.students[0], lesson_id=school.lessons[0])
    assert run_due(["xp.award"])
    [(state, error)] = rows("SELECT state, last_error FROM jobs WHERE kind = 'xp.award'")
    assert (state, "not_enrolled" in error) == ("failed", True)


def test_a_partner_course_follows_its_enrolment() -> None:
    enrollment = partner_enrollment()
    expected = [
        ("active", 0),
        ("completed", 200),
        ("completed", 200),
        ("suspended", 200),
        ("revoked", 0),
        ("revoked", 0),
        ("completed", 200),
    ]
    assert [(status, settle(enrollment, status)) for status, _ in expected] == expected
    assert rows("SELECT kind, generation FROM xp_transactions ORDER BY seq") == [
        ("award", 0),
        ("reversal", 0),
        ("award", 1),
    ]
    assert scalar("SELECT count(*) FROM xp_transactions WHERE occurred_at < now() - interval '23 hours'") == 2


@pytest.mark.parametrize(
    ("metadata", "reward"), [('{"xp_reward": 350}', 350), ('{"xp_reward": "many"}', 200), ("{}", 200)]
)
def test_the_reward_is_the_courses_own_where_it_says_one(metadata: str, reward: int) -> None:
    assert settle(partner_enrollment(metadata), "completed") == reward


def test_the_nightly_proof_repairs_chunk_by_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xp_checks.compare, "__defaults__", (xp_checks.FIRST, 3))
    users = make_students(8)
    sql("ALTER TABLE users DISABLE TRIGGER xp_totals_guard_update")
    sql("UPDATE users SET total_xp = 5 WHERE id = ANY(CAST(:ids AS uuid[]))", ids=users[::3])
    sql("ALTER TABLE users ENABLE TRIGGER xp_totals_guard_update")
    xp_tasks.verify()
    assert rows("SELECT DISTINCT total_xp FROM users") == [(0,)]
    with transaction() as session:
        assert xp_checks.compare(session, CURVE, limit=100).drifts == []
