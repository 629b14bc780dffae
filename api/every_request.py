"""What every request has, whoever answers it: an id, headers that keep its answer safe, a line in the log, a span."""

from __future__ import annotations

import re
import time
import uuid
from contextlib import nullcontext
from typing import Any

import structlog
from flask import Flask, Response, g, request

from api import sessions_browser
from workers import tracing

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
# Asked every few seconds by machines.
QUIET_ROUTES = frozenset({"/healthz", "/readyz", "/metrics", "/static/<path:filename>"})
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action {form_action}; frame-ancestors 'none'; base-uri 'none'"
)
# A view may set these to something else.
HEADERS = {
    "Content-Security-Policy": POLICY.format(form_action="'self'"),
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
NO_SNIFFING = ("X-Content-Type-Options", "nosniff")

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def register(app: Flask) -> None:
    """Have it for every request that reaches the app. Called first, so that nothing comes before or after."""
    app.before_request(begin)
    app.after_request(finish)


def begin() -> None:
    """Open the request, and its span."""
    g.request_id = name_request(request.headers.get("X-Request-ID", ""))
    g.started = time.perf_counter()
    g.span = nullcontext()
    if _route() not in QUIET_ROUTES:
        name = f"{request.method} {_route()}"
        g.span = tracing.entry(name, request.headers.get("traceparent"), request_id=g.request_id)
    g.span.__enter__()


def name_request(given: str) -> str:
    """Return the request's id, the caller's own where it is a sane one; every log line has it from now on."""
    request_id = given if REQUEST_ID.fullmatch(given) else str(uuid.uuid4())
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(process="api", request_id=request_id)
    return request_id


def finish(response: Response) -> Response:
    """Add the headers that every answer has, write the request's log line, and close its span."""
    headers = response.headers
    headers["X-Request-ID"] = g.request_id
    headers.set(*NO_SNIFFING)
    if "form_action" in g:
        headers.setdefault("Content-Security-Policy", POLICY.format(form_action=g.form_action))
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    sessions_browser.allow_origin(response)
    route, identity = _route(), g.get("identity")
    # A view that has something to say of every request leaves its words there, so that it takes one line and not two.
    event, values = g.get("told", ("request", {}))
    say(
        event,
        values,
        method=request.method,
        route=route,
        status=response.status_code,
        started=g.started,
        problem=g.get("problem"),
        role=None if identity is None else identity.role,
    )
    tracing.note(**{"http.response.status_code": response.status_code, "problem": g.get("problem")})
    g.span.__exit__(None, None, None)
    return response


def say(
    event: str,
    values: dict[str, Any],
    *,
    method: str,
    route: str,
    status: int,
    started: float,
    problem: str | None = None,
    role: str | None = None,
) -> None:
    """Write which route it was, never the filled path or the query, which hold ids and tokens."""
    write = log.debug if route in QUIET_ROUTES else log.info
    duration = round((time.perf_counter() - started) * 1000, 1)
    write(
        event,
        **values,
        method=method,
        route=route,
        status=status,
        duration_ms=duration,
        problem=problem,
        role=role,
    )


def _route() -> str:
    return "(none)" if request.url_rule is None else request.url_rule.rule
