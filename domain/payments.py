"""What a Stripe event means: facts about a payment are recorded, and every seat it touches is settled by all of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from db import lean
from domain import enrollments, entitlements, failures
from domain.money import DISPUTE_RANKS, REFUND_RANKS
from domain.orders import Order, Problem, is_uuid, place
from domain.stripe_objects import (
    Charge,
    Checkout,
    Dispute,
    Refund,
    object_of,
    read_charge,
    read_checkout,
    read_dispute,
    read_refund,
)

COMPLETED = "checkout.session.completed"
ASYNC_SUCCEEDED = "checkout.session.async_payment_succeeded"
ASYNC_FAILED = "checkout.session.async_payment_failed"
EXPIRED = "checkout.session.expired"
CHECKOUTS = frozenset({COMPLETED, ASYNC_SUCCEEDED, ASYNC_FAILED, EXPIRED})
CHARGES = frozenset({"charge.refunded"})
REFUNDS = frozenset({"refund.created", "refund.updated", "refund.failed", "charge.refund.updated"})
DISPUTES = frozenset(
    {
        "charge.dispute.created",
        "charge.dispute.updated",
        "charge.dispute.closed",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.funds_reinstated",
    }
)

# Events that are looked at. All others are stored and ignored.
HANDLED_TYPES = CHECKOUTS | CHARGES | REFUNDS | DISPUTES

# What became of an event: its new state, and what staff should know about it.
Outcome = tuple[str, str | None]
DONE: Outcome = ("done", None)


LOCK = lean.Statement(
    "lock_event",
    "SELECT id, type, payload, state, completion FROM inbox_events WHERE id = {id} FOR UPDATE",
    id="uuid",
)
SETTLE = lean.Statement(
    "settle_event",
    "UPDATE inbox_events SET state = {state}, reason = {reason}, processed_at = now() WHERE id = {id}",
    id="uuid",
    state="text",
    reason="text",
)
RECORD = lean.Statement(
    "record_payment",
    """
    INSERT INTO payments (checkout_session_id, payment_intent_id, state, amount_total, currency, event_id, paid_at)
    VALUES ({session}, {intent}, {state}, {amount}, {currency}, {event}, CASE WHEN {state} = 'paid' THEN now() END)
    ON CONFLICT (checkout_session_id) DO UPDATE SET
        state = CASE WHEN payments.state = 'paid' OR excluded.state = 'awaiting' THEN payments.state
                     ELSE excluded.state END,
        paid_at = coalesce(payments.paid_at, excluded.paid_at),
        payment_intent_id = coalesce(payments.payment_intent_id, excluded.payment_intent_id),
        updated_at = now()
    RETURNING id
    """,
    session="text",
    intent="text",
    state="text",
    amount="bigint",
    currency="text",
    event="uuid",
)


@dataclass(frozen=True)
class Event:
    """A stored event. `completion` is metadata that staff supplied for it; it wins over the event's own."""

    id: str
    type: str
    payload: bytes
    completion: dict[str, Any] | None


def process(session: Session, event_id: str, partner_types: Collection[str]) -> str:
    """Act on a stored event and return its new state: done or waiting. A second call changes nothing."""
    row = lean.execute(session, LOCK, {"id": event_id}).one()
    if row.state == "done":
        return "done"
    event = Event(str(row.id), row.type, bytes(row.payload), row.completion)
    state, reason = _act(session, event, partner_types)
    lean.execute(session, SETTLE, {"state": state, "reason": reason, "id": event.id})
    return state


def _act(session: Session, event: Event, partner_types: Collection[str]) -> Outcome:
    found = object_of(event.payload)
    if event.type in CHECKOUTS:
        checkout = read_checkout(found)
        if isinstance(checkout, Problem):
            return "waiting", checkout.message
        return _check_out(session, event, checkout, partner_types)
    readers: list[tuple[Collection[str], Callable[[dict[str, Any]], Any], Callable[..., Outcome]]] = [
        (CHARGES, read_charge, _note_charge),
        (REFUNDS, read_refund, _note_refund),
        (DISPUTES, read_dispute, _note_dispute),
    ]
    read, note = next((read, note) for types, read, note in readers if event.type in types)
    told = read(found)
    return ("waiting", told.message) if isinstance(told, Problem) else note(session, event, told)


