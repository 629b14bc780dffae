"""Settling a seat: what all payments for it say, against what it is."""

from __future__ import annotations

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

PAYMENTS = lean.Statement(
    "payments_of_seat",
    """
    SELECT y.id, y.state = 'paid' AS paid, y.amount_total, y.payment_intent_id, e.course_id
    FROM payment_lines l JOIN payments y ON y.id = l.payment_id JOIN partner_lms_enrollments e ON e.id = l.enrollment_id
    WHERE l.enrollment_id = {enrollment} ORDER BY y.id
    """,
    enrollment="uuid",
)
# Everything that was told about one payment, in one row.
FACTS = lean.Statement(
    "facts_of_payment",
    """
    SELECT
        (SELECT jsonb_agg(jsonb_build_array(e.course_id, l.amount) ORDER BY e.course_id) FROM payment_lines l
            JOIN partner_lms_enrollments e ON e.id = l.enrollment_id WHERE l.payment_id = {payment}) AS lines,
        (SELECT jsonb_agg(jsonb_build_array(amount, status, course_id) ORDER BY id) FROM payment_refunds
            WHERE payment_intent_id = {intent}) AS refunds,
        (SELECT array_agg(status ORDER BY id) FROM payment_disputes WHERE payment_intent_id = {intent}) AS disputes,
        charge.refunded, charge.amount
    FROM (
        SELECT coalesce(sum(amount_refunded), 0) AS refunded, max(amount) AS amount FROM payment_charges
        WHERE payment_intent_id = {intent}
    ) AS charge
    """,
    payment="uuid",
    intent="text",
)


def lock_payment(session: Session, payment_intent_id: str) -> None:
    """Have the events of one payment take turns until this transaction ends: a refund and its checkout may arrive at once."""
    session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": payment_intent_id}
    )


def add_line(session: Session, payment_id: str, enrollment_id: str, amount: int | None) -> None:
    """Note that a payment bought a seat."""
    session.execute(
        text(
            "INSERT INTO payment_lines (payment_id, enrollment_id, amount) VALUES (:payment, :enrollment, :amount)"
            " ON CONFLICT DO NOTHING"
        ),
        {"payment": payment_id, "enrollment": enrollment_id, "amount": amount},
    )


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
    payments = session.execute(
        text(
            "SELECT id, state = 'paid' AS paid, amount_total FROM payments WHERE payment_intent_id = :intent"
        ),
        {"intent": payment_intent_id},
    ).all()
    return any(
        is_unclear(_facts(session, str(row.id), row.paid, row.amount_total, payment_intent_id))
        for row in payments
    )


def is_bought_twice(session: Session, enrollment_id: str) -> bool:
    """Say whether more than one payment that stands pays for this seat."""
    return _stand(_words(session, enrollment_id)) > 1


def target(session: Session, enrollment_id: str) -> str:
    """Return what a seat should be by all its payments: granted, suspended, revoked, or nothing when none was paid."""
    return _strongest(_words(session, enrollment_id))


def settle(session: Session, enrollment_id: str) -> bool:
    """Bring an enrolment to what its payments entitle to; say whether more than one that stands pays for it.

    The row is locked: settlers take turns.
    """
    enrollment = enrollments.lock(session, enrollment_id)
    words = _words(session, enrollment_id)
    wanted = _strongest(words)
    if wanted == REVOKED and enrollment.status != "revoked":
        enrollments.revoke(session, enrollment)
    elif wanted == SUSPENDED and enrollment.status != "suspended":
        enrollments.suspend(session, enrollment)
    elif wanted == GRANTED and enrollment.status in ("suspended", "revoked"):
        enrollments.restore(session, enrollment)
    return _stand(words) > 1


def _strongest(words: list[str]) -> str:
    return max(words, key=STRENGTH.__getitem__, default=NOTHING)


def _stand(words: list[str]) -> int:
    return sum(word in (GRANTED, SUSPENDED) for word in words)


def _words(session: Session, enrollment_id: str) -> list[str]:
    """Return what each payment for this seat says."""
    return [
        entitlement(
            _facts(session, str(row.id), row.paid, row.amount_total, row.payment_intent_id),
            str(row.course_id),
        )
        for row in lean.execute(session, PAYMENTS, {"enrollment": enrollment_id})
    ]


def _facts(
    session: Session, payment_id: str, paid: bool, amount_total: int | None, intent: str | None
) -> Facts:
    """Collect everything that was told about one payment."""
    told = lean.execute(session, FACTS, {"payment": payment_id, "intent": intent}).one()
    return Facts(
        paid=paid,
        amount_total=amount_total,
        lines=[Line(course, amount) for course, amount in told.lines or ()],
        refunds=[Refund(amount, status, course) for amount, status, course in told.refunds or ()],
        charge_refunded=int(told.refunded),
        charge_amount=told.amount,
        disputes=list(told.disputes or ()),
    )
