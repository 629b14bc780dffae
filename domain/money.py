"""What a payment entitles to, as a pure function of everything that was told about it.

Events arrive in any order and more than once, so nothing is decided from the latest one: facts are collected (each
only ever moves forward), and this function looks at all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# What a seat should be. Of several payments for one seat, the strongest word counts.
NOTHING, REVOKED, SUSPENDED, GRANTED = "nothing", "revoked", "suspended", "granted"
STRENGTH = {NOTHING: 0, REVOKED: 1, SUSPENDED: 2, GRANTED: 3}

# A refund's way; `succeeded` may still become `failed`. Source: Stripe's refund object.
REFUND_RANKS = {"requires_action": 0, "pending": 1, "succeeded": 2, "failed": 3, "canceled": 3}
REFUND_COUNTS = frozenset({"pending", "succeeded"})
REFUND_FAILED = frozenset({"failed", "canceled"})

# A dispute's way. Inquiries (`warning_*`) change nothing. Source: Stripe's dispute object.
DISPUTE_RANKS = {
    "warning_needs_response": 0,
    "warning_under_review": 1,
    "warning_closed": 2,
    "needs_response": 3,
    "under_review": 4,
    "prevented": 5,
    "lost": 5,
    "appeal_needs_response": 6,
    "appeal_under_review": 7,
    "won": 8,
}
DISPUTE_SUSPENDS = frozenset({"needs_response", "under_review"})
DISPUTE_REVOKES = frozenset({"lost", "appeal_needs_response", "appeal_under_review"})


@dataclass(frozen=True)
class Refund:
    """A refund: its amount in the smallest unit, its status, and the course it names, if any."""

    amount: int
    status: str
    course_id: str | None = None


@dataclass(frozen=True)
class Line:
    """A course that was bought and, where the session said so, what it cost."""

    course_id: str
    amount: int | None = None


@dataclass(frozen=True)
class Facts:
    """Everything that was told about one payment."""

    paid: bool
    amount_total: int | None
    lines: Sequence[Line]
    refunds: Sequence[Refund] = ()
    # The largest amount that a charge said was refunded, and the charge's own amount.
    charge_refunded: int = 0
    charge_amount: int | None = None
    disputes: Sequence[str] = ()


def entitlement(facts: Facts, course_id: str) -> str:
    """Return what this payment makes of the seat in `course_id`."""
    if not facts.paid:
        return NOTHING
    if course_id in refunded_courses(facts) or any(status in DISPUTE_REVOKES for status in facts.disputes):
        return REVOKED
    if any(status in DISPUTE_SUSPENDS for status in facts.disputes):
        return SUSPENDED
    return GRANTED


def refunded_courses(facts: Facts) -> frozenset[str]:
    """Return the courses whose price was paid back: all for a full refund, else those that a refund can be assigned to."""
    if is_fully_refunded(facts):
        return frozenset(line.course_id for line in facts.lines)
    assigned = _named(facts)
    for amount in _unassigned_amounts(facts):
        candidates = [
            line for line in facts.lines if line.amount == amount and line.course_id not in assigned
        ]
        if len(facts.lines) > 1 and len(candidates) == 1:
            assigned.add(candidates[0].course_id)
    return frozenset(line.course_id for line in facts.lines if line.course_id in assigned)


def is_fully_refunded(facts: Facts) -> bool:
    """Say whether all of the money went back."""
    total = facts.amount_total or facts.charge_amount
    return bool(total) and refunded_amount(facts) >= (total or 0)


def refunded_amount(facts: Facts) -> int:
    """Return how much was paid back, by the refunds or by the charge, whichever knows more; failed ones do not count."""
    failed = sum(refund.amount for refund in facts.refunds if refund.status in REFUND_FAILED)
    return max(sum(refund.amount for refund in _live(facts)), facts.charge_refunded - failed)


def has_unclear_refund(facts: Facts) -> bool:
    """Say whether part of a payment for several courses went back and nobody can tell for which: a person decides."""
    if len(facts.lines) < 2 or is_fully_refunded(facts):
        return False
    amounts = _unassigned_amounts(facts)
    return len(refunded_courses(facts) - _named(facts)) < len(amounts)


def _named(facts: Facts) -> set[str]:
    """Return the courses of this payment that a refund names; a name of anything else says nothing."""
    ours = {line.course_id for line in facts.lines}
    return {refund.course_id for refund in _live(facts) if refund.course_id is not None} & ours


def _live(facts: Facts) -> list[Refund]:
    return [refund for refund in facts.refunds if refund.status in REFUND_COUNTS]


def _unassigned_amounts(facts: Facts) -> list[int]:
    """Return the amounts of refunds that name no course; what only a charge told of counts as one more."""
    live = _live(facts)
    named = _named(facts)
    amounts = [refund.amount for refund in live if refund.course_id not in named]
    rest = refunded_amount(facts) - sum(refund.amount for refund in live)
    return [*amounts, rest] if rest > 0 else amounts
