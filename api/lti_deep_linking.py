"""Takes what staff chose at a tool (Deep Linking 2.0).

The tool's page posts it here from another site, so no session comes with it: it stands by the tool's signature, and by
what was signed by us and has to be echoed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from flask import Blueprint, Response, make_response, render_template, request
from pydantic import BaseModel
from sqlalchemy.orm import Session

import api.lti_problems  # noqa: F401 - registers the codes
from api.auth import public
from api.errors import Problem
from api.lti import LONGEST, hint_secret
from api.lti_tokens import audience_of, read_tool_token
from api.sessions import KeysUnavailable, Refused, read_part
from db.models import LtiTool
from db.session import transaction
from domain import lti, lti_launches, lti_links, staff
from partners.lti import vocabulary
from partners.lti.content_items import Chosen, read_items
from partners.lti.hints import Choice, open_choice
from settings import get_settings

# Bytes of a deep linking response, which may list many items.
MAX_RESPONSE = 512 * 1024

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)
blueprint = Blueprint("lti_deep_linking", __name__)


class DeepLinkingForm(BaseModel):
    """A deep linking response (Deep Linking 2.0), signed by the tool."""

    JWT: str


@blueprint.post(f"{vocabulary.DEEP_LINKING_PATH}/<launch_id>")
@public
def take_choice(launch_id: str) -> Response:
    """Take a deep linking response: store what was chosen as links of the course, once."""
    request.max_content_length = request.max_form_memory_size = MAX_RESPONSE
    token = request.form.get("JWT", "")
    tool, claims = _read_response(token)
    choice = _read_choice(claims, tool, launch_id)
    with transaction() as session:
        chosen = _store(session, tool, claims, choice)
    log.info(
        "[Lti] content chosen", tool=tool.client_id, links=len(chosen.items), left_out=len(chosen.rejected)
    )
    return make_response(render_template("lti_links.html", chosen=chosen))


def _read_response(token: str) -> tuple[LtiTool, dict[str, Any]]:
    """Return the tool that signed a deep linking response, and what it says; raise the problem otherwise."""
    try:
        issuer = _unproven_issuer(token)
        with transaction() as session:
            tool = lti.find_tool(session, issuer)
        if tool is None:
            raise Refused("issuer", "It was made by a tool that is not registered.")
        return tool, read_tool_token(token, tool, time.time())
    except Refused as refusal:
        log.warning("[Lti] response refused", reason=refusal.reason, fix=refusal.fix)
        raise Problem("lti_response_invalid", refusal.detail) from None
    except KeysUnavailable:
        raise Problem("lti_unavailable", headers={"Retry-After": "10"}) from None


def _unproven_issuer(token: str) -> str:
    parts = token.split(".")
    issuer = read_part(parts[1]).get("iss") if len(parts) == 3 else None
    if not isinstance(issuer, str):
        raise Refused("malformed", "It is not a signed token.")
    return issuer


def _read_choice(claims: Mapping[str, Any], tool: LtiTool, launch_id: str) -> Choice:
    """Return what the response answers; raise the problem where it is not a good answer to a request of ours."""
    data = claims.get(f"{vocabulary.DEEP_LINKING}data")
    choice = open_choice(data, hint_secret()) if isinstance(data, str) else None
    wrong = {
        "aud is not our issuer": get_settings().app_url not in audience_of(dict(claims)),
        "it is no LtiDeepLinkingResponse": claims.get(f"{vocabulary.CLAIM}message_type")
        != vocabulary.DEEP_LINKING_RESPONSE,
        "its version is not 1.3.0": claims.get(f"{vocabulary.CLAIM}version") != vocabulary.VERSION,
        "its deployment_id is another one": claims.get(f"{vocabulary.CLAIM}deployment_id")
        != tool.deployment_id,
        "it has neither nonce nor jti": not (_text(claims, "nonce") or _text(claims, "jti")),
        "data is not what was sent with the request": choice is None
        or (choice.launch_id, choice.tool_id) != (launch_id, tool.id),
    }
    for reason, holds in wrong.items():
        if holds:
            raise Problem("lti_response_invalid", f"The tool's answer is not taken: {reason}.")
    assert choice is not None  # noqa: S101 - refused above
    return choice


def _store(session: Session, tool: LtiTool, claims: Mapping[str, Any], choice: Choice) -> Chosen:
    """Store what was chosen and who began it; raise the problem for an answer that was used before."""
    kept = datetime.now(UTC) + timedelta(days=1)
    spent = [("deep-link", choice.launch_id)]
    spent += [(name, value) for name in ("nonce", "jti") if (value := _text(claims, name))]
    if not all(lti_launches.spend(session, tool.id, kind, value, kept) for kind, value in spent):
        raise Problem("lti_response_invalid", "The tool's answer was used before.")
    course = lti.find_course(session, tool, choice.course_id)
    if course is None:
        raise Problem("lti_tool_not_found")
    chosen = read_items(claims, course.course_name)
    links = lti_links.store(session, tool, course.id, chosen.items)
    for link in links:
        if link.line_item is not None:
            lti_launches.line_item_for(session, tool, course.id, course.course_name, link)
    staff.record(
        session,
        actor=choice.actor,
        action="lti.link",
        subject=("partner_course", course.id),
        reason=None,
        detail={"tool": tool.client_id, "links": [link.id for link in links]},
    )
    return chosen


def _text(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name)
    return value if isinstance(value, str) and 0 < len(value) <= LONGEST and "\0" not in value else None
