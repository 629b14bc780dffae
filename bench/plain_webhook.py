"""A reference: the webhook as one writes it first, with Flask, Stripe's library and the ORM, behind the same gunicorn."""

from __future__ import annotations

import os
import uuid
from contextlib import suppress

import stripe
from flask import Flask, Response, request
from sqlalchemy import create_engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db.models.stripe import InboxEvent
from db.models.work import Job

RECEIVED = b'{"received":true}'
SECRET = os.environ["STRIPE_WEBHOOK_SECRET"]

app = Flask(__name__)
engine = create_engine(
    os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg2://", 1), pool_size=20
)


@app.post("/api/stripe/webhook")
def receive() -> Response | tuple[str, int]:
    """Store the same two rows as Usher."""
    payload = request.get_data()
    try:
        event = stripe.Webhook.construct_event(payload, request.headers["Stripe-Signature"], SECRET)
    except (KeyError, ValueError, stripe.SignatureVerificationError):
        return "not Stripe's", 400
    with suppress(IntegrityError):  # It was stored before.
        store(event.id, event.type, payload)
    return Response(RECEIVED, mimetype="application/json")


def store(external_id: str, type: str, payload: bytes) -> None:
    """Insert the event and its job."""
    with Session(engine) as session, session.begin():
        id = str(uuid.uuid4())
        session.add(InboxEvent(id=id, source="stripe", external_id=external_id, type=type, payload=payload))
        session.add(
            Job(kind="payments.process", business_key=id, queue="payments", subject_id=id, correlation_id=id)
        )


@app.get("/healthz")
def health() -> str:
    """Say that the process answers."""
    return "ok"
