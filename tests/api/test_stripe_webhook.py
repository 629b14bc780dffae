"""The webhook: what is Stripe's is stored once and answered, what is not leaves no row."""

from __future__ import annotations

import io
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from stripe import WebhookSignature
from werkzeug.test import TestResponse

from db.session import transaction
from tests.api.conftest import Logs, count, run, tap_logs
from tests.conftest import STRIPE_OLD_SECRET, STRIPE_SECRET

URL = "/api/stripe/webhook"
RETIRED = "whsec_retired_0123456789abcdef0123456789"
CANARY = "canary.person@example.com"


def event(**changes: Any) -> dict[str, Any]:
    body = {
        "id": "evt_1",
        "object": "event",
        "type": "checkout.session.completed",
        "data": {"object": {"id": "cs_1", "customer_email": CANARY, "metadata": {}}},
    }
    return {**body, **changes}


def post(client: FlaskClient, body: str, *, secret: str = STRIPE_SECRET, age: int = 0) -> TestResponse:
    header = WebhookSignature.generate_signature_header(body, secret, timestamp=int(time.time()) - age)
    return client.post(URL, data=body.encode(), headers={"Stripe-Signature": header})


VALID = json.dumps(event())
MEGABYTE = json.dumps(event(padding="x" * 1_000_000))


# What is posted, signed with which secret, how many seconds ago; the status and the problem's code.
MATRIX: dict[str, tuple[str, str, int, int, str | None]] = {
    "valid": (VALID, STRIPE_SECRET, 0, 200, None),
    "second secret": (VALID, STRIPE_OLD_SECRET, 0, 200, None),
    "retired secret": (VALID, RETIRED, 0, 400, "stripe_signature_invalid"),
    "295 s old": (VALID, STRIPE_SECRET, 295, 200, None),
    "301 s old": (VALID, STRIPE_SECRET, 301, 400, "stripe_signature_invalid"),
    "295 s ahead": (VALID, STRIPE_SECRET, -295, 200, None),
    "301 s ahead": (VALID, STRIPE_SECRET, -301, 400, "stripe_signature_invalid"),
    "signed list": ("[1, 2]", STRIPE_SECRET, 0, 400, "stripe_event_invalid"),
    "signed string": ('"evt_1"', STRIPE_SECRET, 0, 400, "stripe_event_invalid"),
    "bad JSON": ("{not json", STRIPE_SECRET, 0, 400, "stripe_event_invalid"),
    "empty body": ("", STRIPE_SECRET, 0, 400, "stripe_event_invalid"),
    "deep JSON": ("[" * 100_000, STRIPE_SECRET, 0, 400, "stripe_event_invalid"),
    "1 MB": (MEGABYTE, STRIPE_SECRET, 0, 413, "too_large"),
    "no id": (json.dumps({"type": "x"}), STRIPE_SECRET, 0, 400, "stripe_event_invalid"),
    "no type": (json.dumps({"id": "evt_1"}), STRIPE_SECRET, 0, 400, "stripe_event_invalid"),
    "id is a number": (json.dumps(event(id=7)), STRIPE_SECRET, 0, 400, "stripe_event_invalid"),
    "id is too long": (json.dumps(event(id="e" * 256)), STRIPE_SECRET, 0, 400, "stripe_event_invalid"),
    "id with NUL": (json.dumps(event(id="evt\0")), STRIPE_SECRET, 0, 400, "stripe_event_invalid"),
    "type is no text": (json.dumps(event(type="\ud800")), STRIPE_SECRET, 0, 400, "stripe_event_invalid"),
}


