"""What a tool's own server may do here: its short-lived access tokens (LTI Security 1.0, 4)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from itsdangerous import BadData, URLSafeTimedSerializer
from sqlalchemy.orm import Session

from db.models import LtiTool
from settings import get_settings

# Seconds that an access token is good for.
TOKEN_MAX_AGE = 3600
SALT = "usher.lti.access"


def grant(tool: LtiTool, asked: str) -> list[str]:
    """Return which of the scopes in a text, separated by spaces, the tool may have: those it was registered with."""
    return [scope for scope in dict.fromkeys(asked.split()) if scope in tool.scopes]


def seal(tool: LtiTool, scopes: Sequence[str]) -> str:
    """Return an access token for these scopes. It opens nothing but this tool's services."""
    return str(_serializer().dumps([tool.id, list(scopes)]))


def open_token(session: Session, token: str) -> tuple[LtiTool, frozenset[str]] | None:
    """Return whose access token this is, and its scopes; None for one that is not ours or too old.

    A tool that was switched off, or has lost a scope since, has lost it in its tokens as well.
    """
    try:
        tool_id, scopes = _serializer().loads(token, max_age=TOKEN_MAX_AGE)
    except BadData:
        return None
    tool = session.get(LtiTool, tool_id)
    if tool is None or not tool.active:
        return None
    return tool, frozenset(scopes) & frozenset(tool.scopes)


def _serializer() -> URLSafeTimedSerializer:
    secret = get_settings().auth_secret.get_secret_value()
    return URLSafeTimedSerializer(secret, salt=SALT, signer_kwargs={"digest_method": hashlib.sha256})
