"""A Stripe checkout as `usher run` plays it: the body of the event, and its signature."""

from __future__ import annotations

import hashlib
import hmac
import uuid
from dataclasses import dataclass, field
from typing import Any

from domain import demo

API_VERSION = "2026-10-28.endive"


@dataclass(frozen=True)
class Checkout:
    """A fresh student buys one course of the sandbox partner."""

    student_id: str
    email: str
    course: str
    event_id: str = field(default_factory=lambda: f"evt_demo_{uuid.uuid4().hex[:24]}")
    session_id: str = field(default_factory=lambda: f"cs_test_{uuid.uuid4().hex}")


def make_event(checkout: Checkout, at: int) -> dict[str, Any]:
    """Return the body of `checkout.session.completed` as Stripe sends it."""
    metadata = {
        "studentId": checkout.student_id,
        "partnerId": demo.provider_id("sandbox"),
        "courseId": demo.course_id(checkout.course),
    }
    session = {
        "id": checkout.session_id,
        "object": "checkout.session",
        "amount_subtotal": 4900,
        "amount_total": 4900,
        "created": at - 60,
        "currency": "usd",
        "customer_details": {"email": checkout.email, "name": "Demo Student"},
        "livemode": False,
        "metadata": metadata,
        "mode": "payment",
        "payment_intent": f"pi_{checkout.session_id[-24:]}",
        "payment_status": "paid",
        "status": "complete",
    }
    return {
        "id": checkout.event_id,
        "object": "event",
        "api_version": API_VERSION,
        "created": at,
        "data": {"object": session},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": "checkout.session.completed",
    }


def sign(payload: bytes, secret: str, at: int) -> str:
    """Return the `Stripe-Signature` header of a body."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + payload, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"
