"""An app whose sandbox partner is a real server that signs its events, one active seat there, and the jobs of this process."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

import settings as settings_module
from api.app import create_app
from db.session import transaction
from domain import demo
from partners.base import Student
from partners.sandbox import signature
from tests.api.conftest import Logs, make_enrollment, restored_logging, tap_logs
from tests.conftest import Database
from tests.partners.conftest import API_KEY, RunningSandbox, running_sandbox, sandbox
from tests.stack import scalar
from workers.job import run_due

__all__ = ["restored_logging", "running_sandbox", "sandbox"]

SECRET = "webhook-secret-for-tests-0001"


class Hints:
    """What a test does with events: sends them to the api, works off what follows, asks what came of it."""

    def __init__(self, app: Flask, sandbox: RunningSandbox) -> None:
        self.client: FlaskClient = app.test_client()
        self.sandbox = sandbox
        self.provider = demo.provider_id("sandbox")
        self.seat = self.take_seat("SBX-101")
        self.enrollment = make_enrollment(external_enrollment_id=self.seat)

    def take_seat(self, course: str) -> str:
        """Take a seat at the sandbox and return its id."""
        partner = self.sandbox.partner()
        student = Student(f"usher-{course}", "ana@example.com", "Ana")
        account = partner.create_account(student, key=f"a-{course}")
        return partner.enroll_in_course(account.id, course, student=student, reference=course, key=course).id

    def post(
        self, body: bytes, *, secret: str = SECRET, age: float = 0, provider: str | None = None
    ) -> TestResponse:
        """Send a signed event to the api."""
        headers = {signature.HEADER: signature.sign(body, secret, int(time.time() - age))}
        return self.send(body, headers, provider=provider)

    def send(self, body: bytes, headers: dict[str, str], *, provider: str | None = None) -> TestResponse:
        """Send an event with these headers."""
        return self.client.post(
            f"/api/partners/{provider or self.provider}/webhook",
            data=body,
            headers=headers,
            content_type="application/json",
        )

    def process(self) -> int:
        """Deal with the stored events that are due; return how many."""
        return sum(1 for _ in iter(lambda: run_due(["partner_events.process"]), False))

    def look(self) -> int:
        """Do the looks that were asked for as if their time had come; return how many."""
        with transaction() as session:
            session.execute(
                text(
                    "UPDATE jobs SET next_run_at = now() WHERE kind = 'progress.sync_one' AND state = 'ready'"
                )
            )
        return sum(1 for _ in iter(lambda: run_due(["progress.sync_one"]), False))

    def standing(self) -> tuple[str, float]:
        """Return the enrolment's status and per cent."""
        with transaction() as session:
            row = session.execute(
                text("SELECT status, progress_percentage FROM partner_lms_enrollments WHERE id = :id"),
                {"id": self.enrollment},
            ).one()
        return row.status, float(row.progress_percentage)

    def looks_at_partner(self) -> int:
        """Return how often the partner was asked about a single seat."""
        return int(self.sandbox.state()["calls"].get("GET /enrollments/{id}/progress", 0))

    def stored(self) -> int:
        """Return how many events of partners are stored."""
        return int(scalar("SELECT count(*) FROM inbox_events WHERE source LIKE 'partner:%'"))


def hint(*seats: str, **more: Any) -> bytes:
    """Return the body of an event about these seats."""
    return json.dumps({"id": "evt_1", "enrollment_ids": list(seats), **more}).encode()


@pytest.fixture
def environment(
    database: Database, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> pytest.MonkeyPatch:
    """An environment in which the sandbox partner is a running server with a secret for its events."""
    monkeypatch.setenv("SANDBOX_URL", sandbox.url)
    monkeypatch.setenv("SANDBOX_API_KEY", API_KEY)
    monkeypatch.setenv("SANDBOX_WEBHOOK_SECRET", SECRET)
    settings_module.get_settings.cache_clear()
    return monkeypatch


@pytest.fixture
def event_app(environment: pytest.MonkeyPatch, restored_logging: None) -> Flask:
    """The app on the demo catalogue."""
    from cli.draining import load_kinds  # Makes the Celery app, which needs the environment.

    with transaction() as session:
        demo.seed(session)
    load_kinds()
    return create_app()


@pytest.fixture
def hints(event_app: Flask, sandbox: RunningSandbox) -> Hints:
    return Hints(event_app, sandbox)


@pytest.fixture
def logs(event_app: Flask) -> Logs:
    return tap_logs()


@pytest.fixture
def app_without_database(usher_env: dict[str, str], restored_logging: None) -> Flask:
    """The app while nothing listens where the database should be."""
    return create_app()
