"""Who I am, what I may change about myself, and where I stand."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import available_timezones

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from db.models.enrollment import ENROLLMENT_STATUSES
from db.session import transaction
from domain import courses, demo, levels, profile, xp
from domain.users import check_time_zone
from tests.api.conftest import OTHER, STUDENT, bearer, make_enrollment, run
from tests.api.test_student import counted_queries
from tests.stack import rows, scalar

ME, STATS = "/api/me", "/api/me/stats"
CODES = [course.code for provider in demo.CATALOGUE for course in provider.courses]


def learn(student: str = STUDENT, lessons: int = 2, complete: int = 2) -> str:
    """Enrol a student in a fresh course, complete lessons of it, and return the course's id."""
    course = str(scalar("INSERT INTO courses (title, published) VALUES ('Course', true) RETURNING id"))
    made = rows(
        "INSERT INTO lessons (course_id, title, position, published)"
        " SELECT :course, 'Lesson', n, true FROM generate_series(1, :count) n RETURNING id",
        course=course,
        count=lessons,
    )
    with transaction() as session:
        courses.enroll(session, student, course)
        for (lesson,) in made[:complete]:
            xp.complete_lesson(session, levels.SQRT, xp.Completion(student, course, str(lesson)))
    return course


def test_a_caller_reads_who_they_are(client: FlaskClient) -> None:
    learn()
    answer = client.get(ME, headers=bearer())
    assert answer.status_code == 200
    found = answer.get_json()
    assert datetime.fromisoformat(found.pop("createdAt")) <= datetime.now(UTC)
    assert found.pop("updatedAt")
    assert found == {
        "id": STUDENT,
        "email": "ana@example.com",
        "name": scalar("SELECT name FROM users WHERE id = :id", id=STUDENT),
        "role": "student",
        "timeZone": "UTC",
        "totalXp": 300,
        "level": 1,
        "levelCurve": "sqrt",
        "currentLevelXp": 200,
        "nextLevelXp": 300,
        "highestLevel": 1,
    }


def test_a_caller_changes_their_own_name_and_time_zone_and_nothing_else(client: FlaskClient) -> None:
    headers = bearer()
    before = client.get(ME, headers=headers).get_json()
    answer = client.patch(ME, headers=headers, json={"timeZone": "Pacific/Auckland"})
    assert (answer.status_code, answer.get_json()["timeZone"]) == (200, "Pacific/Auckland")
    assert answer.get_json()["name"] == before["name"]
    answer = client.patch(ME, headers=headers, json={"name": "  Ana María "})
    assert (answer.get_json()["name"], answer.get_json()["timeZone"]) == ("Ana María", "Pacific/Auckland")
    same = client.patch(ME, headers=headers, json={})
    assert same.get_json() == answer.get_json()
    assert rows("SELECT DISTINCT time_zone FROM users WHERE id <> :id", id=STUDENT) == [("UTC",)]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"timeZone": "Mars/Olympus"}, "/timeZone"),
        ({"timeZone": "+02:00"}, "/timeZone"),
        ({"timeZone": "europe/vienna"}, "/timeZone"),
        ({"timeZone": "../../etc/passwd"}, "/timeZone"),
        ({"timeZone": ""}, "/timeZone"),
        ({"timeZone": 3}, "/timeZone"),
        ({"name": "two\nlines"}, "/name"),
        ({"name": "x" * 201}, "/name"),
        ({"email": "root@example.com"}, "/email"),
        ({"totalXp": 5}, "/totalXp"),
        ({"timeZone": "Europe/Vienna", "name": "two\nlines"}, "/name"),
    ],
)
def test_what_cannot_be_is_named_and_nothing_is_changed(
    client: FlaskClient, body: dict[str, object], pointer: str
) -> None:
    headers = bearer()
    before = client.get(ME, headers=headers).get_json()
    answer = client.patch(ME, headers=headers, json=body)
    assert (answer.status_code, answer.get_json()["code"]) == (422, "validation_failed")
    assert [error["pointer"] for error in answer.get_json()["errors"]] == [pointer]
    assert client.get(ME, headers=headers).get_json() == before


