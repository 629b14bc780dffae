"""What Sentry is told: kinds of errors, places in the code and ids; nothing of people, nothing secret."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

import settings as settings_module
from api.app import create_app
from db import jobs
from db.session import transaction
from tests.conftest import STRIPE_SECRET, Database
from tests.recover.conftest import Listener
from workers import job as job_module
from workers import sentry
from workers.job import JobRun, run_due

PERSON, ADDRESS = "Pat Payer", "pat.payer@example.com"
LISTED = f"Key (email)=({ADDRESS}), {PERSON}, {STRIPE_SECRET}"


@pytest.fixture
def told(database: Database, listener: Listener, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    """A Sentry that this process tells its errors."""
    monkeypatch.setenv("SENTRY_DSN", f"http://0123456789abcdef@127.0.0.1:{listener.port}/7")
    settings_module.get_settings.cache_clear()
    sentry.attach("tests")
    yield listener
    sentry._client.close(timeout=2)
    sentry._client = None


def events(told: Listener) -> list[dict[str, Any]]:
    """Return the events that were delivered."""
    sentry._client.flush(timeout=10)
    return [json.loads(body.split(b"\n")[2]) for body in told.bodies("/api/7/envelope/")]


def test_an_unforeseen_error_of_a_job_is_told_without_what_was_in_it(
    told: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def handler(run: JobRun) -> None:
        student = PERSON
        raise ValueError(f"{student}: {LISTED}")

    monkeypatch.setitem(job_module.KINDS, "test.sentry", job_module.JobKind("test.sentry", handler, None))
    with transaction() as session:
        asked = jobs.Enqueue("test.sentry", "1", queue="control", subject_id=str(uuid.uuid4()))
        job_id = jobs.enqueue(session, asked)
    assert run_due(["test.sentry"])
    [event] = events(told)
    assert event["message"] == "attempt failed"
    assert event["tags"]["job_id"] == job_id
    assert event["tags"]["kind"] == "test.sentry"
    [error] = event["exception"]["values"]
    assert error["type"] == "ValueError"
    assert error["stacktrace"]["frames"][-1]["function"] == "handler"
    check_clean(told)


def test_an_unexpected_error_of_the_api_is_told_without_the_request(
    told: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise KeyError(LISTED) from RuntimeError(PERSON)

    app = create_app()
    sentry.attach("api")
    monkeypatch.setattr("api.stripe_webhook._verified", fail)
    request_id = f"req-{uuid.uuid4().hex[:8]}"
    headers = {"Authorization": f"Bearer {STRIPE_SECRET}", "X-Request-ID": request_id}
    answer = app.test_client().post(f"/api/stripe/webhook?email={ADDRESS}", data=LISTED, headers=headers)
    assert answer.status_code == 500
    [event] = events(told)
    assert (event["message"], event["tags"]["request_id"]) == ("unexpected error", request_id)
    assert [error["type"] for error in event["exception"]["values"]] == ["RuntimeError", "KeyError"]
    assert "request" not in event
    check_clean(told)


def test_what_others_log_is_told_by_their_name_alone(told: Listener) -> None:
    import logging

    logging.getLogger("some.library").error("could not serve %s", LISTED)
    structlog.get_logger("tests").error("broker gone", partner="hsi", address=ADDRESS)
    assert [event["message"] for event in events(told)] == ["error in some.library", "broker gone"]
    assert events(told)[1]["tags"]["partner"] == "hsi"
    check_clean(told)


def check_clean(told: Listener) -> None:
    raw = b"".join(body for *_, body in told.posts).decode()
    for word in (PERSON, ADDRESS, "example.com", STRIPE_SECRET, "whsec_"):
        assert word not in raw
