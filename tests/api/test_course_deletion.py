"""Deleting a course over HTTP: what would go, and that it goes."""

from __future__ import annotations

import uuid
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import text

import tasks.xp  # noqa: F401 - registers the kinds
from db.session import transaction
from domain import demo
from tests.api.conftest import STUDENT, bearer, count
from tests.xp.conftest import assert_proven
from workers.job import run_due

COURSE = demo.course_id("OWN-101")
STAFF = "staff@example.com"
LESSON = {"userId": STUDENT, "courseId": COURSE, "lessonId": demo.lesson_id("OWN-101", 1), "xpAmount": 50}


def preview(client: FlaskClient, course: str = COURSE) -> Any:
    return client.get(f"/api/ops/courses/{course}/deletion", headers=bearer("ops", STAFF))


def delete(client: FlaskClient, course: str = COURSE, body: Any = None) -> Any:
    return client.delete(
        f"/api/ops/courses/{course}", json=body or {"reason": "outdated"}, headers=bearer("ops", STAFF)
    )


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.get_json()["code"]


def learn(client: FlaskClient) -> None:
    client.post("/api/enrollments", json={"userId": STUDENT, "courseId": COURSE}, headers=bearer())
    for number in (1, 2, 3):
        body = {**LESSON, "lessonId": demo.lesson_id("OWN-101", number)}
        assert client.post("/api/xp/award", json=body, headers=bearer()).status_code == 200


def test_a_look_says_what_would_go_and_changes_nothing(client: FlaskClient) -> None:
    learn(client)
    title = "Learning to Learn"
    assert preview(client).get_json() == {"title": title, "learners": 1, "awards": 4, "users": 1, "xp": 350}
    assert count("xp_transactions") == 4
    empty = preview(client, demo.course_id("OWN-201")).get_json()
    assert (empty["learners"], empty["awards"], empty["xp"]) == (0, 0, 0)


def test_it_is_closed_at_once_and_a_job_takes_back_what_it_gave(client: FlaskClient) -> None:
    learn(client)
    answer = delete(client)
    assert answer.status_code == 202
    asked = answer.get_json()
    assert (asked["status"], asked["awards"], asked["xp"]) == ("accepted", 4, 350)
    again = delete(client).get_json()
    assert again["jobId"] == asked["jobId"]
    refused = client.post("/api/xp/award", json=LESSON, headers=bearer())
    assert code(refused) == (404, "not_enrolled")
    assert run_due(["courses.delete"])
    with transaction() as session:
        state = session.execute(text("SELECT state FROM jobs WHERE id = :id"), {"id": asked["jobId"]})
        assert state.scalar_one() == "done"
        actor, reason, xp = session.execute(
            text("SELECT actor, reason, detail ->> 'xp' FROM staff_actions ORDER BY created_at LIMIT 1")
        ).one()
    assert (actor, reason, xp) == (STAFF, "outdated", "350")
    assert client.get("/api/xp", headers=bearer()).get_json()["totalXp"] == 0
    assert client.get("/api/xp/transactions", headers=bearer()).get_json()["data"] == []
    assert_proven()
    assert code(delete(client)) == code(preview(client)) == (404, "course_not_found")


def test_what_is_not_there_or_not_said_or_not_allowed_is_refused(client: FlaskClient) -> None:
    for unknown in (str(uuid.uuid4()), "seven"):
        assert code(delete(client, unknown)) == code(preview(client, unknown)) == (404, "course_not_found")
    for body in ({"reason": ""}, {"why": "x"}):
        assert code(delete(client, body=body)) == (422, "validation_failed")
    for role in ("student", "service"):
        assert code(client.delete(f"/api/ops/courses/{COURSE}", headers=bearer(role))) == (403, "wrong_role")
    assert count("jobs") == count("staff_actions") == 0
    assert count("courses") == len(demo.OWN_COURSES)
