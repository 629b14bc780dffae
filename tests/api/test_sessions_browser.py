"""What a browser may do with a session cookie, from where, and how often anybody may ask."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

import settings as settings_module
from api import limits
from api.limits import EXTENSION, Bucket, Limiter
from tests.api.conftest import bearer
from tests.api.test_sessions_cookies import ANA_V5, MINTED, OWN, V5, set_env

USER, BODY = "/api/users/0b7a2a0e-6a6a-4c58-9d4f-0d6f7d1f1a11", {"email": "new@example.com"}
FRONT = "https://learn.example.com"
PREFLIGHT = {"Origin": FRONT, "Access-Control-Request-Method": "PUT"}


@pytest.fixture
def staff(app: Flask, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    """A browser with the session cookie of somebody with the role ops."""
    set_env(monkeypatch, AUTH_ROLE_CLAIM="role")
    client = app.test_client()
    client.set_cookie(V5, MINTED["people"]["staff"][V5])
    return client


def stop_the_clock(app: Flask) -> None:
    """Refill nobody's bucket: a slow machine must not earn requests."""
    app.extensions[EXTENSION] = Limiter(lambda: 0.0)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://testserver.evil.example"},
        {"Origin": "null"},
        {"Origin": FRONT, "Sec-Fetch-Site": "cross-site"},
    ],
)
def test_a_change_by_session_cookie_from_elsewhere_is_refused(
    staff: FlaskClient, headers: dict[str, str]
) -> None:
    answer = staff.put(USER, json=BODY, headers=headers)
    assert (answer.status_code, answer.get_json()["code"]) == (403, "cross_site")


