"""The jobs table: enqueue, claim, step, finish. Every write after a claim is fenced by the claim's token.

All times are PostgreSQL's `now()`: workers' clocks may be wrong.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from db import trace

CLAIM_SLOT = text(
    """
    INSERT INTO scheduled_runs (job, slot)
    VALUES (:job, date_bin(:every * interval '1 second', now(), 'epoch'::timestamptz))
    ON CONFLICT DO NOTHING RETURNING job
    """
)
# The channel on which a transaction that made work tells the relays.
CHANNEL = "usher_jobs"


@dataclass(frozen=True)
class Enqueue:
    """A job to be: `business_key` is unique within its kind, so asking twice makes one job."""

    kind: str
    business_key: str
    queue: str
    subject_id: str
    partner: str | None = None
    correlation_id: str | None = None
    delay: float = 0.0


@dataclass(frozen=True)
class Claim:
    """A job that this worker owns until its lease ends."""

    id: str
    kind: str
    business_key: str
    queue: str
    partner: str | None
    subject_id: str
    token: int
    attempts: int
    claims: int
    correlation_id: str | None
    traceparent: str | None = None


@dataclass(frozen=True)
class Doorbell:
    """What the relay publishes: which task, on which queue, for which job."""

    id: str
    kind: str
    queue: str
    traceparent: str | None = None


class LeaseLost(Exception):
    """Another worker has taken the job over, or it was finished: nothing that this worker learned may be written."""


ENQUEUE = text(
    """
    INSERT INTO jobs (kind, business_key, queue, partner, subject_id, correlation_id, traceparent, next_run_at)
    VALUES (:kind, :business_key, :queue, :partner, :subject_id, :correlation_id, :traceparent,
        now() + :delay * interval '1 second')
    ON CONFLICT (kind, business_key) DO UPDATE SET
        rerun = jobs.state = 'running',
        state = CASE WHEN jobs.state = 'running' THEN 'running' ELSE 'ready' END,
        next_run_at = CASE WHEN jobs.state = 'running' THEN jobs.next_run_at
                           WHEN jobs.state = 'ready' THEN least(jobs.next_run_at, excluded.next_run_at)
                           ELSE excluded.next_run_at END,
        rung_at = NULL, attempts = 0, claims = CASE WHEN jobs.state = 'running' THEN jobs.claims ELSE 0 END,
        last_error = NULL, traceback = NULL, finished_at = NULL, updated_at = now(),
        correlation_id = coalesce(excluded.correlation_id, jobs.correlation_id), queue = excluded.queue,
        traceparent = excluded.traceparent
    RETURNING id
    """
)
ENQUEUE_ONCE = text(
    """
    INSERT INTO jobs (kind, business_key, queue, partner, subject_id, correlation_id, traceparent, next_run_at)
    VALUES (:kind, :business_key, :queue, :partner, :subject_id, :correlation_id, :traceparent,
        now() + :delay * interval '1 second')
    ON CONFLICT (kind, business_key) DO NOTHING
    RETURNING id
    """
)
NOTIFY = text("SELECT pg_notify(:channel, '')")

CLAIM = text(
    """
    UPDATE jobs SET state = 'running', token = token + 1, claims = claims + 1, lease_owner = :owner, rung_at = NULL,
        next_run_at = now() + :lease * interval '1 second', updated_at = now()
    WHERE id = :id AND state IN ('ready', 'running') AND next_run_at <= now()
        AND NOT EXISTS (
            SELECT 1 FROM partner_states s
            WHERE s.partner = jobs.partner AND (s.paused_at IS NOT NULL OR s.open_until > now())
        )
    RETURNING id, kind, business_key, queue, partner, subject_id, token, attempts, claims, correlation_id, traceparent
    """
)
CLAIM_DUE = text(
    """
    UPDATE jobs SET state = 'running', token = token + 1, claims = claims + 1, lease_owner = :owner, rung_at = NULL,
        next_run_at = now() + :lease * interval '1 second', updated_at = now()
    WHERE id = (
        SELECT id FROM jobs WHERE state IN ('ready', 'running') AND next_run_at <= now() AND kind = ANY(:kinds)
        AND NOT EXISTS (
            SELECT 1 FROM partner_states s
            WHERE s.partner = jobs.partner AND (s.paused_at IS NOT NULL OR s.open_until > now())
        )
        ORDER BY next_run_at LIMIT 1 FOR UPDATE SKIP LOCKED
    )
    RETURNING id, kind, business_key, queue, partner, subject_id, token, attempts, claims, correlation_id, traceparent
    """
)
STEPS = text("SELECT step, state, result, attempt FROM job_steps WHERE job_id = :id")

# One statement: check the fence and renew the lease, mark one step done, mark the next one started.
ADVANCE = text(
    """
    WITH fence AS (
        UPDATE jobs SET next_run_at = now() + :lease * interval '1 second', updated_at = now()
        WHERE id = :id AND token = :token AND state = 'running'
        RETURNING id
    ), finished AS (
        UPDATE job_steps SET state = 'done', result = CAST(:result AS jsonb), duration_ms = :duration_ms,
            finished_at = clock_timestamp(), token = :token
        FROM fence WHERE job_id = fence.id AND step = :done
    ), begun AS (
        INSERT INTO job_steps (job_id, step, token, attempt)
        SELECT fence.id, CAST(:next AS text), :token, :attempt FROM fence WHERE CAST(:next AS text) IS NOT NULL
        ON CONFLICT (job_id, step) DO UPDATE SET state = 'started', token = excluded.token,
            attempt = excluded.attempt, started_at = clock_timestamp(), finished_at = NULL, duration_ms = NULL
    )
    SELECT id FROM fence
    """
)
RELEASE = text(
    """
    UPDATE jobs SET
        state = CASE WHEN rerun AND :state IN ('done', 'failed') THEN 'ready' ELSE :state END, rerun = false,
        next_run_at = CASE WHEN :delay IS NULL THEN now() ELSE now() + CAST(:delay AS double precision) * interval '1 second' END,
        attempts = :attempts, claims = 0, lease_owner = NULL, rung_at = NULL,
        last_error = :last_error, traceback = :traceback,
        finished_at = CASE WHEN :state = 'ready' THEN NULL ELSE now() END, updated_at = now()
    WHERE id = :id AND token = :token AND state = 'running'
    RETURNING state
    """
)

# Relays take turns, so that a queue's window holds however many of them run.
RING_LOCK = 7_215_430_113
# Per queue, so that a queue whose doorbells are all under way does not hide the due work of the others.
RING = text(
    """
    WITH room AS (
        SELECT names.queue, names.room - (
            SELECT count(*) FROM jobs WHERE jobs.queue = names.queue AND state = 'ready'
                AND rung_at > now() - :ring_timeout * interval '1 second'
        ) - (
            SELECT count(*) FROM jobs WHERE jobs.queue = names.queue AND state = 'running' AND next_run_at > now()
        ) AS free
        FROM unnest(CAST(:queues AS text[]), CAST(:windows AS int[])) AS names(queue, room)
    ), due AS (
        SELECT found.id FROM room CROSS JOIN LATERAL (
            SELECT id FROM jobs
            WHERE jobs.queue = room.queue AND state IN ('ready', 'running') AND next_run_at <= now()
                AND (rung_at IS NULL OR rung_at <= now() - :ring_timeout * interval '1 second')
            ORDER BY next_run_at LIMIT greatest(0, least(room.free, :limit)) FOR UPDATE SKIP LOCKED
        ) AS found
    ), rung AS (
        -- An array, not a join: the planner would read the whole table for a join whose size it cannot know.
        UPDATE jobs SET rung_at = now() WHERE id = ANY(ARRAY(SELECT id FROM due))
        RETURNING jobs.id, jobs.kind, jobs.queue, jobs.traceparent
    )
    SELECT room.queue, room.free, rung.id, rung.kind, rung.traceparent FROM room LEFT JOIN rung USING (queue)
    """
)
UNRING = text(
    "UPDATE jobs SET rung_at = NULL WHERE id = ANY(CAST(:ids AS uuid[])) AND state IN ('ready', 'running')"
)
NEXT_DUE = text(
    """
    SELECT extract(epoch FROM min(found.next_run_at) - now())
    FROM unnest(CAST(:queues AS text[])) AS names(queue) CROSS JOIN LATERAL (
        SELECT next_run_at FROM jobs
        WHERE jobs.queue = names.queue AND state IN ('ready', 'running') AND next_run_at > now()
        ORDER BY next_run_at LIMIT 1
    ) AS found
    """
)


def enqueue(session: Session, job: Enqueue, *, once: bool = False) -> str | None:
    """Write a job in the transaction that decides it, and tell the relays when that commits.

    A job that exists already becomes ready anew; while it runs, it is asked to run once more. With `once`, an existing
    job is left as it is. Returns the job's id, None where `once` found one.
    """
    values = {**vars(job), "traceparent": trace.current.get()}
    found = session.execute(ENQUEUE_ONCE if once else ENQUEUE, values).scalar()
    session.execute(NOTIFY, {"channel": CHANNEL})
    return None if found is None else str(found)


def claim(session: Session, job_id: str, *, owner: str, lease: float) -> Claim | None:
    """Take a due job for `lease` seconds and raise its token.

    None when another worker has it, it is not due, or its partner is paused or its circuit open.
    """
    row = session.execute(CLAIM, {"id": job_id, "owner": owner, "lease": lease}).one_or_none()
    return None if row is None else _claim(row)


def claim_due(session: Session, kinds: Sequence[str], *, owner: str, lease: float) -> Claim | None:
    """Take the job that has been due the longest, None when nothing is due."""
    row = session.execute(CLAIM_DUE, {"kinds": list(kinds), "owner": owner, "lease": lease}).one_or_none()
    return None if row is None else _claim(row)


@dataclass(frozen=True)
class StepRecord:
    """What is known of a step: `started` means that its outcome is unknown."""

    state: str
    result: dict[str, Any] | None
    attempt: int


def load_steps(session: Session, job_id: str) -> dict[str, StepRecord]:
    """Return the job's steps by name."""
    rows = session.execute(STEPS, {"id": job_id})
    return {row.step: StepRecord(row.state, row.result, row.attempt) for row in rows}


