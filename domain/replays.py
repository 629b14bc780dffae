"""Replaying what failed for one and the same cause: grouped by fingerprint, dry run first, one canary, a capped rate."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from db import jobs
from domain import enrollments, staff
from domain.errors import NotFound, NotPossible

REPLAY = "replay.run"

# What failed alike: the same partner, at the same step, with the same kind of error.
FINGERPRINT = "left(md5(concat_ws('|', p.provider_type, f.step, f.error_code)), 10)"
OPEN = """
    FROM partner_lms_enrollment_failures f
    JOIN partner_lms_enrollments e ON e.id = f.enrollment_id
    JOIN partner_lms_providers p ON p.id = e.provider_id
    WHERE f.final AND f.resolved_at IS NULL AND e.status IN ('failed', 'suspended', 'revoked')
"""
GROUPS = text(
    f"""
    SELECT {FINGERPRINT} AS fingerprint, p.provider_type AS partner, f.step, f.error_code, count(DISTINCT e.id) AS enrollments,
        min(f.created_at) AS oldest, max(f.created_at) AS newest, (array_agg(f.error_message ORDER BY f.created_at DESC))[1]
        AS example
    {OPEN} GROUP BY 1, 2, 3, 4 ORDER BY enrollments DESC LIMIT :limit
    """
)
MEMBERS = text(f"SELECT DISTINCT e.id {OPEN} AND {FINGERPRINT} = :fingerprint ORDER BY e.id")

# What staff should look at first, by the kind of error.
LIKELY_CAUSES = {
    "refused": "the partner refuses the request: full course, wrong course code, or data it does not accept",
    "not_found": "what we refer to is gone at the partner: course code or account",
    "ambiguous": "the partner holds several matches: merge them there, then replay",
    "retry_later": "the partner was down for longer than we retry",
    "outcome_unknown": "the partner works and loses its answers: look at its side",
    "inactive_course": "the course is not active here: activate it, then replay",
    "inactive_partner": "the partner is not active here: activate it, then replay",
    "no_adapter": "no adapter speaks this provider_type",
    "poison": "the job ended its workers: look at their logs before replaying",
}


@dataclass(frozen=True)
class Plan:
    """What a bulk replay would do: which enrolments it would ask for, and which have something in their way."""

    fingerprint: str
    enrollments: list[str]
    obstructed: dict[str, str]


def groups(session: Session, limit: int = 100) -> list[dict[str, Any]]:
    """Return the open failures by fingerprint, the most frequent first, each with its likely cause."""
    rows = [dict(row._mapping) for row in session.execute(GROUPS, {"limit": limit})]
    return [
        {**row, "likely_cause": LIKELY_CAUSES.get(row["error_code"], "look at the example")} for row in rows
    ]


def plan(session: Session, fingerprint: str, partner_types: Collection[str]) -> Plan:
    """Say what a replay of this fingerprint would do, and do nothing; raise `NotFound` when nothing is open."""
    members = [str(id) for id in session.scalars(MEMBERS, {"fingerprint": fingerprint})]
    if not members:
        raise NotFound(f"no open failure has the fingerprint {fingerprint}")
    obstructed = {}
    for enrollment in enrollments.load_many(session, members):
        obstacle = enrollments.find_obstacle(enrollment, partner_types)
        if obstacle is not None:
            obstructed[enrollment.id] = obstacle[1]
    return Plan(fingerprint, [id for id in members if id not in obstructed], obstructed)


def start(session: Session, planned: Plan, *, actor: str, reason: str, rate_per_minute: int) -> str:
    """Start the replay that was planned; return the batch's id. Raises `NotPossible` when there is nothing to replay."""
    if not planned.enrollments:
        raise NotPossible("there is nothing that a replay could change")
    batch_id = str(
        session.scalar(
            text(
                "INSERT INTO replay_batches (fingerprint, actor, reason, rate_per_minute)"
                " VALUES (:fingerprint, :actor, :reason, :rate) RETURNING id"
            ),
            {"fingerprint": planned.fingerprint, "actor": actor, "reason": reason, "rate": rate_per_minute},
        )
    )
    session.execute(
        text(
            "INSERT INTO replay_items (batch_id, enrollment_id, canary)"
            " SELECT :batch, id, id = :first FROM unnest(CAST(:ids AS uuid[])) AS id"
        ),
        {"batch": batch_id, "ids": planned.enrollments, "first": planned.enrollments[0]},
    )
    staff.record(
        session,
        actor=actor,
        action="failures.replay",
        subject=("replay_batch", batch_id),
        reason=reason,
        detail={"fingerprint": planned.fingerprint, "enrollments": len(planned.enrollments)},
    )
    jobs.enqueue(session, jobs.Enqueue(REPLAY, batch_id, queue="control", subject_id=batch_id))
    return batch_id


