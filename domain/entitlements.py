"""Settling a seat: what all payments for it say, against what it is."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.orm import Session

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

PAYMENTS = text(
    """
    SELECT y.id, y.state = 'paid' AS paid, y.amount_total, y.payment_intent_id
    FROM payments y JOIN payment_lines l ON l.payment_id = y.id WHERE l.enrollment_id = :enrollment ORDER BY y.id
    """
)
LINES = text(
    """
    SELECT e.course_id, l.amount FROM payment_lines l JOIN partner_lms_enrollments e ON e.id = l.enrollment_id
    WHERE l.payment_id = :payment ORDER BY e.course_id
    """
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


def is_bought_twice(session: Session, enrollment_id: str) -> bool:
    """Say whether more than one payment that stands pays for this seat."""
    standing = [word for word in _words(session, enrollment_id) if word in (GRANTED, SUSPENDED)]
    return len(standing) > 1


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


def target(session: Session, enrollment_id: str) -> str:
    """Return what a seat should be by all its payments: granted, suspended, revoked, or nothing when none was paid."""
    return max(_words(session, enrollment_id), key=STRENGTH.__getitem__, default=NOTHING)


def settle(session: Session, enrollment_id: str) -> None:
    """Bring an enrolment to what its payments entitle to. The row is locked: settlers take turns."""
    enrollment = enrollments.lock(session, enrollment_id)
    wanted = target(session, enrollment_id)
    if wanted == REVOKED and enrollment.status != "revoked":
        enrollments.revoke(session, enrollment)
    elif wanted == SUSPENDED and enrollment.status != "suspended":
        enrollments.suspend(session, enrollment)
    elif wanted == GRANTED and enrollment.status in ("suspended", "revoked"):
        enrollments.restore(session, enrollment)


def _words(session: Session, enrollment_id: str) -> list[str]:
    """Return what each payment for this seat says."""
    course_id = str(
        session.scalar(
            text("SELECT course_id FROM partner_lms_enrollments WHERE id = :id"), {"id": enrollment_id}
        )
    )
    return [
        entitlement(
            _facts(session, str(row.id), row.paid, row.amount_total, row.payment_intent_id), course_id
        )
        for row in session.execute(PAYMENTS, {"enrollment": enrollment_id}).all()
    ]


def _facts(
    session: Session, payment_id: str, paid: bool, amount_total: int | None, intent: str | None
) -> Facts:
    """Collect everything that was told about one payment."""
    key = {"intent": intent}
    lines = [Line(str(row.course_id), row.amount) for row in session.execute(LINES, {"payment": payment_id})]
    refunds = session.execute(
        text(
            "SELECT amount, status, course_id FROM payment_refunds WHERE payment_intent_id = :intent ORDER BY id"
        ),
        key,
    )
    charge = session.execute(
        text(
            "SELECT coalesce(sum(amount_refunded), 0) AS refunded, max(amount) AS amount FROM payment_charges"
            " WHERE payment_intent_id = :intent"
        ),
        key,
    ).one()
    disputes = session.scalars(
        text("SELECT status FROM payment_disputes WHERE payment_intent_id = :intent ORDER BY id"), key
    )
    return Facts(
        paid=paid,
        amount_total=amount_total,
        lines=lines,
        refunds=[Refund(row.amount, row.status, row.course_id) for row in refunds],
        charge_refunded=int(charge.refunded),
        charge_amount=charge.amount,
        disputes=list(disputes),
    )
