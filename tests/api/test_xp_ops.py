"""What staff do to the ledger over HTTP, and what an Idempotency-Key is good for."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from api import idempotency
from db.session import transaction
from domain import courses, demo
from tests.api.conftest import STUDENT, bearer, count, run

COURSE = demo.course_id("OWN-101")


def adjust(client: FlaskClient, amount: Any = 650, key: str | None = "k1", **changes: Any) -> Any:
    body = {"userId": "ana@example.com", "amount": amount, "reason": "she asked", **changes}
    headers = {**bearer("ops", "staff@example.com"), **({} if key is None else {"Idempotency-Key": key})}
    return client.post("/api/ops/xp/adjust", json=body, headers=headers)


def enroll(client: FlaskClient, key: str, course: str = COURSE) -> Any:
    body = {"userId": STUDENT, "courseId": course}
    return client.post("/api/enrollments", json=body, headers={**bearer(), "Idempotency-Key": key})


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.get_json()["code"]


def test_an_adjustment_leaves_who_and_why(client: FlaskClient) -> None:
    answer = adjust(client)
    assert answer.status_code == 200
    body = answer.get_json()
    assert (body["totalXp"], body["level"], body["userId"], body["entries"]) == (650, 2, STUDENT, 1)
    with transaction() as session:
        [kept] = session.execute(text("SELECT actor, action, reason, detail ->> 'amount' FROM staff_actions"))
        [entry] = session.execute(text("SELECT kind, amount, description, category FROM xp_transactions"))
    assert tuple(kept) == ("staff@example.com", "xp.adjust", "she asked", "650")
    assert tuple(entry) == ("adjustment", 650, "", "MANUAL")


def test_an_adjustment_is_done_once_for_a_key_even_when_the_stored_answer_is_gone(
    client: FlaskClient,
) -> None:
    first = adjust(client).get_json()
    again = adjust(client)
    assert (again.get_json(), again.headers["Idempotency-Replayed"]) == (first, "true")
    assert code(adjust(client, 651)) == (422, "idempotency_key_reused")
    run("DELETE FROM idempotency_keys")
    assert adjust(client).get_json() == {**first, "entries": 0}
    assert code(adjust(client, 651)) == (422, "idempotency_key_reused")
    assert count("xp_transactions") == count("staff_actions") == 1


def test_adjustments_that_cannot_be_are_refused(client: FlaskClient) -> None:
    assert code(adjust(client, key=None)) == (400, "idempotency_key_required")
    assert code(adjust(client, -1)) == (409, "xp_below_zero")
    assert code(adjust(client, key="k2", userId="nobody@example.com")) == (404, "user_not_found")
    assert code(adjust(client, key="k3", userId=str(uuid.uuid4()))) == (404, "user_not_found")
    assert code(adjust(client, key="k4", userId="seven")) == (404, "user_not_found")
    for amount in (0, 10**7, 1.5, None):
        assert code(adjust(client, amount, key="k5")) == (422, "validation_failed")
    assert code(adjust(client, key="k6", reason="")) == (422, "validation_failed")
    assert count("xp_transactions") == 0


def test_only_staff_may(client: FlaskClient) -> None:
    for role in ("student", "service"):
        for path in ("adjust", "reverse"):
            answer = client.post(f"/api/ops/xp/{path}", json={}, headers=bearer(role))
            assert code(answer) == (403, "wrong_role")


def test_a_reversal_is_made_once(client: FlaskClient) -> None:
    entry = adjust(client).get_json()["transactionId"]
    headers = bearer("ops", "staff")
    cases = [(entry, (409, "xp_not_reversible")), (str(uuid.uuid4()), (404, "xp_entry_not_found"))]
    for named, expected in cases:
        body = {"transactionId": named, "reason": "wrong"}
        assert code(client.post("/api/ops/xp/reverse", json=body, headers=headers)) == expected
    enroll(client, "e")
    lesson = {"userId": STUDENT, "courseId": COURSE, "lessonId": demo.lesson_id("OWN-101", 1), "xpAmount": 50}
    client.post("/api/xp/award", json=lesson, headers=bearer())
    newest = client.get("/api/xp/transactions?limit=1", headers=bearer()).get_json()["data"][0]["id"]
    body = {"transactionId": newest, "reason": "wrong"}
    assert client.post("/api/ops/xp/reverse", json=body, headers=headers).get_json()["totalXp"] == 650
    again = client.post("/api/ops/xp/reverse", json=body, headers=headers)
    assert code(again) == (409, "xp_already_reversed")
    assert client.post("/api/xp/award", json=lesson, headers=bearer()).status_code == 200


def test_the_same_key_gets_the_same_answer_and_refusals_are_kept_too(client: FlaskClient) -> None:
    made = enroll(client, "a")
    again = enroll(client, "a")
    assert (again.status_code, again.data) == (201, made.data)
    assert "Idempotency-Replayed" not in made.headers
    refused, repeated = enroll(client, "b"), enroll(client, "b")
    assert code(refused) == code(repeated) == (409, "already_enrolled")
    assert repeated.mimetype == "application/problem+json"
    assert code(enroll(client, "a", str(uuid.uuid4()))) == (422, "idempotency_key_reused")
    other = client.post(
        "/api/enrollments",
        json={"userId": "ben@example.com", "courseId": COURSE},
        headers={**bearer(subject="ben@example.com"), "Idempotency-Key": "a"},
    )
    assert other.status_code == 201, "keys are a caller's own"


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "a b", "é"])
def test_a_key_that_cannot_be_used_is_refused(client: FlaskClient, key: str) -> None:
    assert code(enroll(client, key)) == (400, "idempotency_key_invalid")


def test_while_the_first_is_under_way_the_second_waits_its_turn(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner: list[Any] = []
    real = courses.enroll

    def slow(*arguments: Any) -> Any:
        if not inner:
            inner.append(None)
            inner[0] = enroll(client.application.test_client(), "a")
        return real(*arguments)

    monkeypatch.setattr(courses, "enroll", slow)
    assert enroll(client, "a").status_code == 201
    assert code(inner[0]) == (409, "idempotency_in_flight")


def test_an_outage_is_not_kept(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: Any) -> Any:
        raise OperationalError("SELECT 1", {}, Exception("gone"))

    with monkeypatch.context() as patched:
        patched.setattr(courses, "enroll", down)
        assert enroll(client, "a").status_code == 503
    assert enroll(client, "a").status_code == 201


def test_a_caller_is_kept_as_a_hash(app: Flask, client: FlaskClient) -> None:
    enroll(client, "a")
    with transaction() as session:
        [(caller, key)] = session.execute(text("SELECT caller, key FROM idempotency_keys"))
    assert (len(caller), key, idempotency.HEADER) == (64, "a", "Idempotency-Key")
