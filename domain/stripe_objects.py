"""Reading Stripe's objects out of the raw body of an event: only what we use, nothing taken on trust."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from domain.orders import Problem


@dataclass(frozen=True)
class Checkout:
    """A checkout session. `paid` is None for a payment status that we do not know."""

    session_id: str
    payment_intent_id: str | None
    paid: bool | None
    amount_total: int | None
    currency: str | None
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Charge:
    """A charge and how much of it was refunded so far."""

    id: str
    payment_intent_id: str
    amount: int
    amount_refunded: int


@dataclass(frozen=True)
class Refund:
    """A refund; `course_id` is what its metadata names as the course that is paid back."""

    id: str
    payment_intent_id: str
    amount: int
    status: str
    course_id: str | None


@dataclass(frozen=True)
class Dispute:
    """A dispute."""

    id: str
    payment_intent_id: str
    status: str


def object_of(payload: bytes) -> dict[str, Any]:
    """Return the object that an event is about, empty where there is none."""
    data = json.loads(payload).get("data")
    found = data.get("object") if isinstance(data, dict) else None
    return found if isinstance(found, dict) else {}


def read_checkout(found: dict[str, Any]) -> Checkout | Problem:
    """Read a checkout session."""
    if not isinstance(found.get("id"), str):
        return Problem("not_a_session", "data.object is not a checkout session with an id")
    metadata = found.get("metadata")
    return Checkout(
        session_id=found["id"],
        payment_intent_id=_id_of(found.get("payment_intent")),
        paid={"paid": True, "no_payment_required": True, "unpaid": False}.get(
            str(found.get("payment_status"))
        ),
        amount_total=_amount(found.get("amount_total")),
        currency=found["currency"] if isinstance(found.get("currency"), str) else None,
        metadata=metadata if isinstance(metadata, dict) else {},
    )


def read_charge(found: dict[str, Any]) -> Charge | Problem:
    """Read a charge."""
    intent, amount = _id_of(found.get("payment_intent")), _amount(found.get("amount"))
    refunded = _amount(found.get("amount_refunded"))
    if not isinstance(found.get("id"), str) or intent is None or amount is None or refunded is None:
        return Problem("unmatched_charge", "the charge has no payment_intent or amounts to match it by")
    return Charge(found["id"], intent, amount, refunded)


def read_refund(found: dict[str, Any]) -> Refund | Problem:
    """Read a refund."""
    intent, amount, status = (
        _id_of(found.get("payment_intent")),
        _amount(found.get("amount")),
        found.get("status"),
    )
    if (
        not isinstance(found.get("id"), str)
        or intent is None
        or amount is None
        or not isinstance(status, str)
    ):
        return Problem(
            "unmatched_refund", "the refund has no payment_intent, amount or status to match it by"
        )
    metadata = found.get("metadata")
    course = metadata.get("courseId") if isinstance(metadata, dict) else None
    return Refund(found["id"], intent, amount, status, course if isinstance(course, str) else None)


def read_dispute(found: dict[str, Any]) -> Dispute | Problem:
    """Read a dispute."""
    intent, status = _id_of(found.get("payment_intent")), found.get("status")
    if not isinstance(found.get("id"), str) or intent is None or not isinstance(status, str):
        return Problem("unmatched_dispute", "the dispute has no payment_intent or status to match it by")
    return Dispute(found["id"], intent, status)


def _id_of(value: Any) -> str | None:
    """Return the id of something Stripe gives as an id or, expanded, as an object."""
    if isinstance(value, dict):
        value = value.get("id")
    return value if isinstance(value, str) else None


def _amount(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
