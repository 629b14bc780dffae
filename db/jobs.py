"""The jobs table: enqueue, claim, step, finish. Every write after a claim is fenced by the claim's token.

All times are PostgreSQL's `now()`: workers' clocks may be wrong.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.orm import Session

from db import lean, trace

CLAIM_SLOT = text(
    """
    INSERT INTO scheduled_runs (job, slot)
    VALUES (:job, date_bin(:every * interval '1 second', now(), 'epoch'::timestamptz))
    ON CONFLICT DO NOTHING RETURNING job
    """
)
# Claims without an outcome after which a job works alone: it may have ended the worker that it shared with others.
SUSPECT_CLAIMS = 2
# The channel on which a transaction that made work tells the relays.
CHANNEL = "usher_jobs"
# Where a session has the jobs that its transaction made due.
MADE = "made_jobs"


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
class Made:
    """A job that this transaction made, or made due anew."""

    id: str
    kind: str
    queue: str


@dataclass(frozen=True)
class Doorbell:
    """What the relay publishes: which task, on which queue, for which job, claimed so often without an outcome."""

    id: str
    kind: str
    queue: str
    traceparent: str | None = None
    claims: int = 0


class LeaseLost(Exception):
    """Another worker has taken the job over, or it was finished: nothing that this worker learned may be written."""


JOB_COLUMNS = {
    "kind": "text",
    "business_key": "text",
    "queue": "text",
    "partner": "text",
    "subject_id": "uuid",
    "correlation_id": "text",
    "traceparent": "text",
    "delay": "double precision",
}
ENQUEUE = lean.Statement(
    "enqueue_job",
    """
    INSERT INTO jobs (kind, business_key, queue, partner, subject_id, correlation_id, traceparent, next_run_at)
    VALUES ({kind}, {business_key}, {queue}, {partner}, {subject_id}, {correlation_id}, {traceparent},
        now() + {delay} * interval '1 second')
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
    """,
    **JOB_COLUMNS,
)
ENQUEUE_ONCE = lean.Statement(
    "enqueue_jobs_once",
    """
    INSERT INTO jobs (kind, business_key, queue, partner, subject_id, correlation_id, traceparent, next_run_at)
    SELECT kind, business_key, queue, partner, subject_id, correlation_id, traceparent,
        now() + delay * interval '1 second'
    FROM jsonb_to_recordset({jobs}) AS j(
        kind text, business_key text, queue text, partner text, subject_id uuid, correlation_id text,
        traceparent text, delay double precision)
    ON CONFLICT (kind, business_key) DO NOTHING
    RETURNING id, kind, queue
    """,
    jobs="jsonb",
)
NOTIFY = text("SELECT pg_notify(:channel, '')")

# Locked in one order, so that two who were rung for the same jobs do not wait for each other.
CLAIM = lean.Statement(
    "claim_jobs",
    """
    UPDATE jobs SET state = 'running', token = token + 1, claims = claims + 1, lease_owner = {owner}, rung_at = NULL,
        next_run_at = now() + {lease} * interval '1 second', updated_at = now()
    FROM (
        SELECT j.id FROM jobs j
        WHERE j.id = ANY({ids}) AND j.state IN ('ready', 'running') AND j.next_run_at <= now()
            AND NOT EXISTS (
                SELECT 1 FROM partner_states s
                WHERE s.partner = j.partner AND (s.paused_at IS NOT NULL OR s.open_until > now())
            )
        ORDER BY j.id FOR UPDATE OF j
    ) AS due
    WHERE jobs.id = due.id
    RETURNING jobs.id, kind, business_key, queue, partner, subject_id, token, attempts, claims, correlation_id,
        traceparent
    """,
    ids="uuid[]",
    owner="text",
    lease="double precision",
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
STEPS = lean.Statement(
    "job_steps_of",
    """SELECT job_id, step, state, result, attempt FROM job_steps WHERE job_id = ANY({ids})""",
    ids="uuid[]",
)

# Steps that are done. Most were begun before; one that leaves nothing outside was not.
FINISHED = """
        INSERT INTO job_steps (job_id, step, token, attempt, state, result, duration_ms, started_at, finished_at)
        SELECT id, d.step, token, attempt, 'done', d.result, d.duration_ms,
            clock_timestamp() - d.duration_ms * interval '1 millisecond', clock_timestamp()
        FROM fence CROSS JOIN LATERAL jsonb_to_recordset(fence.done) AS d(step text, result jsonb, duration_ms int)
        ON CONFLICT (job_id, step) DO UPDATE SET state = 'done', result = excluded.result, token = excluded.token,
            attempt = excluded.attempt, duration_ms = excluded.duration_ms, finished_at = excluded.finished_at,
            started_at = CASE WHEN job_steps.token = excluded.token THEN job_steps.started_at ELSE excluded.started_at END
