"""Staff's partner connections: address, options, credentials, policies. A credential goes in and never comes out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from flask import Blueprint, Response
from pydantic import Field, JsonValue, SecretStr, model_validator
from sqlalchemy.orm import Session

from api.auth import current_identity, requires
from api.enrollments import InputModel
from api.errors import Detail, Problem, read_body
from api.ops_xp import Reason
from api.preconditions import read_version
from api.problems import PROBLEMS, Kind
from api.student import CamelModel
from api.xp import answer_json
from db.session import transaction
from domain import partner_connections, secrets
from domain.errors import NotFound
from domain.partner_connections import (
    BURST_MAX,
    COMPLETE_AT_MAX,
    COMPLETE_AT_MIN,
    CONCURRENCY_MAX,
    RATE_MAX,
    SYNC_INTERVAL_MAX,
    SYNC_INTERVAL_MIN,
    StaleVersion,
    Who,
)
from partners.configuration import ConfigurationWrong
from partners.registry import UnknownPartner, read_configuration
from workers import connections

PROBLEMS.update(
    {
        "partner_not_found": Kind(
            404,
            "No such partner",
            "No partner of this type is served, or its configuration cannot be read.",
            "Take the type from usher partner list.",
        ),
        "partner_secret_not_found": Kind(
            404,
            "Nothing is stored under this name",
            "There is no stored credential of this name for this partner.",
            "Take the name from the connection.",
        ),
        "credentials_keys_missing": Kind(
            409,
            "Credentials cannot be sealed",
            "CREDENTIALS_KEYS is not set, so nothing can be kept in the database.",
            "Set CREDENTIALS_KEYS (usher partner key makes one), or name the setting that holds the credential.",
        ),
    }
)
blueprint = Blueprint("ops_partner_connections", __name__)
PATH = "/api/ops/partners/<provider_type>"


class ConnectionInput(InputModel):
    """Address and options, in place of what was stored. `null` and `{}` leave it to file and environment."""

    base_url: str | None = Field(max_length=2_000)
    options: dict[str, JsonValue]
    reason: Reason


class SecretInput(InputModel):
    """A credential, or the name of the setting that holds it."""

    value: SecretStr | None = Field(None, json_schema_extra={"writeOnly": True})
    env_name: str | None = Field(None, max_length=80)
    reason: Reason

    @model_validator(mode="after")
    def _need_one(self) -> SecretInput:
        if (self.value is None) == (self.env_name is None):
            raise ValueError("give either value or envName")
        return self


class ConnectionReasonInput(InputModel):
    """Why, for the audit."""

    reason: Reason


class PolicyInput(InputModel):
    """Policies; those that are left out stay, `null` leaves one to the adapter or the setting.

    `completeAt` is the per cent from which on a seat counts as completed, `syncInterval` is in seconds.
    """

    concurrency: Annotated[int, Field(ge=1, le=CONCURRENCY_MAX)] | None = None
    rate_per_second: Annotated[float, Field(ge=0.001, le=RATE_MAX)] | None = None
    burst: Annotated[int, Field(ge=1, le=BURST_MAX)] | None = None
    adopt_by_email: bool | None = None
    sync_interval: Annotated[int, Field(ge=SYNC_INTERVAL_MIN, le=SYNC_INTERVAL_MAX)] | None = None
    complete_at: Annotated[float, Field(ge=COMPLETE_AT_MIN, le=COMPLETE_AT_MAX)] | None = None
    reason: Reason


class StoredCredential(CamelModel):
    """What may be told of a credential. `fingerprint` is the last four hex digits of its SHA-256."""

    name: str
    source: Literal["stored", "environment"]
    env_name: str | None
    fingerprint: str | None
    set_at: datetime
    set_by: str


class Policies(CamelModel):
    """The policies in force that staff set; `null`: what the adapter or the setting says."""

    concurrency: int | None
    rate_per_second: float | None
    burst: int
    adopt_by_email: bool | None
    sync_interval: int | None
    complete_at: float | None


class PartnerConnectionAnswer(CamelModel):
    """What is stored for a partner; version 0 where nothing is."""

    provider_type: str
    base_url: str | None
    options: dict[str, Any]
    secrets: list[StoredCredential]
    policies: Policies
    version: int
    updated_at: datetime | None
    updated_by: str | None
    reason: str | None


@blueprint.get(f"{PATH}/connection")
@requires("ops")
def get_connection(provider_type: str) -> Response:
    """Return what is stored for a partner; the ETag is its version."""
    _check_type(provider_type)
    with transaction() as session:
        return _answer(session, provider_type)


@blueprint.put(f"{PATH}/connection")
@requires("ops")
def put_connection(provider_type: str) -> Response:
    """Store address and options, where the connection is still the version that `If-Match` names."""
    _check_type(provider_type)
    values, version = read_body(ConnectionInput), read_version()
    base_url = values.base_url
    if base_url is not None:
        base_url = _checked("/baseUrl", connections.check_base_url, provider_type, base_url)
    _checked("/options", connections.check_options, values.options)
    try:
        with transaction() as session:
            partner_connections.set_connection(
                session,
                provider_type,
                base_url=base_url,
                options=values.options,
                who=_who(values.reason),
                expected=version,
            )
            return _answer(session, provider_type)
    except StaleVersion:
        raise Problem("stale_version") from None


@blueprint.put(f"{PATH}/secrets/<name>")
@requires("ops")
def put_secret(provider_type: str, name: str) -> Response:
    """Store a credential. It is sealed, and never shown again."""
    _check_type(provider_type)
    values = read_body(SecretInput)
    _checked("/name", connections.check_secret_name, provider_type, name)
    plain = None if values.value is None else values.value.get_secret_value()
    if plain is not None:
        _checked("/value", connections.check_secret, plain)
    if values.env_name is not None:
        _checked("/envName", connections.check_env_name, provider_type, values.env_name)
    try:
        with transaction() as session:
            partner_connections.set_secret(
                session, provider_type, name, plain=plain, env_name=values.env_name, who=_who(values.reason)
            )
            return _answer(session, provider_type)
    except secrets.NoKeys:
        raise Problem("credentials_keys_missing") from None


@blueprint.delete(f"{PATH}/secrets/<name>")
@requires("ops")
def delete_secret(provider_type: str, name: str) -> Response:
    """Forget a stored credential; what the environment holds counts again."""
    _check_type(provider_type)
    values = read_body(ConnectionReasonInput)
    try:
        with transaction() as session:
            partner_connections.unset_secret(session, provider_type, name, who=_who(values.reason))
            return _answer(session, provider_type)
    except NotFound:
        raise Problem("partner_secret_not_found") from None


@blueprint.patch(f"{PATH}/policy")
@requires("ops")
def patch_policy(provider_type: str) -> Response:
    """Change a partner's policies."""
    _check_type(provider_type)
    values = read_body(PolicyInput)
    changes = values.model_dump(exclude={"reason"}, exclude_unset=True)
    if not changes:
        raise Problem("validation_failed", errors=[Detail(pointer="/", detail="names no policy")])
    with transaction() as session:
        partner_connections.set_policies(session, provider_type, changes, who=_who(values.reason))
        return _answer(session, provider_type)


def _check_type(provider_type: str) -> None:
    try:
        read_configuration(provider_type)
    except (UnknownPartner, ConfigurationWrong):
        raise Problem("partner_not_found") from None


def _checked(pointer: str, check: Callable[..., Any], *given: Any) -> Any:
    try:
        return check(*given)
    except ValueError as error:
        raise Problem("validation_failed", errors=[Detail(pointer=pointer, detail=str(error))]) from None


def _who(reason: str) -> Who:
    return Who(current_identity().subject, reason)


def _answer(session: Session, provider_type: str) -> Response:
    shown = PartnerConnectionAnswer.model_validate(partner_connections.show(session, provider_type))
    answer = answer_json(shown)
    answer.headers["ETag"] = f'"{shown.version}"'
    return answer
