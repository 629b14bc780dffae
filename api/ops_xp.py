"""What staff may do to the XP ledger: adjust a total, reverse an award. Each leaves who did it and why."""

from __future__ import annotations

from typing import Annotated

from flask import Blueprint, Response
from pydantic import AfterValidator, Field
from sqlalchemy.orm import Session

from api.auth import current_identity, requires
from api.enrollments import InputModel, UserName, UuidInput, check_uuid
from api.errors import Problem, read_body
from api.idempotency import answer_once, caller_hash
from api.student import CamelModel, Uuid
from api.xp import answer_json
from domain import staff, users, xp_corrections
from domain.errors import NotFound, NotPossible
from domain.levels import current_curve, stand
from domain.xp_corrections import ADJUSTMENT_MAX, Posted
from domain.xp_errors import BelowZero, KeyReused, ReversedBefore

blueprint = Blueprint("ops_xp", __name__)


def _refuse_zero(amount: int) -> int:
    if amount == 0:
        raise ValueError("must not be 0")
    return amount


# PostgreSQL's text holds every character but NUL.
Reason = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00]+$")]
Amount = Annotated[
    int,
    Field(ge=-ADJUSTMENT_MAX, le=ADJUSTMENT_MAX, json_schema_extra={"not": {"const": 0}}),
    AfterValidator(_refuse_zero),
]


class AdjustInput(InputModel):
    """XP to give or, where negative, to take, and why. The reason goes to the audit, not to the ledger."""

    user_id: UserName
    amount: Amount
    reason: Reason


class ReverseInput(InputModel):
    """Which award to take back, and why."""

    transaction_id: UuidInput
    reason: Reason


class PostedAnswer(CamelModel):
    """The entry, how many entries were made with it, and where the user stands now."""

    transaction_id: Uuid
    user_id: Uuid
    entries: int
    total_xp: int
    level: int


@blueprint.post("/api/ops/xp/adjust")
@requires("ops")
def adjust() -> Response:
    """Give or take XP by hand, once for each Idempotency-Key."""
    values = read_body(AdjustInput)
    return answer_once(values, lambda session, key: _adjust(session, values, str(key)), required=True)


@blueprint.post("/api/ops/xp/reverse")
@requires("ops")
def reverse() -> Response:
    """Reverse an award and what followed from it."""
    values = read_body(ReverseInput)
    return answer_once(values, lambda session, key: _reverse(session, values, key))


def _adjust(session: Session, values: AdjustInput, key: str) -> Response:
    user_id = find_user(session, values.user_id)
    # Keys are the caller's own: two callers may use the same one.
    transport_key = f"{caller_hash()[:16]}:{key}"
    try:
        posted = xp_corrections.adjust(
            session, current_curve(), user_id, values.amount, transport_key=transport_key
        )
    except NotFound:
        raise Problem("user_not_found") from None
    except BelowZero:
        raise Problem("xp_below_zero") from None
    except KeyReused:
        raise Problem("idempotency_key_reused") from None
    if posted.entries:
        _record(session, "xp.adjust", posted, values.reason, {"amount": values.amount})
    return _answer(posted)


def _reverse(session: Session, values: ReverseInput, key: str | None) -> Response:
    try:
        posted = xp_corrections.reverse(
            session, current_curve(), values.transaction_id, reason="reversed_by_staff", transport_key=key
        )
    except NotFound:
        raise Problem("xp_entry_not_found") from None
    except ReversedBefore:
        raise Problem("xp_already_reversed") from None
    except NotPossible:
        raise Problem("xp_not_reversible") from None
    _record(session, "xp.reverse", posted, values.reason, {"reversed": values.transaction_id})
    return _answer(posted)


def find_user(session: Session, named: str) -> str:
    """Return the id of whom an id or address names; raise the 404. An id is not looked up."""
    if "@" in named:
        found = users.find_by_email(session, named)
        if found is not None:
            return found.id
    else:
        try:
            return check_uuid(named)
        except ValueError:
            pass
    raise Problem("user_not_found")


def _record(session: Session, action: str, posted: Posted, reason: str, detail: dict[str, object]) -> None:
    staff.record(
        session,
        actor=current_identity().subject,
        action=action,
        subject=("user", posted.user_id),
        reason=reason,
        detail={**detail, "transaction": posted.entry_id, "entries": posted.entries},
    )


def _answer(posted: Posted) -> Response:
    standing = stand(current_curve(), posted.total_xp)
    return answer_json(
        PostedAnswer(
            transaction_id=posted.entry_id,
            user_id=posted.user_id,
            entries=posted.entries,
            total_xp=standing.total_xp,
            level=standing.level,
        )
    )
