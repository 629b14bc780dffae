"""A student cannot reach anything of another: every operation of our own document is tried with foreign ids."""

from __future__ import annotations

from io import BytesIO
from zipfile import ZipFile

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from db.models import Base
from db.session import get_engine, transaction
from domain import demo
from tests.api.conftest import COURSE, OTHER, STUDENT, bearer, make_enrollment
from tests.api.walk import PLACEHOLDER, Rows, owned_tables, owner_of, steps

DENIED = {403, 404}
CANARY = "canary-of-ana"
# What a refused request may write: when the token was used, and the answer that its key gets again.
WRITTEN = {"api_tokens", "idempotency_keys"}


@pytest.fixture
def foreign(app: Flask) -> list[str]:
    """The ids of Ana and of rows of hers: seats in three states, and one row of every table that belongs to students."""
    statuses = ("active", "pending", "failed")
    courses = (COURSE, "SBX-201", "SBX-FULL")
    seats = [make_enrollment(status, STUDENT, code) for status, code in zip(statuses, courses, strict=True)]
    with get_engine().begin() as connection:
        rows = Rows(connection, STUDENT, CANARY)
        for table in owned_tables():
            rows.make(table)
        # Ben learns in the same course: what keeps him away is whose the rows are, not where they are.
        course = rows.made["courses"]["id"]
        connection.execute(
            text("INSERT INTO enrollments (user_id, course_id) VALUES (:user, :course)"),
            {"user": OTHER, "course": course},
        )
    return [*rows.ids(), *seats]


def checksums(where: dict[str, str] | None = None) -> dict[str, str]:
    """Return a hash of each table's rows, where asked for of some tables and of rows that fulfil a condition."""
    asked = where or {name: "true" for name in Base.metadata.tables if name not in WRITTEN}
    with transaction() as session:
        return {
            name: str(
                session.scalar(
                    text(
                        f"SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM {name} t WHERE {rows}"
                    )
                )
            )
            for name, rows in asked.items()
        }


def test_no_operation_reaches_what_is_anothers(app: Flask, foreign: list[str]) -> None:
    ben, client, before, tried = bearer("student", "ben@example.com"), app.test_client(), checksums(), set()
    for step in steps(client):
        # Staff's routes turn the role away before they look at anything: one id is enough there.
        for theirs in foreign[: 1 if "/ops/" in step.path else None] if step.takes_id else []:
            answer = step.send(client, theirs, ben)
            where = f"{step.name} {theirs}: {answer.status_code} {answer.text[:300]}"
            assert answer.status_code in DENIED or answer.get_json()["data"] == [], where
            assert CANARY not in answer.text, where
            assert "ana@example.com" not in answer.text, where
            assert not [row for row in foreign if row in answer.text and row != theirs], where
            tried.add(step.name)
    assert {"POST /api/xp/award", "GET /api/partner-launch/{enrollmentId}"} <= tried
    assert checksums() == before


def words(answer: TestResponse) -> str:
    """Return what an answer says; of an archive, what its files say."""
    if answer.mimetype != "application/zip":
        return answer.text
    with ZipFile(BytesIO(answer.data)) as archive:
        return "\n".join(archive.read(name).decode("utf-8", "replace") for name in archive.namelist())


def test_what_takes_no_id_is_about_oneself(app: Flask, foreign: list[str]) -> None:
    ben, client = bearer("student", "ben@example.com"), app.test_client()
    owners = {"users": "id", **{table.name: owner for table in owned_tables() if (owner := owner_of(table))}}
    anas = {name: f"t.{owner} = '{STUDENT}'" for name, owner in owners.items()}
    before = checksums(anas)
    for step in steps(client):
        if not step.takes_id and "events" not in step.path:
            answer = step.send(client, "something", ben)
            where = f"{step.name}: {answer.status_code} {words(answer)[:300]}"
            assert answer.status_code < 500, where
            assert CANARY not in words(answer), where
            assert not [row for row in foreign if row in words(answer)], where
    assert checksums(anas) == before


def test_a_student_named_in_the_query_is_not_believed(app: Flask, foreign: list[str]) -> None:
    ben, client = bearer("student", "ben@example.com"), app.test_client()
    own = make_enrollment(student=OTHER)
    named = "&".join(f"{name}={STUDENT}" for name in ("userId", "user_id", "studentId", "student_id"))
    for step in steps(client):
        if step.method == "get" and not PLACEHOLDER.search(step.path):
            answer = client.get(f"{step.path}?poll=1&{named}", headers=ben)
            assert CANARY not in words(answer), step.name
            assert not [row for row in foreign if row in words(answer)], step.name
    answer = client.get(f"/api/student/partner-enrollments?userId={STUDENT}", headers=ben)
    assert [item["id"] for item in answer.get_json()["data"]] == [own]


def test_pages_show_a_student_only_their_own(client: FlaskClient, foreign: list[str]) -> None:
    ben = bearer("student", "ben@example.com")
    page = client.get("/dashboard", headers=ben)
    assert page.status_code == 200
    assert CANARY not in page.text
    assert not [row for row in foreign if row in page.text]
    assert client.get("/ops", headers=ben).status_code == 403
    assert demo.fixed_id("student", "ana@example.com") == STUDENT
