"""The audit for people: what staff did, with filters, newest first, and as a file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

Row = dict[str, Any]

# Rows of one read of an export, and of a whole file.
BATCH = 1000
MOST = 100_000
COLUMNS = ("created_at", "actor", "action", "subject_type", "subject_id", "reason", "detail")

LIST = """
    SELECT id, created_at, actor, action, subject_type, subject_id, reason, detail FROM staff_actions
    WHERE {conditions} ORDER BY created_at DESC, id DESC LIMIT :limit
"""
CONDITIONS = {
    "actor": "lower(actor) = lower(:actor)",
    "action": "starts_with(action, :action)",
    "subject": "subject_id = :subject",
    "since": "created_at >= :since",
    "until": "created_at < :until",
    "at": "(created_at, id) < (:at, CAST(:last AS uuid))",
}


@dataclass(frozen=True)
class Filter:
    """Which actions: of an actor, whose name begins so, about a subject's id, from `since` to before `until`."""

    actor: str | None = None
    action: str | None = None
    subject: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def list_actions(
    session: Session, wanted: Filter, *, limit: int, at: datetime | None = None, last: str | None = None
) -> list[Row]:
    """Return actions, the newest first."""
    values = {**vars(wanted), "at": at}
    set_ones = {name: value for name, value in values.items() if value is not None}
    conditions = " AND ".join(CONDITIONS[name] for name in set_ones) or "true"
    rows = session.execute(
        text(LIST.format(conditions=conditions)), {**set_ones, "last": last, "limit": limit}
    )
    return [dict(row._mapping) for row in rows]
