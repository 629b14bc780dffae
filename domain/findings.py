"""What reconciliation found: repaired, or open until somebody sees to it or the facts have changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.session import find_rows

# Findings of one kind that are listed at most; whoever has more has one cause, not as many.
MOST = 1000
# How long what was repaired or resolved is kept.
KEPT_DAYS = 90

OBSERVE = text(
    """
    INSERT INTO reconciliation_findings (reconciliation_id, scope, kind, subject_type, subject_id, message)
    SELECT :run, :scope, :kind, :subject_type, v.id, v.message
    FROM unnest(CAST(:ids AS text[]), CAST(:messages AS text[])) AS v(id, message)
    ON CONFLICT (scope, kind, subject_type, subject_id) WHERE resolved_at IS NULL DO UPDATE SET
        message = excluded.message, last_seen_at = now(), reconciliation_id = excluded.reconciliation_id
    """
)
REPAIRED = text(
    """
    INSERT INTO reconciliation_findings (reconciliation_id, scope, kind, subject_type, subject_id, message, repaired,
        resolved_at)
    SELECT :run, :scope, v.kind, v.subject_type, v.id, v.message, true, now()
    FROM unnest(CAST(:kinds AS text[]), CAST(:types AS text[]), CAST(:ids AS text[]), CAST(:messages AS text[]))
        AS v(kind, subject_type, id, message)
    """
)
LISTED = "kind, subject_type, subject_id, message, first_seen_at, last_seen_at"


@dataclass(frozen=True)
class Found:
    """Something that does not agree. The message is for people and names no person."""

    kind: str
    subject_type: str
    subject_id: str
    message: str


def note_repaired(session: Session, run_id: str, scope: str, found: Sequence[Found]) -> None:
    """Write down what was just put right."""
    if not found:
        return
    session.execute(
        REPAIRED,
        {
            "run": run_id,
            "scope": scope,
            "kinds": [one.kind for one in found],
            "types": [one.subject_type for one in found],
            "ids": [one.subject_id for one in found],
            "messages": [one.message for one in found],
        },
    )


def observe(session: Session, run_id: str, scope: str, kind: str, found: Sequence[Found]) -> None:
    """Open what is new among all findings of a kind, keep what is still true, and resolve what is not any more."""
    for subject_type in {one.subject_type for one in found}:
        of_type = {one.subject_id: one.message for one in found if one.subject_type == subject_type}
        session.execute(
            OBSERVE,
            {
                "run": run_id,
                "scope": scope,
                "kind": kind,
                "subject_type": subject_type,
                "ids": list(of_type),
                "messages": list(of_type.values()),
            },
        )
    # What was seen carries this transaction's time.
    session.execute(
        text(
            "UPDATE reconciliation_findings SET resolved_at = now()"
            " WHERE scope = :scope AND kind = :kind AND resolved_at IS NULL AND last_seen_at < now()"
        ),
        {"scope": scope, "kind": kind},
    )


def list_open(session: Session, scope: str) -> list[dict[str, Any]]:
    """Return what needs a person, oldest first."""
    return find_rows(
        session,
        f"SELECT {LISTED} FROM reconciliation_findings WHERE scope = :scope AND resolved_at IS NULL"  # noqa: S608
        " ORDER BY first_seen_at, kind, subject_id",
        scope=scope,
    )


def list_repaired(session: Session, run_id: str) -> list[dict[str, Any]]:
    """Return what one run put right."""
    return find_rows(
        session,
        f"SELECT {LISTED} FROM reconciliation_findings WHERE reconciliation_id = :run AND repaired"  # noqa: S608
        " ORDER BY first_seen_at, kind, subject_id",
        run=run_id,
    )


def forget_old(session: Session) -> None:
    """Delete what was repaired or resolved long ago."""
    session.execute(
        text(
            "DELETE FROM reconciliation_findings WHERE resolved_at IS NOT NULL"
            " AND resolved_at < now() - :days * interval '1 day'"
        ),
        {"days": KEPT_DAYS},
    )
