"""Users are made and kept up to date by the front end's server, before they can buy anything."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated

from flask import Blueprint, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from typing_extensions import TypeAliasType

import api.privacy_problems  # noqa: F401 - registers the codes
from api.auth import requires
from api.errors import Detail, Problem, read_body
from api.student import CamelModel, Uuid
from db.session import transaction
from domain.users import (
    EMAIL_MAX,
    LINE,
    NAME_MAX,
    EmailTaken,
    UserErased,
    check_time_zone,
    clean_name,
    normalize_email,
    time_zones,
    upsert_user,
)

blueprint = Blueprint("users", __name__)

# What a schema can say of them; the checks after it say the rest, and the same where people are imported.
Email = Annotated[
    str, Field(max_length=EMAIL_MAX, json_schema_extra={"format": "email"}), AfterValidator(normalize_email)
]
Name = Annotated[str, Field(max_length=NAME_MAX, pattern=LINE), AfterValidator(clean_name)]
# An alias with a name has a schema of its own, which is listed once.
TimeZone = TypeAliasType(
    "TimeZone",
    Annotated[str, Field(json_schema_extra={"enum": sorted(time_zones())}), AfterValidator(check_time_zone)],
)


class UserInput(BaseModel):
    """What is known of a user. A name or time zone that is left out stays as it is."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    email: Email = Field(examples=["ada@example.com"])
    name: Name | None = Field(None, examples=["Ada Lovelace"])
    time_zone: TimeZone | None = Field(None, examples=["Europe/Vienna"])


class UserAnswer(CamelModel):
    """A user as it is stored."""

    id: Uuid
    email: str
    name: str
    time_zone: str
    created_at: datetime
    updated_at: datetime


@blueprint.put("/api/users/<user_id>")
@requires("service", "ops")
def put_user(user_id: str) -> Response:
    """Make or update the user: 201 for a new one, 200 for a known one, 409 when the e-mail address is another user's."""
    wanted, values = parse_id(user_id), read_body(UserInput)
    try:
        with transaction() as session:
            user, created = upsert_user(session, wanted, values.email, values.name, values.time_zone)
    except EmailTaken:
        raise Problem("email_taken") from None
    except UserErased:
        raise Problem("user_erased") from None
    body = UserAnswer.model_validate(user).model_dump_json(by_alias=True)
    return Response(body, status=201 if created else 200, mimetype="application/json")


def parse_id(raw: str) -> str:
    """Return an id from an address; raise the 422 for what is none."""
    try:
        return str(uuid.UUID(raw))
    except ValueError:
        raise Problem(
            "validation_failed",
            "The id in the address must be a uuid.",
            errors=[Detail(pointer="/id", detail="must be a uuid")],
        ) from None
