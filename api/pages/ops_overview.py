"""The console's first page: who paid and waits, how it goes, what needs somebody, queues, partners, schedule, webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from flask import Blueprint
from flask_babel import format_datetime, format_decimal, format_percent, gettext, ngettext
from pydantic import BaseModel
from werkzeug.wrappers import Response

from api.auth import requires
from api.errors import read_query
from api.pages import charts
from api.pages.charts import Chart, Series
from api.pages.ops_console import duration, notice
from api.pages.viewer import load_viewer, render
from beat_schedule import BEAT_SCHEDULE
from db.jobs import database_now
from db.session import transaction
from domain import ops_overview, partner_health
from domain.ops_overview import Flow, Queue
from partners.registry import provider_types
from workers import queues

# Seconds between two signs of life of a relay, which leaves them among the turns of the schedule.
RELAY, RELAY_EVERY = "relay", 20.0
# Units of an axis of times, and how many seconds each has.
SCALES = (("s", 1), ("min", 60), ("h", 3600))

blueprint = Blueprint("ops_overview", __name__)


class OverviewQuery(BaseModel):
    """How far back the figures and charts look."""

    range: Literal["24h", "7d", "30d"] = "24h"


@blueprint.get("/ops")
@requires("ops")
def overview() -> Response:
    """Show how everything does now, and how it went."""
    wanted = read_query(OverviewQuery).range
    with transaction() as session:
        load_viewer(session)
        flow = ops_overview.flow(session, wanted, database_now(session))
        page: dict[str, Any] = {
            "not_ready": ops_overview.not_ready(session),
            "queues": ops_overview.list_queues(session, queues.all_queues()),
            "partners": partner_health.list_partners(session, provider_types()),
            "turns": ops_overview.list_turns(session, _turns()),
            "webhooks": ops_overview.webhooks(session),
            "given_up": ops_overview.given_up(session),
        }
    return render(
        "ops/overview.html",
        **page,
        here="/ops",
        range=wanted,
        ranges={"24h": gettext("24 hours"), "7d": gettext("7 days"), "30d": gettext("30 days")},
        flow=flow,
        charts=draw(flow),
        success=say_success(flow),
        busy=[queue for queue in page["queues"] if queue.open or not queue.consumers],
        idle=[queue for queue in page["queues"] if not queue.open and queue.consumers],
        unheard=[queue for queue in page["queues"] if is_unheard(queue)],
        unknown=any(queue.consumers is None for queue in page["queues"]),
        silent=[turn for turn in page["turns"] if turn.silent],
        troubled=[partner for partner in page["partners"] if partner["state"] != "ok"],
        duration=duration,
        notice=notice(),
    )


def is_unheard(queue: Queue) -> bool:
    """Say whether nobody listens to a queue that holds open jobs."""
    return queue.consumers == 0 and queue.open > 0


def draw(flow: Flow) -> list[Chart]:
    """Return the charts: enrolments and failures, time to ready, and both by partner."""
    short, labels = _labels(flow)
    most = max((row["p95"] or 0 for row in flow.bars), default=0)
    unit, scale = next((unit, scale) for unit, scale in SCALES if most < scale * 600 or unit == "h")
    found = [
        charts.bars(
            "flow",
            gettext("Enrolments and failed attempts"),
            _say_flow(flow),
            gettext("From"),
            labels,
            [
                _counts("first", gettext("Enrolments"), [row["opened"] for row in flow.bars]),
                _counts("second", gettext("Failed attempts"), [row["failures"] for row in flow.bars]),
            ],
            short,
        ),
        charts.lines(
            "ready",
            gettext("From payment to ready"),
            _say_ready(flow),
            gettext("From"),
            labels,
            [
                _times("first", gettext("Half of them within"), [row["p50"] for row in flow.bars], scale),
                _times("second", gettext("95 % of them within"), [row["p95"] for row in flow.bars], scale),
            ],
            short,
            f" {unit}",
        ),
    ]
    if flow.partners:
        names = [row["partner"] for row in flow.partners]
        found.append(
            charts.bars(
                "partners",
                gettext("By partner"),
                ngettext("%(num)s partner had enrolments.", "%(num)s partners had enrolments.", len(names)),
                gettext("Partner"),
                names,
                [
                    _counts("first", gettext("Enrolments"), [row["opened"] for row in flow.partners]),
                    _counts("second", gettext("Failed now"), [row["failed"] for row in flow.partners]),
                ],
            )
        )
    return found


def _turns() -> dict[str, float]:
    every = {
        entry["task"].removeprefix("tasks."): float(entry["schedule"]) for entry in BEAT_SCHEDULE.values()
    }
    return {RELAY: RELAY_EVERY, **every}


def _labels(flow: Flow) -> tuple[list[str], list[str]]:
    """Return what stands under the axis and what stands in the table, in the viewer's zone and language."""
    short = "d MMM" if flow.bar.days else ("EEE HH:mm" if flow.bar.total_seconds() > 3600 else "HH:mm")
    times: list[datetime] = [row["bar"] for row in flow.bars]
    return [format_datetime(at, short) for at in times], [format_datetime(at, "d MMM, HH:mm") for at in times]


def _counts(kind: str, name: str, values: Sequence[int]) -> Series:
    return Series(kind, name, values, [format_decimal(value) for value in values])


def _times(kind: str, name: str, values: Sequence[float | None], scale: int) -> Series:
    drawn = [None if value is None else float(value) / scale for value in values]
    return Series(kind, name, drawn, [duration(value) for value in values])


def _say_flow(flow: Flow) -> str:
    failures = sum(row["failures"] for row in flow.bars)
    said = gettext(
        "%(opened)s enrolments, %(ready)s of them ready, %(failures)s failed attempts.",
        opened=format_decimal(flow.total["opened"]),
        ready=format_decimal(flow.total["ready"]),
        failures=format_decimal(failures),
    )
    return str(said)


def _say_ready(flow: Flow) -> str:
    if flow.total["p50"] is None:
        return str(gettext("No seat became ready in this time."))
    said = gettext(
        "Half of the seats were ready within %(half)s, 95 %% within %(most)s.",
        half=duration(flow.total["p50"]),
        most=duration(flow.total["p95"]),
    )
    return str(said)


def say_success(flow: Flow) -> str:
    """Return the success rate in words; a dash where nothing is decided."""
    return "–" if flow.success is None else str(format_percent(flow.success, "#,##0.0 %"))
