"""Enrolling in one of the provider's own courses (seed A's request and answer)."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated

from flask import Blueprint, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from sqlalchemy.orm import Session

from api.auth import current_identity, current_user_id, requires_user
from api.errors import Detail, Problem, read_body
from api.idempotency import answer_once
from api.student import Uuid
from db.session import transaction
from domain import courses, users
from domain.errors import NotFound

blueprint = Blueprint("enrollments", __name__)


def check_uuid(raw: str) -> str:
    """Return a uuid in its usual form; raise `ValueError` for anything else."""
    try:
        return str(uuid.UUID(raw))
    except ValueError:
        raise ValueError("must be a uuid") from None


UuidInput = Annotated[str, AfterValidator(check_uuid), Field(json_schema_extra={"format": "uuid"})]
UserName = Annotated[
    str, Field(min_length=1, max_length=users.EMAIL_MAX, description="One's own user id or e-mail address")
]


class InputModel(BaseModel):
    """A body: camelCase outside."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")


class EnrollmentInput(InputModel):
    """Who wants to learn what."""

    user_id: UserName
    course_id: UuidInput


class OwnEnrollment(BaseModel):
    """The enrolment, snake_case as seed A publishes it."""

    model_config = ConfigDict(from_attributes=True)

    id: Uuid
    user_id: Uuid
    course_id: Uuid
    enrolled_at: datetime
    completion_percentage: int
    xp_earned: int


@blueprint.post("/api/enrollments")
@requires_user
def enroll() -> Response:
    """Enrol the caller: 201, 409 when enrolled already or other courses come first."""
    values = read_body(EnrollmentInput)
    refuse_others(values.user_id)
    return answer_once(values, lambda session, _key: _enroll(session, values))


def refuse_others(claimed: str) -> None:
    """Raise the 403 unless the claimed user, by id or e-mail address, is the caller."""
    identity, wanted = current_identity(), claimed.strip().casefold()
    if wanted in (identity.user_id, identity.subject.casefold()):
        return
    if "@" in wanted:
        with transaction() as session:
            found = users.find_by_email(session, wanted)
        if found is not None and found.id == identity.user_id:
            return
    raise Problem("not_yourself")


def _enroll(session: Session, values: EnrollmentInput) -> Response:
    try:
        made = courses.enroll(session, current_user_id(), values.course_id)
    except NotFound:
        raise Problem("course_not_found") from None
    except courses.AlreadyEnrolled:
        raise Problem("already_enrolled") from None
    except courses.PrerequisitesMissing as refusal:
        errors = [Detail(pointer="/courseId", detail=f"complete course {id} first") for id in refusal.missing]
        raise Problem("prerequisites_missing", errors=errors) from None
    body = OwnEnrollment.model_validate(made).model_dump_json()
    return Response(body, status=201, mimetype="application/json")
