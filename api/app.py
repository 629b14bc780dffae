"""The HTTP front: `gunicorn 'api.app:create_app()'`. Needs PostgreSQL only; a dead broker does not slow it."""

from __future__ import annotations

import hashlib
import re
import time
import uuid
from contextlib import nullcontext
from pathlib import Path

import structlog
from flask import Flask, Response, g, request

from api import (
    access_log,
    achievements,
    assignments,
    auth,
    certificates,
    courses,
    enrollments,
    errors,
    health,
    i18n,
    launch,
    live,
    lti,
    lti_deep_linking,
    lti_registration,
    lti_services,
    lti_token,
    openapi,
    ops_achievements,
    ops_assignments,
    ops_certificates,
    ops_course_deletion,
    ops_courses,
    ops_lti,
    ops_manual,
    ops_multipliers,
    ops_partner_connections,
    ops_privacy,
    ops_quiz_attempts,
    ops_quizzes,
    ops_streaks,
    ops_vouchers,
    ops_xp,
    partner_webhook,
    profile,
    quizzes,
    sessions_browser,
    stripe_webhook,
    student,
    users,
    xp,
)
from api.pages import assignments as assignment_pages
from api.pages import courses as course_pages
from api.pages import (
    dashboard,
    language,
    ops_audit,
    ops_enrollment,
    ops_failures,
    ops_grading,
    ops_inbox,
    ops_overview,
    ops_partners,
    ops_students,
    ops_waiting,
)
from api.pages import lessons as lesson_pages
from api.pages import mails as mail_pages
from api.pages import ops_manual as ops_manual_pages
from api.pages import ops_xp as ops_xp_pages
from api.pages import quizzes as quiz_pages
from api.pages import settings as settings_page
from settings import get_settings
from workers import connections, sentry, tracing
from workers import lti as lti_tools
from workers.telemetry import configure_logging

# Seconds that a browser may keep a static file; its address changes with its content.
STATIC_MAX_AGE = 7 * 24 * 3600
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
# Asked every few seconds by machines.
QUIET_ROUTES = frozenset({"/healthz", "/readyz", "/metrics", "/static/<path:filename>"})
BLUEPRINTS = (
    achievements,
    assignment_pages,
    assignments,
    auth,
    certificates,
    course_pages,
    courses,
    dashboard,
    enrollments,
    health,
    language,
    launch,
    live,
    lesson_pages,
    lti,
    lti_deep_linking,
    lti_registration,
    lti_services,
    lti_token,
    mail_pages,
    openapi,
    ops_achievements,
    ops_assignments,
    ops_audit,
    ops_certificates,
    ops_course_deletion,
    ops_courses,
    ops_enrollment,
    ops_failures,
    ops_inbox,
    ops_grading,
    ops_lti,
    ops_manual,
    ops_manual_pages,
    ops_multipliers,
    ops_overview,
    ops_partner_connections,
    ops_partners,
    ops_privacy,
    ops_quiz_attempts,
    ops_quizzes,
    ops_streaks,
    ops_students,
    ops_vouchers,
    ops_waiting,
    ops_xp,
    ops_xp_pages,
    partner_webhook,
    profile,
    quiz_pages,
    quizzes,
    settings_page,
    stripe_webhook,
    student,
    users,
    xp,
)
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action {form_action}; frame-ancestors 'none'; base-uri 'none'"
)

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def create_app() -> Flask:
    """Return the app; raise `settings.ConfigurationError` when the environment is not usable."""
    get_settings()
    configure_logging("api")
    tracing.attach("api")
    sentry.attach("api")
    lti_tools.attach()
    connections.attach()
    app = Flask(__name__)
    app.config.update(MAX_CONTENT_LENGTH=errors.MAX_BODY, SEND_FILE_MAX_AGE_DEFAULT=STATIC_MAX_AGE)
    app.jinja_env.globals.update(asset_version=_asset_version(), settings=get_settings)
    app.before_request(begin)
    app.before_request(sessions_browser.answer_preflight)
    app.before_request(auth.guard)
    app.after_request(finish)
    access_log.register(app)
    errors.register(app)
    i18n.register(app)
    auth.public(app.view_functions["static"])
    for module in BLUEPRINTS:
        app.register_blueprint(module.blueprint)
    return app


def begin() -> None:
    """Give the request an id, the caller's own where it is a sane one, and bind it to every log line."""
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if REQUEST_ID.fullmatch(given) else str(uuid.uuid4())
    g.started = time.perf_counter()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(process="api", request_id=g.request_id)
    g.span = nullcontext()
    if _route() not in QUIET_ROUTES:
        name = f"{request.method} {_route()}"
        g.span = tracing.entry(name, request.headers.get("traceparent"), request_id=g.request_id)
    g.span.__enter__()


def finish(response: Response) -> Response:
    """Add the headers that every answer has, and write the request's log line."""
    headers = response.headers
    headers["X-Request-ID"] = g.request_id
    headers["X-Content-Type-Options"] = "nosniff"
    headers.setdefault("Content-Security-Policy", POLICY.format(form_action=g.get("form_action", "'self'")))
    headers.setdefault("Referrer-Policy", "same-origin")
    headers.setdefault("Cache-Control", "no-store")
    sessions_browser.allow_origin(response)
    _log_request(response)
    tracing.note(**{"http.response.status_code": response.status_code, "problem": g.get("problem")})
    g.span.__exit__(None, None, None)
    return response


def _log_request(response: Response) -> None:
    """Write which route it was, never the filled path or the query, which hold ids and tokens.

    A view that has something to say of every request leaves its words in `g.told`, so that it takes one line and not two.
    """
    route = _route()
    write = log.debug if route in QUIET_ROUTES else log.info
    identity = g.get("identity")
    event, values = g.get("told", ("request", {}))
    write(
        event,
        **values,
        method=request.method,
        route=route,
        status=response.status_code,
        duration_ms=round((time.perf_counter() - g.started) * 1000, 1),
        problem=g.get("problem"),
        role=None if identity is None else identity.role,
    )


def _route() -> str:
    return "(none)" if request.url_rule is None else request.url_rule.rule


def _asset_version() -> str:
    """Return a short name of what the static files hold."""
    files = sorted(path for path in (Path(__file__).parent / "static").rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]