def advance(session: Session, batch_id: str, partner_types: Collection[str]) -> float | None:
    """Take a batch one turn further; return the seconds until its next turn, None when it has ended.

    The canary goes first. Only when it is active the others follow, a second's worth of the rate each turn.
    """
    batch = session.execute(
        text("SELECT state, rate_per_minute FROM replay_batches WHERE id = :id FOR UPDATE"), {"id": batch_id}
    ).one()
    if batch.state == "canary":
        return _watch_canary(session, batch_id, partner_types)
    if batch.state != "running":
        return None
    per_turn = max(1, batch.rate_per_minute // 60)
    waiting = _take_items(session, batch_id, canary=False, limit=per_turn)
    for enrollment_id in waiting:
        _ask(session, batch_id, enrollment_id, partner_types)
    if len(waiting) == per_turn:
        return float(60.0 * per_turn / batch.rate_per_minute)
    _end(session, batch_id, "done", None)
    return None


def list_batches(session: Session, limit: int = 50) -> list[dict[str, Any]]:
    """Return bulk replays, newest first, with how far they came."""
    rows = session.execute(
        text(
            """
            SELECT b.id, b.created_at, b.fingerprint, b.actor, b.reason, b.state, b.stopped_reason,
                count(i.*) FILTER (WHERE i.state = 'waiting') AS waiting, count(i.*) FILTER (WHERE i.state = 'asked') AS asked,
                count(i.*) FILTER (WHERE i.state = 'skipped') AS skipped
            FROM replay_batches b LEFT JOIN replay_items i ON i.batch_id = b.id
            GROUP BY b.id ORDER BY b.created_at DESC LIMIT :limit
            """
        ),
        {"limit": limit},
    )
    return [dict(row._mapping) for row in rows]


def _watch_canary(session: Session, batch_id: str, partner_types: Collection[str]) -> float | None:
    for enrollment_id in _take_items(session, batch_id, canary=True, limit=1):
        _ask(session, batch_id, enrollment_id, partner_types)
        return 0.5
    canary = session.execute(
        text(
            "SELECT i.state, i.note, e.status, e.failure_reason FROM replay_items i"
            " JOIN partner_lms_enrollments e ON e.id = i.enrollment_id WHERE i.batch_id = :id AND i.canary"
        ),
        {"id": batch_id},
    ).one()
    if canary.status == "pending" and canary.state == "asked":
        return 1.0
    if canary.status in ("failed", "pending"):
        _end(session, batch_id, "stopped", f"the canary failed again: {canary.failure_reason or canary.note}")
        return None
    session.execute(
        text("UPDATE replay_batches SET state = 'running', updated_at = now() WHERE id = :id"),
        {"id": batch_id},
    )
    return 0.0


def _take_items(session: Session, batch_id: str, *, canary: bool, limit: int) -> list[str]:
    found = session.scalars(
        text(
            "SELECT enrollment_id FROM replay_items WHERE batch_id = :id AND canary = :canary AND state = 'waiting'"
            " ORDER BY enrollment_id LIMIT :limit"
        ),
        {"id": batch_id, "canary": canary, "limit": limit},
    )
    return [str(id) for id in found]


def _ask(session: Session, batch_id: str, enrollment_id: str, partner_types: Collection[str]) -> None:
    """Replay one enrolment; what was replayed or resolved by other means is skipped, not done twice."""
    state, note = "asked", None
    try:
        enrollments.replay(session, enrollment_id, partner_types=partner_types)
    except (NotPossible, NotFound) as error:
        state, note = "skipped", str(error)
    session.execute(
        text(
            "UPDATE replay_items SET state = :state, note = :note WHERE batch_id = :batch AND enrollment_id = :id"
        ),
        {"state": state, "note": note, "batch": batch_id, "id": enrollment_id},
    )


def _end(session: Session, batch_id: str, state: str, reason: str | None) -> None:
    session.execute(
        text(
            "UPDATE replay_batches SET state = :state, stopped_reason = :reason, finished_at = now(), updated_at = now()"
            " WHERE id = :id"
        ),
        {"state": state, "reason": reason, "id": batch_id},
    )