def test_every_time_zone_that_is_taken_is_one_that_postgresql_knows(client: FlaskClient) -> None:
    with pytest.raises(ValueError):
        check_time_zone("localtime")
    with transaction() as session:
        session.execute(
            text("SELECT count(now() AT TIME ZONE zone) FROM unnest(CAST(:zones AS text[])) zone"),
            {"zones": sorted(available_timezones() - {"localtime"})},
        )


def test_the_figures_are_those_of_the_rows(client: FlaskClient) -> None:
    learn(lessons=2, complete=2)
    learn(lessons=3, complete=1)
    learn(OTHER)
    for status, code in zip((*ENROLLMENT_STATUSES, "active"), CODES, strict=False):
        make_enrollment(status, course=code)
    make_enrollment("revoked", student=OTHER)
    answer = client.get(STATS, headers=bearer())
    assert answer.get_json() == {
        "totalXp": 350,
        "level": 1,
        "levelCurve": "sqrt",
        "currentLevelXp": 250,
        "nextLevelXp": 300,
        "highestLevel": 1,
        "lessonsCompleted": 3,
        "coursesCompleted": 2,
        "enrollments": {
            "partner": {**dict.fromkeys(ENROLLMENT_STATUSES, 1), "active": 2},
            "own": {"active": 1, "completed": 1},
        },
    }


def test_figures_that_have_not_changed_are_not_sent_again(client: FlaskClient) -> None:
    headers = bearer()
    first = client.get(STATS, headers=headers)
    tag = first.headers["ETag"]
    assert not tag.startswith("W/")
    assert first.headers["Cache-Control"] == "private, no-cache"
    for named in (tag, f'"other", {tag}', "*"):
        again = client.get(STATS, headers={**headers, "If-None-Match": named})
        assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
    learn(complete=1)
    changed = client.get(STATS, headers={**headers, "If-None-Match": tag})
    assert (changed.status_code, changed.get_json()["totalXp"]) == (200, 50)
    assert changed.headers["ETag"] != tag
    other = client.get(STATS, headers={**bearer(subject="ben@example.com"), "If-None-Match": '"x"'})
    assert other.get_json()["totalXp"] == 0


def test_the_figures_are_one_query_along_indexes(client: FlaskClient) -> None:
    headers = bearer()
    client.get(STATS, headers=headers)
    with counted_queries() as statements:
        client.get(STATS, headers=headers)
    assert len([one for one in statements if "FROM users u WHERE" in one]) == 1
    assert len(statements) <= 3
    with transaction() as session:
        session.execute(text("SET LOCAL enable_seqscan = off"))
        plan = "\n".join(session.scalars(text(f"EXPLAIN {profile.COUNTS.text}"), {"id": STUDENT}))
    assert "Seq Scan" not in plan
    assert plan.count("_user_id_") + plan.count("student_id_") >= 4


def test_somebody_without_a_user_has_no_profile(client: FlaskClient) -> None:
    stranger = bearer("service", "machine@example.com")
    for path in (ME, STATS, "/api/me/events?poll=1"):
        answer = client.get(path, headers=stranger)
        assert (answer.status_code, answer.get_json()["code"]) == (403, "no_student")
    run("UPDATE users SET email = 'ops@example.com' WHERE id = :id", id=OTHER)
    assert client.get(ME, headers=bearer("ops", "ops@example.com")).get_json()["role"] == "ops"


def test_a_cookie_of_another_site_changes_nothing(client: FlaskClient) -> None:
    from api.auth import COOKIE
    from domain import tokens

    with client.application.app_context():
        sealed = tokens.seal_session(tokens.Identity("student", STUDENT, "ana@example.com"))
    client.set_cookie(COOKIE, sealed, domain="localhost")
    answer = client.patch(ME, json={"name": "Mallory"}, headers={"Origin": "https://evil.example"})
    assert (answer.status_code, answer.get_json()["code"]) == (403, "cross_site")
    answer = client.patch(ME, json={"name": "Ana"}, headers={"Sec-Fetch-Site": "same-origin"})
    assert (answer.status_code, answer.get_json()["name"]) == (200, "Ana")
