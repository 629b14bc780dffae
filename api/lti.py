"""LTI 1.3, the platform's side in the browser: the tool comes for its launch.

The cookie of a session is `Lax`: a browser sends it along when another site leads it here, but not when another site's
page posts a form here. So a tool that posts its authentication request is led here once more, by GET.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple
from urllib.parse import urlencode

import structlog
from flask import Blueprint, Response, g, make_response, redirect, render_template, request
from pydantic import BaseModel
from sqlalchemy.orm import Session

import api.lti_problems  # noqa: F401 - registers the codes
from api.auth import find_identity, public
from api.errors import Problem
from api.launch import ADDRESS
from api.xp import answer_json
from db.models import LtiLink, LtiTool
from db.session import transaction
from domain import lti, lti_keys, lti_launches
from domain.lti_launches import Seat
from domain.secrets import NoKeys, NotOurs
from domain.tokens import Identity
from partners.lti import claims as said
from partners.lti import vocabulary
from partners.lti.hints import MAX_AGE, Choice, Hint, open_hint, seal_choice
from partners.lti.tokens import sign
from settings import get_settings

# Characters of a nonce, a state or a token id; some tools put a token into the state.
LONGEST = 8_000
log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)
blueprint = Blueprint("lti", __name__)


class LtiKeys(BaseModel):
    """A key set (RFC 7517)."""

    keys: list[dict[str, str]]


class AuthorizeRequest(BaseModel):
    """A tool's authentication request (1EdTech Security Framework 1.0, 5.1.1.2)."""

    client_id: str
    redirect_uri: str
    login_hint: str
    lti_message_hint: str
    nonce: str
    scope: Literal["openid"]
    response_type: Literal["id_token"]
    response_mode: Literal["form_post"]
    prompt: Literal["none"]
    state: str = ""


class AuthorizeRefused(Exception):
    """An authentication request is refused in a way that the tool is told: an error code of OpenID Connect, and why."""

    def __init__(self, error: str, why: str) -> None:
        super().__init__(why)
        self.error, self.why = error, why


class Asked(NamedTuple):
    """A click that comes back from a tool: our hint, when it was given, and what the tool wants in the token."""

    hint: Hint
    issued_at: datetime
    nonce: str
    state: str | None


@blueprint.get(vocabulary.AUTHORIZE_PATH)
@public
def authorize() -> Response:
    """Answer a tool's authentication request with a form that carries the launch, or an error, to the tool."""
    asked = request.args.to_dict()
    tool = _trusted_tool(asked)
    try:
        fields = {"id_token": _launch(tool, asked)}
        log.info("[Lti] launched", tool=tool.client_id)
    except AuthorizeRefused as refusal:
        log.info("[Lti] refused", tool=tool.client_id, error=refusal.error, reason=refusal.why)
        fields = {"error": refusal.error, "error_description": refusal.why}
    if "state" in asked:
        fields["state"] = asked["state"]
    return post_form(asked["redirect_uri"], fields)


@blueprint.post(vocabulary.AUTHORIZE_PATH)
@public
def authorize_by_post() -> Response:
    """Lead a posted authentication request here by GET, which the session's cookie comes along with."""
    _trusted_tool(request.form)
    return redirect(f"{vocabulary.AUTHORIZE_PATH}?{urlencode(request.form.to_dict())}", 303)  # type: ignore[return-value]


@blueprint.get(vocabulary.JWKS_PATH)
@public
def key_set() -> Response:
    """Return the public keys that launches are signed with; the first call makes one."""
    with transaction() as session:
        _signing_key(session)
        keys = lti_keys.published(session)
    response = answer_json(LtiKeys(keys=keys))
    response.headers["Cache-Control"] = f"public, max-age={lti_keys.LEAD // 2}"
    return response


def post_form(url: str, fields: Mapping[str, str]) -> Response:
    """Return a page that posts a form to a tool by itself, or with a button where scripts do not run."""
    origin = ADDRESS.match(url)
    if origin is None:
        raise Problem("lti_redirect_uri_wrong")
    # Browsers hold the answer's redirects to this too, and publishers redirect from one of their hosts to another.
    g.form_action = f"{origin[1]} https:" if url.startswith("https:") else origin[1]
    response = make_response(render_template("lti_post.html", url=url, fields=fields))
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    return response


def _trusted_tool(asked: Mapping[str, str]) -> LtiTool:
    """Return the tool that asks; raise the problem where we cannot know it, and so must not answer it."""
    with transaction() as session:
        tool = lti.find_tool(session, asked.get("client_id", ""))
    if tool is None:
        raise Problem("lti_client_unknown")
    if asked.get("redirect_uri") not in tool.redirect_uris:
        raise Problem("lti_redirect_uri_wrong")
    return tool


def _launch(tool: LtiTool, asked: Mapping[str, str]) -> str:
    """Return the signed id_token; raise `AuthorizeRefused`, having changed nothing."""
    nonce = _check_request(asked)
    identity = find_identity()
    if identity is None:
        raise AuthorizeRefused("login_required", "nobody is signed in")
    found = open_hint(asked.get("lti_message_hint", ""), hint_secret())
    if found is None:
        raise AuthorizeRefused("invalid_request", "lti_message_hint is not ours, or too old")
    hint, issued_at = found
    if hint.tool_id != tool.id or hint.number != asked.get("login_hint"):
        raise AuthorizeRefused("invalid_request", "login_hint does not belong to lti_message_hint")
    with transaction() as session:
        make = _student_claims if hint.enrollment_id is not None else _staff_claims
        claims = make(session, tool, Asked(hint, issued_at, nonce, asked.get("state")), identity)
        key = _signing_key(session)
    return sign(said.finish(claims, nonce=nonce, now=int(time.time())), key.key, key.kid)


