"""What Stripe holds against what we hold: what is certain becomes an inbox event, the rest is for a person.

A repair is always an event that we store as the webhook would have: the ordinary path does the rest, so whatever is
repaired twice, or arrives after all, changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from db import inbox, jobs
from domain import findings
from domain.events import PROCESS
from domain.findings import Found
from domain.money import DISPUTE_RANKS, REFUND_RANKS
from domain.orders import REQUIRED_KEYS, Problem
from domain.payments import COMPLETED, HANDLED_TYPES
from domain.reconciliation import STRIPE
from domain.stripe_objects import object_of, read_checkout, read_dispute, read_refund

# What Stripe answers, as plain JSON.
Object = dict[str, Any]

# Events revived in one transaction.
BATCH = 500

STUCK = text(
    """
    SELECT i.id, i.external_id, i.type, i.payload FROM inbox_events i
    LEFT JOIN jobs j ON j.kind = :kind AND j.business_key = i.id::text
    WHERE i.source = 'stripe' AND i.state = 'received' AND i.received_at >= :since AND i.type = ANY(:types)
        AND (j.id IS NULL OR j.state = 'done')
    ORDER BY i.received_at LIMIT :limit
    """
)
ON_THE_WAY = text(
    """
    SELECT i.payload FROM jobs j JOIN inbox_events i ON i.id = j.subject_id
    WHERE (j.queue = 'payments' AND j.state IN ('ready', 'running') OR j.state IN ('failed', 'parked'))
        AND j.kind = 'payments.process' AND i.state = 'received'
    """
)
WAITING = text("SELECT payload FROM inbox_events WHERE state IN ('waiting', 'failed') AND source = 'stripe'")


@dataclass(frozen=True)
class Repair:
    """An event to be stored, and what it makes up for."""

    found: Found
    event_id: str
    type: str
    payload: bytes

    @property
    def object_id(self) -> str | None:
        """Return the id of what the event is about."""
        return _id_of(object_of(self.payload))


def missed_events(session: Session, events: Sequence[Object], pending: Collection[str]) -> list[Repair]:
    """Return the repairs for events that are not in the inbox, whether they never arrived or were lost here."""
    repairs = [
        Repair(_describe(event), event["id"], event["type"], _encode(event))
        for event in events
        if _id_of(event) and event.get("type") in HANDLED_TYPES
    ]
    return _not_stored(session, repairs)


def missed_sales(session: Session, sessions: Sequence[Object], pending: Collection[str]) -> list[Repair]:
    """Return the repairs for checkout sessions of ours that were paid and that we do not know to be paid."""
    sales = [found for found in sessions if _is_our_sale(found) and found["id"] not in pending]
    known = _ids(
        session,
        "SELECT checkout_session_id FROM payments WHERE state = 'paid' AND checkout_session_id = ANY(:ids)",
        [sale["id"] for sale in sales],
    )
    repairs = [
        _make_event(
            "sale_missed", f"usher_session_{sale['id']}", COMPLETED, sale, "was paid, and we never knew"
        )
        for sale in sales
        if sale["id"] not in known
    ]
    return _not_stored(session, repairs)


def missed_refunds(session: Session, refunds: Sequence[Object], pending: Collection[str]) -> list[Repair]:
    """Return the repairs for refunds of payments of ours whose present status we were never told."""
    readable = {refund["id"]: (refund, read_refund(refund)) for refund in refunds if _id_of(refund)}
    told = {
        id: (found, read.payment_intent_id, REFUND_RANKS.get(read.status, len(REFUND_RANKS)))
        for id, (found, read) in readable.items()
        if not isinstance(read, Problem) and id not in pending
    }
    return _behind(session, told, "payment_refunds", "refund", "refund.updated")


def missed_disputes(session: Session, disputes: Sequence[Object], pending: Collection[str]) -> list[Repair]:
    """Return the repairs for disputes of payments of ours whose present status we were never told."""
    readable = {dispute["id"]: (dispute, read_dispute(dispute)) for dispute in disputes if _id_of(dispute)}
    told = {
        id: (found, read.payment_intent_id, DISPUTE_RANKS.get(read.status, len(DISPUTE_RANKS)))
        for id, (found, read) in readable.items()
        if not isinstance(read, Problem) and id not in pending
    }
    return _behind(session, told, "payment_disputes", "dispute", "charge.dispute.updated")


def repair(session: Session, run_id: str, repairs: Sequence[Repair]) -> int:
    """Store the events with their jobs, as the webhook does; return how many were not stored meanwhile."""
    stored = [one for one in repairs if _store(session, one)]
    findings.note_repaired(session, run_id, STRIPE, [one.found for one in stored])
    return len(stored)


def on_the_way(session: Session) -> set[str]:
    """Return the ids of the checkout sessions, refunds and disputes that stored events will tell of, once they get through."""
    return _objects(session, ON_THE_WAY)


def waiting(session: Session) -> set[str]:
    """Return the ids of the checkout sessions, refunds and disputes whose events wait for a person."""
    return _objects(session, WAITING)


def find_stuck(session: Session, since: datetime, limit: int = BATCH) -> list[Repair]:
    """Return events that were stored and that no job will ever look at; `event_id` is our id of the event."""
    rows = session.execute(
        STUCK, {"kind": PROCESS, "since": since, "types": sorted(HANDLED_TYPES), "limit": limit}
    )
    return [
        Repair(
            Found("event_stuck", "event", row.external_id, f"{row.type} was stored and no job looks at it"),
            str(row.id),
            row.type,
            bytes(row.payload),
        )
        for row in rows
    ]


def revive(session: Session, run_id: str, since: datetime) -> int:
    """Ask anew for events that no job would ever look at; return how many, at most `BATCH`."""
    stuck = find_stuck(session, since)
    for id in (one.event_id for one in stuck):
        jobs.enqueue(session, jobs.Enqueue(PROCESS, id, queue="payments", subject_id=id, correlation_id=id))
    findings.note_repaired(session, run_id, STRIPE, [one.found for one in stuck])
    return len(stuck)


def _behind(
    session: Session, told: Mapping[str, tuple[Object, str, int]], table: str, word: str, type: str
) -> list[Repair]:
    """Return the repairs for those of our payments' objects whose status is further on than the one in `table`."""
    ours = _ids(
        session,
        "SELECT payment_intent_id FROM payments WHERE payment_intent_id = ANY(:ids)",
        [intent for _, intent, _ in told.values()],
    )
    rows = session.execute(
        text(f"SELECT id, rank FROM {table} WHERE id = ANY(:ids)"),  # noqa: S608 - our own constants
        {"ids": list(told)},
    )
    known = {row.id: row.rank for row in rows}
    repairs = [
        _make_event(
            f"{word}_missed",
            f"usher_{word}_{id}_{found['status']}",
            type,
            found,
            f"is {found['status']}, and we were never told",
        )
        for id, (found, intent, rank) in told.items()
        if intent in ours and rank > known.get(id, -1)
    ]
    return _not_stored(session, repairs)


