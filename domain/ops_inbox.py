"""Stored events for people: lists by type, state and id; one event with its payload masked and what came of it."""

from __future__ import annotations

import json
import re
import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.models.stripe import INBOX_STATES
from domain.errors import NotFound

Row = dict[str, Any]

HIDDEN = "•••"
# What a person may see of a payload: ids, amounts, states, times and our own metadata keys. Everything else is masked.
SHOWN = frozenset(
    """
    amount amount_captured amount_due amount_refunded amount_subtotal amount_total api_version application_fee
    cancel_at_period_end canceled_at charge created currency current_period_end customer disputed event_id evidence_details
    expires_at id is_charge_refundable is_protected livemode mode object payment_intent payment_method_types payment_status
    pending_webhooks reason refunded request started_at status submission_count succeeded subscription type updated
    price quantity total subtotal balance_transaction idempotency_key due_by has_evidence past_due paid captured
    studentId partnerId courseId programId amounts enrollment_id enrollment_ids
    """.split()  # noqa: SIM905
)
# What stands there has to look like what we expect: somebody may have put an address where an id belongs.
PLAIN = re.compile(r"[\w.:/, -]{0,300}", re.ASCII)
KEY = re.compile(r"[\w.-]{1,80}", re.ASCII)
# Bytes of a payload that are read; a larger one is not shown.
PAYLOAD_MAX = 256 * 1024

LIST = """
    SELECT i.id, i.source, i.external_id, i.type, i.state, i.reason, i.received_at, i.processed_at FROM inbox_events i
    WHERE {conditions} ORDER BY i.received_at DESC, i.id DESC LIMIT :limit
"""
TYPES = text(
    """
    WITH RECURSIVE known AS (
        (SELECT type FROM inbox_events ORDER BY type LIMIT 1)
        UNION ALL
        SELECT (SELECT type FROM inbox_events WHERE type > known.type ORDER BY type LIMIT 1) FROM known WHERE known.type IS NOT NULL
    ) SELECT type FROM known WHERE type IS NOT NULL
    """
)
EVENT = text(
    """
    SELECT i.id, i.source, i.external_id, i.type, i.state, i.reason, i.completion, i.completed_by, i.received_at,
        i.processed_at, i.payload, j.id AS job_id, j.state AS job_state, j.token AS job_token, j.attempts AS job_attempts,
        j.last_error AS job_error, j.next_run_at AS job_due
    FROM inbox_events i LEFT JOIN jobs j ON j.subject_id = i.id AND j.business_key = i.id::text
    WHERE i.id = :id
    """
)
# What followed: the payment, the seats that it or its refunds are about, and other events of the same correlation.
CAME_OF_IT = text(
    """
    SELECT e.id, e.status, e.created_at, p.provider_name, p.provider_type, c.course_name, c.course_code
    FROM partner_lms_enrollments e
    JOIN partner_lms_providers p ON p.id = e.provider_id JOIN partner_courses c ON c.id = e.course_id
    WHERE e.id IN (
        SELECT l.enrollment_id FROM payments y JOIN payment_lines l ON l.payment_id = y.id
        WHERE y.checkout_session_id = :object OR y.payment_intent_id IN (:object, :intent)
        LIMIT 50
    ) ORDER BY e.created_at, e.id
    """
)
ACTIONS = text(
    """
    SELECT created_at, actor, action, reason FROM staff_actions WHERE subject_id = :id ORDER BY created_at DESC, id DESC LIMIT 20
    """
)


def list_events(
    session: Session,
    *,
    state: str | None,
    type: str | None,
    id: str | None,
    at: datetime | None,
    last: str | None,
    limit: int,
) -> list[Row]:
    """Return events, the newest first, without their payload. `id` is ours or the sender's, whole."""
    conditions = ["(i.received_at, i.id) < (:at, CAST(:last AS uuid))"] if at is not None else []
    if state in INBOX_STATES:
        # Written out, so that the partial indexes are found.
        partial = "i.state IN ('waiting', 'failed') AND " if state in ("waiting", "failed") else ""
        conditions.append(f"{partial}i.state = '{state}'")
    if type is not None:
        conditions.append("i.type = :type")
    if id is not None:
        conditions.append(
            "i.id IN (SELECT id FROM inbox_events WHERE external_id = :id AND source = 'stripe'"
            " UNION ALL SELECT id FROM inbox_events WHERE id = CAST(:own AS uuid))"
        )
    statement = text(LIST.format(conditions=" AND ".join(conditions) or "true"))
    values = {"at": at, "last": last, "type": type, "id": id, "own": _uuid(id), "limit": limit}
    return [dict(row._mapping) for row in session.execute(statement, values)]


def list_types(session: Session) -> list[str]:
    """Return the types that there are, by skipping through the index."""
    return list(session.scalars(TYPES))


def show_event(session: Session, event_id: str) -> Row:
    """Return one event with its job, its payload masked, what came of it, and what staff did; raise `NotFound`."""
    row = session.execute(EVENT, {"id": event_id}).one_or_none()
    if row is None:
        raise NotFound(f"there is no event {event_id}")
    found = dict(row._mapping)
    payload = bytes(found.pop("payload"))
    document = _read(payload)
    told = document.get("data", {}).get("object", {}) if isinstance(document, dict) else {}
    told = told if isinstance(told, dict) else {}
    keys = {"object": _text(told.get("id")), "intent": _text(told.get("payment_intent"))}
    return {
        **found,
        "version": f"{found['state']}:{found['job_token']}:{found['job_state']}",
        "payload": None if document is None else json.dumps(mask(document), indent=2, ensure_ascii=False),
        "payload_bytes": len(payload),
        "enrollments": [dict(row._mapping) for row in session.execute(CAME_OF_IT, keys)],
        "actions": [dict(row._mapping) for row in session.execute(ACTIONS, {"id": event_id})],
    }


def mask(value: Any, name: str | None = None) -> Any:
    """Return a payload with everything masked that is not on the list of what may be shown, structure and keys kept."""
    if isinstance(value, dict):
        return {key if KEY.fullmatch(key) else HIDDEN: mask(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [mask(inner, name) for inner in value]
    plain = not isinstance(value, str) or PLAIN.fullmatch(value) is not None
    return value if value is None or isinstance(value, bool) or (name in SHOWN and plain) else HIDDEN


def _read(payload: bytes) -> Any:
    if len(payload) > PAYLOAD_MAX:
        return None
    try:
        return json.loads(payload)
    except (ValueError, RecursionError):
        return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _uuid(value: str | None) -> str | None:
    try:
        return None if value is None else str(uuid.UUID(value))
    except ValueError:
        return None
