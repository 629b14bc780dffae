"""One trace from the webhook to the partner, over real processes, and nothing at all where no collector is named."""

from __future__ import annotations

import json
import subprocess
import uuid

import pytest
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import settings as settings_module
from api.app import create_app
from db import jobs
from db import trace as traceparents
from db.session import transaction
from partners.errors import RetryLater
from settings import ConfigurationError, load_settings
from tests.conftest import Database
from tests.recover.clock import pass_time
from tests.recover.conftest import Listener
from tests.stack import (
    PYTHON,
    ROOT,
    Stack,
    checkout_event,
    make_course,
    make_students,
    order,
    sign,
    wait_until,
)
from workers import job as job_module
from workers import tracing
from workers.job import JobRun, run_due

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
# What has to be there, each below the one before it.
WAY = [
    ("usher-api", "POST /api/stripe/webhook"),
    ("usher-api", "inbox store"),
    ("usher-relay", "ring payments.process"),
    ("usher-worker", "task payments.process"),
    ("usher-worker", "job payments.process"),
    ("usher-relay", "ring enrollment.walk"),
    ("usher-worker", "task enrollment.walk"),
    ("usher-worker", "job enrollment.walk"),
    ("usher-worker", "step seat"),
    ("usher-worker", "POST /enrollments"),
]
# The same where the payment's worker goes on with the enrolment.
SHORT_WAY = [*WAY[:4], *WAY[7:]]


class Span:
    """A span as the collector got it."""

    def __init__(self, service: str, span: object) -> None:
        self.service, self.name = service, span.name  # type: ignore[attr-defined]
        self.trace, self.id, self.parent = (
            raw.hex()
            for raw in (span.trace_id, span.span_id, span.parent_span_id)  # type: ignore[attr-defined]
        )


def spans(listener: Listener) -> list[Span]:
    found = []
    for body in listener.bodies("/v1/traces"):
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = {item.key: item.value.string_value for item in group.resource.attributes}
            found += [
                Span(names["service.name"], span) for scope in group.scope_spans for span in scope.spans
            ]
    return found


def way(found: list[Span]) -> list[tuple[str, str]]:
    """Return service and name of each span from the partner's call up to the request."""
    by_id = {span.id: span for span in found}
    at = next((span for span in found if span.name == WAY[-1][1]), None)
    names = []
    while at is not None:
        names.append((at.service, at.name))
        at = by_id.get(at.parent)
    return names[::-1]


@pytest.mark.e2e
def test_a_payment_is_one_trace_from_the_webhook_to_the_partner(stack: Stack, listener: Listener) -> None:
    stack.env |= {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{listener.port}",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "LOG_LEVEL": "DEBUG",
    }
    stack.start_chain()
    provider, course = make_course()
    body = checkout_event(order(*make_students(1), provider, course))
    headers = {"Stripe-Signature": sign(body), "traceparent": f"00-{TRACE}-{CALLER}-01"}
    url = f"{stack.api_url}/api/stripe/webhook"
    assert requests.post(url, data=body, headers=headers, timeout=10).status_code == 200
    stack.wait_for_statuses({"active": 1})
    wait_until(lambda: len(stack.mails()) == 1, 20)
    wait_until(lambda: any(span.name == "job mail.send" for span in spans(listener)), 20)
    wait_until(lambda: way(spans(listener)) in (WAY, SHORT_WAY), 20, lambda: f"{way(spans(listener))}")
    ours = [span for span in spans(listener) if span.trace == TRACE]
    # One tree: its root hangs on the caller's span, everything else on a span of the trace.
    ids = {span.id for span in ours}
    assert [span.name for span in ours if span.parent not in ids] == ["POST /api/stripe/webhook"]
    assert {span.parent for span in ours} - ids == {CALLER}
    told = b"".join(listener.bodies("/v1/traces"))
    assert not [word for word in (b"example.com", b"Student 1", b"whsec_") if word in told]
    check_logs(stack, ids)


def check_logs(stack: Stack, ids: set[str]) -> None:
    """Every log line about the payment has the trace's id, and a span's that the collector knows."""
    lines = [
        json.loads(line)
        for name in ("api", "worker0")
        for line in stack.log(name).read_text().splitlines()
        if line.startswith("{")
    ]
    about = [line for line in lines if line.get("correlation_id")]
    assert {line["event"] for line in about} >= {
        "[StripeWebhook] stored",
        "[autoEnrollPartnerCourse] enrolled",
        "partner call",
        "mail sent",
    }
    assert {line["trace_id"] for line in about} == {TRACE}
    assert {line["span_id"] for line in about} <= ids


@pytest.fixture
def kept(database: Database, monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Spans of this process, kept in it."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_tracer", provider.get_tracer("tests"))
    return exporter


def test_a_retry_without_any_doorbell_belongs_to_the_trace_of_who_asked(
    kept: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str | None] = []

    def handler(run: JobRun) -> None:
        seen.append(traceparents.current.get())
        if len(seen) == 1:
            raise RetryLater("not now")

    monkeypatch.setitem(job_module.KINDS, "test.traced", job_module.JobKind("test.traced", handler, None))
    job = jobs.Enqueue("test.traced", "1", queue="control", subject_id=str(uuid.uuid4()))
    with tracing.entry("asked", f"00-{TRACE}-{CALLER}-01"), transaction() as session:
        jobs.enqueue(session, job)
    assert run_due(["test.traced"])
    pass_time(hours=72)
    assert run_due(["test.traced"])
    assert [str(one).split("-")[1] for one in seen] == [TRACE, TRACE]
    found = {(span.name, span.attributes.get("outcome")) for span in kept.get_finished_spans()}
    assert found == {("asked", None), ("job test.traced", "retry_later"), ("job test.traced", None)}
    assert traceparents.current.get() is None


@pytest.mark.parametrize("given", ["", "nonsense", f"00-{'0' * 32}-{CALLER}-01", f"ff-{TRACE}-{CALLER}-01"])
def test_a_traceparent_that_is_none_begins_a_trace(kept: InMemorySpanExporter, given: str) -> None:
    client = create_app().test_client()
    client.get("/api/xp", headers={"traceparent": given})
    client.get("/healthz")
    [span] = kept.get_finished_spans()
    assert span.parent is None
    assert f"{span.context.trace_id:032x}" not in (TRACE, "0" * 32)


def test_nothing_of_it_is_imported_where_it_is_off(usher_env: dict[str, str]) -> None:
    script = (
        "import sys, api.app, workers.app, workers.relay, tasks.enrollment, tasks.payments\n"
        "api.app.create_app()\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'sentry_sdk'))])"
    )
    done = subprocess.run(
        [PYTHON, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=110, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "value", "extra"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318", "tracing"),
        ("SENTRY_DSN", "https://key@sentry.example.com/1", "sentry"),
    ],
)
def test_a_setting_whose_extra_is_missing_says_what_to_install(
    usher_env: dict[str, str], monkeypatch: pytest.MonkeyPatch, name: str, value: str, extra: str
) -> None:
    monkeypatch.setenv(name, value)
    assert load_settings() is not None
    monkeypatch.setattr(settings_module, "_is_installed", lambda module: False)
    with pytest.raises(ConfigurationError, match=rf"{name} is wrong: .*usher\[{extra}\]"):
        load_settings()
