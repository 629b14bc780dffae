"""What staff do with achievements: make them, edit them in versions, try one out. Each leaves who did it and why."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, TypeVar

from flask import Blueprint, Response, request
from pydantic import BaseModel, ValidationError
from sqlalchemy.orm import Session

import api.achievement_problems  # noqa: F401 - registers the codes
from api import flags
from api.auth import current_identity, requires
from api.enrollments import check_uuid
from api.errors import MAX_BODY, Detail, Problem, read_query, read_raw, validation_problem
from api.idempotency import answer_once
from api.ops_xp import Reason
from api.preconditions import read_version
from api.student import CamelModel, PageQuery, Uuid
from api.xp import answer_json
from db.session import transaction
from domain import achievement_catalogue, achievement_view, staff
from domain.achievement_catalogue import CodeTaken, Definition, StaleVersion, Unknown
from domain.course_fields import Slug
from domain.student_view import InvalidCursor

blueprint = Blueprint("ops_achievements", __name__)
Model = TypeVar("Model", bound=BaseModel)


class AchievementEdit(Definition):
    """The next version of an achievement: all of it, and why. `condition` and `xpReward` are those of tier 1."""

    reason: Reason


class AchievementInput(AchievementEdit):
    """An achievement. Its code stays as it is: what was unlocked is known by it."""

    code: Slug


class TrialInput(Definition):
    """An achievement to be tried out. Who has a tier of the one with this code is not counted."""

    code: Slug | None = None


class TierDefinitionAnswer(CamelModel):
    """A higher tier: what it takes and gives."""

    condition: dict[str, Any]
    xp_reward: int


class StaffAchievement(TierDefinitionAnswer):
    """An achievement as it holds now. `backfilledAt` is null until everybody who was there before has been shown it."""

    id: Uuid
    code: str
    version: int
    name: str
    description: str
    icon: str
    category: str
    tiers: list[TierDefinitionAnswer]
    revocable: bool
    is_active: bool
    holders: int
    backfilled_at: datetime | None
    created_at: datetime
    updated_at: datetime


class StaffAchievements(BaseModel):
    """A page, in the order of the codes."""

    data: list[StaffAchievement]
    has_more: bool
    next_cursor: str | None


class TrialTier(CamelModel):
    """How many users would unlock a tier."""

    tier: int
    users: int


class TrialAnswer(CamelModel):
    """What would be unlocked now, among `checked` of all `users`: all of them up to 20,000, else so many at random."""

    users: int
    checked: int
    tiers: list[TrialTier]


@blueprint.get("/api/ops/achievements")
@requires("ops")
@flags.requires("achievements")
def list_achievements() -> Response:
    """Return a page of achievements, those that are not active too."""
    query = read_query(PageQuery)
    try:
        after = achievement_view.decode_code(query.cursor)
    except InvalidCursor:
        raise Problem("invalid_cursor") from None
    with transaction() as session:
        found = achievement_catalogue.list_all(session, limit=query.limit + 1, after=after)
    more, shown = len(found) > query.limit, found[: query.limit]
    data = [StaffAchievement.model_validate(item) for item in shown]
    cursor = achievement_view.encode_code(shown[-1]["code"]) if more else None
    return answer_json(StaffAchievements(data=data, has_more=more, next_cursor=cursor))


@blueprint.post("/api/ops/achievements")
@requires("ops")
@flags.requires("achievements")
def create_achievement() -> Response:
    """Make an achievement: 201. Everybody who has earned it already is given it by a job."""
    values = _read(AchievementInput)
    return answer_once(values, lambda session, _key: _create(session, values))


@blueprint.post("/api/ops/achievements/dry-run")
@requires("ops")
@flags.requires("achievements")
def try_out_achievement() -> Response:
    """Count who would unlock an achievement; nothing is changed."""
    values = _read(TrialInput)
    return answer_once(values, lambda session, _key: _try_out(session, values))


@blueprint.get("/api/ops/achievements/<achievement_id>")
@requires("ops")
@flags.requires("achievements")
def get_achievement(achievement_id: str) -> Response:
    """Return an achievement; its version is the ETag."""
    with transaction() as session:
        return _answer(session, _check(achievement_id))


@blueprint.put("/api/ops/achievements/<achievement_id>")
@requires("ops")
@flags.requires("achievements")
def edit_achievement(achievement_id: str) -> Response:
    """Make the next version of an achievement. What was unlocked stays. `If-Match` names the version that was edited."""
    values, version = _read(AchievementEdit), read_version()
    known = _check(achievement_id)
    with transaction() as session:
        try:
            changed = achievement_catalogue.edit(session, known, version, _definition(values))
        except Unknown:
            raise Problem("achievement_not_found") from None
        except StaleVersion as error:
            raise Problem("stale_version", headers={"ETag": f'"{error.version}"'}) from None
        if changed:
            _record(session, "achievement.edit", known, values.reason, {"version": version + 1})
        return _answer(session, known)


def _create(session: Session, values: AchievementInput) -> Response:
    try:
        made = achievement_catalogue.create(session, values.code, _definition(values))
    except CodeTaken:
        raise Problem("achievement_code_taken") from None
    _record(session, "achievement.create", made, values.reason, {"code": values.code})
    response = _answer(session, made, 201)
    response.headers["Location"] = f"/api/ops/achievements/{made}"
    return response


def _try_out(session: Session, values: TrialInput) -> Response:
    trial = achievement_catalogue.try_out(session, values, values.code)
    tiers = [TrialTier(tier=number, users=users) for number, users in enumerate(trial.unlocks, 1)]
    return answer_json(TrialAnswer(users=trial.users, checked=trial.checked, tiers=tiers))


def _answer(session: Session, achievement_id: str, status: int = 200) -> Response:
    try:
        found = achievement_catalogue.find(session, achievement_id)
    except Unknown:
        raise Problem("achievement_not_found") from None
    response = answer_json(StaffAchievement.model_validate(found), status)
    response.headers["ETag"] = f'"{found["version"]}"'
    return response


def _read(model: type[Model]) -> Model:
    """Return the body as a model. Conditions may nest deeper than a validator bears: their limits are looked at first."""
    if not request.is_json:
        raise Problem("unsupported_media_type")
    try:
        document = json.loads(read_raw(MAX_BODY))
        # Half of a surrogate pair is JSON and no text.
        json.dumps(document, ensure_ascii=False).encode()
    except RecursionError:
        raise Problem("validation_failed", errors=[Detail(pointer="", detail="is nested too deep")]) from None
    except ValueError:
        raise Problem("malformed_json") from None
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise validation_problem(error) from None


def _definition(values: Definition) -> Definition:
    return Definition(**{name: getattr(values, name) for name in Definition.model_fields})


def _check(achievement_id: str) -> str:
    try:
        return check_uuid(achievement_id)
    except ValueError:
        raise Problem("achievement_not_found") from None


def _record(
    session: Session, action: str, achievement_id: str, reason: str, detail: dict[str, object]
) -> None:
    staff.record(
        session,
        actor=current_identity().subject,
        action=action,
        subject=("achievement", achievement_id),
        reason=reason,
        detail=detail,
    )
