"""The tables of assignments and certificates go away and come back, with rows in them."""

from __future__ import annotations

from sqlalchemy import inspect

from db.migrate import downgrade, upgrade
from tests.api.conftest import run
from tests.conftest import Database
from tests.stack import make_students, scalar

TABLES = {
    "assignments",
    "assignment_extensions",
    "assignment_files",
    "assignment_submissions",
    "assignment_submission_versions",
    "certificates",
}


def test_down_and_up_again_with_rows_in_every_table(database: Database) -> None:
    [student] = make_students(1)
    course = scalar("INSERT INTO courses (title, certificate_days) VALUES ('Course', 30) RETURNING id")
    made = scalar("INSERT INTO assignments (course_id, title) VALUES (:c, 'Essay') RETURNING id", c=course)
    names = {"a": made, "u": student, "c": course}
    run(
        "INSERT INTO assignment_extensions (assignment_id, user_id, due_date, granted_by)"
        " VALUES (:a, :u, now(), 'staff')",
        **names,
    )
    run(
        "INSERT INTO assignment_files (user_id, assignment_id, name, media_type, size, sha256)"
        " VALUES (:u, :a, 'a.pdf', 'application/pdf', 1, 'x')",
        **names,
    )
    run(
        "WITH made AS (INSERT INTO assignment_submissions (user_id, assignment_id) VALUES (:u, :a) RETURNING id)"
        " INSERT INTO assignment_submission_versions (submission_id, number, content, late, submitted_at)"
        " SELECT id, 1, '', false, now() FROM made",
        **names,
    )
    run(
        "INSERT INTO certificates (user_id, course_id, certificate_url, verification_code, name, course_title)"
        " VALUES (:u, :c, '/verify/x', 'x', 'Ana', 'Course')",
        **names,
    )
    downgrade(database.engine, "0009")
    assert TABLES & set(inspect(database.engine).get_table_names()) == set()
    upgrade(database.engine)
    assert set(inspect(database.engine).get_table_names()) >= TABLES
    assert scalar("SELECT title FROM courses") == "Course"
