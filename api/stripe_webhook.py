"""Stripe's webhook: verify, store with its job in one statement, answer. The answer means "stored", nothing else.

The broker is not touched and the event is not interpreted here. A repeat stores nothing and answers the same.
"""

from __future__ import annotations

import json
import re
import time
from typing import Any, TypeGuard

import structlog
from flask import Blueprint, Response, g, request
from stripe import SignatureVerificationError, WebhookSignature

from api.auth import public
from api.errors import Problem, read_raw
from db import inbox
from domain.payments import HANDLED_TYPES
from settings import get_settings
from workers import tracing

PATH = "/api/stripe/webhook"
# Under this name the express lane says why it did not store an event.
FAILED = "usher.failed"
MAX_BODY = 512 * 1024
# Seconds that a signature's time may be off, both ways. Stripe's library knows only the past.
TOLERANCE = 300
NAME_MAX = 255
TIMESTAMP = re.compile(r"t=([0-9]{1,12})")
RECEIVED = b'{"received":true}'

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)
blueprint = Blueprint("stripe_webhook", __name__)


@blueprint.post(PATH)
@public
def receive() -> Response:
    """Store one event; 200 once it is stored, 400 for what is not Stripe's, 5xx only when it could not be stored."""
    if (failed := request.environ.get(FAILED)) is not None:
        raise failed
    payload = read_raw(MAX_BODY)
    with tracing.span("inbox store", source="stripe"):
        g.told = store(payload, request.headers.get("Stripe-Signature"))
    return Response(RECEIVED, mimetype="application/json")


def store(payload: bytes, signature: str | None) -> tuple[str, dict[str, Any]]:
    """Store an event, and return what is to be logged of it; raise the problem where it is not Stripe's."""
    body = _verified(payload, signature)
    event_id, event_type = _name(body)
    kind = "payments.process" if event_type in HANDLED_TYPES else None
    stored = inbox.store_soon(inbox.Event("stripe", event_id, event_type, payload, kind, "payments"))
    verb = "repeated" if stored is None else "stored"
    return f"[StripeWebhook] {verb}", {
        "stripe_event_id": event_id,
        "type": event_type,
        "correlation_id": stored,
    }


def _verified(payload: bytes, header: str | None) -> str:
    """Return the body as text once one of our secrets fits its signature and its time is now."""
    if header is None:
        raise _refuse("stripe_signature_invalid", "no signature")
    if _signed_at(header) > time.time() + TOLERANCE:
        raise _refuse("stripe_signature_invalid", "signed in the future")
    try:
        body = payload.decode()
    except UnicodeDecodeError:
        raise _refuse("stripe_event_invalid", "not UTF-8") from None
    if not any(
        _fits(body, header, secret.get_secret_value()) for secret in get_settings().stripe_webhook_secret
    ):
        raise _refuse("stripe_signature_invalid", "no secret fits, or too old")
    return body


def _signed_at(header: str) -> int:
    """Return the signature's time in seconds. Two times would let us check one and the library the other."""
    times = [item for item in header.split(",") if item.startswith("t=")]
    found = TIMESTAMP.fullmatch(times[0]) if len(times) == 1 and header.isascii() else None
    if found is None:
        raise _refuse("stripe_signature_invalid", "unreadable signature")
    return int(found[1])


def _fits(body: str, header: str, secret: str) -> bool:
    try:
        WebhookSignature.verify_header(body, header, secret, TOLERANCE)
    except SignatureVerificationError:
        return False
    return True


def _name(body: str) -> tuple[str, str]:
    """Return the event's id and type."""
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        raise _refuse("stripe_event_invalid", "not JSON") from None
    if not isinstance(event, dict):
        raise _refuse("stripe_event_invalid", "not an object")
    event_id, event_type = event.get("id"), event.get("type")
    if _is_name(event_id) and _is_name(event_type):
        return event_id, event_type
    raise _refuse("stripe_event_invalid", "no usable id and type")


def _is_name(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= NAME_MAX and value.isascii() and value.isprintable()


def _refuse(code: str, reason: str) -> Problem:
    log.warning("[StripeWebhook] refused", reason=reason)
    return Problem(code)
