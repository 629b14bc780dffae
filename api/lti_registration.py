"""How a tool registers itself (Dynamic Registration 1.0): our configuration, and one registration for each invitation."""

from __future__ import annotations

from typing import Any

import structlog
from flask import Blueprint, Response, jsonify, request
from pydantic import BaseModel, ConfigDict, Field

import api.lti_problems  # noqa: F401 - registers the codes
from api.auth import public
from api.errors import Problem
from api.lti_tokens import address_rules
from db.session import transaction
from domain import lti, staff
from partners.lti import vocabulary
from partners.lti.registration import RegistrationWrong, configuration, describe, read_registration
from settings import get_settings

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)
blueprint = Blueprint("lti_registration", __name__)


class OpenIdConfiguration(BaseModel):
    """The addresses that a tool needs, and what we speak."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    registration_endpoint: str


class RegistrationRequest(BaseModel):
    """What a tool says of itself (OpenID Connect Dynamic Client Registration, with LTI's part)."""

    model_config = ConfigDict(extra="allow")

    client_name: str
    initiate_login_uri: str
    redirect_uris: list[str]
    jwks_uri: str
    scope: str = ""
    tool: dict[str, Any] = Field(alias=vocabulary.TOOL_CONFIGURATION)


class RegisteredTool(BaseModel):
    """The registration as it was taken, and the tool's client id."""

    client_id: str
    client_name: str


@blueprint.get(vocabulary.CONFIGURATION_PATH)
@public
def openid_configuration() -> Response:
    """Return what a tool needs to know of us."""
    response = jsonify(configuration(get_settings().app_url))
    response.headers["Cache-Control"] = "public, max-age=3600"
    return response


@blueprint.post(vocabulary.REGISTER_PATH)
@public
def register_tool() -> Response:
    """Register the tool that brings an invitation: 201. The invitation is used up with it, in one transaction."""
    given: Any = request.get_json(silent=True)
    header = request.authorization
    token = (header.token or "") if header is not None and header.type == "bearer" else ""
    with transaction() as session:
        found = lti.take_invite(session, token)
        if found is None:
            raise Problem("lti_registration_refused", headers={"WWW-Authenticate": 'Bearer realm="usher"'})
        try:
            wanted = read_registration(given, address_rules())
        except RegistrationWrong as error:
            raise Problem("lti_registration_invalid", f"The registration is not taken: {error}.") from None
        tool = lti.register(session, found.provider_id, lti.Registration(**vars(wanted)))
        found.tool_id = tool.id
        staff.record(
            session,
            actor="lti registration",
            action="lti.register",
            subject=("lti_tool", tool.id),
            reason=None,
        )
    log.info("[Lti] tool registered", tool=tool.client_id)
    response = jsonify(describe(wanted, client_id=tool.client_id, deployment_id=tool.deployment_id))
    response.status_code = 201
    return response