def _make_event(kind: str, event_id: str, type: str, found: Object, what: str) -> Repair:
    """Return an event in Stripe's shape that tells of an object as it is now; its id is the same each time."""
    event = {
        "id": event_id,
        "object": "event",
        "type": type,
        "created": found.get("created"),
        "livemode": found.get("livemode"),
        "data": {"object": found},
        "usher": {"made_by": "reconciliation"},
    }
    subject = str(found.get("object") or "object").replace(".", " ").replace("_", " ")
    message = f"{subject} {found['id']} {what}"
    return Repair(Found(kind, "event", event_id, message), event_id, type, _encode(event))


def _describe(event: Object) -> Found:
    """Say of a missing event whether it was acknowledged, which Stripe tells by nobody being waited for any more."""
    at = event.get("created")
    when = f" of {datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}" if isinstance(at, int) else ""
    if event.get("pending_webhooks") == 0:
        return Found(
            "event_lost", "event", event["id"], f"{event['type']}{when} was acknowledged and then lost here"
        )
    return Found("event_missed", "event", event["id"], f"{event['type']}{when} never arrived")


def _is_our_sale(found: Object) -> bool:
    checkout = read_checkout(found)
    if isinstance(checkout, Problem):
        return False
    bought = found.get("status", "complete") == "complete" and checkout.paid is True
    return bought and any(checkout.metadata.get(key) for key in REQUIRED_KEYS)


def _store(session: Session, one: Repair) -> bool:
    stored = inbox.store(
        session,
        source="stripe",
        external_id=one.event_id,
        type=one.type,
        payload=one.payload,
        kind=PROCESS,
        queue="payments",
    )
    return stored is not None


def _objects(session: Session, query: TextClause) -> set[str]:
    """Return the ids of what the events of a query are about."""
    rows = session.execute(query.execution_options(yield_per=BATCH))
    return {found for row in rows if (found := _id_of(object_of(bytes(row.payload))))}


def _not_stored(session: Session, repairs: Sequence[Repair]) -> list[Repair]:
    """Return those repairs whose event is not in the inbox, each once."""
    stored = _ids(
        session,
        "SELECT external_id FROM inbox_events WHERE source = 'stripe' AND external_id = ANY(:ids)",
        [one.event_id for one in repairs],
    )
    return list({one.event_id: one for one in repairs if one.event_id not in stored}.values())


def _ids(session: Session, sql: str, ids: Sequence[str]) -> set[str]:
    return set(session.scalars(text(sql), {"ids": list(ids)})) if ids else set()


def _id_of(found: Object) -> str | None:
    id = found.get("id")
    return id if isinstance(id, str) and id else None


def _encode(event: Object) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()
