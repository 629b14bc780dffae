"""Accounts that an erased person has at partners: each is erased by its partner, or by a person who asks there."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from db import jobs
from domain import staff
from domain.enrollments import WALK, account_reference
from domain.errors import NotFound, NotPossible
from domain.privacy_register import SEATS

ERASE_ACCOUNT = "privacy.erase_account"

START = text(
    """
    SELECT a.id, p.provider_type FROM erasure_accounts a JOIN partner_lms_providers p ON p.id = a.provider_id
    WHERE a.user_id = CAST(:user AS uuid) AND a.state = 'asking' ORDER BY a.id
    """
)
LOAD = text(
    f"""
    SELECT a.id, a.user_id, a.account_id, a.state, p.provider_type, EXISTS (
        SELECT 1 FROM jobs j JOIN partner_lms_enrollments e ON e.id = j.subject_id
        WHERE j.kind = '{WALK}' AND j.state IN ('ready', 'running') AND e.student_id = a.user_id
            AND e.provider_id = a.provider_id
    ) AS walking FROM erasure_accounts a JOIN partner_lms_providers p ON p.id = a.provider_id
    WHERE a.id = CAST(:id AS uuid)
    """  # noqa: S608
)
CLOSE = text(
    """
    UPDATE erasure_accounts SET state = :state, closed_by = :by, updated_at = now(),
        closed_at = CASE WHEN :state = 'gone' THEN now() END,
        account_id = CASE WHEN :state = 'gone' THEN NULL ELSE account_id END
    WHERE id = CAST(:id AS uuid) AND state <> 'gone' RETURNING user_id
    """
)
# What the walk of a seat that was given back meanwhile wrote since the erasure went through these tables.
FORGET = (
    text(
        "UPDATE partner_lms_enrollments SET external_account_id = NULL WHERE student_id = CAST(:user AS uuid)"
        " AND external_account_id IS NOT NULL"
    ),
    text(
        f"UPDATE partner_calls SET request = NULL, answer = NULL WHERE (subject_id IN ({SEATS}) OR subject_id IN"  # noqa: S608
        " (SELECT id FROM erasure_accounts WHERE user_id = CAST(:user AS uuid))) AND (request IS NOT NULL OR answer IS NOT NULL)"
    ),
)
OPEN = text(
    """
    SELECT a.id, a.created_at, a.user_id, p.provider_name AS partner, p.provider_type, a.account_id, a.state
    FROM erasure_accounts a JOIN partner_lms_providers p ON p.id = a.provider_id
    WHERE a.state <> 'gone' ORDER BY a.created_at, a.id LIMIT :limit
    """
)


@dataclass(frozen=True)
class Account:
    """An account that has to go. `walking`: a seat of it is being given back just now."""

    id: str
    user_id: str
    account_id: str | None
    state: str
    provider_type: str
    walking: bool

    @property
    def reference(self) -> str:
        """Return our name for the person at the partner."""
        return account_reference(self.user_id)


def start(session: Session, user_id: str, partner_types: Collection[str]) -> None:
    """Ask every partner that is served for the erasure of its account; the others are for a person."""
    for row in session.execute(START, {"user": user_id}).all():
        if row.provider_type not in partner_types:
            leave_to_staff(session, str(row.id))
            continue
        kind, queue = row.provider_type, f"sync.{row.provider_type}"
        job = jobs.Enqueue(ERASE_ACCOUNT, str(row.id), queue, subject_id=str(row.id), partner=kind)
        jobs.enqueue(session, job)


def load(session: Session, id: str) -> Account:
    """Return an account; raise `NotFound`."""
    row = session.execute(LOAD, {"id": id}).one_or_none()
    if row is None:
        raise NotFound(f"there is no account {id} to be erased")
    return Account(
        str(row.id), str(row.user_id), row.account_id, row.state, row.provider_type, bool(row.walking)
    )


def close(session: Session, id: str, by: str = "usher") -> None:
    """Note that the partner has erased the account, and forget its id; raise `NotPossible` where it is gone already."""
    user_id = session.execute(CLOSE, {"id": id, "state": "gone", "by": by}).scalar_one_or_none()
    if user_id is None:
        raise NotPossible(f"there is no open account {id} to be erased")
    for statement in FORGET:
        session.execute(statement, {"user": user_id})


def close_by_hand(session: Session, id: str, *, actor: str, reason: str) -> None:
    """Note that a person had the partner erase the account; raise `NotPossible`."""
    close(session, id, actor)
    staff.record(
        session, actor=actor, action="privacy.account_gone", subject=("erasure_account", id), reason=reason
    )


def leave_to_staff(session: Session, id: str) -> None:
    """Note that a person has to ask the partner."""
    session.execute(CLOSE, {"id": id, "state": "by_hand", "by": None})


def list_open(session: Session, limit: int = 100) -> list[dict[str, Any]]:
    """Return the accounts that are still to be erased, the oldest first."""
    return [dict(row._mapping) for row in session.execute(OPEN, {"limit": limit})]
