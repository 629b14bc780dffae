"""Staff's multipliers over HTTP."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from flask.testing import FlaskClient
from sqlalchemy import text

from api import ops_multipliers
from db.models.xp import PRICED_CATEGORIES, PRICED_SOURCE_TYPES
from db.session import transaction
from domain import demo
from tests.api.conftest import STUDENT, bearer, count

PATH = "/api/ops/xp/multipliers"
COURSE = demo.course_id("OWN-101")
STAFF = "staff@example.com"


def hours(number: int) -> str:
    return (datetime.now(UTC) + timedelta(hours=number)).isoformat()


def add(client: FlaskClient, key: str | None = None, **changes: Any) -> Any:
    body = {"name": "weekend", "factor": 15_000, "endsAt": hours(2), "reason": "a good cause", **changes}
    headers = {**bearer("ops", STAFF), **({} if key is None else {"Idempotency-Key": key})}
    return client.post(PATH, json=body, headers=headers)


def end(client: FlaskClient, named: str) -> Any:
    return client.post(f"{PATH}/{named}/end", json={"reason": "enough"}, headers=bearer("ops", STAFF))


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.get_json()["code"]


def test_a_multiplier_holds_is_seen_and_ends(client: FlaskClient) -> None:
    made = add(client, courseId=COURSE)
    assert made.status_code == 201
    rule = made.get_json()
    assert (rule["state"], rule["factor"], rule["courseId"], rule["category"]) == (
        "holds",
        15_000,
        COURSE,
        None,
    )
    client.post("/api/enrollments", json={"userId": STUDENT, "courseId": COURSE}, headers=bearer())
    lesson = {"userId": STUDENT, "courseId": COURSE, "lessonId": demo.lesson_id("OWN-101", 1), "xpAmount": 50}
    assert client.post("/api/xp/award", json=lesson, headers=bearer()).get_json()["xpAwarded"] == 75
    [entry] = client.get("/api/xp/transactions", headers=bearer()).get_json()["data"]
    assert (entry["base"], entry["factor"]) == (50, 15_000)
    assert entry["breakdown"] == [{"id": rule["id"], "name": "weekend", "factor": 15_000}]
    assert end(client, rule["id"]).get_json()["state"] == "ended"
    lesson["lessonId"] = demo.lesson_id("OWN-101", 2)
    assert client.post("/api/xp/award", json=lesson, headers=bearer()).get_json()["xpAwarded"] == 50
    assert code(end(client, rule["id"])) == (409, "xp_multiplier_over")
    with transaction() as session:
        kept = session.execute(
            text("SELECT actor, action, subject_id, reason FROM staff_actions ORDER BY created_at")
        ).all()
    assert [tuple(row) for row in kept] == [
        (STAFF, "xp.multiplier.add", rule["id"], "a good cause"),
        (STAFF, "xp.multiplier.end", rule["id"], "enough"),
    ]


def test_one_that_has_not_begun_is_called_off(client: FlaskClient) -> None:
    rule = add(client, startsAt=hours(1)).get_json()
    assert rule["state"] == "coming"
    assert end(client, rule["id"]).get_json()["state"] == "called_off"
    for unknown in (str(uuid.uuid4()), "seven"):
        assert code(end(client, unknown)) == (404, "xp_multiplier_not_found")


def test_they_are_listed_page_by_page_newest_first(client: FlaskClient) -> None:
    made = [add(client, name=f"rule {number}").get_json()["id"] for number in range(3)]
    headers = bearer("ops", STAFF)
    first = client.get(f"{PATH}?limit=2", headers=headers).get_json()
    rest = client.get(f"{PATH}?limit=2&cursor={first['next_cursor']}", headers=headers).get_json()
    assert [rule["id"] for rule in first["data"] + rest["data"]] == made[::-1]
    assert (first["has_more"], rest["has_more"], rest["next_cursor"]) == (True, False, None)
    assert code(client.get(f"{PATH}?cursor=abc", headers=headers)) == (400, "invalid_cursor")


def test_what_could_never_hold_is_refused_and_leaves_nothing(client: FlaskClient) -> None:
    cases: list[tuple[str, dict[str, Any]]] = [
        ("/factor", {"factor": 10_000}),
        ("/factor", {"factor": 30_001}),
        ("/factor", {"factor": 1.5}),
        ("/name", {"name": ""}),
        ("/endsAt", {"endsAt": hours(-1)}),
        ("/endsAt", {"startsAt": hours(3)}),
        ("/endsAt", {"endsAt": "2026-12-01T00:00:00"}),
        ("/endsAt", {"endsAt": "9999-12-31T23:59:59-12:00"}),
        ("/endsAt", {"endsAt": 4_000_000_000}),
        ("/startsAt", {"startsAt": "0001-01-01T00:00:00+12:00"}),
        ("/name", {"name": "a\x00b"}),
        ("/reason", {"reason": "a\x00b"}),
        ("/category", {"category": "ACHIEVEMENT"}),
        ("/sourceType", {"sourceType": "REFERRAL"}),
        ("/courseId", {"courseId": "seven"}),
        ("/reason", {"reason": ""}),
    ]
    for pointer, changes in cases:
        answer = add(client, **changes)
        assert code(answer) == (422, "validation_failed"), changes
        assert answer.get_json()["errors"][0]["pointer"] == pointer
    assert code(add(client, courseId=str(uuid.uuid4()))) == (404, "course_not_found")
    assert count("xp_multipliers") == count("staff_actions") == 0


def test_the_scopes_that_are_offered_are_those_that_are_priced() -> None:
    assert get_args(ops_multipliers.Category) == PRICED_CATEGORIES
    assert get_args(ops_multipliers.SourceType) == PRICED_SOURCE_TYPES


def test_a_repeated_request_adds_one_and_only_staff_may(client: FlaskClient) -> None:
    until = hours(2)
    first, again = add(client, "k", endsAt=until), add(client, "k", endsAt=until)
    assert (again.status_code, again.data) == (201, first.data)
    assert count("xp_multipliers") == 1
    for role in ("student", "service"):
        assert code(client.get(PATH, headers=bearer(role))) == (403, "wrong_role")
        assert code(client.post(PATH, json={}, headers=bearer(role))) == (403, "wrong_role")
