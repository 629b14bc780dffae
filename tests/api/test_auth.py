"""Tokens, sign-in links, cookies, and the guard in front of every view."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

import settings as settings_module
from api.app import create_app
from api.auth import COOKIE, access_of
from db.session import transaction
from domain import tokens
from domain.tokens import Identity
from tests.api.conftest import HTML, STUDENT, Logs, bearer, run

OWN = "/api/student/partner-enrollments"
PUBLIC = {
    "DELETE /api/lti/contexts/<course_id>/line-items/<line_item_id>",
    "GET /",
    "GET /.well-known/jwks.json",
    "GET /.well-known/openid-configuration",
    "GET /api/lti/authorize",
    "GET /api/lti/contexts/<course_id>/line-items",
    "GET /api/lti/contexts/<course_id>/line-items/<line_item_id>",
    "GET /api/lti/contexts/<course_id>/line-items/<line_item_id>/results",
    "GET /api/lti/contexts/<course_id>/memberships",
    "GET /api/lti/jwks",
    "GET /badges/issuer",
    "GET /badges/keys/<thumbprint>",
    "GET /dev/mails",
    "GET /dev/mails/<kind>/<language>",
    "GET /dev/sign-in",
    "GET /docs",
    "GET /healthz",
    "GET /mail/unsubscribe/<token>",
    "GET /metrics",
    "GET /openapi.json",
    "GET /problems/<code>",
    "GET /readyz",
    "GET /static/<path:filename>",
    "GET /verify/<code>",
    "POST /api/lti/authorize",
    "POST /api/lti/contexts/<course_id>/line-items",
    "POST /api/lti/contexts/<course_id>/line-items/<line_item_id>/scores",
    "POST /api/lti/deep-linking/<launch_id>",
    "POST /api/lti/register",
    "POST /api/lti/token",
    "POST /api/partners/<provider_id>/webhook",
    "POST /api/stripe/webhook",
    "POST /language",
    "POST /mail/unsubscribe/<token>",
    "PUT /api/lti/contexts/<course_id>/line-items/<line_item_id>",
}


def test_every_route_is_marked_and_the_public_ones_are_these(app: Flask) -> None:
    found = set()
    for rule in app.url_map.iter_rules():
        access = access_of(app.view_functions[rule.endpoint])
        assert access is not None, f"{rule.rule} is not marked"
        assert access.public != bool(access.roles or access.user), f"{rule.rule} must be public or guarded"
        if access.public:
            methods = (rule.methods or set()) - {"HEAD", "OPTIONS"}
            found |= {f"{method} {rule.rule}" for method in methods}
    assert found == PUBLIC


def test_a_view_without_a_mark_is_refused(app: Flask, logs: Logs) -> None:
    app.add_url_rule("/forgotten", view_func=lambda: "open", endpoint="forgotten")
    answer = app.test_client().get("/forgotten")
    assert (answer.status_code, answer.get_json()["code"]) == (500, "internal_error")
    assert "RuntimeError" in logs.text


def test_every_guarded_route_refuses_a_stranger(app: Flask) -> None:
    client = app.test_client()
    for rule in app.url_map.iter_rules():
        access = access_of(app.view_functions[rule.endpoint])
        if access is not None and not access.public:
            method = next(iter((rule.methods or set()) - {"HEAD", "OPTIONS"}))
            path = "".join("x" if dynamic else part for dynamic, part in rule._trace).removeprefix("|")
            answer = client.open(path, method=method)
            assert (answer.status_code, answer.get_json()["code"]) == (401, "not_signed_in"), rule.rule
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_token_lives_until_it_expires_or_is_revoked(client: FlaskClient) -> None:
    with transaction() as session:
        plain, row_id = tokens.mint(session, "student", "ana@example.com", 2)
    headers = {"Authorization": f"Bearer {plain}"}
    assert client.get(OWN, headers=headers).status_code == 200
    run("UPDATE api_tokens SET expires_at = now() - interval '1 second'")
    assert client.get(OWN, headers=headers).status_code == 401
    run("UPDATE api_tokens SET expires_at = NULL")
    assert client.get(OWN, headers=headers).status_code == 200
    with transaction() as session:
        assert tokens.revoke(session, row_id)
        assert not tokens.revoke(session, row_id)
        assert [token.id for token in tokens.list_tokens(session)] == [row_id]
    assert client.get(OWN, headers=headers).status_code == 401


def test_a_token_is_kept_as_a_hash_and_lives_as_long_as_asked(app: Flask) -> None:
    with transaction() as session:
        plain, _ = tokens.mint(session, "ops", "staff@example.com", 30)
        row = tokens.list_tokens(session)[0]
        session.refresh(row)
        assert row.expires_at is not None
        assert row.expires_at - row.created_at == timedelta(days=30)
        assert plain.startswith("usher_")
        assert len(plain) >= len("usher_") + 32
        assert plain.removeprefix("usher_") not in str(vars(row))


def test_a_use_is_noted_at_most_once_a_minute(client: FlaskClient) -> None:
    headers = bearer()
    client.get(OWN, headers=headers)
    first = _last_used()
    client.get(OWN, headers=headers)
    assert _last_used() == first
    run("UPDATE api_tokens SET last_used_at = last_used_at - interval '61 seconds'")
    client.get(OWN, headers=headers)
    assert _last_used() > first


def test_tokens_are_looked_up_together_and_nobody_waits_to_note_a_use(client: FlaskClient) -> None:
    people = (("student", "ana@example.com"), ("ops", "staff"), ("service", "shop"))
    with transaction() as session:
        plains = [tokens.mint(session, role, subject)[0] for role, subject in people]
    with transaction() as session:
        session.execute(text("SELECT 1 FROM api_tokens WHERE role = 'ops' FOR NO KEY UPDATE"))
        found = tokens.find_all([plains[0], "usher_unknown", plains[1], plains[2], "unknown", plains[0]])
    assert [None if one is None else (one.role, one.user_id) for one in found] == [
        ("student", STUDENT),
        None,
        ("ops", None),
        ("service", None),
        None,
        ("student", STUDENT),
    ]
    with transaction() as session:
        noted = session.scalars(
            text("SELECT role FROM api_tokens WHERE last_used_at IS NOT NULL ORDER BY 1")
        ).all()
    assert noted == ["service", "student"]


def test_a_wrong_authorization_header_is_not_signed_in(client: FlaskClient) -> None:
    for value in ("Bearer usher_wrong", "Bearer ", "Bearer \xe9", "Basic dXNlcjpwYXNz", "usher_x"):
        answer = client.get(OWN, headers={"Authorization": value})
        assert (answer.status_code, answer.get_json()["code"]) == (401, "not_signed_in"), value


def test_the_tokens_subject_finds_its_user_in_any_case_and_role(client: FlaskClient) -> None:
    assert client.get(OWN, headers=bearer("ops", "ANA@Example.com")).status_code == 200
    answer = client.get(OWN, headers=bearer("service", "shop"))
    assert (answer.status_code, answer.get_json()["code"]) == (403, "no_student")


def test_a_role_opens_only_what_is_its_own(client: FlaskClient) -> None:
    assert client.get("/ops", headers=bearer("ops", "staff")).status_code == 200
    for role in ("student", "service"):
        answer = client.get("/ops", headers=bearer(role))
        assert (answer.status_code, answer.get_json()["code"]) == (403, "wrong_role")


def test_an_unknown_role_is_not_minted(app: Flask) -> None:
    with transaction() as session, pytest.raises(ValueError, match="student, service, ops"):
        tokens.mint(session, "root", "x")


@pytest.mark.parametrize(
    ("role", "target"), [("student", "/dashboard"), ("ops", "/ops"), ("service", "/docs")]
)
def test_a_sign_in_link_opens_the_pages_of_its_role(client: FlaskClient, role: str, target: str) -> None:
    answer = client.get(_path(tokens.make_dev_link(role, "ana@example.com", STUDENT)))
    assert (answer.status_code, answer.location) == (303, target)
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie
    assert client.get(target, headers=HTML).status_code == 200


def test_behind_https_the_cookie_is_secure(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP_URL", "https://learn.example.com")
    settings_module.get_settings.cache_clear()
    link = tokens.make_dev_link("student", "ana@example.com", STUDENT)
    assert link.startswith("https://learn.example.com/dev/sign-in?token=")
    assert "Secure" in client.get(_path(link)).headers["Set-Cookie"]


def test_a_sign_in_link_that_was_changed_or_is_too_old_is_refused(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _path(tokens.make_dev_link("ops", "staff"))
    for wrong in ("/dev/sign-in", "/dev/sign-in?token=x", f"{path}x"):
        assert client.get(wrong).get_json()["code"] == "sign_in_link_invalid"
    monkeypatch.setattr(tokens, "LINK_MAX_AGE", -1)
    assert client.get(path).get_json()["code"] == "sign_in_link_invalid"


def test_a_session_ends_and_a_link_is_no_session(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tokens.make_dev_link("ops", "staff")
    client.set_cookie(COOKIE, link.split("token=")[1])
    assert client.get("/ops").status_code == 401
    client.set_cookie(COOKIE, tokens.seal_session(Identity("ops", None, "staff")))
    assert client.get("/ops").status_code == 200
    monkeypatch.setattr(tokens, "SESSION_MAX_AGE", -1)
    assert client.get("/ops").status_code == 401


def test_where_dev_sign_in_is_off_neither_links_nor_cookies_work(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _path(tokens.make_dev_link("ops", "staff"))
    monkeypatch.setenv("DEV_SIGN_IN", "false")
    settings_module.get_settings.cache_clear()
    client = create_app().test_client()
    assert client.get(path).status_code == 404
    client.set_cookie(COOKIE, tokens.seal_session(Identity("ops", None, "staff")))
    assert client.get("/ops").status_code == 401


def test_a_change_by_cookie_has_to_come_from_our_own_pages(client: FlaskClient) -> None:
    client.set_cookie(COOKIE, tokens.seal_session(Identity("ops", None, "staff")))
    path, body = "/api/users/0b7a2a0e-6a6a-4c58-9d4f-0d6f7d1f1a11", {"email": "new@example.com"}
    foreign: tuple[dict[str, str], ...] = (
        {},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    )
    for headers in foreign:
        answer = client.put(path, json=body, headers=headers)
        assert (answer.status_code, answer.get_json()["code"]) == (403, "cross_site"), headers
    assert client.put(path, json=body, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 201
    assert client.put(path, json=body, headers={"Origin": "http://testserver"}).status_code == 200
    assert client.get("/ops", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


def test_no_log_line_holds_a_token_or_an_address(client: FlaskClient, logs: Logs) -> None:
    headers = bearer()
    link = _path(tokens.make_dev_link("student", "ana@example.com", STUDENT))
    client.get(link)
    client.get(OWN, headers=headers)
    client.get(f"{OWN}?email=ana@example.com", headers=bearer("service", "canary-subject"))
    secrets = (headers["Authorization"].split("usher_")[1], link.split("token=")[1], "ana@", "canary-subject")
    for secret in secrets:
        assert secret not in str(logs.events)


def _last_used() -> datetime:
    with transaction() as session:
        moment = session.execute(text("SELECT last_used_at FROM api_tokens")).scalar_one()
    assert isinstance(moment, datetime)
    return moment


def _path(link: str) -> str:
    return "/dev/sign-in" + link.split("/dev/sign-in")[1]
