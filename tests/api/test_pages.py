"""Errors, health, the API's description, and the staff's page."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api.app import create_app
from api.auth import public
from api.problems import PROBLEMS
from db.migrate import VERSION_TABLE
from settings import ConfigurationError, get_settings
from tests.api.conftest import HTML, STUDENT, Logs, bearer, make_enrollment, run, tap_logs
from workers import watch

UNDESCRIBED = {
    "/",
    "/assignments/{}",
    "/courses",
    "/courses/{}",
    "/courses/{}/enroll",
    "/courses/{}/lessons/{}",
    "/courses/{}/lessons/{}/complete",
    "/dashboard",
    "/dashboard/achievements",
    "/dashboard/settings",
    "/dashboard/xp",
    "/dev/mails",
    "/dev/mails/{}/{}",
    "/dev/sign-in",
    "/docs",
    "/language",
    "/mail/unsubscribe/{}",
    "/openapi.json",
    "/ops",
    "/ops/audit",
    "/ops/audit.csv",
    "/ops/enrollments",
    "/ops/enrollments/{}",
    "/ops/enrollments/{}/replay",
    "/ops/enrollments/{}/restore",
    "/ops/enrollments/{}/revoke",
    "/ops/enrollments/{}/skip",
    "/ops/failures",
    "/ops/failures/jobs",
    "/ops/failures/jobs/{}/retry",
    "/ops/failures/replays",
    "/ops/failures/replays/{}",
    "/ops/failures/{}",
    "/ops/failures/{}/replay",
    "/ops/grading",
    "/ops/grading/essays/{}",
    "/ops/grading/submissions/{}",
    "/ops/inbox",
    "/ops/inbox/{}",
    "/ops/inbox/{}/replay",
    "/ops/manual",
    "/ops/manual/export",
    "/ops/manual/files",
    "/ops/manual/import",
    "/ops/manual/items/{}",
    "/ops/manual/items/{}/complete",
    "/ops/manual/items/{}/refuse",
    "/ops/manual/pools",
    "/ops/manual/pools/{}",
    "/ops/manual/pools/{}/{}/retire",
    "/ops/manual/pools/{}/{}/reveal",
    "/ops/partners",
    "/ops/partners/{}",
    "/ops/partners/{}/check",
    "/ops/partners/{}/limits",
    "/ops/partners/{}/pause",
    "/ops/partners/{}/resume",
    "/ops/students",
    "/ops/students/{}",
    "/ops/students/{}/accommodation",
    "/ops/students/{}/certificates/{}/reissue",
    "/ops/students/{}/certificates/{}/revoke",
    "/ops/students/{}/freeze",
    "/ops/students/{}/rest",
    "/ops/students/{}/rest/{}/end",
    "/ops/students/{}/xp",
    "/ops/students/{}/xp/adjust",
    "/ops/students/{}/xp/{}/reverse",
    "/ops/waiting",
    "/ops/waiting/{}",
    "/ops/waiting/{}/complete",
    "/ops/waiting/{}/dismiss",
    "/problems/{}",
    "/quiz-attempts/{}",
    "/quizzes/{}",
    "/quizzes/{}/attempts",
    "/static/{}",
}


def test_a_program_gets_problem_json(client: FlaskClient) -> None:
    json = ("application/json", "application/problem+json", "text/html;q=0.5, application/json")
    for accept in ({}, {"Accept": "*/*"}, *({"Accept": value} for value in json)):
        answer = client.get("/nowhere", headers=accept)
        body = answer.get_json()
        assert (answer.status_code, answer.mimetype) == (404, "application/problem+json"), accept
        assert set(body) == {"type", "title", "status", "detail", "code", "request_id", "hint"}
        assert (body["type"], body["status"], body["code"]) == ("/problems/not_found", 404, "not_found")
        assert body["request_id"] == answer.headers["X-Request-ID"]
        assert "Accept" in answer.headers["Vary"]


def test_a_browser_gets_a_page_that_says_what_to_do(client: FlaskClient) -> None:
    answer = client.get("/nowhere", headers=HTML)
    page = answer.get_data(as_text=True)
    assert (answer.status_code, answer.mimetype) == (404, "text/html")
    assert PROBLEMS["not_found"].title in page
    assert PROBLEMS["not_found"].action in page
    assert answer.headers["X-Request-ID"] in page


def test_every_problem_has_a_page_that_opens(client: FlaskClient) -> None:
    for code, kind in PROBLEMS.items():
        answer = client.get(f"/problems/{code}")
        assert answer.status_code == 200
        assert kind.title in answer.get_data(as_text=True).replace("&#39;", "'")
    assert client.get("/problems/unheard-of").status_code == 404


def test_an_unexpected_error_tells_nothing_outside_and_all_inside(app: Flask, logs: Logs) -> None:
    def broken() -> str:
        raise ZeroDivisionError("internal detail")

    app.view_functions["health.healthz"] = _as_public(broken)
    answer = app.test_client().get("/healthz")
    assert (answer.status_code, answer.get_json()["code"]) == (500, "internal_error")
    assert "internal detail" not in answer.get_data(as_text=True)
    assert "ZeroDivisionError" in logs.text
    assert answer.headers["X-Request-ID"] in logs.text


def test_every_answer_has_the_security_headers(client: FlaskClient) -> None:
    for path in ("/healthz", "/dashboard", "/nowhere", "/docs", "/static/usher.css"):
        headers = client.get(path, headers=HTML).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert (headers["X-Content-Type-Options"], headers["Referrer-Policy"]) == ("nosniff", "same-origin")
        assert ("max-age" if "static" in path else "no-store") in headers["Cache-Control"]


def test_the_pages_need_no_inline_code_and_nothing_from_elsewhere(client: FlaskClient) -> None:
    make_enrollment("active")
    for path, role in (
        ("/dashboard", "student"),
        ("/ops", "ops"),
        ("/docs", "student"),
        ("/problems/not_found", "student"),
    ):
        page = client.get(path, headers={**bearer(role), **HTML}).get_data(as_text=True)
        assert (
            re.search(r"<script(?! src=\"/static/[^\"]+\" defer></script>)|<style|\sstyle=|\son\w+=", page)
            is None
        )
        assert re.findall(r"(?:src|href)=\"(?:https?:)?//[^\"]*", page) == []
        for asset in re.findall(r"\"(/static/[^\"]+)\"", page):
            assert client.get(asset).status_code == 200


def test_a_sane_request_id_is_kept_and_any_other_replaced(client: FlaskClient) -> None:
    assert (
        client.get("/healthz", headers={"X-Request-ID": "abc-12345"}).headers["X-Request-ID"] == "abc-12345"
    )
    for given in ("short", "x" * 65, "bad id; x=1"):
        made = client.get("/healthz", headers={"X-Request-ID": given}).headers["X-Request-ID"]
        assert uuid.UUID(made)


def test_a_request_is_one_log_line_without_its_path_and_query(client: FlaskClient, logs: Logs) -> None:
    client.get("/api/partner-launch/canary-id?x=canary-query", headers=bearer())
    (line,) = logs.named("request")
    assert (line["route"], line["status"]) == ("/api/partner-launch/<enrollment_id>", 404)
    assert (line["method"], line["problem"], line["role"]) == ("GET", "enrollment_not_found", "student")
    assert "canary" not in logs.text


def test_it_is_alive_without_a_database_and_says_what_is_missing(app_without_database: Flask) -> None:
    logs, client = tap_logs(), app_without_database.test_client()
    assert client.get("/healthz").status_code == 200
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.get_json()["checks"]["database"]["status"] == "failed"
    assert client.get("/metrics").status_code == 503
    page = client.get("/dashboard", headers={"Authorization": "Bearer usher_x", **HTML})
    assert (page.status_code, page.mimetype) == (503, "text/html")
    assert "nothing@" not in logs.text


def test_it_is_ready_at_the_newest_migration_only(client: FlaskClient) -> None:
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert {name: check["status"] for name, check in ready.get_json()["checks"].items()} == {
        "database": "ok",
        "migrations": "ok",
    }
    run(f"UPDATE {VERSION_TABLE} SET version_num = '0001'")
    behind = client.get("/readyz")
    assert behind.status_code == 503
    assert behind.get_json()["checks"]["database"]["status"] == "ok"
    assert behind.get_json()["checks"]["migrations"]["current"] == "0001"


def test_the_gauges_are_what_the_database_holds(client: FlaskClient) -> None:
    make_enrollment("active")
    run(
        "INSERT INTO partner_lms_enrollments (provider_id, student_id, course_id, created_at)"
        " SELECT provider_id, :student, id, now() - interval '2 minutes' FROM partner_courses"
        " WHERE course_code = 'SBX-201'",
        student=STUDENT,
    )
    for number, (state, due) in enumerate(
        [
            ("ready", -60),
            ("ready", 60),
            ("running", 60),
            ("running", -5),
            ("failed", 0),
            ("parked", 0),
            ("done", 0),
        ]
    ):
        add_job(number, state, due)
    add_event("waiting", "metadata.studentId is missing")
    watch.recount()
    page = client.get("/metrics").get_data(as_text=True)
    values = {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in page.splitlines()
        if not line.startswith("#")
    }
    assert {
        state: values[f'usher_jobs{{state="{state}"}}']
        for state in ("due", "ready", "running", "failed", "parked")
    } == {
        "due": 2,
        "ready": 2,
        "running": 2,
        "failed": 1,
        "parked": 1,
    }
    assert 59 < values["usher_oldest_due_job_seconds"] < 90
    assert 119 < values["usher_enrollments_pending_oldest_seconds"] < 150
    assert values["usher_inbox_waiting"] == 1
    assert values['usher_enrollments{status="active"}'] == 1
    assert values['usher_enrollments{status="revoked"}'] == 0


def test_the_description_names_every_route_of_the_api(app: Flask, client: FlaskClient) -> None:
    spec = client.get("/openapi.json").get_json()
    assert spec["openapi"].startswith("3.1")
    described = {
        (method.upper(), re.sub(r"{\w+}", "{}", path))
        for path, item in spec["paths"].items()
        for method in item
    }
    routes = {
        (method, re.sub(r"<[^>]+>", "{}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if re.sub(r"<[^>]+>", "{}", rule.rule) not in UNDESCRIBED
    }
    assert described == routes


def test_the_description_holds_together(client: FlaskClient) -> None:
    spec = client.get("/openapi.json").get_json()
    for reference in set(_references(spec)):
        name = reference.removeprefix("#/components/schemas/")
        assert name in spec["components"]["schemas"], reference
    operations = [operation for item in spec["paths"].values() for operation in item.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    enrollment = spec["components"]["schemas"]["PartnerEnrollment"]
    assert "progressPercentage" in enrollment["required"]
    assert spec["components"]["schemas"]["UserInput"]["additionalProperties"] is False
    for operation in operations:
        for status, answer in operation["responses"].items():
            if status.startswith(("4", "5")) and "application/problem+json" in answer["content"]:
                assert all(code in PROBLEMS for code in answer["description"].split(", "))


def test_the_docs_page_lists_the_operations(client: FlaskClient) -> None:
    page = client.get("/docs").get_data(as_text=True)
    for path in client.get("/openapi.json").get_json()["paths"]:
        assert path in page


def test_wrong_settings_are_said_at_the_start(
    usher_env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STRIPE_WEBHOOK_SECRET")
    get_settings.cache_clear()
    with pytest.raises(ConfigurationError, match="STRIPE_WEBHOOK_SECRET"):
        create_app()


def add_job(number: int, state: str, due: int) -> None:
    run(
        "INSERT INTO jobs (kind, business_key, queue, subject_id, state, next_run_at)"
        " VALUES ('payments.process', :key, 'payments', gen_random_uuid(), :state, now() + :due * interval '1 second')",
        key=str(number),
        state=state,
        due=due,
    )


def add_event(state: str, reason: str) -> str:
    event_id = "1c8f7a52-6f5c-4d0e-9d29-5e3b1c0a7f11"
    run(
        "INSERT INTO inbox_events (id, source, external_id, type, payload, state, reason)"
        " VALUES (:id, 'stripe', 'evt_1', 'checkout.session.completed', '', :state, :reason)",
        id=event_id,
        state=state,
        reason=reason,
    )
    return event_id


def _as_public(view: Any) -> Any:
    return public(view)


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for value in node.values() for found in _references(value)]
    return [found for value in node for found in _references(value)] if isinstance(node, list) else []
