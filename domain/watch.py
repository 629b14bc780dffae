"""Alerts without a stack: what staff have to hear about is found in the database and becomes a row of `alerts`.

Whoever looks (relay, worker) looks at the whole, one at a time. A row is opened and resolved once, however many look;
what is told of it are jobs, written in the transaction that opens or resolves it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from db import jobs
from domain import gauges
from domain.alerts import TELL_STAFF

POST = "alerts.post"
LOOK_LOCK = 7_215_430_127
# Seconds between two notices of one alert of which more and more comes up.
AGAIN = 900.0
# What the worker or the proof that finds it mails by itself.
MAILED_ELSEWHERE = ("partner_paused", "xp_drift")

# The job that is due the longest is the next to be rung and claimed. While it stays the same, with the same token,
# nobody takes work of the queue, also not slowly.
NOTE_HEADS = text(
    f"""
    INSERT INTO queue_states AS q (queue, head_id, head_token, head_since)
    SELECT names.queue, head.id, head.token, CASE WHEN head.id IS NOT NULL THEN now() END
    FROM unnest(CAST(:queues AS text[])) AS names(queue) LEFT JOIN LATERAL (
        SELECT id, token FROM jobs WHERE jobs.queue = names.queue AND state IN ('ready', 'running')
            AND next_run_at <= now() AND {gauges.NOT_LEFT_ALONE}
        ORDER BY next_run_at LIMIT 1
    ) AS head ON true
    ON CONFLICT (queue) DO UPDATE SET head_id = excluded.head_id, head_token = excluded.head_token,
        head_since = CASE WHEN (q.head_id, q.head_token) IS NOT DISTINCT FROM (excluded.head_id, excluded.head_token)
            THEN q.head_since ELSE excluded.head_since END
    """  # noqa: S608 - our own constant
)
OPEN = text(
    """
    INSERT INTO alerts (kind, subject, figures, told_until) VALUES (:kind, :subject, CAST(:figures AS jsonb), :until)
    ON CONFLICT (kind, subject) WHERE resolved_at IS NULL DO UPDATE SET figures = excluded.figures
    RETURNING id, xmax = 0 AS fresh, coalesce(:until > told_until, false) AND told_at < now() - :again * interval '1 second'
        AS more
    """
)
IS_OPEN = text("SELECT 1 FROM alerts WHERE kind = :kind AND subject = :subject AND resolved_at IS NULL")
TOLD = text("UPDATE alerts SET told_at = now(), told_until = :until WHERE id = :id")
RESOLVE = text(
    """
    UPDATE alerts SET resolved_at = now()
    WHERE resolved_at IS NULL AND NOT (kind || ':' || subject) = ANY(CAST(:still AS text[])) RETURNING id, kind
    """
)


@dataclass(frozen=True)
class View:
    """From where somebody looks. All times are in seconds.

    `settled` says that the observer has been looking for a while: what was silent while nothing ran at all is no news.
    `turns` and `relay` are the names under which the schedule's turns and the relay's signs of life are kept.
    """

    queues: Sequence[str]
    turns: Sequence[str]
    relay: str
    settled: bool
    payment_deadline: float
    queue_deadline: float
    heartbeat_deadline: float


@dataclass(frozen=True)
class Trouble:
    """Something that is the case. `sure` is False where only an alert that is open already may go on because of it."""

    kind: str
    subject: str = ""
    figures: dict[str, Any] = field(default_factory=dict)
    until: datetime | None = None
    sure: bool = True


def look(session: Session, view: View) -> None:
    """Open what is the case, resolve what is not any more. Does nothing while somebody else looks."""
    if not session.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": LOOK_LOCK}):
        return
    session.execute(NOTE_HEADS, {"queues": list(view.queues)})
    found = [
        *_payments(session, view),
        *_partners(session),
        *_queues(session, view),
        *_silences(session, view),
        *_drift(session),
    ]
    for trouble in found:
        _open(session, trouble)
    still = [f"{trouble.kind}:{trouble.subject}" for trouble in found]
    for row in session.execute(RESOLVE, {"still": still}).all():
        _tell(session, str(row.id), row.kind, "resolved")


def _open(session: Session, trouble: Trouble) -> None:
    names = {"kind": trouble.kind, "subject": trouble.subject}
    if not trouble.sure and session.scalar(IS_OPEN, names) is None:
        return
    values = {"figures": json.dumps(trouble.figures), "until": trouble.until, "again": AGAIN}
    row = session.execute(OPEN, names | values).one()
    if row.fresh:
        _tell(session, str(row.id), trouble.kind, "opened")
    elif row.more and trouble.until is not None:
        session.execute(TOLD, {"id": row.id, "until": trouble.until})
        _tell(session, str(row.id), trouble.kind, f"again:{trouble.until.timestamp():.0f}")


def _tell(session: Session, alert_id: str, kind: str, event: str) -> None:
    """Ask for the notices, each once."""
    key = f"{alert_id}:{event}"
    jobs.enqueue(session, jobs.Enqueue(POST, key, queue="control", subject_id=alert_id), once=True)
    if event != "opened" or kind not in MAILED_ELSEWHERE:
        mail = jobs.Enqueue(TELL_STAFF, f"alert:{key}", queue="mail", subject_id=alert_id)
        jobs.enqueue(session, mail, once=True)


def _payments(session: Session, view: View) -> Iterator[Trouble]:
    rows = session.execute(gauges.UNREADY, {"deadline": view.payment_deadline}).all()
    overdue = [row for row in rows if row.overdue]
    if overdue:
        figures = {
            "overdue": sum(row.overdue for row in overdue),
            "oldest_seconds": round(max(row.oldest for row in overdue)),
            "where": {f"{row.partner}/{row.stage}": row.overdue for row in overdue},
        }
        yield Trouble("payment_not_ready", figures=figures, until=max(row.due_until for row in overdue))


def _partners(session: Session) -> Iterator[Trouble]:
    for row in session.execute(gauges.PARTNERS):
        if row.condition == "paused":
            yield Trouble("partner_paused", row.partner)
        elif row.condition != "ok":
            yield Trouble("partner_circuit_open", row.partner)


def _queues(session: Session, view: View) -> Iterator[Trouble]:
    for row in session.execute(gauges.QUEUES, {"believed": gauges.DEPTH_BELIEVED}):
        if row.unclaimed > view.queue_deadline:
            figures = {"unclaimed_seconds": round(row.unclaimed)}
            yield Trouble("queue_unclaimed", row.queue, figures, sure=view.settled)


def _silences(session: Session, view: View) -> Iterator[Trouble]:
    ages = gauges.last_turns(session, [*view.turns, view.relay])
    relay = ages.pop(view.relay)
    beat = min((age for age in ages.values() if age is not None), default=None)
    for kind, age in (("beat_silent", beat), ("relay_silent", relay)):
        if (math.inf if age is None else age) > view.heartbeat_deadline:
            figures = {"last_seconds_ago": None if age is None else round(age)}
            yield Trouble(kind, figures=figures, sure=view.settled)


def _drift(session: Session) -> Iterator[Trouble]:
    repaired = session.scalar(gauges.XP_REPAIRS)
    if repaired:
        yield Trouble("xp_drift", figures={"repaired_in_24_hours": repaired})