def advance(
    session: Session,
    held: Claim,
    *,
    lease: float,
    done: str | None = None,
    result: dict[str, Any] | None = None,
    duration_ms: int | None = None,
    begin: str | None = None,
) -> None:
    """Mark `done` done and `begin` started, and renew the lease; raise `LeaseLost` when the claim no longer holds."""
    row = session.execute(
        ADVANCE,
        {
            "id": held.id,
            "token": held.token,
            "lease": lease,
            "done": done,
            "result": None if result is None else json.dumps(result),
            "duration_ms": duration_ms,
            "next": begin,
            "attempt": held.attempts + 1,
        },
    ).one_or_none()
    if row is None:
        raise LeaseLost(held.id)


def release(
    session: Session,
    held: Claim,
    state: str,
    *,
    delay: float | None = None,
    attempts: int | None = None,
    error: str | None = None,
    traceback: str | None = None,
) -> None:
    """Give the job back in its new state, due in `delay` seconds; raise `LeaseLost` when the claim no longer holds."""
    row = session.execute(
        RELEASE,
        {
            "id": held.id,
            "token": held.token,
            "state": state,
            "delay": delay,
            "attempts": held.attempts if attempts is None else attempts,
            "last_error": error,
            "traceback": traceback,
        },
    ).one_or_none()
    if row is None:
        raise LeaseLost(held.id)
    if row.state == "ready":
        session.execute(NOTIFY, {"channel": CHANNEL})


