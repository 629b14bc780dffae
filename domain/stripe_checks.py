"""What our own books show that only a person can decide: nobody is charged for nothing, nobody learns for nothing."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import text
from sqlalchemy.orm import Session

from domain import entitlements, stripe_repairs
from domain.events import PROCESS
from domain.findings import MOST, Found

GIVEN_UP = text(
    """
    SELECT i.external_id AS id, i.type || ' was given up: ' || coalesce(j.last_error, j.state) AS message
    FROM jobs j JOIN inbox_events i ON i.id = j.subject_id
    WHERE j.state IN ('failed', 'parked') AND j.kind = :kind AND i.state = 'received'
    ORDER BY i.received_at LIMIT :limit
    """
)
SEATS_UNPAID = text(
    """
    SELECT e.id, 'the seat in ' || c.course_code || ' is ' || e.status || ', and no payment paid for it' AS message
    FROM partner_lms_enrollments e JOIN partner_courses c ON c.id = e.course_id
    WHERE e.status IN ('pending', 'active', 'completed') AND NOT EXISTS (
        SELECT 1 FROM payment_lines l JOIN payments y ON y.id = l.payment_id
        WHERE l.enrollment_id = e.id AND y.state = 'paid'
    )
    ORDER BY e.created_at, e.id LIMIT :limit
    """
)
PAID_FOR_NOTHING = text(
    """
    SELECT y.id, y.checkout_session_id, y.amount_total, y.currency FROM payments y
    WHERE y.state = 'paid' AND NOT EXISTS (SELECT 1 FROM payment_lines l WHERE l.payment_id = y.id)
    ORDER BY y.paid_at, y.id LIMIT :limit
    """
)
PAID_OFTEN = text(
    """
    SELECT l.enrollment_id AS id, string_agg(y.checkout_session_id, ', ' ORDER BY y.paid_at, y.id) AS sessions
    FROM payment_lines l JOIN payments y ON y.id = l.payment_id WHERE y.state = 'paid'
    GROUP BY l.enrollment_id HAVING count(*) > 1 ORDER BY l.enrollment_id
    """
)


def find_seats_unpaid(session: Session) -> list[Found]:
    """Return open seats that nobody paid for. They are never taken away by themselves."""
    rows = session.execute(SEATS_UNPAID, {"limit": MOST})
    return [Found("seat_unpaid", "enrollment", str(row.id), row.message) for row in rows]


def find_paid_for_nothing(session: Session) -> list[Found]:
    """Return payments that bought no seat and whose events do not wait for anything."""
    rows = session.execute(PAID_FOR_NOTHING, {"limit": MOST}).all()
    waiting = stripe_repairs.waiting(session) if rows else set()
    return [
        Found(
            "payment_without_seat",
            "payment",
            str(row.id),
            f"checkout session {row.checkout_session_id} paid {_money(row.amount_total, row.currency)} for no seat",
        )
        for row in rows
        if row.checkout_session_id not in waiting
    ]


def find_paid_twice(session: Session) -> list[Found]:
    """Return seats for which more than one payment stands: somebody is charged for nothing."""
    return [
        Found(
            "paid_twice",
            "enrollment",
            str(row.id),
            f"more than one payment stands, of {row.sessions}: refund one",
        )
        for row in session.execute(PAID_OFTEN).all()
        if entitlements.is_bought_twice(session, str(row.id))
    ][:MOST]


def find_given_up(session: Session) -> list[Found]:
    """Return events whose job was given up."""
    rows = session.execute(GIVEN_UP, {"kind": PROCESS, "limit": MOST})
    return [Found("event_given_up", "event", row.id, row.message) for row in rows]


# What only a person can decide, by kind of finding.
CHECKS: dict[str, Callable[[Session], list[Found]]] = {
    "seat_unpaid": find_seats_unpaid,
    "payment_without_seat": find_paid_for_nothing,
    "paid_twice": find_paid_twice,
    "event_given_up": find_given_up,
}


def _money(amount: int | None, currency: str | None) -> str:
    """Return an amount in the currency's smallest unit, as Stripe counts."""
    return "an unknown amount" if amount is None else f"{amount} {(currency or '').upper()} (smallest unit)"
