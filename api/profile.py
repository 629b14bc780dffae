"""The signed-in user: who they are, what they may change about themselves, and where they stand."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from flask import Blueprint, Response, request
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from api.auth import current_identity, current_user_id, requires_user
from api.enrollments import InputModel
from api.errors import Problem, read_body
from api.student import CamelModel, Uuid
from api.users import Name, TimeZone
from api.xp import StandingAnswer, answer_json
from db.session import transaction
from domain import profile
from domain.errors import NotFound
from domain.levels import current_curve

blueprint = Blueprint("profile", __name__)


class Me(StandingAnswer):
    """The caller. `timeZone` is an IANA name; streaks and days are counted in it."""

    id: Uuid
    email: str
    name: str
    role: str = Field(json_schema_extra={"enum": ["student", "service", "ops"]})
    time_zone: str
    highest_level: int
    created_at: datetime
    updated_at: datetime


class MeInput(InputModel):
    """What somebody may change about themselves. What is left out stays as it is."""

    name: Name | None = Field(None, examples=["Ada Lovelace"])
    time_zone: TimeZone | None = Field(None, examples=["Europe/Vienna"])


class PartnerSeats(CamelModel):
    """Enrolments in partners' courses by status."""

    pending: int
    active: int
    completed: int
    failed: int
    suspended: int
    revoked: int


class OwnEnrollments(CamelModel):
    """Enrolments in our own courses by status."""

    active: int
    completed: int


class EnrollmentCounts(CamelModel):
    """How many enrolments there are."""

    partner: PartnerSeats
    own: OwnEnrollments


class StatsAnswer(StandingAnswer):
    """Where a student stands. `coursesCompleted` counts partners' courses and our own."""

    highest_level: int
    lessons_completed: int
    courses_completed: int
    enrollments: EnrollmentCounts

    @classmethod
    def read(cls, session: Session, user_id: str) -> Self:
        """Return a student's figures; raise `NotFound`."""
        curve = current_curve()
        found = profile.read_stats(session, curve, user_id)
        return cls(
            **vars(found.standing),
            level_curve=curve.name,
            highest_level=found.highest_level,
            lessons_completed=found.lessons_completed,
            courses_completed=found.courses_completed,
            enrollments=EnrollmentCounts(
                partner=PartnerSeats(**found.partner), own=OwnEnrollments(**found.own)
            ),
        )


@blueprint.get("/api/me")
@requires_user
def me() -> Response:
    """Return who is calling."""
    with transaction() as session:
        return answer_json(_read_me(session))


@blueprint.patch("/api/me")
@requires_user
def update_me() -> Response:
    """Change the caller's own name or time zone; the 422 names what cannot be."""
    values = read_body(MeInput)
    with transaction() as session:
        profile.update_profile(session, current_user_id(), name=values.name, time_zone=values.time_zone)
        return answer_json(_read_me(session))


@blueprint.get("/api/me/stats")
@requires_user
def stats() -> Response:
    """Return the caller's figures; 304 where the caller has them already."""
    try:
        with transaction() as session:
            return answer_tagged(StatsAnswer.read(session, current_user_id()))
    except NotFound:
        raise Problem("no_student") from None


def answer_tagged(model: BaseModel) -> Response:
    """Return a model under a strong ETag, or the 304 for a caller whose If-None-Match names it."""
    response = answer_json(model)
    response.headers["Cache-Control"] = "private, no-cache"
    response.vary.update(("Authorization", "Cookie"))
    response.add_etag()
    response.make_conditional(request)
    return response


def _read_me(session: Session) -> Me:
    curve = current_curve()
    try:
        found = profile.read_profile(session, curve, current_user_id())
    except NotFound:
        raise Problem("no_student") from None
    known = {name: value for name, value in vars(found).items() if name != "standing"}
    return Me(**known, **vars(found.standing), level_curve=curve.name, role=current_identity().role)
