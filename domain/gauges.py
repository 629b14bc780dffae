"""What is measured at a scrape, each as one query that an index answers.

What would grow with history even so is counted beside the scrapes, by whoever looks for alerts, and kept.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

# Seconds between two signs of life of a worker, and after how many it counts as gone.
WORKER_HEARTBEAT, WORKER_GONE = 10.0, 45.0
# Seconds after which a call of a partner is certainly committed; statements and idle transactions are cut off earlier.
SETTLED = 120.0
# Seconds of calls that are counted in one transaction.
SLICE = 6 * 3600.0
# Seconds for which the broker's depths are believed.
DEPTH_BELIEVED = 180.0
# The share of the time that may go into counting one of `COUNTED`: what takes long to count is counted less often.
COUNTING_SHARE = 0.01
# Milliseconds that one count may take.
COUNTING_TIMEOUT = 300_000
# The events of which a paid seat follows.
PAID_TYPES = ("checkout.session.completed", "checkout.session.async_payment_succeeded")

# What waits for a partner that is left alone waits on purpose.
NOT_LEFT_ALONE = (
    "(jobs.partner IS NULL OR jobs.partner NOT IN"
    " (SELECT s.partner FROM partner_states s WHERE s.paused_at IS NOT NULL OR s.opened > 0))"
)
# Each condition is the one of a partial index, so that a table of finished rows is never read.
OPEN_JOBS = text(
    f"""
    SELECT queue, count(*) FILTER (WHERE next_run_at <= now()) AS due, count(*) FILTER (WHERE state = 'ready') AS ready,
        count(*) FILTER (WHERE state = 'running') AS running,
        coalesce(greatest(extract(epoch FROM now() - min(next_run_at) FILTER (WHERE {NOT_LEFT_ALONE})), 0), 0) AS oldest_due,
        coalesce(greatest(extract(epoch FROM now() - min(next_run_at) FILTER (WHERE rung_at IS NULL AND {NOT_LEFT_ALONE})),
            0), 0) AS oldest_unrung
    FROM jobs WHERE state IN ('ready', 'running') GROUP BY queue
    """  # noqa: S608 - our own constants, here and below
)
GIVEN_UP_JOBS = text(
    """
    SELECT count(*) FILTER (WHERE state = 'failed') AS failed, count(*) FILTER (WHERE state = 'parked') AS parked
    FROM jobs WHERE state IN ('failed', 'parked')
    """
)
INBOX = text(
    """
    SELECT CASE WHEN source LIKE 'partner:%' THEN 'partner' ELSE source END AS source, state = 'received' AS received,
        count(*) AS number, extract(epoch FROM now() - min(received_at)) AS oldest
    FROM inbox_events WHERE state = 'received' OR state IN ('waiting', 'failed') GROUP BY 1, 2
    """
)
PENDING_OLDEST = text(
    """
    SELECT coalesce(extract(epoch FROM now() - min(created_at)), 0) FROM partner_lms_enrollments
    WHERE status = 'pending'
    """
)
ENROLLMENTS = text("SELECT status, count(*) AS number FROM partner_lms_enrollments GROUP BY status")
# Who paid and cannot learn yet: seats on their way or given up, and payments that are no seat yet. Each has a deadline;
# what a person does at a partner has the hours that the partner's configuration promises.
UNREADY_ROWS = f"""
    SELECT p.provider_type AS partner, CASE WHEN e.status = 'failed' OR w.id IS NOT NULL THEN 'staff' ELSE 'walk' END AS stage,
        CASE WHEN e.generation = 1 THEN e.created_at ELSE e.updated_at END AS since,
        coalesce(w.created_at + w.usual_hours * interval '1 hour',
            CASE WHEN e.generation = 1 THEN e.created_at ELSE e.updated_at END + :deadline * interval '1 second') AS due_at
    FROM partner_lms_enrollments e JOIN partner_lms_providers p ON p.id = e.provider_id
    LEFT JOIN manual_work_items w
        ON w.enrollment_id = e.id AND w.generation = e.generation AND w.kind = 'set_up' AND w.state = 'open'
    WHERE e.status IN ('pending', 'failed')
    UNION ALL
    SELECT 'unknown', CASE state WHEN 'received' THEN 'inbox' ELSE 'staff' END, received_at,
        received_at + :deadline * interval '1 second'
    FROM inbox_events
    WHERE (state = 'received' OR state IN ('waiting', 'failed')) AND type IN {PAID_TYPES}
