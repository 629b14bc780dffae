"""Traces by OpenTelemetry: one from the request over inbox, job, relay and worker to the partner.

Off unless OTEL_EXPORTER_OTLP_ENDPOINT is set; nothing of OpenTelemetry is imported before that. What links processes is
the W3C traceparent: a job's row keeps the one of whoever asked for it, so the trace outlives the broker as the job does,
and each attempt continues it. Spans hold names, ids and figures; no filled paths, no bodies, no messages of errors.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from db import trace as traceparents
from partners import hooks
from partners.hooks import CallRecord
from settings import get_settings

# Seconds that one delivery of spans may take; it happens on a thread of its own.
TIMEOUT = 5
_tracer: Any = None


def attach(process: str) -> None:
    """Have this process deliver spans as `usher-{process}`, where an address for them is set."""
    global _tracer
    endpoint = get_settings().otel_exporter_otlp_endpoint
    if endpoint is None or _tracer is not None:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": f"usher-{process}"}))
    exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", timeout=TIMEOUT)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _tracer = provider.get_tracer("usher")
    hooks.observe(_tell_call)


def is_attached() -> bool:
    """Say whether this process delivers spans."""
    return _tracer is not None


@contextmanager
def span(name: str, **attributes: Any) -> Iterator[None]:
    """Have what follows be a part of what is being done."""
    if _tracer is None:
        yield
        return
    with _within(name, "INTERNAL", None, attributes):
        yield


@contextmanager
def entry(name: str, parent: str | None, *, role: str = "SERVER", **attributes: Any) -> Iterator[None]:
    """Have what follows continue the trace of a traceparent; without one, or with a broken one, it begins a trace."""
    if _tracer is None:
        yield
        return
    with _within(name, role, _context_of(parent), attributes):
        yield


@contextmanager
def job(name: str, parent: str | None, **attributes: Any) -> Iterator[None]:
    """Have what follows belong to a job: below the doorbell that rang for it, else below whoever asked for it."""
    here = traceparents.current.get()
    if _tracer is None or parent is None or (here is not None and _trace_id(here) == _trace_id(parent)):
        with span(name, **attributes):
            yield
    else:
        with entry(name, parent, role="CONSUMER", **attributes):
            yield


def note(**attributes: Any) -> None:
    """Write on the present span what became of it."""
    if _tracer is not None:
        from opentelemetry import trace

        trace.get_current_span().set_attributes(_plain(attributes))


def headers() -> dict[str, str]:
    """Return what a message carries, so that whoever hears it continues the trace."""
    here = traceparents.current.get()
    return {} if here is None else {"traceparent": here}


def flush() -> None:
    """Deliver what waits for the next batch."""
    if _tracer is not None:
        _tracer.span_processor.force_flush()


@contextmanager
def _within(name: str, role: str, context: Any, attributes: dict[str, Any]) -> Iterator[None]:
    from opentelemetry import trace

    made = _tracer.start_as_current_span(
        name,
        context=context,
        kind=trace.SpanKind[role],
        attributes=_plain(attributes),
        # The message of an exception may hold somebody's name.
        record_exception=False,
        set_status_on_exception=False,
    )
    with made as current:
        ids = current.get_span_context()
        trace_id, span_id = f"{ids.trace_id:032x}", f"{ids.span_id:016x}"
        token = traceparents.current.set(f"00-{trace_id}-{span_id}-{ids.trace_flags:02x}")
        try:
            with structlog.contextvars.bound_contextvars(trace_id=trace_id, span_id=span_id):
                yield
        except Exception as error:
            current.set_status(trace.StatusCode.ERROR, type(error).__name__)
            raise
        finally:
            traceparents.current.reset(token)


def _tell_call(record: CallRecord) -> None:
    """Make a span of a call to a partner, which is told of when it is over."""
    from opentelemetry import trace

    ended = time.time_ns()
    made = _tracer.start_span(
        f"{record.method} {record.path_template}",
        kind=trace.SpanKind.CLIENT,
        start_time=ended - int(record.duration_ms * 1e6),
        attributes=_plain(
            {
                "partner": record.partner,
                "outcome": record.outcome,
                "http.request.method": record.method,
                "http.response.status_code": record.status,
            }
        ),
    )
    if record.outcome != "ok":
        made.set_status(trace.StatusCode.ERROR, record.outcome)
    made.end(ended)


def _context_of(parent: str | None) -> Any:
    """Return the context of a traceparent; an empty one where there is none, so that nothing left over is continued."""
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {} if parent is None else {"traceparent": parent}
    return TraceContextTextMapPropagator().extract(carrier, context=Context())


def _trace_id(traceparent: str) -> str:
    return traceparent.partition("-")[2].partition("-")[0]


def _plain(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value is not None}
