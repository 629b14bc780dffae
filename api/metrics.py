"""What Prometheus is told. Everything is read from PostgreSQL at the scrape, in a fixed number of queries.

None of them grows with history; what only a long count can tell is counted beside the scrapes (`domain/gauges.py`).
So every process tells the same and none counts on its own. Labels have few values: partners, queues and courses that
somebody configured, and closed lists.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from sqlalchemy.orm import Session

from beat_schedule import BEAT_SCHEDULE
from db.models.enrollment import ENROLLMENT_STATUSES
from db.models.watch import ALERT_KINDS
from db.session import transaction
from domain import gauges
from partners.registry import provider_types
from settings import get_settings

# The name under which relays give signs of life (workers.relay), and those under which turns are claimed.
RELAY = "relay"
TURNS = sorted(entry["task"].removeprefix("tasks.") for entry in BEAT_SCHEDULE.values())

# A sample: the values of the labels, and the figure. None: it is not known.
Sample = tuple[Sequence[str], Any]


class DatabaseCollector:
    """Reads the gauges from PostgreSQL when it is asked."""

    def describe(self) -> Iterable[Metric]:
        """Yield nothing, so that registering does not need the database."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Yield every metric, in one short transaction."""
        with transaction() as session:
            families = [family for read in READERS for family in read(session)]
        yield from families


REGISTRY = CollectorRegistry()


def gauge(name: str, told: str, labels: Sequence[str], samples: Iterable[Sample]) -> Metric:
    """Return a gauge; what is not known is NaN, which no comparison holds for."""
    return _fill(GaugeMetricFamily(name, told, labels=labels), samples)


def counter(name: str, told: str, labels: Sequence[str], samples: Iterable[Sample]) -> Metric:
    """Return a counter, whose name ends in `_total`."""
    return _fill(CounterMetricFamily(name, told, labels=labels), samples)


def _fill(family: Any, samples: Iterable[Sample]) -> Metric:
    for labels, value in samples:
        family.add_metric(list(labels), math.nan if value is None else float(value))
    found: Metric = family
    return found


def _jobs(session: Session) -> Iterator[Metric]:
    open_jobs, given_up = (
        session.execute(gauges.OPEN_JOBS).all(),
        session.execute(gauges.GIVEN_UP_JOBS).one(),
    )
    states = {name: sum(getattr(row, name) for row in open_jobs) for name in ("due", "ready", "running")}
    states |= {"failed": given_up.failed, "parked": given_up.parked}
    yield gauge(
        "usher_jobs",
        "Jobs by state; due ones are ready or left by a dead worker",
        ["state"],
        [([state], number) for state, number in states.items()],
    )
    yield gauge(
        "usher_oldest_due_job_seconds",
        "How long the oldest due job has been due; partners that are left alone do not count",
        [],
        [([], max((row.oldest_due for row in open_jobs), default=0))],
    )
    yield gauge(
        "usher_relay_lag_seconds",
        "How long the oldest due job has been waiting for its doorbell",
        [],
        [([], max((row.oldest_unrung for row in open_jobs), default=0))],
    )
    yield gauge(
        "usher_queue_due", "Due jobs by queue", ["queue"], [([row.queue], row.due) for row in open_jobs]
    )
    yield gauge(
        "usher_queue_oldest_due_seconds",
        "How long the oldest due job of a queue has been due",
        ["queue"],
        [([row.queue], row.oldest_due) for row in open_jobs],
    )


def _queues(session: Session) -> Iterator[Metric]:
    seen = session.execute(gauges.QUEUES, {"believed": gauges.DEPTH_BELIEVED}).all()
    nodes = session.execute(gauges.CONSUMERS, {"gone": gauges.WORKER_GONE})
    consumers = {row.queue: row.number for row in nodes}
    names = {row.queue for row in seen} | consumers.keys()
    yield gauge(
        "usher_queue_depth",
        "Doorbells in the broker, as a relay saw them last; NaN while it does not answer",
        ["queue"],
        [([row.queue], row.depth) for row in seen],
    )
    yield gauge(
        "usher_queue_unclaimed_seconds",
        "For how long the job that is due the longest has not been claimed; 0 while work goes on",
        ["queue"],
        [([row.queue], row.unclaimed) for row in seen],
    )
    yield gauge(
        "usher_queue_consumers",
        "Workers that listen to a queue, by their signs of life",
        ["queue"],
        [([name], consumers.get(name, 0)) for name in sorted(names)],
    )


