"""A student cannot reach anything of another: every operation of our own document is tried with foreign ids."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from domain import demo
from tests.api.conftest import COURSE, OTHER, STUDENT, bearer, make_enrollment

DENIED = {403, 404}
PLACEHOLDER = re.compile(r"{(\w+)}")


def foreign_ids() -> list[str]:
    """Make rows of Ana's and return their ids, with hers. A new kind of row that belongs to a student goes in here."""
    statuses = ("active", "pending", "failed")
    courses = (COURSE, "SBX-201", "SBX-FULL")
    rows = [make_enrollment(status, STUDENT, code) for status, code in zip(statuses, courses, strict=True)]
    return [STUDENT, *rows]


def operations(client: FlaskClient) -> list[tuple[str, str, dict[str, Any]]]:
    """Return (method, path, operation) of everything that somebody has to be signed in for."""
    paths = client.get("/openapi.json").get_json()["paths"]
    return [
        (method, path, operation)
        for path, methods in paths.items()
        for method, operation in methods.items()
        if isinstance(operation, dict) and operation.get("security")
    ]


def fill(schema: dict[str, Any], schemas: dict[str, Any], foreign: str) -> Any:
    """Return the least value that a schema takes, with the foreign id wherever an id goes."""
    if "$ref" in schema:
        return fill(schemas[schema["$ref"].rsplit("/", 1)[1]], schemas, foreign)
    if "anyOf" in schema:
        return fill(schema["anyOf"][0], schemas, foreign)
    if schema.get("format") == "uuid":
        return foreign
    if schema.get("examples") or schema.get("enum"):
        return (schema.get("examples") or schema.get("enum") or [None])[0]
    match schema.get("type"):
        case "object":
            properties = schema.get("properties", {})
            return {name: fill(value, schemas, foreign) for name, value in properties.items()}
        case "array":
            return [fill(schema.get("items", {}), schemas, foreign)]
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
    return foreign


def body_of(client: FlaskClient, operation: dict[str, Any], foreign: str) -> Any:
    """Return a body for the operation, None where it takes none."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    schemas = client.get("/openapi.json").get_json()["components"]["schemas"]
    return None if content is None else fill(content["schema"], schemas, foreign)


def test_no_operation_gives_a_student_what_is_anothers(app: Flask) -> None:
    foreign, ben = foreign_ids(), bearer("student", "ben@example.com")
    client, tried = app.test_client(), 0
    for (method, path, operation), theirs in itertools.product(operations(client), foreign):
        address, takes_id = PLACEHOLDER.subn(theirs, path)
        body = body_of(client, operation, theirs)
        answer = client.open(address, method=method.upper(), json=body, headers=ben)
        where = f"{method.upper()} {address} {json.dumps(body)}: {answer.status_code} {answer.text[:300]}"
        if takes_id or body is not None:
            assert answer.status_code in DENIED, where
            tried += 1
        assert answer.status_code < 500, where
        assert "ana@example.com" not in answer.text, where
        assert not [row for row in foreign if row in answer.text and row != theirs], where
    assert tried >= 2 * len(foreign)


def test_a_student_named_in_query_or_body_is_not_believed(app: Flask) -> None:
    foreign, ben, client = foreign_ids(), bearer("student", "ben@example.com"), app.test_client()
    own = make_enrollment(student=OTHER)
    for name in ("userId", "user_id", "studentId", "student_id"):
        for method, path, _ in operations(client):
            if method == "get" and not PLACEHOLDER.search(path):
                answer = client.get(f"{path}?{name}={STUDENT}", headers=ben)
                assert not [row for row in foreign if row in answer.text], f"{path} {name}"
    answer = client.get(f"/api/student/partner-enrollments?userId={STUDENT}", headers=ben)
    assert [item["id"] for item in answer.get_json()["data"]] == [own]


def test_pages_show_a_student_only_their_own(app: Flask) -> None:
    foreign, ben, client = foreign_ids(), bearer("student", "ben@example.com"), app.test_client()
    page = client.get("/dashboard", headers=ben)
    assert page.status_code == 200
    assert not [row for row in foreign if row in page.text]
    assert client.get("/ops", headers=ben).status_code == 403
    assert demo.fixed_id("student", "ana@example.com") == STUDENT
