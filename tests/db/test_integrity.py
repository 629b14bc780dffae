"""`usher db validate`: a database in use is in order, and each rule finds the row that breaks it."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from db.session import transaction
from domain import integrity
from tests.cli.conftest import Usher
from tests.conftest import Database
from tests.stack import make_students, rows
from tests.xp.conftest import complete, make_school


def wrong(chunk: int = 2) -> dict[str, int]:
    return {found.name: found.wrong for found in integrity.check_all(transaction, chunk) if found.wrong}


def force(*statements: str, **values: object) -> None:
    """Do what no program may: with all triggers off, foreign keys among them."""
    with transaction() as session:
        session.execute(text("SET LOCAL session_replication_role = 'replica'"))
        for statement in statements:
            session.execute(text(statement), values)


def test_a_database_in_use_is_in_order(database: Database, usher: Usher) -> None:
    school = make_school(students=5)
    for student in range(5):
        for lesson in range(student % 4):
            complete(school, lesson, student)
    answer = usher("db", "validate", "--json")
    assert answer.code == 0
    looked = {finding["name"]: finding["rows"] for finding in answer.json()}
    assert len(looked) == len(integrity.RULES) + 1  # No table is missing.
    assert looked["XP totals that are not the sum of the ledger or its last balance"] == 5


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("UPDATE users SET total_xp = 7", "XP totals that are not the sum of the ledger or its last balance"),
        (
            "UPDATE xp_transactions SET balance_after = 7",
            "ledger entries that do not go on from the balance before them",
        ),
        ("DELETE FROM lessons", "standing awards for a lesson or course that does not exist"),
        ("DELETE FROM xp_transactions", "completed lessons without their XP"),
        (
            "UPDATE enrollments SET completed_at = now()",
            "enrolments that are completed and not at 100 %, or the reverse",
        ),
        (
            "UPDATE enrollments SET completion_percentage = 0",
            "enrolments with a lower percentage than their completed lessons",
        ),
        ("UPDATE courses SET prerequisites = ARRAY[gen_random_uuid()]", "prerequisites that name no course"),
        (
            """
            INSERT INTO certificates (user_id, course_id, certificate_url, verification_code, name, course_title)
            SELECT user_id, course_id, '/', 'code', 'Ada', 'Course' FROM enrollments
            """,
            "valid certificates of a course that was not completed",
        ),
        (
            "INSERT INTO user_streaks (user_id, current_streak, longest_streak, as_of) SELECT id, 3, 2, now() FROM users",
            "streaks that are longer than the longest",
        ),
    ],
)
def test_each_rule_finds_what_breaks_it(database: Database, usher: Usher, statement: str, name: str) -> None:
    complete(make_school())
    force(statement)
    assert wrong().get(name) == 1
    assert usher("db", "validate").code == 1


def test_attempts_beyond_the_limit_are_found(database: Database) -> None:
    school = make_school()
    attempts = (
        "INSERT INTO quiz_attempts (user_id, quiz_id, number, state, quiz_version, key_version, passing_score, possible,"
        " earned, passed, submitted_at, graded_at)"
        " SELECT CAST(:user AS uuid), q.id, n, 'graded', 1, 1, 70, 10, 6, n = 3, now(), now()"
        " FROM quizzes q, generate_series(1, 3) n"
    )
    force(
        "INSERT INTO quizzes (course_id, title, max_attempts) SELECT id, 'Quiz', 2 FROM courses",
        attempts,
        user=school.students[0],
    )
    assert wrong() == {
        "quiz attempts beyond the limit": 1,
        "graded quiz attempts that passed below the passing score, or failed above it": 1,
    }


def test_it_changes_nothing_and_looks_at_every_row(database: Database) -> None:
    make_students(5)
    before = rows("SELECT xmin::text FROM users")
    found = next(finding for finding in integrity.check_all(transaction, 2) if finding.table == "users")
    assert (found.rows, rows("SELECT xmin::text FROM users")) == (5, before)
