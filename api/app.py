"""The HTTP front: `gunicorn 'api.app:create_app()' --worker-class api.server.Worker`. Needs PostgreSQL only; a dead broker does not slow it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from flask import Flask

from api import (
    access_log,
    achievements,
    assignments,
    auth,
    certificates,
    courses,
    enrollments,
    errors,
    every_request,
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
from api.express import ExpressLane
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
    every_request.register(app)
    app.before_request(sessions_browser.answer_preflight)
    app.before_request(auth.guard)
    access_log.register(app)
    errors.register(app)
    i18n.register(app)
    auth.public(app.view_functions["static"])
    for module in BLUEPRINTS:
        app.register_blueprint(module.blueprint)
    app.wsgi_app = ExpressLane(app.wsgi_app)  # type: ignore[method-assign]
    return app


def _asset_version() -> str:
    """Return a short name of what the static files hold."""
    files = sorted(path for path in (Path(__file__).parent / "static").rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]
