"""Users are made by the front end's server, one by one or from a file."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from db.session import transaction
from domain import users
from tests.api.conftest import STUDENT, bearer, count

NEW = "6f0e1c53-7d0e-4d5c-8f5f-2f5f0f2b7a10"


def put(client: FlaskClient, body: Any, user_id: str = NEW, role: str = "service") -> Any:
    return client.put(f"/api/users/{user_id}", json=body, headers=bearer(role, "shop"))


def test_a_user_is_made_and_then_updated(client: FlaskClient) -> None:
    body = {"email": "  Ada@Example.com ", "name": " Ada Lovelace ", "timeZone": "Europe/Vienna"}
    made = put(client, body)
    assert made.status_code == 201
    assert {key: made.get_json()[key] for key in ("id", "email", "name", "timeZone")} == {
        "id": NEW,
        "email": "Ada@Example.com",
        "name": "Ada Lovelace",
        "timeZone": "Europe/Vienna",
    }
    again = put(client, {"email": "ada@example.com", "name": "A. L."}, role="ops")
    assert (again.status_code, again.get_json()["name"], again.get_json()["timeZone"]) == (
        200,
        "A. L.",
        "Europe/Vienna",
    )
    assert made.get_json()["createdAt"] == again.get_json()["createdAt"] < again.get_json()["updatedAt"]


def test_an_address_belongs_to_one_user_in_any_case(client: FlaskClient) -> None:
    before = count("users")
    answer = put(client, {"email": "ANA@example.com"})
    assert (answer.status_code, answer.get_json()["code"], count("users")) == (409, "email_taken", before)


def test_a_student_makes_nobody(client: FlaskClient) -> None:
    answer = put(client, {"email": "new@example.com"}, role="student")
    assert (answer.status_code, answer.get_json()["code"]) == (403, "wrong_role")


def test_what_is_wrong_is_pointed_at(client: FlaskClient) -> None:
    good = "a@example.com"
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "/email"),
        ({"email": "nobody"}, "/email"),
        ({"email": "a@example.com\r\nBcc: x@example.com"}, "/email"),
        ({"email": "a\x00@example.com"}, "/email"),
        ({"email": 7}, "/email"),
        ({"email": good, "timeZone": "Mars/Olympus"}, "/timeZone"),
        ({"email": good, "timeZone": "../../etc/passwd"}, "/timeZone"),
        ({"email": good, "name": "a\nb"}, "/name"),
        ({"email": good, "name": "x" * 201}, "/name"),
        ({"email": good, "is/admin": True}, "/is~1admin"),
    ]
    for body, pointer in cases:
        answer = put(client, body)
        assert answer.status_code == 422, body
        assert [error["pointer"] for error in answer.get_json()["errors"]] == [pointer]


def test_an_id_that_is_no_uuid_is_pointed_at(client: FlaskClient) -> None:
    answer = put(client, {"email": "a@example.com"}, user_id="seven")
    assert (answer.status_code, answer.get_json()["errors"][0]["pointer"]) == (422, "/id")


def test_a_body_that_cannot_be_read_is_named(client: FlaskClient) -> None:
    json, form, headers = "application/json", "application/x-www-form-urlencoded", bearer("service", "shop")
    cases = [
        (b"{", json, 400, "malformed_json"),
        (b"", json, 400, "malformed_json"),
        (b'{"email": "\xff"}', json, 400, "malformed_json"),
        (b'{"email": "\\ud800@example.com"}', json, 400, "malformed_json"),
        (b"[]", json, 422, "validation_failed"),
        (b"email=x", form, 415, "unsupported_media_type"),
        (b" " * 70_000, json, 413, "too_large"),
    ]
    for data, content_type, status, code in cases:
        answer = client.put(f"/api/users/{NEW}", data=data, content_type=content_type, headers=headers)
        assert (answer.status_code, answer.get_json()["code"]) == (status, code), data[:40]
        assert answer.mimetype == "application/problem+json"


@pytest.mark.parametrize(
    "email", ["a.b+c@example.co.uk", "ünï@bücher.example", "o'hara@example.com", "1@2.example"]
)
def test_plausible_addresses_are_taken(email: str) -> None:
    assert users.normalize_email(f" {email}\n") == email


@pytest.mark.parametrize(
    "email",
    [
        "",
        "@",
        "a@",
        "@b.example",
        "a@@b.example",
        "a@-b.example",
        ".a@b.example",
        "a<b@c.example",
        "a@b..example",
        "a@b",
        "a b@example.com",
        "x" * 250 + "@example.com",
    ],
)
def test_implausible_addresses_are_not(email: str) -> None:
    with pytest.raises(ValueError, match="e-mail address"):
        users.normalize_email(email)


def test_a_file_is_imported_row_by_row(app: Flask) -> None:
    rows = [
        {"email": "new1@example.com", "name": "New One", "timeZone": "Asia/Tokyo"},
        {"id": NEW, "email": "new2@example.com", "time_zone": "UTC"},
        {"email": "Ana@Example.com", "name": "Ana Again"},
        {"email": "broken"},
        {"id": "seven", "email": "new3@example.com"},
        {"id": str(uuid.uuid4()), "email": "ben@example.com"},
    ]
    with transaction() as session:
        result = users.import_users(session, rows)
        assert (result.created, result.updated) == (2, 1)
        assert [number for number, _ in result.rejected] == [4, 5, 6]
        ana = users.find_by_email(session, " ANA@example.com")
        assert ana is not None
        assert (ana.id, ana.name) == (STUDENT, "Ana Again")
        assert users.find_by_email(session, "nobody@example.com") is None


def test_a_character_that_postgresql_cannot_keep_is_pointed_at_wherever_it_is(client: FlaskClient) -> None:
    body = {"userId": "ana\0@example.com", "amount": 1, "reason": "x"}
    headers = {**bearer("ops", "staff"), "Idempotency-Key": "nul"}
    answer = client.post("/api/ops/xp/adjust", json=body, headers=headers)
    assert [(item["pointer"], answer.status_code) for item in answer.get_json()["errors"]] == [
        ("/userId", 422)
    ]


def test_a_query_parameter_that_comes_twice_is_pointed_at(client: FlaskClient) -> None:
    answer = client.get("/api/xp/transactions?limit=1&limit=2", headers=bearer())
    assert answer.get_json()["errors"] == [{"pointer": "?limit", "detail": "is there more than once"}]
