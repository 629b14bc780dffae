"""Checks the bearer tokens of an identity provider: Supabase, Better Auth, Clerk, Auth0, whoever publishes a JWK set.

Which algorithms are taken is decided by the settings, never by the token. Supabase's legacy shared secret is a mode of
its own, which the settings refuse together with a JWK set.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import OctKey

from api.sessions import Claims, Refused, check_times, make_person, read_header, read_part
from api.sessions_keys import ASYMMETRIC, PublicKey, keys_at
from domain.identities import Person
from settings import Settings

PARTS = 3
HS256 = frozenset({"HS256"})
# The audience and, in its oldest projects, the issuer of Supabase's tokens.
SUPABASE_AUDIENCE, SUPABASE_ISSUER = "authenticated", "supabase"
# How the issuers of Supabase end, the only ones whose `user_metadata` is looked at.
SUPABASE_PATH = "/auth/v1"

Verifier = PublicKey | OctKey

# Better Auth signs with it by default. RFC 9864 prefers the name Ed25519 for the same thing, and the library says so.
warnings.filterwarnings("ignore", "EdDSA is deprecated", SecurityWarning)


def looks_like_token(value: str) -> bool:
    """Say whether this has the form of a signed token."""
    return value.count(".") + 1 == PARTS


def read_bearer(token: str, settings: Settings, now: float) -> Person:
    """Return whom the token stands for.

    Raises `Refused` saying why it stands for nobody, `KeysUnavailable` where the provider cannot be asked.
    """
    if settings.auth_jwks_url is not None:
        claims = verify_signature(token, ASYMMETRIC, keys_at(settings.auth_jwks_url).find)
        issuer, audience = settings.auth_issuer, settings.auth_audience
    elif settings.supabase_jwt_secret is not None:
        secret = settings.supabase_jwt_secret.get_secret_value()
        claims = verify_signature(token, HS256, lambda _kid, _algorithm: OctKey.import_key(secret))
        issuer = settings.auth_issuer or _text(claims.get("iss")) or SUPABASE_ISSUER
        audience = settings.auth_audience or SUPABASE_AUDIENCE
    else:
        raise Refused(
            "not_configured",
            "Tokens of an identity provider are not taken here.",
            "set AUTH_JWKS_URL and AUTH_ISSUER; for Supabase's legacy secret SUPABASE_JWT_SECRET",
        )
    check_times(claims, now)
    _check_issuer(claims, issuer or "")
    _check_audience(claims, audience)
    verified = vouches_for_email(claims)
    return make_person(claims, issuer or "", verified=verified, role_claim=settings.auth_role_claim)


def vouches_for_email(claims: Claims) -> bool:
    """Say whether the provider says that the address is the person's own.

    Supabase says so in `user_metadata`, of one address. People can write there, but only with "Confirm email" switched
    off do they come so far without having confirmed it.
    """
    if claims.get("email_verified") is True or claims.get("emailVerified") is True:
        return True
    told = claims.get("user_metadata")
    if not isinstance(told, dict) or not str(claims.get("iss")).endswith(SUPABASE_PATH):
        return False
    return told.get("email_verified") is True and told.get("email") == claims.get("email")


def verify_signature(
    token: str, algorithms: frozenset[str], find: Callable[[str | None, str], Verifier]
) -> dict[str, Any]:
    """Return the claims of a token whose signature fits the key that `find` has for (kid, algorithm); raise `Refused`."""
    header = read_header(token)
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise Refused(
            "algorithm",
            "It is signed in a way that is not taken here.",
            f"alg is {algorithm!r}; the settings allow {', '.join(sorted(algorithms))}",
        )
    if "crit" in header:  # No provider asks for extensions, and we know none.
        raise Refused("malformed", "It asks for an extension that is not known here.")
    key = find(kid if isinstance(kid, str) else None, algorithm)
    try:
        jws.deserialize_compact(token, key, algorithms=[algorithm])
    except (JoseError, ValueError) as error:
        raise Refused(
            "signature",
            "Its signature does not fit.",
            f"it was changed, or signed with another key ({type(error).__name__})",
        ) from None
    return read_part(token.split(".")[1])


def _check_issuer(claims: Claims, wanted: str) -> None:
    found = claims.get("iss", SUPABASE_ISSUER if wanted == SUPABASE_ISSUER else None)
    if found != wanted:
        raise Refused(
            "issuer",
            "It was made by an issuer that is not ours.",
            f"iss is {found!r}, AUTH_ISSUER {wanted!r}",
        )


def _check_audience(claims: Claims, wanted: str | None) -> None:
    """Refuse a token that is meant for somebody else. Clerk's name no audience; then none must be set."""
    told = claims.get("aud")
    found = told if isinstance(told, list) else [] if told is None else [told]
    if wanted in found if wanted is not None else not found:
        return
    raise Refused(
        "audience",
        "It is meant for somebody else.",
        f"aud is {told!r}, AUTH_AUDIENCE {wanted or 'not set'!r}",
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
