"""The express lane: an event that is in order is answered before Flask sees it, and nobody can tell the difference."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import psycopg2
import pytest
from flask import Flask
from flask.testing import FlaskClient
from stripe import WebhookSignature
from werkzeug.test import TestResponse

from api import every_request
from db import inbox
from tests.api.conftest import count, tap_logs
from tests.api.test_stripe_webhook import event
from tests.conftest import STRIPE_SECRET

URL = "/api/stripe/webhook"
REQUEST_ID = "req-0123456789"
# A request with it goes through Flask, whose answer is otherwise the same.
THROUGH_FLASK = {"Origin": "https://elsewhere.test"}


@pytest.fixture
def seen_by_flask(app: Flask, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The methods of the requests that came as far as Flask."""
    seen: list[str] = []
    inner = app.wsgi_app._app  # type: ignore[attr-defined]

    def note(environ: dict[str, Any], start_response: Any) -> Any:
        seen.append(environ["REQUEST_METHOD"])
        return inner(environ, start_response)

    monkeypatch.setattr(app.wsgi_app, "_app", note)
    return seen


def post(client: FlaskClient, id: str, **headers: str) -> TestResponse:
    body = json.dumps(event(id=id))
    signature = WebhookSignature.generate_signature_header(body, STRIPE_SECRET, timestamp=int(time.time()))
    return client.post(URL, data=body.encode(), headers={"Stripe-Signature": signature, **headers})


def test_answer_and_log_line_are_flasks(app: Flask, seen_by_flask: list[str]) -> None:
    logs = tap_logs()
    express = post(app.test_client(), "evt_express", **{"X-Request-ID": REQUEST_ID})
    assert seen_by_flask == []
    usual = post(app.test_client(), "evt_usual", **{"X-Request-ID": REQUEST_ID}, **THROUGH_FLASK)
    assert seen_by_flask == ["POST"]
    assert (express.status, express.data, dict(express.headers)) == (
        usual.status,
        usual.data,
        dict(usual.headers),
    )
    assert express.headers["X-Request-ID"] == REQUEST_ID
    first, second = logs.events
    assert first["event"] == second["event"] == "[StripeWebhook] stored"
    assert first["stripe_event_id"] == "evt_express"
    assert first.keys() == second.keys()
    for name in ("request_id", "method", "route", "status", "type", "process"):
        assert first[name] == second[name], name


def test_a_repeat_is_answered_the_same_and_stored_once(app: Flask, seen_by_flask: list[str]) -> None:
    answers = [post(app.test_client(), "evt_1") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert (seen_by_flask, count("inbox_events")) == ([], 1)


def test_each_request_has_an_id_of_its_own(app: Flask) -> None:
    ids = {
        post(app.test_client(), "evt_1", **{"X-Request-ID": "no good: \t"}).headers["X-Request-ID"]
        for _ in range(2)
    }
    assert len(ids) == 2


def test_what_is_refused_is_refused_once_under_one_id(app: Flask, seen_by_flask: list[str]) -> None:
    logs = tap_logs()
    answer = app.test_client().post(URL, data=b"{}", headers={"Stripe-Signature": "t=1,v1=00"})
    assert answer.status_code == 400
    assert answer.get_json()["code"] == "stripe_signature_invalid"
    assert seen_by_flask == ["POST"]
    refused, request = logs.events
    assert refused["event"] == "[StripeWebhook] refused"
    assert refused["request_id"] == request["request_id"] == answer.headers["X-Request-ID"]


def test_an_event_that_could_not_be_stored_is_tried_once(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def fail(events: Sequence[inbox.Event]) -> Any:
        tries.append(len(events))
        raise psycopg2.OperationalError("gone")

    monkeypatch.setattr(inbox.store_soon, "_write", fail)
    answer = post(app.test_client(), "evt_1")
    assert (answer.status_code, answer.get_json()["code"]) == (503, "database_unavailable")
    assert answer.headers["Retry-After"]
    assert tries == [1]


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {}, 405),
        ("POST", {"Content-Length": "600000"}, 413),
        ("POST", {"Content-Length": "-1"}, 400),
        ("POST", {"Content-Length": "9" * 5000}, 400),  # Werkzeug takes it for none.
    ],
)
def test_what_is_not_an_event_goes_to_flask(
    app: Flask, seen_by_flask: list[str], method: str, headers: dict[str, str], status: int
) -> None:
    environ = {f"{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    answer = app.test_client().open(URL, method=method, data=b"x" * 600_000, environ_overrides=environ)
    assert answer.status_code == status
    assert seen_by_flask == [method]


def test_another_route_is_none_of_its_business(app: Flask, seen_by_flask: list[str]) -> None:
    assert app.test_client().get("/healthz").status_code == 200
    assert seen_by_flask == ["GET"]


def test_headers_that_every_answer_has(app: Flask) -> None:
    answer = app.test_client().get("/healthz")
    for name, value in (every_request.NO_SNIFFING, *every_request.HEADERS.items()):
        assert answer.headers[name] == value