"""  # noqa: S608 - our own constants
UNREADY = text(
    f"""
    SELECT partner, stage, count(*) AS number, count(*) FILTER (WHERE due_at <= now()) AS overdue,
        extract(epoch FROM now() - min(since)) AS oldest, max(due_at) FILTER (WHERE due_at <= now()) AS due_until
    FROM ({UNREADY_ROWS}) AS unready GROUP BY partner, stage ORDER BY partner, stage
    """  # noqa: S608
)
STAGES = ("inbox", "walk", "staff")
WINDOWS = ("1h", "24h")
OUTCOMES = ("ready", "failed", "pending", "withdrawn")
# The event's arrival is where the student began to wait. A seat that was opened anew began some other time.
RECENT = text(
    """
    WITH recent AS (
        SELECT p.provider_type AS partner, e.created_at,
            CASE WHEN e.launch_checked_at IS NOT NULL THEN 'ready' WHEN e.status IN ('failed', 'pending') THEN e.status
                ELSE 'withdrawn' END AS outcome,
            CASE WHEN e.generation = 1 THEN
                extract(epoch FROM e.launch_checked_at - coalesce(i.received_at, e.created_at)) END AS took
        FROM partner_lms_enrollments e JOIN partner_lms_providers p ON p.id = e.provider_id
        LEFT JOIN LATERAL (
            SELECT received_at FROM inbox_events WHERE id = CASE
                WHEN e.correlation_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN CAST(e.correlation_id AS uuid) END
            LIMIT 1
        ) AS i ON true
        WHERE e.created_at > now() - interval '24 hours'
    )
    SELECT partner, spans.name AS span, count(*) FILTER (WHERE outcome = 'ready') AS ready,
        count(*) FILTER (WHERE outcome = 'failed') AS failed, count(*) FILTER (WHERE outcome = 'pending') AS pending,
        count(*) FILTER (WHERE outcome = 'withdrawn') AS withdrawn,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY took) AS p50, percentile_cont(0.95) WITHIN GROUP (ORDER BY took) AS p95
    FROM recent JOIN (VALUES ('1h', interval '1 hour'), ('24h', interval '24 hours')) AS spans(name, length)
        ON created_at > now() - spans.length
    GROUP BY partner, spans.name ORDER BY partner, spans.name
    """
)
# A sync that has nothing to pull is done without being finished. A claim raises the token: that many were begun.
SYNCS = text(
    """
    SELECT p.provider_type AS partner, max(coalesce(c.sync_interval, :interval)) AS every, sum(coalesce(j.token, 0)) AS begun,
        max(extract(epoch FROM now() - coalesce(
            greatest(s.finished_at, CASE WHEN j.state = 'done' THEN s.started_at END), j.created_at)))
            FILTER (WHERE EXISTS (
                SELECT 1 FROM partner_lms_enrollments e WHERE e.provider_id = p.id AND e.status = 'active')) AS age
    FROM partner_lms_providers p
    LEFT JOIN partner_sync_states s ON s.provider_id = p.id
    LEFT JOIN partner_connections c ON c.provider_type = p.provider_type
    LEFT JOIN jobs j ON j.kind = 'progress.sync' AND j.business_key = p.id::text
    WHERE p.active GROUP BY p.provider_type ORDER BY p.provider_type
    """
)
CERTIFICATE_STATES = ("fetched", "awaited", "failed", "none")
CERTIFICATES = text(
    """
    SELECT partner, count(*) FILTER (WHERE state = 'fetched') AS fetched, count(*) FILTER (WHERE state = 'awaited') AS awaited,
        count(*) FILTER (WHERE state = 'failed') AS failed, count(*) FILTER (WHERE state = 'none') AS none
    FROM (
        SELECT p.provider_type AS partner, CASE WHEN k.id IS NOT NULL THEN 'fetched'
            WHEN j.state IN ('ready', 'running') THEN 'awaited' WHEN j.state IN ('failed', 'parked') THEN 'failed'
            ELSE 'none' END AS state
        FROM partner_lms_enrollments e JOIN partner_lms_providers p ON p.id = e.provider_id
        LEFT JOIN partner_certificates k ON k.enrollment_id = e.id
        -- One by one, by their key: the planner would read all jobs for a join whose size it guesses.
        LEFT JOIN LATERAL (
            SELECT state FROM jobs
            WHERE k.id IS NULL AND kind = 'progress.certificate' AND business_key = e.id::text LIMIT 1
        ) AS j ON true
        WHERE e.status = 'completed' AND e.completed_at > now() - interval '7 days'
    ) AS completed GROUP BY partner ORDER BY partner
    """
)
# What is counted beside the scrapes, by name.
COUNTED = {"enrollments": ENROLLMENTS, "certificates": CERTIFICATES}
BEGIN_FIGURE = text("INSERT INTO counted_figures (name) VALUES (:name) ON CONFLICT DO NOTHING")
CLAIM_FIGURE = text(
    """
    SELECT 1 FROM counted_figures
    WHERE name = :name AND coalesce(counted_at + took / :share * interval '1 second' <= now(), true)
    FOR UPDATE SKIP LOCKED
    """
)
KEEP_FIGURE = text(
    """
    UPDATE counted_figures SET figures = CAST(:figures AS jsonb), counted_at = now(), took = :took WHERE name = :name
    """
)
KEPT_FIGURES = text(
    "SELECT name, figures, extract(epoch FROM now() - counted_at) AS age FROM counted_figures WHERE counted_at IS NOT NULL"
)
# What was counted, and what came since: in one statement, so that no call is seen twice or not at all.
CALLS = text(
    """
    SELECT partner, outcome, sum(calls) AS calls, sum(milliseconds) / 1000.0 AS seconds FROM (
        SELECT partner, outcome, calls, milliseconds FROM partner_call_counts
        UNION ALL
        SELECT partner, outcome, count(*), sum(duration_ms) FROM partner_calls
        WHERE at >= coalesce((SELECT until FROM counted_until WHERE name = 'partner_calls'), '-infinity')
        GROUP BY partner, outcome
    ) AS told GROUP BY partner, outcome ORDER BY partner, outcome
    """
)
BEGIN_COUNTING = text(
    """
    INSERT INTO counted_until (name, until)
    SELECT 'partner_calls', least((SELECT min(at) FROM partner_calls), now() - :settled * interval '1 second')
    ON CONFLICT DO NOTHING
    """
)
COUNT_CALLS = text(
    """
    WITH mark AS (
        SELECT until AS since, least(until + :slice * interval '1 second', now() - :settled * interval '1 second') AS until
        FROM counted_until WHERE name = 'partner_calls' AND until < now() - :settled * interval '1 second' FOR UPDATE
    ), added AS (
        INSERT INTO partner_call_counts AS c (partner, outcome, calls, milliseconds)
        SELECT partner, outcome, count(*), sum(duration_ms) FROM partner_calls
        WHERE at >= (SELECT since FROM mark) AND at < (SELECT until FROM mark) GROUP BY partner, outcome
        ON CONFLICT (partner, outcome) DO UPDATE SET calls = c.calls + excluded.calls,
            milliseconds = c.milliseconds + excluded.milliseconds
    )
    UPDATE counted_until SET until = mark.until FROM mark WHERE name = 'partner_calls'
    RETURNING counted_until.until < now() - :settled * interval '1 second' AS more
    """
)
PARTNER_CONDITIONS = ("ok", "probing", "open", "paused")
PARTNERS = text(
    """
    SELECT partner, CASE WHEN paused_at IS NOT NULL THEN 'paused' WHEN open_until > now() THEN 'open'
        WHEN opened > 0 THEN 'probing' ELSE 'ok' END AS condition
    FROM partner_states ORDER BY partner
    """
)
XP_REPAIRS = text(
    """
    SELECT count(*) FROM staff_actions WHERE action = 'xp.repair' AND detail ->> 'run' IS NOT NULL
        AND created_at > now() - interval '24 hours'
    """
)
LAST_TURNS = text(
    """
    SELECT names.name, extract(epoch FROM now() - last.ran_at) AS age FROM unnest(CAST(:names AS text[])) AS names(name)
    LEFT JOIN LATERAL (
        SELECT ran_at FROM scheduled_runs WHERE job = names.name ORDER BY slot DESC LIMIT 1
    ) AS last ON true
    """
)
# For how long the head of each queue has been due without being claimed; 0 where it was, or nothing is due.
QUEUES = text(
    f"""
    SELECT q.queue, CASE WHEN q.depth_at > now() - :believed * interval '1 second' THEN q.depth END AS depth,
        CASE WHEN jobs.id IS NOT NULL THEN extract(epoch FROM now() - q.head_since) ELSE 0 END AS unclaimed
    FROM queue_states q LEFT JOIN jobs ON jobs.id = q.head_id AND jobs.token = q.head_token
        AND jobs.state IN ('ready', 'running') AND jobs.next_run_at <= now() AND {NOT_LEFT_ALONE}
    """  # noqa: S608
)
CONSUMERS = text(
    """
    SELECT queue, count(*) AS number FROM worker_nodes CROSS JOIN LATERAL unnest(queues) AS queue
    WHERE connected AND seen_at > now() - :gone * interval '1 second' GROUP BY queue
    """
)
# The condition is the one of the index of free vouchers.
VOUCHERS = text(
    """
    SELECT p.provider_type AS partner, c.course_code AS course, count(*) FILTER (WHERE l.level = 'low') AS low,
        count(*) FILTER (WHERE l.level = 'empty') AS empty, sum((
            SELECT count(*) FROM vouchers v WHERE v.course_id = l.course_id AND v.enrollment_id IS NULL
                AND v.retired_at IS NULL AND (v.expires_at IS NULL OR v.expires_at > now()))) AS free
    FROM voucher_pools l JOIN partner_courses c ON c.id = l.course_id JOIN partner_lms_providers p ON p.id = c.provider_id
    GROUP BY p.provider_type, c.course_code ORDER BY p.provider_type, c.course_code
    """
)
WAITING = text(
    """
    SELECT (SELECT count(*) FROM partner_lms_enrollment_failures WHERE final AND resolved_at IS NULL) AS failures,
        (SELECT count(*) FROM manual_work_items WHERE state = 'open') AS work_items,
        (SELECT count(*) FROM reconciliation_findings WHERE resolved_at IS NULL) AS findings
    """
)
LTI = text(
    """
    SELECT count(*) AS issued, count(used_at) AS used FROM lti_launches WHERE issued_at > now() - interval '24 hours'
    """
)
OPEN_ALERTS = text("SELECT kind, count(*) AS number FROM alerts WHERE resolved_at IS NULL GROUP BY kind")
NOTE_DEPTHS = text(
    """
    INSERT INTO queue_states (queue, depth, depth_at)
    SELECT queue, depth, now() FROM unnest(CAST(:queues AS text[]), CAST(:depths AS bigint[])) AS seen(queue, depth)
    ON CONFLICT (queue) DO UPDATE SET depth = excluded.depth, depth_at = excluded.depth_at
    """
)


def count_calls(session: Session) -> bool:
    """Add the next slice of partner calls to their counts; return whether there is more to add."""
    session.execute(BEGIN_COUNTING, {"settled": SETTLED})
    return bool(session.scalar(COUNT_CALLS, {"settled": SETTLED, "slice": SLICE}))


@dataclass(frozen=True)
class Kept:
    """Figures that were counted `age` seconds ago: the rows of their query."""

    figures: list[dict[str, Any]]
    age: float


def recount(session: Session, name: str) -> None:
    """Count one of `COUNTED` anew, unless that was done a moment ago or somebody does it now."""
    session.execute(BEGIN_FIGURE, {"name": name})
    if session.scalar(CLAIM_FIGURE, {"name": name, "share": COUNTING_SHARE}) is None:
        return
    session.execute(text(f"SET LOCAL statement_timeout = {COUNTING_TIMEOUT}"))
    started = time.monotonic()
    figures = json.dumps([dict(row._mapping) for row in session.execute(COUNTED[name])])
    took = time.monotonic() - started
    session.execute(KEEP_FIGURE, {"name": name, "figures": figures, "took": took})


def read_counted(session: Session) -> dict[str, Kept]:
    """Return what was counted last, by name; what was never counted is not in it."""
    return {row.name: Kept(row.figures, float(row.age)) for row in session.execute(KEPT_FIGURES)}


def note_depths(session: Session, depths: Mapping[str, int]) -> None:
    """Write down how many doorbells the broker holds for each queue."""
    session.execute(NOTE_DEPTHS, {"queues": list(depths), "depths": list(depths.values())})


def last_turns(session: Session, names: Sequence[str]) -> dict[str, float | None]:
    """Return how many seconds ago each periodic turn was last taken, None where it never was (or is forgotten)."""
    return {row.name: _float(row.age) for row in session.execute(LAST_TURNS, {"names": list(names)})}


def _float(value: Any) -> float | None:
    return None if value is None else float(value)