def _inbox(session: Session) -> Iterator[Metric]:
    rows = session.execute(gauges.INBOX).all()
    received = {row.source: row for row in rows if row.received}
    yield gauge(
        "usher_inbox_waiting",
        "Events that wait for a person",
        [],
        [([], sum(row.number for row in rows if not row.received))],
    )
    yield gauge(
        "usher_webhook_lag_seconds",
        "How long the oldest stored event has been waiting to be looked at",
        ["source"],
        [([name], received[name].oldest if name in received else 0) for name in ("stripe", "partner")],
    )


def _enrollments(session: Session) -> Iterator[Metric]:
    yield gauge(
        "usher_enrollments_pending_oldest_seconds",
        "How long the oldest pending enrolment has been waiting",
        [],
        [([], session.execute(gauges.PENDING_OLDEST).scalar_one())],
    )


def _payments(session: Session) -> Iterator[Metric]:
    rows = session.execute(gauges.UNREADY, {"deadline": get_settings().payment_deadline}).all()
    at = {stage: [row for row in rows if row.stage == stage] for stage in gauges.STAGES}
    yield gauge(
        "usher_payments_unready",
        "Who paid and cannot learn yet, by where they wait: inbox, walk, staff",
        ["stage"],
        [([stage], sum(row.number for row in found)) for stage, found in at.items()],
    )
    yield gauge(
        "usher_payments_unready_oldest_seconds",
        "How long the longest of them has been waiting",
        ["stage"],
        [([stage], max((row.oldest for row in found), default=0)) for stage, found in at.items()],
    )
    yield gauge(
        "usher_payments_overdue",
        "Those of them who are past their deadline (PAYMENT_DEADLINE, or the hours that a partner's people take)",
        ["stage"],
        [([stage], sum(row.overdue for row in found)) for stage, found in at.items()],
    )


def _success(session: Session) -> Iterator[Metric]:
    rows = session.execute(gauges.RECENT).all()
    yield gauge(
        "usher_enrollment_outcomes",
        "Enrolments that were opened within a window, by what became of them",
        ["partner", "window", "outcome"],
        [([row.partner, row.span, name], getattr(row, name)) for row in rows for name in gauges.OUTCOMES],
    )
    yield gauge(
        "usher_enrollment_success_ratio",
        "Enrolment success rate: ready ones among those that are ready or failed",
        ["partner", "window"],
        [([row.partner, row.span], _ratio(row.ready, row.ready + row.failed)) for row in rows],
    )
    yield gauge(
        "usher_enrollment_time_seconds",
        "Time to enrolment: from the payment's webhook to a launch that works",
        ["partner", "window", "quantile"],
        [
            ([row.partner, row.span, quantile], took)
            for row in rows
            for quantile, took in (("0.5", row.p50), ("0.95", row.p95))
        ],
    )


def _syncs(session: Session) -> Iterator[Metric]:
    rows = session.execute(gauges.SYNCS, {"interval": get_settings().sync_interval}).all()
    yield counter(
        "usher_syncs_total",
        "Progress syncs that were begun, retries included",
        ["partner"],
        [([row.partner], row.begun) for row in rows],
    )
    yield gauge(
        "usher_sync_age_seconds",
        "How long ago the progress of a partner with active seats was last synced through",
        ["partner"],
        [([row.partner], row.age) for row in rows if row.age is not None],
    )
    yield gauge(
        "usher_sync_interval_seconds",
        "How often it is to be synced",
        ["partner"],
        [([row.partner], row.every) for row in rows],
    )


