"""`Idempotency-Key` on every POST that changes something: walked from our own description, so that none is forgotten."""

from __future__ import annotations

import uuid
from typing import Any

from flask.testing import FlaskClient

from tests.api.conftest import STUDENT, bearer, count
from tests.api.walk import Step, steps

# What fits a schema is not always enough: one's own id, and values that follow a grammar or each other.
KNOWN: dict[str, Any] = {
    "userId": STUDENT,
    "partner": "certiport",
    "condition": {"v": 1, "when": {"counter": "certificates.earned", "gte": 1}},
}
# Told apart by the event's id: what Stripe sends has no key.
EXEMPT = "/api/stripe/webhook"
# Its answer holds a code in clear, which must not be kept; showing it twice does no more than once.
SHOWS_A_SECRET = "/api/ops/vouchers/{voucherId}/reveal"


def posts(client: FlaskClient) -> list[Step]:
    """Return every POST under /api."""
    found = [step for step in steps(client) if step.method == "post" and step.path.startswith("/api/")]
    assert EXEMPT not in [step.path for step in found]
    # Whoever is erased calls nothing any more.
    return sorted(
        (step for step in found if step.path != SHOWS_A_SECRET), key=lambda step: "erasure" in step.path
    )


def test_every_post_is_described_with_its_key_and_what_may_be_wrong_with_it(client: FlaskClient) -> None:
    for step in posts(client):
        named = [item for item in step.operation["parameters"] if item["name"] == "Idempotency-Key"]
        assert [item["schema"]["maxLength"] for item in named] == [255], step.name
        answers = step.operation["responses"]
        assert "idempotency_key_invalid" in answers["400"]["description"], step.name
        assert "idempotency_in_flight" in answers["409"]["description"], step.name
        assert "idempotency_key_reused" in answers["422"]["description"], step.name


def test_a_key_that_cannot_be_used_is_refused_by_every_post(client: FlaskClient) -> None:
    for step in posts(client):
        for key in ("", " ", "x" * 256, "kéy"):
            answer = step.send(client, STUDENT, {**caller(step), "Idempotency-Key": key}, KNOWN)
            assert (answer.status_code, answer.get_json()["code"]) == (400, "idempotency_key_invalid"), (
                step.name
            )


def test_the_same_key_gets_the_first_answer_and_another_request_is_refused(client: FlaskClient) -> None:
    for step in posts(client):
        headers = {**caller(step), "Idempotency-Key": f"key of {step.name}".replace(" ", "-")}
        first = step.send(client, STUDENT, headers, KNOWN)
        kept = count("idempotency_keys")
        again = step.send(client, STUDENT, headers, KNOWN)
        where = f"{step.name}: {first.status_code} {first.text[:300]}"
        assert (again.status_code, again.data) == (first.status_code, first.data), where
        assert again.headers.get("Idempotency-Replayed") == "true", where
        other = step.send(client, str(uuid.uuid4()), headers, KNOWN)
        assert (other.status_code, other.get_json()["code"]) == (422, "idempotency_key_reused"), step.name
        assert count("idempotency_keys") == kept


def caller(step: Step) -> dict[str, str]:
    """A token of somebody who may."""
    return bearer("ops", "staff@example.com") if "/ops/" in step.path else bearer()