def _check_out(session: Session, event: Event, checkout: Checkout, partner_types: Collection[str]) -> Outcome:
    if checkout.payment_intent_id:
        entitlements.lock_payment(session, checkout.payment_intent_id)
    if event.type in (ASYNC_FAILED, EXPIRED):
        _record_payment(session, event, checkout, "failed" if event.type == ASYNC_FAILED else "expired")
        return DONE
    if event.type == COMPLETED and checkout.paid is False:
        _record_payment(session, event, checkout, "awaiting")
        return "done", "not paid yet: waiting for the payment to succeed"
    if event.type == COMPLETED and checkout.paid is None:
        return "waiting", "payment_status is not one of paid, unpaid, no_payment_required"
    payment_id = _record_payment(session, event, checkout, "paid")
    orders = place(session, {**checkout.metadata, **(event.completion or {})})
    if isinstance(orders, Problem):
        _record_problem(session, event, orders)
        return "waiting", orders.message
    return _fulfil(session, event, payment_id, orders, partner_types)


def _fulfil(
    session: Session,
    event: Event,
    payment_id: str,
    orders: Sequence[Order],
    partner_types: Collection[str],
) -> Outcome:
    """Open the seats or adopt those there are, and settle each by everything that is known."""
    seats = []
    for order in sorted(orders, key=lambda order: order.course_id):
        seat = enrollments.open_enrollment(
            session,
            student_id=order.student_id,
            provider_id=order.provider_id,
            course_id=order.course_id,
            program_id=order.program_id,
            correlation_id=event.id,
        )
        entitlements.add_line(session, payment_id, seat, order.amount)
        seats.append(seat)
    failures.resolve_for_event(session, event.id)
    twice = False
    for seat in seats:
        enrollment, more = entitlements.settle(session, seat)
        twice |= more
        enrollments.begin(session, enrollment, partner_types)
    if twice:
        return "done", "already enrolled: this is a second payment for the same seat"
    return DONE


def _note_charge(session: Session, event: Event, charge: Charge) -> Outcome:
    entitlements.lock_payment(session, charge.payment_intent_id)
    session.execute(
        text(
            """
            INSERT INTO payment_charges (id, payment_intent_id, amount, amount_refunded)
            VALUES (:id, :payment_intent_id, :amount, :amount_refunded)
            ON CONFLICT (id) DO UPDATE SET updated_at = now(),
                amount_refunded = greatest(payment_charges.amount_refunded, excluded.amount_refunded)
            """
        ),
        vars(charge),
    )
    course = (event.completion or {}).get("courseId")
    if is_uuid(course):
        _assign_rest(session, charge, str(course))
    return _settle_payment(session, event, charge.payment_intent_id)


def _assign_rest(session: Session, charge: Charge, course_id: str) -> None:
    """Note, as a person said, which course was paid back by what only the charge tells of."""
    session.execute(
        text(
            """
            INSERT INTO payment_refunds (id, payment_intent_id, amount, status, rank, course_id)
            SELECT :id, :intent, :refunded - coalesce(sum(amount), 0), 'succeeded', :rank, :course FROM payment_refunds
            WHERE payment_intent_id = :intent AND id <> :id AND status IN ('pending', 'succeeded')
            ON CONFLICT (id) DO UPDATE SET course_id = excluded.course_id, amount = excluded.amount, updated_at = now()
            """
        ),
        {
            "id": f"{charge.id}:rest",
            "intent": charge.payment_intent_id,
            "refunded": charge.amount_refunded,
            "rank": REFUND_RANKS["succeeded"],
            "course": course_id,
        },
    )


