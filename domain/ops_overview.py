"""What staff look at first: who paid and waits, how well and how fast it goes, queues, partners, the schedule, webhooks.

Everything is read from the database. What only the broker could tell, who listens to which queue, the workers write
down (`workers/heartbeat.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from domain.gauges import GIVEN_UP_JOBS, WORKER_GONE

Row = dict[str, Any]

# How far back the charts look: seconds in all, and of one bar.
RANGES = {"24h": (86_400, 3_600), "7d": (7 * 86_400, 21_600), "30d": (30 * 86_400, 86_400)}
# Turns of the schedule that may be missed before beat counts as silent, with some seconds for the way.
MISSED_TURNS, ON_THE_WAY = 3, 60.0

# Who paid and cannot learn yet. A row of another status is served, or is not owed anything.
NOT_READY = text(
    """
    SELECT count(*) FILTER (WHERE status = 'pending') AS pending, count(*) FILTER (WHERE status = 'failed') AS failed,
        min(created_at) AS oldest_at, extract(epoch FROM now() - min(created_at)) AS oldest_age,
        -- The oldest of each status, which the index holds in order; one search for both would read all that is older.
        (SELECT id FROM (
            (SELECT id, created_at FROM partner_lms_enrollments WHERE status = 'pending' ORDER BY created_at LIMIT 1)
            UNION ALL
            (SELECT id, created_at FROM partner_lms_enrollments WHERE status = 'failed' ORDER BY created_at LIMIT 1)
        ) AS oldest ORDER BY created_at LIMIT 1) AS oldest_id
    FROM partner_lms_enrollments WHERE status IN ('pending', 'failed')
    """
)
# Of one range: by bar, by partner, and in all. Ready means that a launch was checked, whatever became of it later.
FLOW = text(
    """
    SELECT grouping(bar) = 0 AS by_bar, grouping(partner) = 0 AS by_partner, bar, partner, count(*) AS opened,
        count(*) FILTER (WHERE ready) AS ready, count(*) FILTER (WHERE status = 'failed') AS failed,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY took) AS p50,
        percentile_cont(0.95) WITHIN GROUP (ORDER BY took) AS p95
    FROM (
        SELECT date_bin(:bar * interval '1 second', e.created_at, CAST(:until AS timestamptz)) AS bar,
            p.provider_type AS partner, e.status, e.launch_checked_at IS NOT NULL AS ready,
            -- A seat that was opened anew was paid for long before.
            CASE WHEN e.generation = 1 THEN extract(epoch FROM e.launch_checked_at - y.paid_at) END AS took
        FROM partner_lms_enrollments e
        JOIN partner_lms_providers p ON p.id = e.provider_id
        LEFT JOIN LATERAL (
            SELECT min(y.paid_at) AS paid_at FROM payment_lines l JOIN payments y ON y.id = l.payment_id
            WHERE l.enrollment_id = e.id
        ) AS y ON true
        WHERE e.created_at >= :since AND e.created_at < :until
    ) AS opened
    GROUP BY GROUPING SETS ((bar), (partner), ()) ORDER BY bar, partner
    """
)
FAILED = text(
    """
    SELECT date_bin(:bar * interval '1 second', created_at, CAST(:until AS timestamptz)) AS bar, count(*) AS failures
    FROM partner_lms_enrollment_failures WHERE created_at >= :since AND created_at < :until GROUP BY 1
    """
)
# The conditions are those of the partial indexes: finished jobs are never read. What is held waits for its partner.
QUEUES = text(
    """
    SELECT j.queue, count(*) FILTER (WHERE j.state = 'ready' AND due AND NOT held AND NOT rung) AS ready,
        count(*) FILTER (WHERE j.state = 'ready' AND due AND NOT held AND rung) AS rung,
        count(*) FILTER (WHERE j.state = 'running' AND NOT due) AS running,
        count(*) FILTER (WHERE j.state = 'running' AND due) AS left_behind,
        count(*) FILTER (WHERE j.state = 'ready' AND NOT due) AS later, count(*) FILTER (WHERE j.state = 'ready' AND held) AS held,
        extract(epoch FROM now() - min(j.next_run_at) FILTER (WHERE due AND NOT held)) AS oldest
    FROM (
        SELECT queue, state, next_run_at, next_run_at <= now() AS due, rung_at IS NOT NULL AS rung,
            coalesce(s.paused_at IS NOT NULL OR s.open_until > now(), false) AS held
        FROM jobs LEFT JOIN partner_states s ON s.partner = jobs.partner WHERE jobs.state IN ('ready', 'running')
    ) AS j GROUP BY j.queue
    """
)
WORKERS = text(
    """
    SELECT node, queues, connected FROM worker_nodes WHERE seen_at > now() - :gone * interval '1 second' ORDER BY node
    """
)
# One look into the key for each name: the newest turn, however many were taken.
TURNS = text(
    """
    SELECT n.name, (SELECT r.ran_at FROM scheduled_runs r WHERE r.job = n.name ORDER BY r.slot DESC LIMIT 1) AS ran_at, now() AS now
    FROM unnest(CAST(:names AS text[])) AS n(name)
    """
)
WEBHOOKS = text(
    """
    SELECT now() AS now,
        (SELECT count(*) FROM inbox_events WHERE state = 'received') AS unprocessed,
        (SELECT extract(epoch FROM now() - min(received_at)) FROM inbox_events WHERE state = 'received') AS oldest,
        (SELECT count(*) FROM inbox_events WHERE state IN ('waiting', 'failed')) AS waiting,
        (SELECT max(received_at) FROM inbox_events) AS last_at,
        (SELECT percentile_cont(0.95) WITHIN GROUP (ORDER BY lag) FROM (
            SELECT extract(epoch FROM processed_at - received_at) AS lag FROM inbox_events
            ORDER BY received_at DESC LIMIT 1000) AS newest) AS p95
    """
)


@dataclass(frozen=True)
class Queue:
    """One queue. `consumers` is None where it is unknown: workers live, and none of them reaches the broker."""

    name: str
    ready: int = 0
    rung: int = 0
    running: int = 0
    left_behind: int = 0
    later: int = 0
    held: int = 0
    oldest: float | None = None
    consumers: int | None = 0

    @property
    def open(self) -> int:
        """How many jobs are not done."""
        return self.ready + self.rung + self.running + self.left_behind + self.later + self.held


@dataclass(frozen=True)
class Turn:
    """The newest turn of something periodic. `every` is in seconds; `silent`: it should have been taken again."""

    name: str
    every: float
    ran_at: datetime | None
    silent: bool


@dataclass(frozen=True)
class Flow:
    """How enrolments went in a range of time: in all, bar by bar (every one, also the empty), and by partner.

    A row has `opened`, `ready`, `failed`, `p50` and `p95` (seconds from payment to ready, None where none got there);
    those of the bars also `failures`, the failed attempts.
    """

    since: datetime
    until: datetime
    bar: timedelta
    total: Row
    bars: list[Row] = field(default_factory=list)
    partners: list[Row] = field(default_factory=list)

    @property
    def success(self) -> float | None:
        """The share of those that are decided which became ready, 0 to 1; None where nothing is decided."""
        decided = self.total["ready"] + self.total["failed"]
        return self.total["ready"] / decided if decided else None


def not_ready(session: Session) -> Row:
    """Return how many paid and wait (pending, failed), and the oldest of them: its id, its time, its age in seconds."""
    return dict(session.execute(NOT_READY).one()._mapping)


def flow(session: Session, wanted: str, now: datetime) -> Flow:
    """Return how enrolments went in one of `RANGES`, which ends with the bar that `now` lies in."""
    total, bar = RANGES[wanted]
    until = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    since = until - timedelta(seconds=total)
    values = {"since": since, "until": until, "bar": bar}
    found = [dict(row._mapping) for row in session.execute(FLOW, values)]
    failures = {row.bar: row.failures for row in session.execute(FAILED, values)}
    bars = {row["bar"]: row for row in found if row["by_bar"]}
    times = [since + timedelta(seconds=position) for position in range(0, total, bar)]
    nothing = {"opened": 0, "ready": 0, "failed": 0, "p50": None, "p95": None}
    return Flow(
        since,
        until,
        timedelta(seconds=bar),
        next((row for row in found if not row["by_bar"] and not row["by_partner"]), nothing),
        [{**nothing, **bars.get(at, {}), "bar": at, "failures": failures.get(at, 0)} for at in times],
        [row for row in found if row["by_partner"]],
    )


def list_queues(session: Session, names: Collection[str]) -> list[Queue]:
    """Return every queue: those of `names`, and any other that holds open jobs. The busiest first."""
    found = {row.queue: dict(row._mapping) for row in session.execute(QUEUES)}
    workers = session.execute(WORKERS, {"gone": WORKER_GONE}).all()
    queues = []
    for name in dict.fromkeys([*names, *found]):
        values = found.get(name, {})
        values.pop("queue", None)
        listening = [worker for worker in workers if name in worker.queues]
        connected = sum(worker.connected for worker in listening)
        consumers = None if listening and not connected else connected
        queues.append(Queue(name, **values, consumers=consumers))
    return sorted(queues, key=lambda queue: (queue.consumers != 0, -queue.open, queue.name))


def list_turns(session: Session, every: Mapping[str, float]) -> list[Turn]:
    """Return the newest turn of each of these, which are due so many seconds apart."""
    turns = []
    for row in session.execute(TURNS, {"names": list(every)}):
        patience = timedelta(seconds=every[row.name] * MISSED_TURNS + ON_THE_WAY)
        silent = row.ran_at is None or row.now - row.ran_at > patience
        turns.append(Turn(row.name, every[row.name], row.ran_at, silent))
    return turns


def webhooks(session: Session) -> Row:
    """Return what is not processed (`unprocessed`, `oldest` in seconds), what waits, and `p95` from arrival to done, in seconds."""
    return dict(session.execute(WEBHOOKS).one()._mapping)


def given_up(session: Session) -> Row:
    """Return how many jobs were given up: `failed` and `parked`."""
    return dict(session.execute(GIVEN_UP_JOBS).one()._mapping)
