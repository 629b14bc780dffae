"""What tools sign: deep linking responses and client assertions, checked with the tool's published or given keys.

Keys are fetched as those of identity providers are (`api/sessions_keys.py`): kept, fetched again for an unknown key, and
that only a few times a minute. The tool's address is one that was registered, so it has to keep to the rules for
partners' addresses.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any
from urllib.parse import urlsplit

from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from api.sessions import Refused, check_times
from api.sessions_bearer import verify_signature
from api.sessions_keys import ASYMMETRIC, CONNECT_TIMEOUT, TIMEOUT, Key, KeyStore, PublicKey, pick, read_keys
from db.models import LtiTool
from partners.addresses import AddressRules
from partners.http import HttpDoor
from settings import get_settings

RSA = frozenset({"RS256", "RS384", "RS512"})


def read_tool_token(token: str, tool: LtiTool, now: float) -> dict[str, Any]:
    """Return the claims of a token that this tool signed, is good at `now` (seconds since 1970), and names the tool.

    The caller checks the audience and that it is not used twice. Raises `sessions.Refused` saying why it is not taken,
    `sessions.KeysUnavailable` where the tool's keys cannot be had. Do not call it inside a transaction: it may fetch.
    """
    claims = verify_signature(token, ASYMMETRIC, lambda kid, algorithm: _find_key(tool, kid, algorithm))
    check_times(claims, now)
    if claims.get("iss") != tool.client_id:
        raise Refused("issuer", "It was made by somebody else.", f"iss is not the client id {tool.client_id}")
    return claims


def audience_of(claims: dict[str, Any]) -> list[Any]:
    """Return whom a token is meant for, as a list."""
    told = claims.get("aud")
    return told if isinstance(told, list) else [told]


def address_rules() -> AddressRules:
    """Return where tools may be."""
    settings = get_settings()
    return AddressRules(tuple(settings.partner_hosts), settings.partner_private_addresses)


def _find_key(tool: LtiTool, kid: str | None, algorithm: str) -> PublicKey:
    if tool.jwks_url is not None:
        try:
            return _keys_at(tool.jwks_url, address_rules()).find(kid, algorithm)
        except Refused:
            raise Refused("unknown_key", "It was signed with a key that the tool does not publish.") from None
    keys = read_keys(tool.public_jwks) if tool.public_jwks is not None else _from_pem(tool.public_key)
    # A key that was given as PEM has no name.
    found = pick(keys, kid if tool.public_jwks is not None else None, algorithm)
    if found is None:
        raise Refused("unknown_key", "It was signed with a key that is not registered for the tool.")
    return found


def _from_pem(pem: str | None) -> tuple[Key, ...]:
    if pem is None:
        return ()
    try:
        return (Key(None, RSA, RSAKey.import_key(pem)),)
    except (JoseError, ValueError):
        return ()


@lru_cache(maxsize=256)
def _keys_at(url: str, rules: AddressRules) -> KeyStore:
    return KeyStore(url, partial(_fetch, rules=rules))


def _fetch(url: str, *, rules: AddressRules) -> Any:
    """Return what the tool answers; raise a `PartnerError`."""
    parts = urlsplit(url)
    door = HttpDoor(
        "lti tool",
        f"{parts.scheme}://{parts.netloc}",
        connect_timeout=CONNECT_TIMEOUT,
        timeout=TIMEOUT,
        rules=rules,
    )
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return door.call("GET", path, idempotent=True).json
