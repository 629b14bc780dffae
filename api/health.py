"""Is it alive, is it ready, how much is there to do: for load balancers and Prometheus."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from api.auth import public
from api.metrics import REGISTRY
from db.migrate import current_revision, head_revision, known_revisions
from db.session import get_engine

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
    """Return the metrics in Prometheus' text format."""
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
