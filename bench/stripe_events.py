"""Signed checkout events as Stripe posts them: about 3 kB, each with ids of its own."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Iterator

EVENT_TYPE = "checkout.session.completed"
EVENT_ID = "evt_00000000000000000000000000000000"
# What a real session holds beside what Usher reads.
EMPTY = (
    "adaptive_pricing",
    "after_expiration",
    "allow_promotion_codes",
    "branding_settings",
    "client_reference_id",
    "client_secret",
    "collected_information",
    "consent",
    "consent_collection",
    "currency_conversion",
    "customer_account",
    "customer_creation",
    "expires_at",
    "invoice",
    "invoice_creation",
    "locale",
    "origin_context",
    "payment_link",
    "permissions",
    "recovered_from",
    "redirect_on_completion",
    "saved_payment_method_options",
    "setup_intent",
    "shipping_cost",
    "submit_type",
    "subscription",
    "ui_mode",
    "url",
)
ADDRESS = {
    "city": "Springfield",
    "country": "US",
    "line1": "742 Evergreen Terrace",
    "line2": None,
    "postal_code": "49007",
    "state": "OR",
}


def make_body() -> bytes:
    """Return an event with `EVENT_ID` in the places of its own id and its session's."""
    session: dict[str, object] = {
        "id": f"cs_{EVENT_ID}",
        "object": "checkout.session",
        **dict.fromkeys(EMPTY),
        "amount_subtotal": 19900,
        "amount_total": 19900,
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "cancel_url": "https://school.example.com/courses/first-aid?checkout=cancelled",
        "currency": "usd",
        "custom_fields": [],
        "custom_text": dict.fromkeys(
            ("after_submit", "shipping_address", "submit", "terms_of_service_acceptance")
        ),
        "customer": "cus_0123456789abcd",
        "customer_details": {
            "address": ADDRESS,
            "email": "student@example.com",
            "name": "Pat Student",
            "phone": None,
            "tax_exempt": "none",
            "tax_ids": [],
        },
        "customer_email": "student@example.com",
        "livemode": False,
        "metadata": {name: str(uuid.uuid4()) for name in ("studentId", "partnerId", "courseId", "programId")},
        "mode": "payment",
        "payment_intent": "pi_0123456789abcdef01234567",
        "payment_method_collection": "if_required",
        "payment_method_configuration_details": {"id": "pmc_0123456789abcdef01234567", "parent": None},
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": ["card", "link", "cashapp", "klarna", "us_bank_account"],
        "payment_status": "paid",
        "status": "complete",
        "success_url": "https://school.example.com/courses/first-aid?session_id={CHECKOUT_SESSION_ID}",
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
    }
    event = {
        "id": EVENT_ID,
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": int(time.time()),
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": EVENT_TYPE,
        "data": {"object": session},
    }
    return json.dumps(event, indent=2).encode()


def signed_requests(count: int, secret: str) -> Iterator[bytes]:
    """Return HTTP requests that are made beforehand, each a signed event that no other repeats."""
    body, signed_at = make_body(), str(int(time.time()))
    return iter([_request(body, signed_at, secret) for _ in range(count)])


def _request(template: bytes, signed_at: str, secret: str) -> bytes:
    body = template.replace(EVENT_ID.encode(), f"evt_{uuid.uuid4().hex}".encode())
    signature = hmac.new(secret.encode(), signed_at.encode() + b"." + body, hashlib.sha256).hexdigest()
    head = (
        "POST /api/stripe/webhook HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Stripe/1.0\r\nAccept: */*\r\n"
        f"Content-Type: application/json; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
        f"Stripe-Signature: t={signed_at},v1={signature}\r\n\r\n"
    )
    return head.encode() + body
