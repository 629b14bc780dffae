"""A shop with a real sandbox behind it, `/metrics` as Prometheus reads it, and the rules as promtool evaluates them."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from flask.testing import FlaskClient

import settings as settings_module
import tasks.enrollment
import tasks.mail
import tasks.payments
import tasks.progress
import tasks.watch
import tasks.xp  # noqa: F401 - registers the kinds
from api.app import create_app
from db import inbox
from db.session import transaction
from domain import gauges, payments
from partners.registry import get_partner
from tests.api.conftest import restored_logging
from tests.conftest import Database
from tests.e2e.conftest import stack
from tests.partners.conftest import API_KEY, RunningSandbox, running_sandbox, sandbox
from tests.stack import ROOT, checkout_event, make_course, make_students, order, rows
from workers import watch
from workers.job import run_due

__all__ = ["restored_logging", "running_sandbox", "sandbox", "stack"]

RULES = ROOT / "deploy/prometheus/alerts.yml"
PAY, WALK = "payments.process", "enrollment.walk"
SYNC = ["progress.sync", "progress.certificate"]
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


class Shop:
    """One partner with one course, played by the sandbox; what happens is done by the tasks themselves."""

    def __init__(self, client: FlaskClient, sandbox: RunningSandbox) -> None:
        self.client, self.sandbox = client, sandbox
        self.provider, self.course = make_course()

    def buy(self, metadata: dict[str, str] | None = None) -> str:
        """Store a paid checkout of a fresh student, as the webhook does; return the student."""
        [student] = make_students(1, prefix=f"s{len(rows('SELECT 1 FROM users'))}")
        body = checkout_event(metadata or order(student, self.provider, self.course))
        event = json.loads(body)
        assert event["type"] in payments.HANDLED_TYPES
        with transaction() as session:
            inbox.store(
                session,
                source="stripe",
                external_id=event["id"],
                type=event["type"],
                payload=body,
                kind=PAY,
                queue="payments",
            )
        return student

    def work_off(self, *kinds: str) -> None:
        """Do what is due of some kinds."""
        while run_due(list(kinds) or [PAY, WALK]):
            pass

    def scrape(self) -> str:
        """Return what Prometheus reads after somebody looked for alerts, who counts as well."""
        watch.recount()
        return self.read()

    def read(self) -> str:
        """Return what Prometheus reads now."""
        answer = self.client.get("/metrics")
        assert answer.status_code == 200
        return answer.get_data(as_text=True)

    def values(self) -> dict[str, float]:
        """Return the figures by metric and labels."""
        return dict(samples(self.scrape()))


def samples(page: str) -> Iterator[tuple[str, float]]:
    """Yield (metric with labels, figure) of a page."""
    for line in page.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            yield name, float(value)


def firing(page: str, tmp_path: Path, before: str | None = None) -> set[str]:
    """Return the alerts that the rules raise when the figures stay as they are for a while, and were `before` earlier."""
    earlier = dict(samples(before or page))
    # Enough of the earlier figures for a rate to have something to start from.
    series = {
        name: f"{earlier.get(name, 0 if before else value):g} {value:g}x30"
        for name, value in samples(page)
        if value == value
    }
    return evaluate(series, tmp_path, minutes=12)


def firing_after(pages: Sequence[str], tmp_path: Path, *, minutes: int) -> set[str]:
    """Return the alerts that the rules raise at the end, after each page's figures stood for so many minutes."""
    figures = [dict(samples(page)) for page in pages]
    series = {}
    for name in sorted({name for page in figures for name in page}):
        stood = [page.get(name, math.nan) for page in figures]
        series[name] = " ".join(
            f"{'_' if math.isnan(value) else f'{value:g}'}x{minutes - 1}" for value in stood
        )
    return evaluate(series, tmp_path, minutes=minutes * len(pages) - 1)


def evaluate(series: dict[str, str], tmp_path: Path, *, minutes: int) -> set[str]:
    """Return the alerts that fire after so many minutes of these series, which have a figure for each minute.

    promtool only compares with what is expected, so nothing is expected and what it got is read.
    """
    expected = {"expr": 'ALERTS{alertstate="firing"}', "eval_time": f"{minutes}m", "exp_samples": []}
    given = [{"series": name, "values": values} for name, values in series.items()]
    test = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": given, "promql_expr_test": [expected]}],
    }
    (tmp_path / "now.test.yml").write_text(json.dumps(test))
    done = subprocess.run(
        ["promtool", "test", "rules", str(tmp_path / "now.test.yml")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    told = done.stdout + done.stderr
    assert done.returncode == 0 or "got" in told, told
    return set(re.findall(r'alertname=\\?"(\w+)', told))


def alerts() -> set[tuple[str, str]]:
    """Return (kind, subject) of the alerts that Usher itself has open."""
    return set(rows("SELECT kind, subject FROM alerts WHERE resolved_at IS NULL"))


def told(kind: str) -> list[str]:
    """Return the events of a kind of alert that programs were to be told, in order."""
    return [
        str(row[0]).split(":")[1]
        for row in rows(
            "SELECT j.business_key FROM jobs j JOIN alerts a ON a.id = j.subject_id"
            " WHERE j.kind = 'alerts.post' AND a.kind = :kind ORDER BY j.created_at",
            kind=kind,
        )
    ]


def look_again() -> None:
    """Look as a relay does that has been up for long."""
    watch.look()


@pytest.fixture
def shop(
    database: Database,
    usher_env: dict[str, str],
    sandbox: RunningSandbox,
    restored_logging: None,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Shop]:
    """The shop; a payment that is not ready is overdue at once."""
    for name, value in {
        "SANDBOX_URL": sandbox.url,
        "SANDBOX_API_KEY": API_KEY,
        "BREAKER_THRESHOLD": "2",
        "BREAKER_BASE": "60",
        "PAYMENT_DEADLINE": "0.000001",
    }.items():
        monkeypatch.setenv(name, value)
    settings_module.get_settings.cache_clear()
    get_partner.cache_clear()
    # What takes no time to count is counted at each look.
    monkeypatch.setattr(gauges, "COUNTING_SHARE", math.inf)
    # This process has been looking for long, so that what is silent is silent.
    monkeypatch.setattr(watch, "_STARTED", -1e6)
    yield Shop(create_app().test_client(), sandbox)
    get_partner.cache_clear()