def _note_refund(session: Session, event: Event, refund: Refund) -> Outcome:
    if refund.status not in REFUND_RANKS:
        return "waiting", f"refund {refund.id} has the status {refund.status!r}, which we do not know"
    entitlements.lock_payment(session, refund.payment_intent_id)
    course = (event.completion or {}).get("courseId") or refund.course_id
    session.execute(
        text(
            """
            INSERT INTO payment_refunds (id, payment_intent_id, amount, status, rank, course_id)
            VALUES (:id, :intent, :amount, :status, :rank, :course)
            ON CONFLICT (id) DO UPDATE SET updated_at = now(),
                course_id = coalesce(excluded.course_id, payment_refunds.course_id),
                status = CASE WHEN excluded.rank >= payment_refunds.rank THEN excluded.status ELSE payment_refunds.status END,
                rank = greatest(excluded.rank, payment_refunds.rank)
            """
        ),
        {
            "id": refund.id,
            "intent": refund.payment_intent_id,
            "amount": refund.amount,
            "status": refund.status,
            "rank": REFUND_RANKS[refund.status],
            "course": course if is_uuid(course) else None,
        },
    )
    return _settle_payment(session, event, refund.payment_intent_id)


def _note_dispute(session: Session, event: Event, dispute: Dispute) -> Outcome:
    if dispute.status not in DISPUTE_RANKS:
        return "waiting", f"dispute {dispute.id} has the status {dispute.status!r}, which we do not know"
    entitlements.lock_payment(session, dispute.payment_intent_id)
    session.execute(
        text(
            """
            INSERT INTO payment_disputes (id, payment_intent_id, status, rank) VALUES (:id, :intent, :status, :rank)
            ON CONFLICT (id) DO UPDATE SET status = excluded.status, rank = excluded.rank, updated_at = now()
            WHERE payment_disputes.rank < excluded.rank
            """
        ),
        {
            "id": dispute.id,
            "intent": dispute.payment_intent_id,
            "status": dispute.status,
            "rank": DISPUTE_RANKS[dispute.status],
        },
    )
    return _settle_payment(session, event, dispute.payment_intent_id)


def _settle_payment(session: Session, event: Event, payment_intent_id: str) -> Outcome:
    """Settle every seat of a payment; money of other products than ours settles nothing."""
    seats = entitlements.seats_of(session, payment_intent_id)
    for seat in seats:
        entitlements.settle(session, seat)
    if entitlements.has_unclear_refund(session, payment_intent_id):
        return "waiting", "part of a payment for several courses was refunded: say for which, as courseId"
    return ("done", None if seats else "no checkout of ours (yet)")


def _record_payment(session: Session, event: Event, checkout: Checkout, state: str) -> str:
    """Insert or advance the payment of a checkout session; a paid one stays paid, whatever arrives late."""
    values = {
        "session": checkout.session_id,
        "intent": checkout.payment_intent_id,
        "state": state,
        "amount": checkout.amount_total,
        "currency": checkout.currency,
        "event": event.id,
    }
    return str(lean.execute(session, RECORD, values).scalar())


def _record_problem(session: Session, event: Event, problem: Problem) -> None:
    """Write one failure row for an event that cannot be placed, however often it is looked at."""
    failures.record(
        session,
        event_id=event.id,
        student_id=problem.student_id,
        provider_id=problem.provider_id,
        course_id=problem.course_id,
        step="order",
        code=problem.code,
        message=problem.message,
        retry_count=0,
        final=True,
        once=True,
    )


def mark_failed(session: Session, event_id: str, reason: str) -> None:
    """Mark an event as one that nobody could deal with: it waits for a person."""
    session.execute(
        text(
            "UPDATE inbox_events SET state = 'failed', reason = :reason WHERE id = :id AND state = 'received'"
        ),
        {"id": event_id, "reason": reason},
    )


def reconsider_waiting(session: Session, limit: int = 500) -> int:
    """Ask again for waiting events that named somebody or something we did not know; return how many.

    A front end may create the student a moment after the payment; nobody should have to press a button for that.
    """
    rows = session.execute(
        text(
            """
            UPDATE jobs SET state = 'ready', next_run_at = now(), attempts = 0, rung_at = NULL, updated_at = now()
            WHERE kind = 'payments.process' AND state = 'done' AND subject_id IN (
                SELECT e.id FROM inbox_events e JOIN partner_lms_enrollment_failures f ON f.event_id = e.id
                WHERE e.state = 'waiting' AND f.resolved_at IS NULL
                    AND f.error_code IN ('unknown_student', 'unknown_partner', 'unknown_course')
                    AND e.received_at > now() - interval '14 days'
                ORDER BY e.processed_at LIMIT :limit
            )
            RETURNING id
            """
        ),
        {"limit": limit},
    )
    return len(rows.all())
