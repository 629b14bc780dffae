"""What staff do for streaks: give a freeze, name rest days. Each leaves who did it and why."""

from __future__ import annotations

import datetime as dt
from datetime import UTC, date, datetime

from flask import Blueprint, Response
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

import api.achievement_problems  # noqa: F401 - registers the codes
from api import flags
from api.achievements import tell_streak
from api.auth import current_identity, requires
from api.enrollments import InputModel, UserName, check_uuid
from api.errors import Detail, Problem, read_body, read_query
from api.idempotency import answer_once
from api.ops_xp import Reason, find_user
from api.student import CamelModel, PageQuery, Uuid
from api.xp import answer_json
from db.session import transaction
from domain import staff, streak_grants
from domain.errors import NotFound, NotPossible
from domain.streak_grants import WrongDate
from domain.student_view import InvalidCursor, decode_cursor, encode_moment

blueprint = Blueprint("ops_streaks", __name__)


class FreezeInput(InputModel):
    """Who gets a freeze, as of which date (today, where it is left out; at most a week back), and why."""

    user_id: UserName
    date: dt.date | None = None
    reason: Reason


class RestInput(InputModel):
    """On which dates nobody, or one student, has to be active, and why.

    From `firstDate` to `lastDate`, both included; with `weekday` (1 is Monday) only that day of each week, and then
    also without an end. For everybody they begin tomorrow or later.
    """

    user_id: UserName | None = None
    weekday: int | None = Field(None, ge=1, le=7)
    first_date: date
    last_date: date | None = None
    reason: Reason


class EndRestInput(InputModel):
    """Why they end."""

    reason: Reason


class RestAnswer(CamelModel):
    """Rest days; without `userId` they are everybody's."""

    id: Uuid
    user_id: Uuid | None
    weekday: int | None
    first_date: date
    last_date: date | None
    created_at: datetime


class RestPage(BaseModel):
    """A page, newest first."""

    data: list[RestAnswer]
    has_more: bool
    next_cursor: str | None


class RestEnded(CamelModel):
    """The rest days that were ended."""

    id: Uuid


@blueprint.post("/api/ops/streaks/freezes")
@requires("ops")
@flags.requires("streaks")
def grant_freeze() -> Response:
    """Give a student a freeze; answer where the streak stands then."""
    values = read_body(FreezeInput)
    return answer_once(values, lambda session, _key: _grant(session, values))


@blueprint.get("/api/ops/streaks/rest-days")
@requires("ops")
@flags.requires("streaks")
def list_rest() -> Response:
    """Return a page of rest days."""
    query = read_query(PageQuery)
    try:
        at, last = (None, None) if query.cursor is None else decode_cursor(query.cursor)
    except InvalidCursor:
        raise Problem("invalid_cursor") from None
    with transaction() as session:
        found = streak_grants.list_rest(session, limit=query.limit + 1, at=at, last=last)
    more, shown = len(found) > query.limit, found[: query.limit]
    cursor = encode_moment(shown[-1]["created_at"], shown[-1]["id"]) if more else None
    data = [RestAnswer.model_validate(item) for item in shown]
    return answer_json(RestPage(data=data, has_more=more, next_cursor=cursor))


@blueprint.post("/api/ops/streaks/rest-days")
@requires("ops")
@flags.requires("streaks")
def add_rest() -> Response:
    """Name rest days."""
    values = read_body(RestInput)
    return answer_once(values, lambda session, _key: _add_rest(session, values))


@blueprint.post("/api/ops/streaks/rest-days/<rest_id>/end")
@requires("ops")
@flags.requires("streaks")
def end_rest(rest_id: str) -> Response:
    """End rest days; what they covered stays covered."""
    values = read_body(EndRestInput)
    return answer_once(values, lambda session, _key: _end_rest(session, rest_id, values))


def _grant(session: Session, values: FreezeInput) -> Response:
    user_id = find_user(session, values.user_id)
    try:
        found = streak_grants.grant_freeze(session, user_id, values.date)
    except NotFound:
        raise Problem("user_not_found") from None
    except NotPossible:
        raise Problem("freezes_full") from None
    except WrongDate as error:
        raise _refuse(error) from None
    _record(
        session, "streak.freeze", ("user", user_id), values.reason, {"date": str(values.date or found.today)}
    )
    return answer_json(tell_streak(found))


def _add_rest(session: Session, values: RestInput) -> Response:
    user_id = None if values.user_id is None else find_user(session, values.user_id)
    try:
        made = streak_grants.add_rest(
            session, user_id, values.weekday, values.first_date, values.last_date, datetime.now(UTC)
        )
    except NotFound:
        raise Problem("user_not_found") from None
    except WrongDate as error:
        raise _refuse(error) from None
    answer = RestAnswer.model_validate(made)
    detail = answer.model_dump(mode="json", exclude={"created_at"})
    _record(session, "streak.rest", ("streak_rest_days", answer.id), values.reason, detail)
    return answer_json(answer, 201)


def _end_rest(session: Session, rest_id: str, values: EndRestInput) -> Response:
    try:
        known = check_uuid(rest_id)
        streak_grants.end_rest(session, known, datetime.now(UTC))
    except (NotFound, ValueError):
        raise Problem("rest_days_not_found") from None
    except NotPossible:
        raise Problem("rest_days_over") from None
    _record(session, "streak.rest.end", ("streak_rest_days", known), values.reason, {})
    return answer_json(RestEnded(id=known))


def _refuse(error: WrongDate) -> Problem:
    names = {"date": "/date", "first_date": "/firstDate", "last_date": "/lastDate"}
    return Problem("validation_failed", errors=[Detail(pointer=names[error.field], detail=str(error))])


def _record(
    session: Session, action: str, subject: tuple[str, str], reason: str, detail: dict[str, object]
) -> None:
    staff.record(
        session,
        actor=current_identity().subject,
        action=action,
        subject=subject,
        reason=reason,
        detail=detail,
    )
