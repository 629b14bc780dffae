"""The proof of the totals: total = sum of the entries = last balance, looked at in chunks and repaired where it is not."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import structlog
from sqlalchemy import text
from sqlalchemy.orm import Session

from domain import staff
from domain.levels import Curve

log = structlog.get_logger("domain.xp")

# Users looked at in one statement.
CHUNK = 500
FIRST = str(uuid.UUID(int=0))

# One statement is one snapshot, so no lock is needed to compare. Users without entries are compared too: sum 0.
COMPARE = text(
    """
    WITH chunk AS (SELECT id, total_xp, level FROM users WHERE id > :after ORDER BY id LIMIT :limit)
    SELECT chunk.id, chunk.total_xp, coalesce(ledger.sum, 0) AS sum, coalesce(last.balance_after, 0) AS balance,
        chunk.level, CASE WHEN ledger.sum IS NULL THEN chunk.level ELSE xp_level(ledger.sum, :curve) END AS level_due
    FROM chunk
    LEFT JOIN LATERAL (SELECT sum(amount)::bigint AS sum FROM xp_transactions WHERE user_id = chunk.id) AS ledger ON true
    LEFT JOIN LATERAL (
        SELECT balance_after FROM xp_transactions WHERE user_id = chunk.id ORDER BY seq DESC LIMIT 1
    ) AS last ON true
    ORDER BY chunk.id
    """
)
LOCK = text(
    "SELECT total_xp, set_config('usher.level_curve', :curve, true) FROM users WHERE id = :id FOR NO KEY UPDATE"
)
# The guard of the totals lets exactly this through: what the ledger says.
FOLLOW_LEDGER = """
    UPDATE users u SET total_xp = ledger.sum, level = xp_level(ledger.sum, :curve),
        highest_level = xp_level(ledger.highest, :curve)
    FROM (
        SELECT picked.id, coalesce(sum(t.amount), 0)::bigint AS sum, greatest(max(t.balance_after), 0) AS highest
        FROM unnest(CAST(:ids AS uuid[])) AS picked(id) LEFT JOIN xp_transactions t ON t.user_id = picked.id
        GROUP BY picked.id
    ) AS ledger
    WHERE u.id = ledger.id
"""
REPAIR = text(FOLLOW_LEDGER + " RETURNING u.total_xp")
# Seen from the ledger, a repair is an adjustment by nothing: the audit row, and the last balance is right again.
AUDIT = text(
    """
    INSERT INTO xp_transactions (user_id, kind, amount, base, source_type, category, reason, description, transport_key)
    VALUES (:id, 'adjustment', 0, 0, 'RECALCULATION', 'MANUAL', 'recalculated', :description, gen_random_uuid()::text)
    """
)
# Along the index of `created_at`; the nightly proof takes less than a day.
REPAIRED_IN = text(
    """
    SELECT subject_id, detail ->> 'total_xp' AS was, detail ->> 'repaired_to' AS total, count(*) OVER () AS users
    FROM staff_actions WHERE action = 'xp.repair' AND detail ->> 'run' = :run AND created_at > now() - interval '2 days'
    ORDER BY created_at LIMIT :limit
    """
)
NEXT_USERS = text("SELECT id FROM users WHERE id > :after ORDER BY id LIMIT :limit FOR NO KEY UPDATE")
SET_CURVE = text("SELECT set_config('usher.level_curve', :curve, true)")


@dataclass(frozen=True)
class Drift:
    """A user whose caches do not say what the ledger says."""

    user_id: str
    total_xp: int
    sum: int
    last_balance: int
    level: int
    level_due: int


@dataclass(frozen=True)
class Chunk:
    """Users that were compared: those that drifted, how many there were, and where the next chunk begins (None: end)."""

    drifts: list[Drift]
    users: int
    next_after: str | None


def compare(session: Session, curve: Curve, after: str = FIRST, limit: int = CHUNK) -> Chunk:
    """Compare the totals of the users after an id with their ledgers."""
    rows = session.execute(COMPARE, {"after": after, "limit": limit, "curve": curve.spec}).all()
    drifts = [
        Drift(str(row.id), row.total_xp, row.sum, row.balance, row.level, row.level_due)
        for row in rows
        if not row.total_xp == row.sum == row.balance or row.level != row.level_due
    ]
    return Chunk(drifts, len(rows), str(rows[-1].id) if len(rows) == limit else None)


def repair(session: Session, curve: Curve, drift: Drift, *, actor: str, run: str | None = None) -> int:
    """Set a user's caches to what the ledger says, leave audit rows (with the `run` that found it), return the total."""
    session.execute(LOCK, {"id": drift.user_id, "curve": curve.spec})
    total = int(session.execute(REPAIR, {"ids": [drift.user_id], "curve": curve.spec}).scalar_one())
    if (drift.total_xp, drift.last_balance) != (total, total):
        words = f"Total {drift.total_xp} and last balance {drift.last_balance} recalculated to {total}"
        session.execute(AUDIT, {"id": drift.user_id, "description": words})
    staff.record(
        session,
        actor=actor,
        action="xp.repair",
        subject=("user", drift.user_id),
        reason="total, sum and last balance differed",
        detail={**vars(drift), "repaired_to": total, "run": run},
    )
    log.error("[XpLedger] drift repaired", user_id=drift.user_id, was=drift.total_xp, total=total)
    return total


def describe_run(session: Session, run: str, limit: int = 20) -> str:
    """Return how many users a run has repaired so far, and the first of them, as lines for a person."""
    rows = session.execute(REPAIRED_IN, {"run": run, "limit": limit}).all()
    users = rows[0].users if rows else 0
    listed = [f"  user {row.subject_id}: {row.was} -> {row.total}" for row in rows]
    more = [f"  ... and {users - limit} more"] if users > limit else []
    return "\n".join([f"{users} repaired:", *listed, *more])


def recompute_levels(session: Session, curve: Curve, after: str = FIRST, limit: int = CHUNK) -> str | None:
    """Give some users the levels of this curve; return where to go on, None at the end."""
    session.execute(SET_CURVE, {"curve": curve.spec})
    ids = [str(id) for id in session.scalars(NEXT_USERS, {"after": after, "limit": limit})]
    if ids:
        session.execute(text(FOLLOW_LEDGER), {"ids": ids, "curve": curve.spec})
    return ids[-1] if len(ids) == limit else None