def test_a_change_by_session_cookie_from_our_pages_or_a_listed_front_end_is_made(
    staff: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert staff.put(USER, json=BODY, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 201
    assert staff.put(USER, json=BODY, headers={"Origin": "http://testserver"}).status_code == 200
    set_env(monkeypatch, CORS_ORIGINS=FRONT)
    listed = {"Origin": FRONT, "Sec-Fetch-Site": "cross-site"}
    assert staff.put(USER, json=BODY, headers=listed).status_code == 200
    assert staff.put(USER, json=BODY, headers={"Origin": f"{FRONT}.evil.example"}).status_code == 403


def test_a_bearer_token_needs_no_page_of_ours(client: FlaskClient) -> None:
    headers = {**bearer("service", "shop"), "Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert client.put(USER, json=BODY, headers=headers).status_code == 201


def test_without_the_setting_no_other_origin_may_read(client: FlaskClient) -> None:
    for answer in (client.options(OWN, headers=PREFLIGHT), client.get("/openapi.json", headers=PREFLIGHT)):
        assert not [name for name in answer.headers.keys() if name.startswith("Access-Control")]  # noqa: SIM118


def test_a_listed_front_end_gets_its_preflight_answered_and_may_read_with_credentials(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_env(monkeypatch, CORS_ORIGINS=f"http://localhost:3000, {FRONT}")
    preflight = client.options(USER, headers=PREFLIGHT)
    assert preflight.status_code == 204
    assert "PUT" in preflight.headers["Access-Control-Allow-Methods"]
    assert "Idempotency-Key" in preflight.headers["Access-Control-Allow-Headers"]
    client.set_cookie(V5, ANA_V5)
    for answer in (
        preflight,
        client.get(OWN, headers={"Origin": FRONT}),
        client.get("/no", headers=PREFLIGHT),
    ):
        assert answer.headers["Access-Control-Allow-Origin"] == FRONT
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        assert "Origin" in answer.headers["Vary"]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", f"{FRONT}:8443", "http://learn.example.com", ""]
)
def test_an_origin_that_is_not_listed_gets_nothing(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, origin: str
) -> None:
    set_env(monkeypatch, CORS_ORIGINS=FRONT)
    preflight = client.options(USER, headers={**PREFLIGHT, "Origin": origin})
    assert preflight.status_code == 401
    for answer in (preflight, client.get("/openapi.json", headers={"Origin": origin})):
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "Origin" in answer.headers["Vary"]


@pytest.mark.parametrize(
    "value", ["*", "https://a.example.com/", "https://a.example.com/x", "a.example.com", "ftp://a"]
)
def test_an_origin_that_is_none_is_named_at_the_start(
    usher_env: dict[str, str], monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("CORS_ORIGINS", f"{FRONT},{value}")
    with pytest.raises(settings_module.ConfigurationError, match="CORS_ORIGINS"):
        settings_module.load_settings()


def test_a_caller_who_asks_too_often_is_told_to_wait_and_others_are_not(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_the_clock(app)
    set_env(monkeypatch, RATE_LIMIT="5")
    ana, ben = app.test_client(), app.test_client()
    ana.set_cookie(V5, ANA_V5)
    ben.set_cookie("next-auth.session-token", MINTED["people"]["ben"]["next-auth.session-token"])
    answers = [ana.get(OWN) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert answers[-1].get_json()["code"] == "rate_limited"
    assert answers[-1].mimetype == "application/problem+json"
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 12
    assert ana.get(OWN, headers=bearer()).status_code == 429
    assert ben.get(OWN).status_code == 200


def test_strangers_are_counted_by_address_and_front_ends_servers_have_more(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_the_clock(app)
    set_env(monkeypatch, RATE_LIMIT="3", PROXY_HOPS="1")
    client = app.test_client()

    def ask(forwarded: str, path: str = OWN) -> int:
        return client.get(path, headers={"X-Forwarded-For": forwarded}).status_code

    assert [ask("203.0.113.7") for _ in range(4)] == [401, 401, 401, 429]
    assert ask("198.51.100.1, 203.0.113.7", "/docs") == 429
    assert ask("203.0.113.7, 203.0.113.8") == 401
    assert [ask(f"2001:db8::{n}") for n in range(4)] == [401, 401, 401, 429]
    service = bearer("service", "shop")
    assert {client.get("/ops", headers=service).status_code for _ in range(30)} == {403}
    assert client.get("/ops", headers=service).status_code == 429


def test_without_proxies_the_header_is_not_believed(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_the_clock(app)
    set_env(monkeypatch, RATE_LIMIT="3")
    client = app.test_client()
    answers = [client.get("/docs", headers={"X-Forwarded-For": f"203.0.113.{n}"}) for n in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]


def test_stripe_and_whoever_watches_are_never_told_to_wait(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_the_clock(app)
    set_env(monkeypatch, RATE_LIMIT="1")
    for _ in range(3):
        client.get("/docs")
    assert client.get("/docs").status_code == 429
    assert {client.post("/api/stripe/webhook", data=b"{}").status_code for _ in range(5)} == {400}
    assert {client.get("/healthz").status_code for _ in range(5)} == {200}
    assert client.get("/readyz").status_code == 200
    set_env(monkeypatch, RATE_LIMIT="0")
    assert {client.get("/docs").status_code for _ in range(5)} == {200}


def test_a_bucket_refills_with_time_up_to_its_size() -> None:
    bucket = Bucket(2, 0.5, 0)
    assert [bucket.take(0), bucket.take(0), bucket.take(0)] == [0, 0, 2]
    assert bucket.take(1) == 1
    assert bucket.take(2) == 0
    assert [bucket.take(1000), bucket.take(1000), bucket.take(1000)] == [0, 0, 2]
    assert bucket.take(900) == 2


def test_the_limiter_forgets_who_asked_longest_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CALLERS", 10)
    limiter: Any = Limiter(lambda: 0.0)
    for number in range(15):
        limiter.take(f"address {number}", 1)
    assert len(limiter._buckets) == 10
    assert limiter.take("address 0", 1) == 0
    assert limiter.take("address 14", 1) > 0
