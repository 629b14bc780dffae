"""Settling a seat: what all payments for it say, against what it is."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from db import lean
from domain import enrollments
from domain.money import (
    GRANTED,
    NOTHING,
    REVOKED,
    STRENGTH,
    SUSPENDED,
    Facts,
    Line,
    Refund,
    entitlement,
)
from domain.money import has_unclear_refund as is_unclear

# Everything that was told about payments, one row each.
FACTS = """
    SELECT y.id, y.state = 'paid' AS paid, y.amount_total,
        (SELECT jsonb_agg(jsonb_build_array(e.course_id, l.amount) ORDER BY e.course_id) FROM payment_lines l
            JOIN partner_lms_enrollments e ON e.id = l.enrollment_id WHERE l.payment_id = y.id) AS lines,
        (SELECT jsonb_agg(jsonb_build_array(amount, status, course_id) ORDER BY id) FROM payment_refunds
            WHERE payment_intent_id = y.payment_intent_id) AS refunds,
        (SELECT array_agg(status ORDER BY id) FROM payment_disputes
            WHERE payment_intent_id = y.payment_intent_id) AS disputes,
        charge.refunded, charge.amount
    FROM payments y CROSS JOIN LATERAL (
        SELECT coalesce(sum(amount_refunded), 0) AS refunded, max(amount) AS amount FROM payment_charges
        WHERE payment_intent_id = y.payment_intent_id
    ) AS charge
"""
FACTS_OF_SEAT = lean.Statement(
    "facts_of_seat",
    f"{FACTS} JOIN payment_lines own ON own.payment_id = y.id WHERE own.enrollment_id = {{enrollment}} ORDER BY y.id",
    enrollment="uuid",
)
FACTS_OF_PAYMENT = lean.Statement(
    "facts_of_payment", f"{FACTS} WHERE y.payment_intent_id = {{intent}} ORDER BY y.id", intent="text"
)
LOCK_PAYMENT = lean.Statement(
    "lock_payment", "SELECT pg_advisory_xact_lock(hashtextextended({key}, 0))", key="text"
)
ADD_LINE = lean.Statement(
    "add_payment_line",
    """
    INSERT INTO payment_lines (payment_id, enrollment_id, amount) VALUES ({payment}, {enrollment}, {amount})
    ON CONFLICT DO NOTHING
    """,
    payment="uuid",
    enrollment="uuid",
    amount="bigint",
)


def lock_payment(session: Session, payment_intent_id: str) -> None:
    """Have the events of one payment take turns until this transaction ends: a refund and its checkout may arrive at once."""
    lean.execute(session, LOCK_PAYMENT, {"key": payment_intent_id})


def add_line(session: Session, payment_id: str, enrollment_id: str, amount: int | None) -> None:
    """Note that a payment bought a seat."""
    values = {"payment": payment_id, "enrollment": enrollment_id, "amount": amount}
    lean.execute(session, ADD_LINE, values)


def seats_of(session: Session, payment_intent_id: str) -> list[str]:
    """Return the enrolments that a payment bought, in id order."""
    found = session.scalars(
        text(
            "SELECT l.enrollment_id FROM payments y JOIN payment_lines l ON l.payment_id = y.id"
            " WHERE y.payment_intent_id = :intent ORDER BY l.enrollment_id"
        ),
        {"intent": payment_intent_id},
    )
    return [str(seat) for seat in found]


def has_unclear_refund(session: Session, payment_intent_id: str) -> bool:
    """Say whether a partial refund of this payment waits for a person to say what it was for."""
    told = lean.execute(session, FACTS_OF_PAYMENT, {"intent": payment_intent_id})
    return any(is_unclear(_facts(row)) for row in told)


def is_bought_twice(session: Session, enrollment_id: str) -> bool:
    """Say whether more than one payment that stands pays for this seat."""
    return _stand(_words(session, enrollments.load(session, enrollment_id))) > 1


def target(session: Session, enrollment_id: str) -> str:
    """Return what a seat should be by all its payments: granted, suspended, revoked, or nothing when none was paid."""
    return _strongest(_words(session, enrollments.load(session, enrollment_id)))


def settle(session: Session, enrollment_id: str) -> tuple[enrollments.Enrollment, bool]:
    """Bring an enrolment to what its payments entitle to; return it, and whether more than one that stands pays for it.

    The row is locked: settlers take turns.
    """
    enrollment = enrollments.lock(session, enrollment_id)
    words = _words(session, enrollment)
    wanted = _strongest(words)
    if wanted == REVOKED and enrollment.status != "revoked":
        enrollments.revoke(session, enrollment)
    elif wanted == SUSPENDED and enrollment.status != "suspended":
        enrollments.suspend(session, enrollment)
    elif wanted == GRANTED and enrollment.status in ("suspended", "revoked"):
        enrollments.restore(session, enrollment)
    else:
        return enrollment, _stand(words) > 1
    return enrollments.load(session, enrollment_id), _stand(words) > 1


def _strongest(words: list[str]) -> str:
    return max(words, key=STRENGTH.__getitem__, default=NOTHING)


def _stand(words: list[str]) -> int:
    return sum(word in (GRANTED, SUSPENDED) for word in words)


def _words(session: Session, enrollment: enrollments.Enrollment) -> list[str]:
    """Return what each payment for this seat says."""
    told = lean.execute(session, FACTS_OF_SEAT, {"enrollment": enrollment.id})
    return [entitlement(_facts(row), enrollment.course_id) for row in told]


def _facts(told: Any) -> Facts:
    """Return everything that was told about one payment."""
    return Facts(
        paid=told.paid,
        amount_total=told.amount_total,
        lines=[Line(course, amount) for course, amount in told.lines or ()],
        refunds=[Refund(amount, status, course) for amount, status, course in told.refunds or ()],
        charge_refunded=int(told.refunded),
        charge_amount=told.amount,
        disputes=list(told.disputes or ()),
    )