def _counted(session: Session) -> Iterator[Metric]:
    kept = gauges.read_counted(session)
    seats = (
        {row["status"]: row["number"] for row in kept["enrollments"].figures}
        if "enrollments" in kept
        else None
    )
    yield gauge(
        "usher_enrollments",
        "Partner enrolments by status, as relays and workers counted them last",
        ["status"],
        [([status], None if seats is None else seats.get(status, 0)) for status in ENROLLMENT_STATUSES],
    )
    rows = kept["certificates"].figures if "certificates" in kept else []
    yield gauge(
        "usher_certificates",
        "Courses that were completed within 7 days, by what became of the partner's certificate; counted with the same",
        ["partner", "state"],
        [([row["partner"], name], row[name]) for row in rows for name in gauges.CERTIFICATE_STATES],
    )
    yield gauge(
        "usher_certificate_retrieval_ratio",
        "Certificate retrieval rate: fetched ones among those that the partner has to give",
        ["partner"],
        [
            ([row["partner"]], _ratio(row["fetched"], row["fetched"] + row["awaited"] + row["failed"]))
            for row in rows
        ],
    )
    yield gauge(
        "usher_counted_age_seconds",
        "How long ago enrolments by status and certificates were counted, which the scrape does not do itself",
        ["figure"],
        [([name], kept[name].age if name in kept else None) for name in gauges.COUNTED],
    )


def _partners(session: Session) -> Iterator[Metric]:
    calls = session.execute(gauges.CALLS).all()
    yield counter(
        "usher_partner_calls_total",
        "Calls to partners by outcome; successful reads of progress are not counted",
        ["partner", "outcome"],
        [([row.partner, row.outcome], row.calls) for row in calls],
    )
    yield counter(
        "usher_partner_call_seconds_total",
        "Seconds that these calls took",
        ["partner", "outcome"],
        [([row.partner, row.outcome], row.seconds) for row in calls],
    )
    known = {row.partner: row.condition for row in session.execute(gauges.PARTNERS)}
    names = sorted(known.keys() | set(provider_types()))
    yield gauge(
        "usher_partner_state",
        "1 for the state in which a partner is: ok, probing and open (its circuit), paused",
        ["partner", "state"],
        [
            ([name, state], known.get(name, "ok") == state)
            for name in names
            for state in gauges.PARTNER_CONDITIONS
        ],
    )


def _processes(session: Session) -> Iterator[Metric]:
    ages = gauges.last_turns(session, [*TURNS, RELAY])
    relay = ages.pop(RELAY)
    yield gauge("usher_relay_age_seconds", "How long ago a relay gave a sign of life", [], [([], relay)])
    yield gauge(
        "usher_beat_age_seconds",
        "How long ago a turn of the schedule was last taken",
        [],
        [([], min((age for age in ages.values() if age is not None), default=None))],
    )
    yield gauge(
        "usher_turn_age_seconds",
        "How long ago each turn of the schedule was last taken",
        ["turn"],
        [([name], age) for name, age in ages.items()],
    )


def _people(session: Session) -> Iterator[Metric]:
    waiting = session.execute(gauges.WAITING).one()
    yield gauge(
        "usher_staff_items",
        "What waits for staff: open failures, work items at partners without an API, findings",
        ["kind"],
        [([kind], getattr(waiting, kind)) for kind in ("failures", "work_items", "findings")],
    )
    pools = session.execute(gauges.VOUCHERS).all()
    yield gauge(
        "usher_vouchers_free",
        "Vouchers that can be handed out",
        ["partner", "course"],
        [([row.partner, row.course], row.free) for row in pools],
    )
    yield gauge(
        "usher_voucher_pools",
        "Pools that run low, and empty ones",
        ["level"],
        [([level], sum(getattr(row, level) for row in pools)) for level in ("low", "empty")],
    )


def _rest(session: Session) -> Iterator[Metric]:
    yield gauge(
        "usher_xp_repairs",
        "Users whose XP total differed from their ledger and was repaired by the proof, in 24 hours",
        [],
        [([], session.scalar(gauges.XP_REPAIRS))],
    )
    lti = session.execute(gauges.LTI).one()
    yield gauge(
        "usher_lti_launches",
        "LTI launches of 24 hours: issued by us, and those of them that a tool took up",
        ["state"],
        [([name], getattr(lti, name)) for name in ("issued", "used")],
    )
    alerts = {row.kind: row.number for row in session.execute(gauges.OPEN_ALERTS)}
    yield gauge(
        "usher_alerts_open",
        "Alerts of Usher itself that are open",
        ["kind"],
        [([kind], alerts.get(kind, 0)) for kind in ALERT_KINDS],
    )


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


READERS = (
    _jobs,
    _queues,
    _inbox,
    _enrollments,
    _payments,
    _success,
    _syncs,
    _counted,
    _partners,
    _processes,
    _people,
    _rest,
)
REGISTRY.register(DatabaseCollector())
