"""The audit of what people do: who, what, to what, why."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session


def record(
    session: Session,
    *,
    actor: str,
    action: str,
    subject: tuple[str, str | None],
    reason: str | None,
    detail: dict[str, Any] | None = None,
) -> None:
    """Write down an action in the transaction that does it. `subject` is (kind of thing, id)."""
    session.execute(
        text(
            "INSERT INTO staff_actions (actor, action, subject_type, subject_id, reason, detail)"
            " VALUES (:actor, :action, :type, :id, :reason, CAST(:detail AS jsonb))"
        ),
        {
            "actor": actor,
            "action": action,
            "type": subject[0],
            "id": subject[1],
            "reason": reason,
            "detail": json.dumps(detail or {}),
        },
    )