"""
# One statement: check the fences and renew the leases, mark steps done, mark the next ones started. A lease that was
# renewed a moment ago is only locked, which spares the table a new version of the row.
ADVANCE = lean.Statement(
    "advance_jobs",
    f"""
    WITH asked AS (
        SELECT * FROM jsonb_to_recordset({{moves}}) AS m(
            id uuid, token bigint, attempt int, done jsonb, begin text)
    ), fence AS (
        SELECT asked.* FROM asked JOIN jobs USING (id)
        WHERE jobs.token = asked.token AND jobs.state = 'running' FOR NO KEY UPDATE OF jobs
    ), renewed AS (
        UPDATE jobs SET next_run_at = now() + {{lease}} * interval '1 second', updated_at = now()
        FROM fence WHERE jobs.id = fence.id AND jobs.next_run_at < now() + 0.75 * {{lease}} * interval '1 second'
    ), finished AS ({FINISHED}    ), begun AS (
        INSERT INTO job_steps (job_id, step, token, attempt)
        SELECT id, begin, token, attempt FROM fence WHERE begin IS NOT NULL
        ON CONFLICT (job_id, step) DO UPDATE SET state = 'started', token = excluded.token,
            attempt = excluded.attempt, started_at = clock_timestamp(), finished_at = NULL, duration_ms = NULL
    )
    SELECT id FROM fence
    """,  # noqa: S608 - our own constants
    moves="jsonb",
    lease="double precision",
)
RELEASE = lean.Statement(
    "release_jobs",
    f"""
    WITH asked AS (
        SELECT * FROM jsonb_to_recordset({{endings}}) AS e(
            id uuid, token bigint, attempt int, state text, delay double precision, attempts int, error text,
            traceback text, done jsonb)
    ), fence AS (
        UPDATE jobs SET
            state = CASE WHEN rerun AND asked.state IN ('done', 'failed') THEN 'ready' ELSE asked.state END,
            rerun = false, next_run_at = now() + coalesce(asked.delay, 0) * interval '1 second',
            attempts = asked.attempts, claims = 0, lease_owner = NULL, rung_at = NULL,
            last_error = asked.error, traceback = asked.traceback,
            finished_at = CASE WHEN asked.state = 'ready' THEN NULL ELSE now() END, updated_at = now()
        FROM asked WHERE jobs.id = asked.id AND jobs.token = asked.token AND jobs.state = 'running'
        RETURNING jobs.id, jobs.state, asked.token, asked.attempt, asked.done
    ), finished AS ({FINISHED}    )
    SELECT id, state FROM fence
    """,  # noqa: S608 - our own constants
    endings="jsonb",
)

# Relays take turns, so that a queue's window holds however many of them run.
RING_LOCK = 7_215_430_113
# A worker that freezes while it holds the lock must not hold up the relays: its transaction is ended for it.
TRY_RING_LOCK = text(
    "SELECT pg_try_advisory_xact_lock_shared(:key), set_config('idle_in_transaction_session_timeout', '2000', true)"
)
# How many jobs of a queue are rung or running.
UNDER_WAY = """(
            SELECT count(*) FROM jobs WHERE jobs.queue = {of} AND state = 'ready'
                AND rung_at > now() - {{ring_timeout}} * interval '1 second'
        ) + (
            SELECT count(*) FROM jobs WHERE jobs.queue = {of} AND state = 'running' AND next_run_at > now()
        )"""
# Per queue, so that a queue whose doorbells are all under way does not hide the due work of the others.
RING = lean.Statement(
    "ring_jobs",
    f"""
    WITH room AS (
        SELECT names.queue, names.room - (
        {UNDER_WAY.format(of="names.queue")}
        ) AS free
        FROM unnest({{queues}}, {{windows}}) AS names(queue, room)
    ), due AS (
        SELECT found.id FROM room CROSS JOIN LATERAL (
            SELECT id FROM jobs
            WHERE jobs.queue = room.queue AND state IN ('ready', 'running') AND next_run_at <= now()
                AND (rung_at IS NULL OR rung_at <= now() - {{ring_timeout}} * interval '1 second')
            ORDER BY next_run_at LIMIT greatest(0, least(room.free, {{limit}})) FOR UPDATE SKIP LOCKED
        ) AS found
    ), rung AS (
        -- An array, not a join: the planner would read the whole table for a join whose size it cannot know.
        UPDATE jobs SET rung_at = now() WHERE id = ANY(ARRAY(SELECT id FROM due))
        RETURNING jobs.id, jobs.kind, jobs.queue, jobs.traceparent, jobs.claims
    )
    SELECT room.queue, room.free, rung.id, rung.kind, rung.traceparent, rung.claims
    FROM room LEFT JOIN rung USING (queue)
    """,  # noqa: S608 - our own constant
    queues="text[]",
    windows="int[]",
    ring_timeout="double precision",
    limit="int",
)
# The job that another one made, for the worker that did that one: where there is room, and nobody waits for it longer
# than a relay takes to look.
KEEP = lean.Statement(
    "keep_job",
    f"""
    UPDATE jobs SET state = 'running', token = token + 1, claims = claims + 1, lease_owner = {{owner}}, rung_at = NULL,
        next_run_at = now() + {{lease}} * interval '1 second', updated_at = now()
    WHERE id = {{id}} AND state = 'ready' AND claims = 0 AND next_run_at <= now()
        AND {{window}} > {UNDER_WAY.format(of="{of}")}
        AND NOT EXISTS (
            SELECT 1 FROM jobs AS other
            WHERE other.queue = {{of}} AND other.state IN ('ready', 'running')
                AND other.next_run_at < now() - {{patience}} * interval '1 second'
                AND (other.rung_at IS NULL OR other.rung_at <= now() - {{ring_timeout}} * interval '1 second')
        )
    RETURNING id, kind, business_key, queue, partner, subject_id, token, attempts, claims, correlation_id, traceparent
    """,  # noqa: S608 - our own constant
    id="uuid",
    of="text",
    window="int",
    owner="text",
    lease="double precision",
    ring_timeout="double precision",
    patience="double precision",
)
UNRING = text(
    "UPDATE jobs SET rung_at = NULL WHERE id = ANY(CAST(:ids AS uuid[])) AND state IN ('ready', 'running')"
)
NEXT_DUE = lean.Statement(
    "next_due_job",
    """
    SELECT extract(epoch FROM min(found.next_run_at) - now())
    FROM unnest({queues}) AS names(queue) CROSS JOIN LATERAL (
        SELECT next_run_at FROM jobs
        WHERE jobs.queue = names.queue AND state IN ('ready', 'running') AND next_run_at > now()
        ORDER BY next_run_at LIMIT 1
    ) AS found
    """,
    queues="text[]",
)


def enqueue(session: Session, job: Enqueue, *, once: bool = False) -> str | None:
    """Write a job in the transaction that decides it, and tell the relays when that commits.

    A job that exists already becomes ready anew; while it runs, it is asked to run once more. With `once`, an existing
    job is left as it is. Returns the job's id, None where `once` found one.
    """
    traceparent = trace.current.get()
    if once:
        made = enqueue_once(session, [job], [traceparent])
        return made[0] if made else None
    found = str(lean.execute(session, ENQUEUE, {**vars(job), "traceparent": traceparent}).scalar())
    _note_made(session, [Made(found, job.kind, job.queue)])
    return found


def enqueue_once(session: Session, asked: Sequence[Enqueue], traceparents: Sequence[str | None]) -> list[str]:
    """Write several jobs at once, each in the trace of its own; return the ids of new ones. Others are left as they are."""
    rows = [{**vars(job), "traceparent": own} for job, own in zip(asked, traceparents, strict=True)]
    found = lean.execute(session, ENQUEUE_ONCE, {"jobs": json.dumps(rows)})
    made = [Made(str(row.id), row.kind, row.queue) for row in found]
    _note_made(session, made)
    return [one.id for one in made]


def _note_made(session: Session, made: Iterable[Made]) -> None:
    session.info.setdefault(MADE, {}).update({one.id: one for one in made})


@event.listens_for(Session, "before_commit")
def _tell_relays(session: Session) -> None:
    """Tell the relays once of all that a transaction made, unless it has kept all of it."""
    if not session.in_nested_transaction() and session.info.pop(MADE, None):
        session.execute(NOTIFY, {"channel": CHANNEL})


def made_in(session: Session) -> list[Made]:
    """Return the jobs that this transaction made due so far."""
    return list(session.info.get(MADE, {}).values())


def keep(
    session: Session,
    made: Made,
    *,
    window: int,
    patience: float,
    owner: str,
    lease: float,
    ring_timeout: float,
) -> Claim | None:
    """Claim a job in the transaction that made it, so that no relay has to be told; None where it is to wait its turn.

    It waits where its queue has no room under `window`, where another job of the queue has been due for `patience`
    seconds and not been rung for, and where a relay is counting just now. Those who keep at the same moment do not see
    each other: `window` has to leave room for them.
    """
    if not session.execute(TRY_RING_LOCK, {"key": RING_LOCK}).one()[0]:
        return None
    row = lean.execute(
        session,
        KEEP,
        {
            "id": made.id,
            "of": made.queue,
            "window": window,
            "patience": patience,
            "owner": owner,
            "lease": lease,
            "ring_timeout": ring_timeout,
        },
    ).one_or_none()
    if row is None:
        return None
    del session.info[MADE][made.id]
    return _claim(row)


def claim(session: Session, job_ids: Sequence[str], *, owner: str, lease: float) -> list[Claim]:
    """Take those of these jobs that are due for `lease` seconds and raise their tokens.

    Left out are those that another worker has, and those whose partner is paused or its circuit open.
    """
    rows = lean.execute(session, CLAIM, {"ids": list(job_ids), "owner": owner, "lease": lease})
    return [_claim(row) for row in rows]


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


def load_steps(session: Session, job_ids: Sequence[str]) -> dict[str, dict[str, StepRecord]]:
    """Return the steps of each of these jobs by name."""
    found: dict[str, dict[str, StepRecord]] = {job_id: {} for job_id in job_ids}
    for row in lean.execute(session, STEPS, {"ids": list(job_ids)}):
        found[str(row.job_id)][row.step] = StepRecord(row.state, row.result, row.attempt)
    return found


@dataclass(frozen=True)
class Done:
    """A step that got done: its result, and the milliseconds that it took."""

    step: str
    result: dict[str, Any]
    duration_ms: int


@dataclass(frozen=True)
class Move:
    """What a job writes on its way: steps that are done, and the next one that begins."""

    held: Claim
    done: Sequence[Done] = ()
    begin: str | None = None


@dataclass(frozen=True)
class Ending:
    """How an attempt ends: the job's new state, due in `delay` seconds; the last steps may be done with it."""

    held: Claim
    state: str
    delay: float | None = None
    attempts: int = 0
    error: str | None = None
    traceback: str | None = None
    done: Sequence[Done] = ()


