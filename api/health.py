"""Is it alive, is it ready, how much is there to do: for load balancers and Prometheus.

The gauges are read from PostgreSQL when they are scraped, so every process tells the same and none counts on its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flask import Blueprint, Response, jsonify
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from api.auth import public
from db.migrate import current_revision, head_revision, known_revisions
from db.models.enrollment import ENROLLMENT_STATUSES
from db.session import get_engine, transaction
from domain import gauges

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
@public
def healthz() -> Response:
    """Say that the process answers; nothing else is looked at."""
    return jsonify(status="ok")


@blueprint.get("/readyz")
@public
def readyz() -> tuple[Response, int]:
    """Say whether requests can be served: 503 while the database is away or its schema is not this code's."""
    checks = check_ready()
    ready = all(check["status"] == "ok" for check in checks.values())
    return jsonify(status="ok" if ready else "unavailable", checks=checks), 200 if ready else 503


@blueprint.get("/metrics")
@public
def metrics() -> Response:
    """Return the gauges in Prometheus' text format."""
    return Response(generate_latest(REGISTRY), content_type=CONTENT_TYPE_LATEST)


def check_ready() -> dict[str, dict[str, Any]]:
    """Return each dependency's state by name."""
    try:
        current = current_revision(get_engine())
    except (DBAPIError, PoolTimeout) as error:
        unreachable = {"status": "failed", "reason": type(getattr(error, "orig", error)).__name__}
        return {"database": unreachable, "migrations": {"status": "unknown"}}
    head = head_revision()
    # A revision that this code does not know is newer: migrations go first, and old code goes on beside them.
    behind = current is None or (current != head and current in known_revisions())
    state = {"status": "failed" if behind else "ok", "current": current, "head": head}
    if behind:
        state["reason"] = "the schema is not this version's: usher db upgrade"
    return {"database": {"status": "ok"}, "migrations": state}


class DatabaseCollector:
    """Reads the gauges from PostgreSQL when it is asked."""

    def describe(self) -> Iterable[Metric]:
        """Yield nothing, so that registering does not need the database."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Yield every gauge, in one short transaction."""
        with transaction() as session:
            families = [*_jobs(session), _inbox(session), *_enrollments(session)]
        yield from families


REGISTRY = CollectorRegistry()
REGISTRY.register(DatabaseCollector())


def _jobs(session: Session) -> list[Metric]:
    still_open, given_up = (
        session.execute(gauges.OPEN_JOBS).one(),
        session.execute(gauges.GIVEN_UP_JOBS).one(),
    )
    jobs = GaugeMetricFamily(
        "usher_jobs", "Jobs by state; due ones are ready or left by a dead worker", labels=["state"]
    )
    for state in ("due", "ready", "running"):
        jobs.add_metric([state], getattr(still_open, state))
    for state in ("failed", "parked"):
        jobs.add_metric([state], getattr(given_up, state))
    help_text = "How long the oldest due job has been due"
    return [jobs, GaugeMetricFamily("usher_oldest_due_job_seconds", help_text, value=still_open.oldest_due)]


def _inbox(session: Session) -> Metric:
    waiting = session.execute(gauges.INBOX_WAITING).scalar_one()
    return GaugeMetricFamily("usher_inbox_waiting", "Events that wait for a person", value=waiting)


def _enrollments(session: Session) -> list[Metric]:
    numbers = {row.status: row.number for row in session.execute(gauges.ENROLLMENTS)}
    enrollments = GaugeMetricFamily("usher_enrollments", "Partner enrolments by status", labels=["status"])
    for status in ENROLLMENT_STATUSES:
        enrollments.add_metric([status], numbers.get(status, 0))
    oldest = session.execute(gauges.PENDING_OLDEST).scalar_one()
    help_text = "How long the oldest pending enrolment has been waiting"
    return [
        enrollments,
        GaugeMetricFamily("usher_enrollments_pending_oldest_seconds", help_text, value=oldest),
    ]