def test_the_signature_matrix(
    client: FlaskClient, subtests: pytest.Subtests, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    for name, (body, secret, age, status, code) in MATRIX.items():
        with subtests.test(name):
            run("TRUNCATE inbox_events, jobs CASCADE")
            answer = post(client, body, secret=secret, age=age)
            assert answer.status_code == status
            assert (
                answer.get_json() == {"received": True} if code is None else answer.get_json()["code"] == code
            )
            assert count("inbox_events") == count("jobs") == (1 if status == 200 else 0)


def test_a_missing_or_senseless_signature_is_refused(client: FlaskClient) -> None:
    now = int(time.time())
    senseless = ("", "t=,v1=", "nonsense", "t=now,v1=00", "v1=" + "0" * 64, "t=1,t=2,v1=00", f"t={now},v0=00")
    worse = (
        "t=9999999999999999999,v1=00",
        f"t={now},v1=\xe9\xe9",
        f"t={now}=0,t={now},v1=00",
        "t=\xb2,v1=00",
    )
    for header in (None, *senseless, *worse):
        headers = {} if header is None else {"Stripe-Signature": header}
        answer = client.post(URL, data=VALID, headers=headers)
        assert (answer.status_code, answer.get_json()["code"]) == (400, "stripe_signature_invalid"), header
    assert count("inbox_events") == 0


def test_a_body_that_was_changed_is_refused(client: FlaskClient) -> None:
    header = WebhookSignature.generate_signature_header(VALID, STRIPE_SECRET)
    answer = client.post(URL, data=VALID.replace("cs_1", "cs_2"), headers={"Stripe-Signature": header})
    assert (answer.status_code, count("inbox_events")) == (400, 0)


def test_a_body_that_is_not_utf8_is_refused(client: FlaskClient) -> None:
    header = f"t={int(time.time())},v1={'0' * 64}"
    answer = client.post(URL, data=b'{"id": "\xff"}', headers={"Stripe-Signature": header})
    assert (answer.status_code, count("inbox_events")) == (400, 0)


def test_two_signatures_in_one_header_are_enough_when_one_fits(client: FlaskClient) -> None:
    now = int(time.time())
    good = WebhookSignature.generate_signature_header(VALID, STRIPE_SECRET, timestamp=now).split("v1=")[1]
    headers = {"Stripe-Signature": f"t={now},v1={'0' * 64},v1={good},v0=abc"}
    assert client.post(URL, data=VALID, headers=headers).status_code == 200


def test_a_large_body_without_a_length_is_refused_too(client: FlaskClient) -> None:
    answer = client.post(
        URL,
        input_stream=io.BytesIO(MEGABYTE.encode()),
        environ_overrides={"wsgi.input_terminated": True, "CONTENT_LENGTH": ""},
        headers={"Stripe-Signature": WebhookSignature.generate_signature_header(MEGABYTE, STRIPE_SECRET)},
    )
    assert (answer.status_code, answer.get_json()["code"], count("inbox_events")) == (413, "too_large", 0)


def test_half_a_megabyte_is_taken_and_kept_byte_for_byte(client: FlaskClient) -> None:
    body = json.dumps(event(padding="é" * 80_000), indent=3) + "\n"
    assert post(client, body).status_code == 200
    with transaction() as session:
        row = session.execute(text("SELECT payload, state, source, type FROM inbox_events")).one()
    assert bytes(row.payload) == body.encode()
    assert (row.state, row.source, row.type) == ("received", "stripe", "checkout.session.completed")


def test_an_event_makes_one_job_that_carries_its_id(client: FlaskClient) -> None:
    post(client, VALID)
    with transaction() as session:
        row = session.execute(
            text(
                "SELECT j.kind, j.queue, j.subject_id = e.id AND j.correlation_id = e.id::text AS linked, j.state"
                " FROM jobs j, inbox_events e"
            )
        ).one()
    assert tuple(row) == ("payments.process", "payments", True, "ready")


def test_a_repeat_stores_nothing_and_answers_the_same(client: FlaskClient, logs: Logs) -> None:
    first, again = post(client, VALID), post(client, VALID)
    assert (first.status_code, first.data) == (again.status_code, again.data)
    assert count("inbox_events") == count("jobs") == 1
    assert len(logs.named("[StripeWebhook] stored")) == len(logs.named("[StripeWebhook] repeated")) == 1
    assert logs.named("[StripeWebhook] stored")[0]["correlation_id"]


def test_twenty_posts_at_once_make_one_row_and_one_job(app: Flask) -> None:
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: post(app.test_client(), VALID).status_code, range(20)))
    assert answers == [200] * 20
    assert count("inbox_events") == count("jobs") == 1


def test_an_unknown_type_is_stored_as_ignored_without_a_job(client: FlaskClient) -> None:
    assert post(client, json.dumps(event(type="customer.created"))).status_code == 200
    with transaction() as session:
        assert session.execute(text("SELECT state FROM inbox_events")).scalar_one() == "ignored"
    assert count("jobs") == 0


def test_without_a_database_it_asks_stripe_to_come_again(app_without_database: Flask) -> None:
    logs = tap_logs()
    answer = post(app_without_database.test_client(), VALID)
    assert (answer.status_code, answer.get_json()["code"]) == (503, "database_unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert "nothing@" not in logs.text
    assert CANARY not in str(logs.events)


def test_only_post_is_taken(client: FlaskClient) -> None:
    answer = client.get(URL)
    assert (answer.status_code, answer.get_json()["code"]) == (405, "method_not_allowed")
    assert "POST" in answer.headers["Allow"]


def test_no_log_line_holds_the_payload_or_a_secret(client: FlaskClient, logs: Logs) -> None:
    post(client, VALID)
    post(client, VALID, secret=RETIRED)
    post(client, json.dumps([CANARY]))
    post(client, MEGABYTE.replace("xxxx", CANARY, 1))
    assert len(logs.named("[StripeWebhook] refused")) == 2
    for canary in (CANARY, STRIPE_SECRET, STRIPE_OLD_SECRET, RETIRED, "cs_1", "v1="):
        assert canary not in logs.text
        assert canary not in str(logs.events)
