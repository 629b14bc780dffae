"""What the database itself refuses of quizzes, and that their migration comes and goes with data in it."""

from __future__ import annotations

import pytest
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError

from db.migrate import downgrade, upgrade
from tests.api.conftest import run
from tests.conftest import Database
from tests.stack import make_students, rows, scalar

TABLES = {"quizzes", "questions", "quiz_versions", "quiz_attempts", "quiz_accommodations"}


@pytest.fixture
def attempt(database: Database) -> str:
    """An open attempt, made by hand; return its id."""
    [student] = make_students(1)
    course = scalar("INSERT INTO courses (title) VALUES ('Course') RETURNING id")
    quiz = scalar("INSERT INTO quizzes (course_id, title) VALUES (:c, 'Quiz') RETURNING id", c=course)
    run(
        'INSERT INTO questions (quiz_id, type, question, correct_answer, "order")'
        " VALUES (:q, 'true_false', 'Is it?', 'false', 0)",
        q=quiz,
    )
    run("INSERT INTO quiz_versions (quiz_id, version, questions) VALUES (:q, 1, '[]')", q=quiz)
    run("INSERT INTO quiz_accommodations (user_id, quiz_id) VALUES (:u, NULL), (:u, :q)", u=student, q=quiz)
    return str(
        scalar(
            "INSERT INTO quiz_attempts (user_id, quiz_id, number, quiz_version, key_version, passing_score, possible)"
            " VALUES (:u, :q, 1, 1, 1, 70, 2) RETURNING id",
            u=student,
            q=quiz,
        )
    )


def test_quizzes_have_the_defaults_of_the_seed(attempt: str) -> None:
    found = "SELECT max_attempts, passing_score, xp_reward, is_published, time_limit FROM quizzes"
    assert rows(found) == [(3, 70, 25, False, None)]


SECOND_OPEN = """
    INSERT INTO quiz_attempts (user_id, quiz_id, number, quiz_version, key_version, passing_score, possible)
    SELECT user_id, quiz_id, 2, 1, 1, 70, 2 FROM quiz_attempts
"""


@pytest.mark.parametrize(
    "statement",
    [
        SECOND_OPEN,
        "UPDATE quiz_attempts SET state = 'graded', submitted_at = now()",
        "UPDATE quiz_attempts SET state = 'submitted'",
        "UPDATE quiz_attempts SET passed = true",
        "UPDATE quiz_attempts SET earned = 3",
        "UPDATE quiz_attempts SET key_version = 2",
        "INSERT INTO quiz_accommodations (user_id) SELECT user_id FROM quiz_attempts",
        "UPDATE questions SET correct_answer = NULL",
        "UPDATE questions SET type = 'riddle'",
    ],
)
def test_the_database_refuses_what_cannot_be(attempt: str, statement: str) -> None:
    with pytest.raises(IntegrityError):
        run(statement)


def test_the_migration_goes_and_comes_back_with_data_in_it(attempt: str, database: Database) -> None:
    downgrade(database.engine, "0008")
    assert not TABLES & set(inspect(database.engine).get_table_names())
    upgrade(database.engine)
    assert set(inspect(database.engine).get_table_names()) >= TABLES
    with database.engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM courses")) == 1