@dataclass(frozen=True)
class Ringing:
    """What is to be rung now, and whether some queue has no room for more."""

    doorbells: list[Doorbell]
    is_full: bool


def ring_due(
    session: Session, windows: Mapping[str, int], *, ring_timeout: float, limit: int = 500
) -> Ringing:
    """Stamp due jobs as rung and return them: new ones, retries, and those a dead worker left.

    `windows` says for each queue how many of its jobs may be under way, rung or running, at once. A doorbell that
    nobody answered for `ring_timeout` seconds rings again.
    """
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": RING_LOCK})
    rows = session.execute(
        RING,
        {
            "queues": list(windows),
            "windows": list(windows.values()),
            "ring_timeout": ring_timeout,
            "limit": limit,
        },
    ).all()
    doorbells = [
        Doorbell(str(row.id), row.kind, row.queue, row.traceparent) for row in rows if row.id is not None
    ]
    rung = Counter(bell.queue for bell in doorbells)
    return Ringing(doorbells, any(row.free <= rung[row.queue] for row in rows))


def unring(session: Session, ids: Sequence[str]) -> None:
    """Forget that these were rung, because their doorbells could not be published."""
    session.execute(UNRING, {"ids": list(ids)})


def seconds_to_next_due(session: Session, queues: Iterable[str]) -> float | None:
    """Return how long it is until the next retry or lease end, None when nothing is planned."""
    seconds = session.execute(NEXT_DUE, {"queues": list(queues)}).scalar()
    return None if seconds is None else float(seconds)


def claim_slot(session: Session, name: str, every: float) -> bool:
    """Claim the current turn, `every` seconds long, of something periodic; False where somebody else has it."""
    claimed = session.execute(CLAIM_SLOT, {"job": name, "every": every})
    return claimed.one_or_none() is not None


def database_now(session: Session) -> datetime:
    """Return PostgreSQL's clock, the only one that decides."""
    now = session.execute(text("SELECT now()")).scalar_one()
    assert isinstance(now, datetime)  # noqa: S101
    return now


def _claim(row: Any) -> Claim:
    return Claim(
        id=str(row.id),
        kind=row.kind,
        business_key=row.business_key,
        queue=row.queue,
        partner=row.partner,
        subject_id=str(row.subject_id),
        token=row.token,
        attempts=row.attempts,
        claims=row.claims,
        correlation_id=row.correlation_id,
        traceparent=row.traceparent,
    )
