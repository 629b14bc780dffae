"""Says as precisely as can be why a token or session cookie is refused; for `usher doctor --token`, never over HTTP."""

from __future__ import annotations

import re
from dataclasses import dataclass

from api.sessions import Refused
from api.sessions_bearer import looks_like_token, read_bearer
from api.sessions_cookies import FAMILIES, PARTS, Family, open_cookie, read_session
from db.session import transaction
from domain import identities, tokens, users
from domain.identities import Person
from settings import Settings

COOKIE_HEADER = re.compile(r"(?:__Secure-)?(?:next-auth|authjs)\.session-token(?:\.[0-9]+)?=")
# Reasons that a cookie of another name or secret has; the one that says the most about the token comes first.
LEAST_TELLING = ("tampered", "wrong_secret", "malformed", "algorithm")


@dataclass(frozen=True)
class Verdict:
    """Whether the api accepts it, as whom or why not, and what to do. A fix beside acceptance is a warning."""

    accepted: bool
    detail: str
    fix: str = ""


def explain(given: str, settings: Settings, now: float) -> Verdict:
    """Return what the api would say to this token; raise `KeysUnavailable` where the provider cannot be asked."""
    value = re.sub(r"^\s*(authorization:|cookie:)?\s*(bearer\s)?\s*", "", given, flags=re.IGNORECASE).strip()
    try:
        if value.startswith(tokens.PREFIX) and "." not in value:
            return _explain_api_token(value)
        if COOKIE_HEADER.search(value):
            return _explain_person(_open_header(value, settings, now), "The session cookie")
        if value.count(".") + 1 == PARTS:
            return _explain_cookie(value, settings, now)
        return _explain_dev_session(value, settings) or _explain_jwt(value, settings, now)
    except Refused as error:
        return Verdict(False, error.detail, error.fix)


def _explain_api_token(plain: str) -> Verdict:
    length = len(plain) - len(tokens.PREFIX)
    if length != tokens.RANDOM_LENGTH:
        return Verdict(
            False,
            f"It is not whole: {tokens.RANDOM_LENGTH} characters follow {tokens.PREFIX}, here {length}.",
            "copy it again, or mint another",
        )
    with transaction() as session:
        row = tokens.examine(session, plain)
    if row is None:
        return Verdict(
            False,
            "This database knows no such API token.",
            "check DATABASE_URL; `usher token list` shows all",
        )
    if row.revoked_at is not None:
        return Verdict(False, f"API token {row.id} was revoked at {row.revoked_at:%Y-%m-%d %H:%M} UTC.", MINT)
    if row.expired:
        return Verdict(False, f"API token {row.id} expired at {row.expires_at:%Y-%m-%d %H:%M} UTC.", MINT)
    return _accepted(f"API token {row.id}", row.role, row.user_id, NO_USER.format(email=row.subject))


def _explain_dev_session(value: str, settings: Settings) -> Verdict | None:
    """Return the verdict on a development session, None for what is none."""
    identity = tokens.open_session(value)
    if identity is None:
        return None
    if not settings.dev_sign_in:
        return Verdict(False, "It is a development session, and those are off.", "DEV_SIGN_IN is not true")
    return _accepted("The development session", identity.role, identity.user_id, "the link named no user")


def _explain_jwt(value: str, settings: Settings, now: float) -> Verdict:
    if not looks_like_token(value):
        kinds = "an API token (usher_...), a JWT (three parts) or an encrypted session cookie (five parts)"
        fix = 'a session kept in a database cannot be read here: set session.strategy to "jwt"'
        return Verdict(False, f"It is neither {kinds}.", fix)
    return _explain_person(read_bearer(value, settings, now), "The bearer token")


def _explain_cookie(value: str, settings: Settings, now: float) -> Verdict:
    """Try a cookie's value under each name that it may have had."""
    refusals: list[tuple[Family, Refused]] = []
    for family in FAMILIES:
        try:
            person = open_cookie(family, value, settings.session_secrets(), now, settings.auth_role_claim)
        except Refused as error:
            refusals.append((family, error))
        else:
            return _explain_person(person, f"The cookie {family.name}")
    family, refusal = min(refusals, key=_tells_least)
    if refusal.reason in LEAST_TELLING:
        return Verdict(False, refusal.detail, refusal.fix)
    return Verdict(False, f"As the cookie {family.name}: {refusal.detail}", refusal.fix)


def _tells_least(item: tuple[Family, Refused]) -> int:
    reason = item[1].reason
    return LEAST_TELLING.index(reason) if reason in LEAST_TELLING else -1


def _open_header(value: str, settings: Settings, now: float) -> Person:
    pairs = (pair.strip().partition("=") for pair in value.split(";"))
    cookies = {name: content for name, _, content in pairs}
    person = read_session(cookies, settings.session_secrets(), now, settings.auth_role_claim)
    if person is None:
        raise Refused("malformed", "There is no session cookie in it.")
    return person


def _explain_person(person: Person, what: str) -> Verdict:
    """Say which user a proven session stands for, without linking anything."""
    email = identities.verified_email(person)
    with transaction() as session:
        user_id = identities.find_user(session, person)
        if user_id is None and email is not None:
            user = users.find_by_email(session, email)
            user_id = "a new one, made at the first request" if user is None else user.id
    return _accepted(what, person.role, user_id, UNCONFIRMED)


def _accepted(what: str, role: str, user_id: str | None, without_user: str) -> Verdict:
    stands_for = f"is accepted: role {role}, user {user_id or 'none'}"
    return Verdict(True, f"{what} {stands_for}.", "" if user_id or role != "student" else without_user)


MINT = "`usher token mint` makes another"
NO_USER = "no user has the address {email}: PUT /api/users/ID or `usher users import` makes one"
UNCONFIRMED = "it reaches no student's rows: it names no address that its issuer confirms (email with email_verified: true)"