def advance(session: Session, moves: Sequence[Move], *, lease: float) -> None:
    """Write these moves and renew the leases; raise `LeaseLost` when one of the claims no longer holds."""
    asked = [_told(move) | {"begin": move.begin} for move in moves]
    held = lean.execute(session, ADVANCE, {"moves": json.dumps(asked), "lease": lease}).scalars()
    _check_fences(moves, {str(id) for id in held})


def release(session: Session, endings: Sequence[Ending]) -> None:
    """Give jobs back in their new states; raise `LeaseLost` when one of the claims no longer holds."""
    asked = [
        _told(ending)
        | {
            "state": ending.state,
            "delay": ending.delay,
            "attempts": ending.attempts,
            "error": ending.error,
            "traceback": ending.traceback,
        }
        for ending in endings
    ]
    states = {
        str(row.id): row.state for row in lean.execute(session, RELEASE, {"endings": json.dumps(asked)})
    }
    _check_fences(endings, states.keys())
    if "ready" in states.values():
        session.execute(NOTIFY, {"channel": CHANNEL})


def _told(written: Move | Ending) -> dict[str, Any]:
    held = written.held
    done = [vars(step) for step in written.done]
    return {"id": held.id, "token": held.token, "attempt": held.attempts + 1, "done": done}


def _check_fences(written: Sequence[Move | Ending], held: Collection[str]) -> None:
    lost = [one.held.id for one in written if one.held.id not in held]
    if lost:
        raise LeaseLost(", ".join(lost))


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
    rows = lean.execute(
        session,
        RING,
        {
            "queues": list(windows),
            "windows": list(windows.values()),
            "ring_timeout": ring_timeout,
            "limit": limit,
        },
    )
    doorbells = [
        Doorbell(str(row.id), row.kind, row.queue, row.traceparent, row.claims)
        for row in rows
        if row.id is not None
    ]
    rung = Counter(bell.queue for bell in doorbells)
    return Ringing(doorbells, any(row.free <= rung[row.queue] for row in rows))


def unring(session: Session, ids: Sequence[str]) -> None:
    """Forget that these were rung, because their doorbells could not be published."""
    session.execute(UNRING, {"ids": list(ids)})


def seconds_to_next_due(session: Session, queues: Iterable[str]) -> float | None:
    """Return how long it is until the next retry or lease end, None when nothing is planned."""
    seconds = lean.execute(session, NEXT_DUE, {"queues": list(queues)}).scalar()
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
