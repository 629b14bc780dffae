"""What is put right by hand or because its cause is gone: reversals and adjustments of the XP ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from domain.certificate_review import ask_review
from domain.errors import NotFound
from domain.levels import Curve
from domain.xp_errors import REFUSALS, BelowZero, KeyReused, ReversedBefore

# The largest manual adjustment, either way.
ADJUSTMENT_MAX = 1_000_000

REVERSE = text("SELECT * FROM xp_reverse(CAST(:award AS uuid), :reason, :description, :transport, :curve)")
# The standing awards of sources, some at a time, in the order of their users.
REVERSE_SOURCES = text(
    """
    WITH picked AS MATERIALIZED (
        SELECT a.id FROM xp_transactions a
        WHERE a.kind = 'award' AND a.source_id = ANY(:ids) AND a.source_type = ANY(:types)
            AND NOT EXISTS (SELECT 1 FROM xp_transactions r WHERE r.reverses_id = a.id)
        ORDER BY a.user_id, a.seq LIMIT :limit
    )
    SELECT count(*) FROM picked, xp_reverse(picked.id, :reason, :description, NULL, :curve) AS done
    """
)
STANDING_AWARD = text(
    """
    SELECT a.id FROM xp_transactions a WHERE a.user_id = :user AND a.business_key = :key
        AND NOT EXISTS (SELECT 1 FROM xp_transactions r WHERE r.reverses_id = a.id)
    """
)
LOCK = text(
    "SELECT total_xp, set_config('usher.level_curve', :curve, true) FROM users WHERE id = :user FOR NO KEY UPDATE"
)
SAME_ADJUSTMENT = text(
    "SELECT id, amount, balance_after FROM xp_transactions"
    " WHERE user_id = :user AND transport_key = :key AND kind = 'adjustment'"
)
ADJUST = text(
    """
    INSERT INTO xp_transactions (user_id, kind, amount, base, source_type, source_id, category, reason, description,
        transport_key)
    VALUES (:user, 'adjustment', :amount, :amount, 'MANUAL_ADJUSTMENT', :key, 'MANUAL', 'adjusted', :description, :key)
    RETURNING id, balance_after
    """
)


@dataclass(frozen=True)
class Posted:
    """A reversal or an adjustment: its entry, how many entries were made, and the total after them."""

    entry_id: str
    user_id: str
    entries: int
    total_xp: int


def reverse(
    session: Session,
    curve: Curve,
    award_id: str,
    *,
    reason: str,
    description: str = "",
    transport_key: str | None = None,
) -> Posted:
    """Reverse an award and what followed from it; a lesson can be completed again, a completed course is not any more.

    Raises `NotFound`, `ReversedBefore`, or `NotPossible` for an entry that is no award.
    """
    values = {"award": award_id, "reason": reason, "description": description, "transport": transport_key}
    found = session.execute(REVERSE, {**values, "curve": curve.spec}).one()
    if found.outcome != "reversed":
        raise REFUSALS[found.outcome](f"entry {award_id}: {found.outcome}")
    ask_review(session, str(found.owner))
    return Posted(str(found.reversal), str(found.owner), found.entries, found.total_after)


def reverse_key(session: Session, curve: Curve, user_id: str, key: str, *, reason: str) -> Posted | None:
    """Reverse the award that stands under a business key; None where none does."""
    standing = session.scalar(STANDING_AWARD, {"user": user_id, "key": key})
    if standing is None:
        return None
    try:
        return reverse(session, curve, str(standing), reason=reason)
    except ReversedBefore:
        return None


def reverse_sources(
    session: Session,
    curve: Curve,
    sources: Sequence[tuple[str, str]],
    *,
    reason: str,
    description: str = "",
    limit: int,
) -> int:
    """Reverse up to `limit` standing awards of these (source type, source id); return how many were taken on.

    Ids are uuids, so that types and ids need not be paired. Call it again until it returns 0: what was reversed is not
    found again, so it may stop at any point between two batches.
    """
    return int(
        session.execute(
            REVERSE_SOURCES,
            {
                "ids": [source_id for _, source_id in sources],
                "types": sorted({source_type for source_type, _ in sources}),
                "reason": reason,
                "description": description,
                "curve": curve.spec,
                "limit": limit,
            },
        ).scalar_one()
    )


def adjust(
    session: Session, curve: Curve, user_id: str, amount: int, *, transport_key: str, description: str = ""
) -> Posted:
    """Give or take XP by hand, once for each key. `description` must not hold personal data.

    Raises `NotFound`, `BelowZero`, or `KeyReused` when the key was used for another amount.
    """
    row = session.execute(LOCK, {"user": user_id, "curve": curve.spec}).one_or_none()
    if row is None:
        raise NotFound(f"there is no user {user_id}")
    known = session.execute(SAME_ADJUSTMENT, {"user": user_id, "key": transport_key}).one_or_none()
    if known is not None and known.amount != amount:
        raise KeyReused(f"the key was used for an adjustment by {known.amount}")
    if known is not None:
        return Posted(str(known.id), user_id, 0, known.balance_after)
    if amount < 0 and row.total_xp + amount < 0:
        raise BelowZero(f"the total is {row.total_xp}")
    made = session.execute(
        ADJUST, {"user": user_id, "amount": amount, "key": transport_key, "description": description}
    ).one()
    return Posted(str(made.id), user_id, 1, made.balance_after)
