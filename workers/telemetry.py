"""Structured logs: JSON in production, readable in development, secrets and personal data taken out of both.

The seeds' tags (`[StripeWebhook]`, `[autoEnrollPartnerCourse]`, `[syncSingleEnrollment]`) open the event names, and
`correlation_id`, the id of the inbox event, runs from the webhook to the mail.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog
from structlog.types import EventDict, Processor

from partners.redaction import redact
from workers import sentry

# Libraries that would log addresses and bodies at INFO or DEBUG.
# Celery's own lines on each doorbell say less than the jobs' lines do.
QUIET = (
    "celery.worker.strategy",
    "celery.app.trace",
    "urllib3",
    "requests",
    "stripe",
    "kombu",
    "amqp",
    "alembic",
    "werkzeug",
    "aiohttp",
)


# Ids that look like keys to the redaction and are none.
IDS = frozenset(
    {
        "correlation_id",
        "enrollment_id",
        "event_id",
        "job_id",
        "request_id",
        "span_id",
        "stripe_event_id",
        "timestamp",
        "trace_id",
    }
)


def redact_values(logger: Any, name: str, event: EventDict) -> EventDict:
    """Take credentials, e-mail addresses and URL queries out of every text of a log record."""
    for key, value in event.items():
        if isinstance(value, str) and key not in IDS:
            event[key] = redact(value)
    return event


# One list, changed in place: a logger that was used before keeps it, and so follows a second configuration.
PROCESSORS: list[Processor] = []


def configure_logging(process: str, *, format: str | None = None, level: str | None = None) -> None:
    """Send this process's structlog and stdlib records to standard error in one form. May be called twice."""
    if format is None or level is None:
        from settings import get_settings

        settings = get_settings()
        format, level = format or settings.log_format, level or settings.log_level
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        sentry.watch,
        structlog.processors.format_exc_info,
    ]
    final: Processor = (
        structlog.processors.JSONRenderer()
        if format == "json"
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    PROCESSORS[:] = [
        structlog.stdlib.filter_by_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        *shared,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ]
    structlog.configure(
        processors=PROCESSORS,
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact_values, final],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in QUIET:
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.contextvars.bind_contextvars(process=process)
