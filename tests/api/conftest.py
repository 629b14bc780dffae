"""A test client on a migrated database with the demo catalogue, and the log lines that it causes."""

from __future__ import annotations

import io
import logging
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from api.app import create_app
from db.session import transaction
from domain import demo, tokens
from tests.conftest import Database

STUDENT = demo.fixed_id("student", "ana@example.com")
OTHER = demo.fixed_id("student", "ben@example.com")
COURSE = "SBX-101"
HTML = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@dataclass
class Logs:
    """What was logged: `events` before redaction, `text` as it was written."""

    events: list[dict[str, Any]] = field(default_factory=list)
    stream: io.StringIO = field(default_factory=io.StringIO)

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    def named(self, name: str) -> list[dict[str, Any]]:
        """Return the events with this name."""
        return [event for event in self.events if event.get("event") == name]


class Collector(logging.Handler):
    """Keeps structlog's events as they were handed to the standard library."""

    def __init__(self, logs: Logs) -> None:
        super().__init__()
        self.logs = logs

    def emit(self, record: logging.LogRecord) -> None:
        self.logs.events.append(
            record.msg if isinstance(record.msg, dict) else {"event": record.getMessage()}
        )


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """Give pytest its own log handlers back after an app has put its in."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def app(database: Database, restored_logging: None) -> Flask:
    """The app on a database with the demo catalogue."""
    with transaction() as session:
        demo.seed(session)
    return create_app()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Somebody who is not signed in."""
    return app.test_client()


@pytest.fixture
def app_without_database(usher_env: dict[str, str], restored_logging: None) -> Flask:
    """The app while nothing listens where the database should be."""
    return create_app()


@pytest.fixture
def logs(app: Flask) -> Logs:
    """The log lines of this test."""
    return tap_logs()


def tap_logs() -> Logs:
    """Collect log lines from now on; call it after the app was made."""
    logs, root = Logs(), logging.getLogger()
    written = root.handlers[0]
    assert isinstance(written, logging.StreamHandler)
    written.setStream(logs.stream)
    root.addHandler(Collector(logs))
    return logs


def bearer(role: str = "student", subject: str = "ana@example.com", days: int | None = 1) -> dict[str, str]:
    """Mint a token and return it as a header."""
    with transaction() as session:
        plain, _ = tokens.mint(session, role, subject, days)
    return {"Authorization": f"Bearer {plain}"}


def make_enrollment(
    status: str = "active", student: str = STUDENT, course: str = COURSE, **columns: Any
) -> str:
    """Insert an enrolment and return its id."""
    values = {
        "id": str(uuid.uuid4()),
        "provider_id": demo.provider_id("sandbox"),
        "student_id": student,
        "course_id": demo.course_id(course),
        "status": status,
        "external_enrollment_id": f"seat-{uuid.uuid4()}" if status in ("active", "completed") else None,
        **columns,
    }
    names = ", ".join(values)
    with transaction() as session:
        session.execute(
            text(f"INSERT INTO partner_lms_enrollments ({names}) VALUES (:{', :'.join(values)})"), values
        )
    return str(values["id"])


def count(table: str) -> int:
    """Return the number of rows."""
    with transaction() as session:
        return int(session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def run(statement: str, **values: Any) -> None:
    """Execute one statement."""
    with transaction() as session:
        session.execute(text(statement), values)