def _check_request(asked: Mapping[str, str]) -> str:
    """Return the nonce of a request that is made as Security 1.0, 5.1.1.2 wants it; raise `AuthorizeRefused`."""
    if asked.get("response_type") != "id_token":
        raise AuthorizeRefused("unsupported_response_type", "response_type must be id_token")
    if "openid" not in asked.get("scope", "").split():
        raise AuthorizeRefused("invalid_scope", "scope must be openid")
    for name, wanted in (("response_mode", "form_post"), ("prompt", "none")):
        if asked.get(name) != wanted:
            raise AuthorizeRefused("invalid_request", f"{name} must be {wanted}")
    nonce, state = asked.get("nonce", ""), asked.get("state", "")
    if not nonce or max(len(nonce), len(state)) > LONGEST or "\0" in nonce + state:
        raise AuthorizeRefused("invalid_request", f"nonce or state is missing, or over {LONGEST} characters")
    return nonce


def _student_claims(session: Session, tool: LtiTool, asked: Asked, identity: Identity) -> dict[str, Any]:
    """Return the claims of a student's launch, having used up the click and the nonce."""
    hint = asked.hint
    seat = lti_launches.find_seat(session, tool, hint.enrollment_id or "")
    if seat is None:
        raise AuthorizeRefused("access_denied", "the course cannot be opened now")
    if seat.student_id != identity.user_id:
        raise AuthorizeRefused("login_required", "somebody else is signed in")
    _use_up(session, tool, asked, seat)
    link = None if hint.link_id is None else lti_launches.find_link(session, tool, hint.link_id)
    line_item = None
    if vocabulary.SCORE in tool.scopes:
        line_item = lti_launches.line_item_for(session, tool, seat.course_id, seat.course_name, link)
    return said.resource_launch(
        _platform(),
        _receiver(tool),
        said.User(seat.sub, seat.name, seat.email),
        said.Context(seat.course_id, seat.course_code, seat.course_name),
        _link(seat, link),
        target=hint.target,
        return_url=hint.return_url,
        line_item_id=line_item,
    )


def _staff_claims(session: Session, tool: LtiTool, asked: Asked, identity: Identity) -> dict[str, Any]:
    """Return the claims of a deep linking request, having used up the click and the nonce."""
    hint = asked.hint
    if identity.role != "ops" or identity.subject != hint.actor:
        raise AuthorizeRefused("login_required", "somebody else is signed in")
    course = lti.find_course(session, tool, hint.course_id or "")
    if course is None:
        raise AuthorizeRefused("access_denied", "the course is gone")
    launch_id = _use_up(session, tool, asked, None)
    data = seal_choice(Choice(launch_id, tool.id, course.id, identity.subject), hint_secret())
    return said.deep_linking_request(
        _platform(),
        _receiver(tool),
        said.User(_staff_reference(identity), "Staff", None),
        said.Context(course.id, course.external_course_code or course.course_code, course.course_name),
        target=hint.target,
        return_url=hint.return_url,
        answer_url=f"{get_settings().app_url}{vocabulary.DEEP_LINKING_PATH}/{launch_id}",
        data=data,
    )


def _use_up(session: Session, tool: LtiTool, asked: Asked, seat: Seat | None) -> str:
    """Return the id of the launch that a click became; raise `AuthorizeRefused` for what was used before."""
    expires_at = asked.issued_at + timedelta(seconds=MAX_AGE + said.TOKEN_SECONDS)
    message = vocabulary.RESOURCE_LINK if seat is not None else vocabulary.DEEP_LINKING_REQUEST
    launch_id = lti_launches.take_up(
        session,
        tool.id,
        login_hint=asked.hint.number,
        nonce=asked.nonce,
        state=asked.state,
        message_type=message,
        issued_at=asked.issued_at,
        expires_at=expires_at,
        seat=seat,
    )
    if launch_id is None:
        raise AuthorizeRefused("invalid_request", "the launch was used before: start it again")
    # No hint lives longer, so after this nonce's end there is none that it could be used with again.
    if not lti_launches.spend(session, tool.id, "nonce", asked.nonce, expires_at):
        raise AuthorizeRefused("invalid_request", "the nonce was used before")
    return launch_id


def _signing_key(session: Session) -> lti_keys.SigningKey:
    try:
        return lti_keys.signing_key(session)
    except (NoKeys, NotOurs) as error:
        log.error("[Lti] no signing key", error=error.code, detail=str(error))
        raise Problem("lti_not_set_up") from None


def _platform() -> said.Platform:
    settings = get_settings()
    return said.Platform(settings.app_url, settings.certificate_issuer)


def _receiver(tool: LtiTool) -> said.Receiver:
    return said.Receiver(tool.client_id, tool.deployment_id, tool.custom, tool.scopes)


def _link(seat: Seat, link: LtiLink | None) -> said.Link:
    if link is None:
        return said.Link(seat.course_id, seat.course_name, {})
    return said.Link(link.id, link.title, link.custom)


def _staff_reference(identity: Identity) -> str:
    """Return our name for a member of staff at tools: constant, and no e-mail address."""
    return f"usher-staff-{hashlib.sha256(identity.subject.encode()).hexdigest()[:24]}"


def hint_secret() -> str:
    """Return what hints and choices are signed with."""
    return get_settings().auth_secret.get_secret_value()
