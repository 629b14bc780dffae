"""Staff's multipliers: when which XP count for more. Each change leaves who did it and why."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from flask import Blueprint, Response
from pydantic import AwareDatetime, BaseModel, Field
from sqlalchemy.orm import Session

from api.auth import current_identity, requires
from api.enrollments import InputModel, UuidInput, check_uuid
from api.errors import Detail, Problem, read_body, read_query
from api.idempotency import answer_once
from api.ops_xp import Reason
from api.student import CamelModel, PageQuery, Uuid
from api.xp import answer_json
from db.session import transaction
from domain import staff, xp_multipliers
from domain.errors import NotFound, NotPossible
from domain.student_view import InvalidCursor
from domain.xp_multipliers import FACTOR_MAX, FACTOR_MIN, NAME_MAX, Rule, WrongRule

blueprint = Blueprint("ops_multipliers", __name__)

Category = Literal[
    "CORRECT_ANSWER", "STREAK_BONUS", "LESSON", "COURSE", "QUIZ", "ASSIGNMENT", "PARTNER_COURSE"
]
SourceType = Literal[
    "USER_PROBLEM_ATTEMPT", "DAILY_STREAK", "LESSON", "COURSE", "QUIZ", "ASSIGNMENT", "PARTNER_ENROLLMENT"
]
Factor = Annotated[
    int, Field(ge=FACTOR_MIN, le=FACTOR_MAX, description="Basis points: 15000 is half as much again")
]
Moment = Annotated[AwareDatetime, Field(strict=True, description="ISO 8601 with an offset")]


class MultiplierInput(InputModel):
    """A multiplier for what happens from `startsAt` (now, where it is left out) until before `endsAt`.

    Without `courseId`, `category` and `sourceType` it holds for everything that multipliers apply to.
    """

    name: str = Field(min_length=1, max_length=NAME_MAX, pattern=r"^[^\x00-\x1f\x7f]+$")
    factor: Factor
    starts_at: Moment | None = None
    ends_at: Moment
    course_id: UuidInput | None = None
    category: Category | None = None
    source_type: SourceType | None = None
    reason: Reason


class EndInput(InputModel):
    """Why it ends."""

    reason: Reason


class Multiplier(CamelModel):
    """A multiplier. `factor` is in basis points; `called_off` is one that was ended before it began."""

    id: Uuid
    name: str
    factor: int
    starts_at: datetime
    ends_at: datetime
    course_id: Uuid | None
    category: str | None
    source_type: str | None
    state: Literal["coming", "holds", "ended", "called_off"]
    created_at: datetime


class Multipliers(BaseModel):
    """A page, newest first."""

    data: list[Multiplier]
    has_more: bool
    next_cursor: str | None


@blueprint.get("/api/ops/xp/multipliers")
@requires("ops")
def list_multipliers() -> Response:
    """Return a page of multipliers."""
    query = read_query(PageQuery)
    try:
        with transaction() as session:
            page = xp_multipliers.list_rules(session, limit=query.limit, cursor=query.cursor)
    except InvalidCursor:
        raise Problem("invalid_cursor") from None
    data = [Multiplier.model_validate(item) for item in page.items]
    return answer_json(
        Multipliers(data=data, has_more=page.next_cursor is not None, next_cursor=page.next_cursor)
    )


@blueprint.post("/api/ops/xp/multipliers")
@requires("ops")
def add_multiplier() -> Response:
    """Add a multiplier."""
    values = read_body(MultiplierInput)
    return answer_once(values, lambda session, _key: _add(session, values))


@blueprint.post("/api/ops/xp/multipliers/<multiplier_id>/end")
@requires("ops")
def end_multiplier(multiplier_id: str) -> Response:
    """End a multiplier now, or call it off before it begins."""
    values = read_body(EndInput)
    return answer_once(values, lambda session, _key: _end(session, multiplier_id, values))


def _add(session: Session, values: MultiplierInput) -> Response:
    try:
        made = xp_multipliers.add(session, Rule(**values.model_dump(exclude={"reason"})))
    except NotFound:
        raise Problem("course_not_found", "There is no course with this id.") from None
    except WrongRule as error:
        pointer = f"/{MultiplierInput.model_fields[error.field].alias}"
        raise Problem("validation_failed", errors=[Detail(pointer=pointer, detail=str(error))]) from None
    _record(
        session,
        "xp.multiplier.add",
        made["id"],
        values.reason,
        values.model_dump(mode="json", exclude={"reason"}),
    )
    return answer_json(Multiplier.model_validate(made), 201)


def _end(session: Session, multiplier_id: str, values: EndInput) -> Response:
    try:
        ended = xp_multipliers.end(session, check_uuid(multiplier_id))
    except (NotFound, ValueError):
        raise Problem("xp_multiplier_not_found") from None
    except NotPossible:
        raise Problem("xp_multiplier_over") from None
    _record(session, "xp.multiplier.end", ended["id"], values.reason, {"state": ended["state"]})
    return answer_json(Multiplier.model_validate(ended))


def _record(
    session: Session, action: str, multiplier_id: str, reason: str, detail: dict[str, object]
) -> None:
    staff.record(
        session,
        actor=current_identity().subject,
        action=action,
        subject=("xp_multiplier", multiplier_id),
        reason=reason,
        detail=detail,
    )
