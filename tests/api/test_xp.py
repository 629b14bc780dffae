"""XP over HTTP: seed A's requests and answers, claims that are checked, what a student sees."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

import tasks.xp  # noqa: F401 - registers the kinds
from domain import demo
from settings import get_settings
from tests.api.conftest import OTHER, STUDENT, bearer, count, run
from workers.job import run_due

COURSE = demo.course_id("OWN-101")
SECOND = demo.course_id("OWN-201")
LESSONS = [demo.lesson_id("OWN-101", number) for number in (1, 2, 3)]


def enroll(client: FlaskClient, course: str = COURSE, user: str = STUDENT, **headers: str) -> Any:
    body = {"userId": user, "courseId": course}
    return client.post("/api/enrollments", json=body, headers={**bearer(), **headers})


def award(client: FlaskClient, lesson: str = LESSONS[0], *, headers: Any = None, **changes: Any) -> Any:
    body = {"userId": STUDENT, "courseId": COURSE, "lessonId": lesson, "xpAmount": 50, **changes}
    return client.post("/api/xp/award", json=body, headers={**bearer(), **(headers or {})})


def read(client: FlaskClient, path: str, subject: str = "ana@example.com") -> Any:
    answer = client.get(path, headers=bearer(subject=subject))
    assert answer.status_code == 200, answer.get_json()
    return answer.get_json()


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.get_json()["code"]


def test_an_enrolment_is_what_seed_a_publishes(client: FlaskClient) -> None:
    made = enroll(client, user="Ana@Example.com")
    assert made.status_code == 201
    body = made.get_json()
    assert list(body) == [
        "id",
        "user_id",
        "course_id",
        "enrolled_at",
        "completion_percentage",
        "xp_earned",
    ]
    assert (body["user_id"], body["course_id"], body["completion_percentage"], body["xp_earned"]) == (
        STUDENT,
        COURSE,
        0,
        0,
    )
    assert code(enroll(client)) == (409, "already_enrolled")
    assert count("enrollments") == 1


def test_courses_that_are_not_there_or_not_yet_open_are_refused(client: FlaskClient) -> None:
    refused = enroll(client, SECOND)
    assert code(refused) == (409, "prerequisites_missing")
    assert COURSE in refused.get_json()["errors"][0]["detail"]
    run("UPDATE courses SET published = false WHERE id = :id", id=COURSE)
    assert code(enroll(client)) == (404, "course_not_found")
    assert code(enroll(client, str(uuid.uuid4()))) == (404, "course_not_found")
    assert code(enroll(client, "course-1")) == (422, "validation_failed")
    assert count("enrollments") == 0


def test_a_completed_course_opens_the_next(client: FlaskClient) -> None:
    enroll(client)
    for lesson in LESSONS:
        last = award(client, lesson).get_json()
    assert (last["courseCompleted"], last["courseXpAwarded"], last["totalXp"]) == (True, 200, 350)
    assert enroll(client, SECOND).status_code == 201


def test_an_award_is_what_seed_a_publishes(client: FlaskClient) -> None:
    enroll(client)
    answer = award(client)
    assert answer.status_code == 200
    assert answer.get_json() == {
        "xpAwarded": 50,
        "totalXp": 50,
        "level": 0,
        "message": "XP awarded successfully",
        "levelCurve": "sqrt",
        "currentLevelXp": 50,
        "nextLevelXp": 100,
        "leveledUp": False,
        "courseCompleted": False,
        "courseXpAwarded": 0,
    }
    assert award(client, LESSONS[1]).get_json()["leveledUp"] is True
    assert code(award(client)) == (409, "lesson_already_completed")
    assert count("xp_transactions") == 2


def test_claims_are_checked(client: FlaskClient) -> None:
    assert code(award(client)) == (404, "not_enrolled")
    enroll(client)
    wrong = award(client, xpAmount=5000)
    assert (code(wrong), wrong.get_json()["errors"][0]["pointer"]) == (
        (422, "xp_amount_differs"),
        "/xpAmount",
    )
    assert code(award(client, userId=OTHER)) == (403, "not_yourself")
    assert code(award(client, userId="ben@example.com")) == (403, "not_yourself")
    assert code(award(client, lessonId=demo.lesson_id("OWN-201", 1))) == (404, "lesson_not_found")
    for broken in ({"xpAmount": -50}, {"xpAmount": "many"}, {"lessonId": "lesson-6"}, {"userId": ""}):
        assert code(award(client, **broken)) == (422, "validation_failed")
    assert code(client.post("/api/xp/award", json={})) == (401, "not_signed_in")
    assert count("xp_transactions") == count("lesson_progress") == 0


def test_fifty_parallel_requests_for_one_lesson_give_it_once(app: Flask) -> None:
    enroll(app.test_client())
    token = bearer()

    def attempt(number: int) -> tuple[int, bytes]:
        body = {"userId": STUDENT, "courseId": COURSE, "lessonId": LESSONS[0], "xpAmount": 50}
        headers = {**token, "Idempotency-Key": f"key-{number % 2}"} if number % 5 else token
        answer = app.test_client().post("/api/xp/award", json=body, headers=headers)
        return answer.status_code, answer.data

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(attempt, range(50)))
    good = [data for status, data in answers if status == 200]
    assert len(set(good)) == 1
    assert {status for status, _ in answers} <= {200, 409}
    assert count("xp_transactions") == 1


def test_who_does_not_want_to_wait_gets_the_same_later(client: FlaskClient) -> None:
    enroll(client)
    answer = award(client, headers={"Prefer": "respond-async, wait=5"})
    assert (answer.status_code, answer.get_json()["status"]) == (202, "accepted")
    assert answer.headers["Preference-Applied"] == "respond-async"
    assert read(client, "/api/xp")["totalXp"] == 0
    assert run_due(["xp.award"])
    assert read(client, "/api/xp")["totalXp"] == 50
    assert code(award(client, headers={"Prefer": "respond-async"})) == (409, "lesson_already_completed")
    assert code(award(client, LESSONS[1], headers={"Prefer": "respond-async"}, xpAmount=1))[0] == 422


def test_650_xp_are_level_2_with_250_of_500(client: FlaskClient) -> None:
    run("UPDATE lessons SET xp_reward = 650 WHERE id = :id", id=LESSONS[0])
    enroll(client)
    answer = award(client, xpAmount=650).get_json()
    assert (answer["level"], answer["currentLevelXp"], answer["nextLevelXp"]) == (2, 250, 500)
    assert read(client, "/api/xp") == {
        "totalXp": 650,
        "level": 2,
        "levelCurve": "sqrt",
        "currentLevelXp": 250,
        "nextLevelXp": 500,
    }


def test_the_curve_is_a_setting(app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEVEL_CURVE", "linear")
    get_settings.cache_clear()
    assert read(client, "/api/xp")["level"] == 1
    enroll(client)
    award(client)
    answer = award(client, LESSONS[1]).get_json()
    assert (answer["level"], answer["levelCurve"], answer["nextLevelXp"]) == (2, "linear", 100)


def test_the_ledger_is_read_page_by_page_in_both_views(client: FlaskClient) -> None:
    enroll(client)
    for lesson in LESSONS[:2]:
        award(client, lesson)
    newest = read(client, "/api/xp/transactions?limit=1")
    assert (newest["has_more"], newest["data"][0]["sourceId"]) == (True, LESSONS[1])
    rest = read(client, f"/api/xp/transactions?limit=1&cursor={newest['next_cursor']}")
    assert (rest["has_more"], rest["next_cursor"], rest["data"][0]["sourceId"]) == (False, None, LESSONS[0])
    body = {"transactionId": rest["data"][0]["id"], "reason": "it was a copy"}
    assert client.post("/api/ops/xp/reverse", json=body, headers=bearer("ops", "staff")).status_code == 200
    assert len(read(client, "/api/xp/transactions")["data"]) == 1
    audit = read(client, "/api/xp/transactions?view=audit")["data"]
    assert [entry["kind"] for entry in audit] == ["reversal", "award", "award"]
    assert audit[0]["reversesId"] == audit[2]["id"]
    assert audit[2]["reversedById"] == audit[0]["id"]
    assert read(client, "/api/xp/transactions?view=audit", "ben@example.com")["data"] == []
    for wrong in ("cursor=abc", "cursor=eDk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk", "cursor=%C3%A9"):
        assert code(client.get(f"/api/xp/transactions?{wrong}", headers=bearer())) == (400, "invalid_cursor")


def test_xp_are_counted_by_category_source_and_day(client: FlaskClient) -> None:
    enroll(client)
    for lesson in LESSONS:
        award(client, lesson)
    assert read(client, "/api/xp/analytics?by=category")["data"] == [
        {"key": "COURSE", "xp": 200, "entries": 1},
        {"key": "LESSON", "xp": 150, "entries": 3},
    ]
    assert [row["key"] for row in read(client, "/api/xp/analytics?by=source")["data"]] == ["COURSE", "LESSON"]
    run("UPDATE users SET time_zone = 'Pacific/Kiritimati' WHERE id = :id", id=STUDENT)
    [day] = read(client, "/api/xp/analytics?by=day&days=1")["data"]
    assert (day["xp"], day["entries"], len(day["key"])) == (350, 4, 10)
    assert code(client.get("/api/xp/analytics?by=mood", headers=bearer()))[0] == 422
