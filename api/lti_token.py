"""Where a tool's server gets its access tokens: client credentials with a signed assertion (RFC 7523, LTI Security 1.0, 4).

Errors are OAuth's (RFC 6749, 5.2), because that is what its clients read.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, TypeGuard

import structlog
from flask import Blueprint, Response, request
from pydantic import BaseModel, Field

from api.auth import public
from api.errors import MAX_BODY
from api.lti_tokens import audience_of, read_tool_token
from api.sessions import LEEWAY, KeysUnavailable, Refused, read_part
from db.models import LtiTool
from db.session import transaction
from domain import lti, lti_access, lti_launches
from partners.lti.vocabulary import TOKEN_PATH
from settings import get_settings

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
# Seconds: an assertion must not be good for longer, since its id is remembered for as long.
ASSERTION_MAX_AGE = 3600
JTI_MAX = 255

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)
blueprint = Blueprint("lti_token", __name__)


class TokenInput(BaseModel):
    """The form that asks for an access token. `scope` holds scopes separated by spaces."""

    grant_type: str = Field(json_schema_extra={"const": "client_credentials"})
    client_assertion_type: str = Field(json_schema_extra={"const": ASSERTION})
    client_assertion: str = Field(min_length=1)
    scope: str = Field(min_length=1)


class AccessToken(BaseModel):
    """An access token. `expires_in` is in seconds; `scope` is what was granted, perhaps less than was asked for."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str


class TokenError(BaseModel):
    """Why there is no access token."""

    error: str
    error_description: str


class Denied(Exception):
    """No token: `code` is OAuth's, `words` are for whoever runs the tool."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(code)
        self.code, self.words = code, words


@blueprint.post(TOKEN_PATH)
@public
def token() -> Response:
    """Answer an access token for a tool that proves who it is."""
    try:
        answer: BaseModel = _grant(_read_form())
        status = 200
    except Denied as error:
        log.info("[Lti] no token", reason=error.code, detail=error.words)
        answer, status = TokenError(error=error.code, error_description=error.words), _status(error)
    response = Response(answer.model_dump_json(), status, mimetype="application/json")
    response.headers["Pragma"] = "no-cache"  # RFC 6749 asks for it.
    return response


def _read_form() -> TokenInput:
    request.max_content_length = request.max_form_memory_size = MAX_BODY
    if request.mimetype != "application/x-www-form-urlencoded":
        raise Denied("invalid_request", "The body must be a form (application/x-www-form-urlencoded).")
    twice = [name for name in TokenInput.model_fields if len(request.form.getlist(name)) > 1]
    missing = [name for name in TokenInput.model_fields if not request.form.get(name)]
    if twice or missing:
        raise Denied(
            "invalid_request", f"{(twice or missing)[0]} is {'there twice' if twice else 'missing'}."
        )
    given = TokenInput(**{name: request.form[name] for name in TokenInput.model_fields})
    if given.grant_type != "client_credentials":
        raise Denied("unsupported_grant_type", "grant_type must be client_credentials.")
    if given.client_assertion_type != ASSERTION:
        raise Denied("invalid_request", f"client_assertion_type must be {ASSERTION}.")
    return given


def _grant(given: TokenInput) -> AccessToken:
    now = time.time()
    try:
        tool = _claimed_tool(given.client_assertion)
        # May fetch the tool's keys, so no transaction is open.
        claims = read_tool_token(given.client_assertion, tool, now)
    except Refused as error:
        raise Denied("invalid_client", f"The client assertion is not accepted. {error.detail}") from None
    except KeysUnavailable:
        raise Denied("invalid_client", "The tool's public keys could not be fetched.") from None
    jti, expires = _check_claims(claims, tool, now)
    with transaction() as session:
        if not lti_launches.spend(session, tool.id, "assertion", jti, expires):
            raise Denied("invalid_client", "The client assertion was used before: its jti must be new.")
    scopes = lti_access.grant(tool, given.scope)
    if not scopes:
        raise Denied("invalid_scope", "The tool is registered for none of these scopes.")
    log.info("[Lti] token", tool=tool.id, scopes=len(scopes))
    return AccessToken(
        access_token=lti_access.seal(tool, scopes),
        token_type="Bearer",  # noqa: S106 - the kind of token
        expires_in=lti_access.TOKEN_MAX_AGE,
        scope=" ".join(scopes),
    )


def _claimed_tool(assertion: str) -> LtiTool:
    """Return the tool that the assertion claims to be from; nothing is proven yet."""
    parts = assertion.split(".")
    client_id = read_part(parts[1]).get("iss") if len(parts) == 3 else None
    with transaction() as session:
        tool = lti.find_tool(session, client_id) if _is_text(client_id) else None
    if tool is None:
        raise Refused("unknown_tool", "No active tool has the client id that iss names.")
    return tool


def _check_claims(claims: dict[str, Any], tool: LtiTool, now: float) -> tuple[str, datetime]:
    """Return the assertion's id and until when it has to be remembered."""
    url = get_settings().app_url + TOKEN_PATH
    jti, issued, expires = claims.get("jti"), claims.get("iat", now), claims["exp"]
    if claims.get("sub") != tool.client_id:
        words = "sub must be the client id, as iss."
    elif url not in audience_of(claims):
        words = f"aud must be {url}."
    elif not _is_text(jti) or len(jti) > JTI_MAX:
        words = f"jti must be a text of 1 to {JTI_MAX} characters."
    elif isinstance(issued, bool) or not isinstance(issued, int | float) or issued > now + LEEWAY:
        words = "iat must be a time in seconds, and not in the future."
    elif expires > now + ASSERTION_MAX_AGE:
        words = f"exp must be at most {ASSERTION_MAX_AGE} seconds from now."
    else:
        return jti, datetime.fromtimestamp(expires + LEEWAY + 1, UTC)
    raise Denied("invalid_client", f"The client assertion is not accepted: {words}")


def _is_text(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value) and "\0" not in value


def _status(error: Denied) -> int:
    return 401 if error.code == "invalid_client" else 400
