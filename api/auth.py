"""Who is calling, and who may call what. Every view says so with one of the marks below; an unmarked view is refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from flask import Blueprint, Response, current_app, g, redirect, request

from api.errors import Problem, is_outage
from api.limits import charge
from api.sessions import KeysUnavailable, Refused
from api.sessions_bearer import looks_like_token, read_bearer
from api.sessions_browser import check_same_site
from api.sessions_cookies import read_session
from db.group_commit import GroupCommit
from db.session import transaction
from domain import identities, tokens
from domain.identities import Person
from domain.tokens import Identity
from settings import get_settings

COOKIE = "usher_session"
MARK = "usher_access"
CHALLENGE = 'Bearer realm="usher"'
# Seconds after which the identity provider may answer again.
PROVIDER_RETRY_AFTER = "10"
UNCONFIRMED = "Nothing confirms the e-mail address of this account, so it cannot be matched with a student."
HOME = {"student": "/dashboard", "ops": "/ops", "service": "/docs"}

View = TypeVar("View", bound=Callable[..., Any])
log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)
blueprint = Blueprint("auth", __name__)


@dataclass(frozen=True)
class Access:
    """Who may call a view: everybody, these roles, or whoever is a student of their own."""

    public: bool = False
    roles: frozenset[str] = frozenset()
    user: bool = False


def _mark(view: View, access: Access) -> View:
    setattr(view, MARK, access)
    return view


def public(view: View) -> View:
    """Let everybody call this view."""
    return _mark(view, Access(public=True))


def requires(*roles: str) -> Callable[[View], View]:
    """Let only these roles call the view."""
    return lambda view: _mark(view, Access(roles=frozenset(roles)))


def requires_user(view: View) -> View:
    """Let anybody call the view who has a user row: they reach their own rows through it, whatever their role."""
    return _mark(view, Access(user=True))


def access_of(view: Callable[..., Any]) -> Access | None:
    """Return a view's mark, None where it has none."""
    mark = getattr(view, MARK, None)
    return mark if isinstance(mark, Access) else None


def guard() -> None:
    """Stop a request that its view's mark does not allow. Runs before every view."""
    if request.endpoint is None:
        return charge(None)  # There is no such route; the router answers.
    access = access_of(current_app.view_functions[request.endpoint])
    if access is None:
        raise RuntimeError(f"the view {request.endpoint} is not marked")
    if access.public:
        return charge(None)
    try:
        g.identity = _identify()
    except Problem:
        charge(None)
        raise
    charge(g.identity)
    return _check(g.identity, access)


def current_identity() -> Identity:
    """Return who is calling. Only for views that are not public."""
    identity: Identity = g.identity
    return identity


def current_user_id() -> str:
    """Return the caller's own user id. Only for views marked `requires_user`."""
    user_id = current_identity().user_id
    if user_id is None:
        raise RuntimeError("the view is not marked with requires_user")
    return user_id


def find_identity() -> Identity | None:
    """Return who is calling a public view, None for a stranger."""
    try:
        return _identify()
    except Problem:
        return None


def is_still(identity: Identity) -> bool:
    """Say whether this request would still be let in as the same person; for answers that take minutes."""
    return find_identity() == identity


@blueprint.get("/dev/sign-in")
@public
def dev_sign_in() -> Response:
    """Turn a signed link into a session cookie, where the settings allow it."""
    if not get_settings().dev_sign_in:
        raise Problem("not_found")
    identity = tokens.open_dev_token(request.args.get("token", ""))
    if identity is None:
        raise Problem("sign_in_link_invalid")
    response = current_app.make_response(redirect(HOME[identity.role], 303))
    response.headers["Referrer-Policy"] = "no-referrer"
    _set_cookie(response, identity)
    return response


def _check(identity: Identity, access: Access) -> None:
    if access.user and identity.user_id is None:
        raise Problem("no_student", g.get("no_user"))
    if access.roles and identity.role not in access.roles:
        raise Problem("wrong_role", f"This is for {' or '.join(sorted(access.roles))} accounts.")


def _identify() -> Identity:
    header = request.authorization
    try:
        if header is not None and header.type == "bearer":
            identity = _from_token(header.token or "")
        else:
            identity = _from_cookie()
    except Refused as error:
        log.info("[Auth] refused", reason=error.reason)
        raise _refuse(error.detail) from None
    except KeysUnavailable:
        headers = {"Retry-After": PROVIDER_RETRY_AFTER}
        raise Problem("identity_provider_unavailable", headers=headers) from None
    if identity is None:
        raise _refuse()
    return identity


def _refuse(detail: str | None = None) -> Problem:
    """Return the 401; with a detail it is about a session or token that was sent, as RFC 6750 tells them apart."""
    challenge = CHALLENGE if detail is None else f'{CHALLENGE}, error="invalid_token"'
    said = None if detail is None else f"The session or token is not accepted. {detail}"
    return Problem("not_signed_in", said, headers={"WWW-Authenticate": challenge})


def _from_token(plain: str) -> Identity | None:
    if looks_like_token(plain):
        return _sign_in(read_bearer(plain, get_settings(), time.time()))
    return _find_token(plain)


# Tokens that come at the same moment are looked up together. A look-up begins after its request came, so that a token
# is worthless from the moment on in which it was revoked.
_find_token: GroupCommit[str, Identity | None] = GroupCommit(tokens.find_all, concerns_all=is_outage)


def _from_cookie() -> Identity | None:
    identity = _from_dev_session() or _from_session()
    if identity is not None:
        check_same_site()
    return identity


def _from_dev_session() -> Identity | None:
    value = request.cookies.get(COOKIE)
    return None if value is None or not get_settings().dev_sign_in else tokens.open_session(value)


def _from_session() -> Identity | None:
    settings = get_settings()
    secrets, claim = settings.session_secrets(), settings.auth_role_claim
    person = read_session(request.cookies, secrets, time.time(), claim)
    return None if person is None else _sign_in(person)


def _sign_in(person: Person) -> Identity:
    """Return the caller that the person is. Without a confirmed address there may be no user, which views may mind."""
    with transaction() as session:
        user_id = identities.sign_in(session, person)
    if user_id is None:
        g.no_user = UNCONFIRMED
    return Identity(person.role, user_id, identities.verified_email(person) or person.subject)


def _set_cookie(response: Response, identity: Identity) -> None:
    response.set_cookie(
        COOKIE,
        tokens.seal_session(identity),
        max_age=tokens.SESSION_MAX_AGE,
        httponly=True,
        samesite="Lax",
        secure=get_settings().app_url.startswith("https://"),
    )
