"""API tokens, development sign-in links and their session cookies: who somebody is, proven by something they hold."""

from __future__ import annotations

import hashlib
import secrets
import string
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlencode

from itsdangerous import BadData, URLSafeTimedSerializer
from sqlalchemy import Row, select, text
from sqlalchemy.orm import Session

from db import lean
from db.lean import Statement
from db.models import ApiToken
from db.models.access import ROLES
from settings import get_settings

PREFIX = "usher_"
ALPHABET = string.ascii_letters + string.digits
# Characters of base 62: 256 bits.
RANDOM_LENGTH = 43

LINK_SALT = "usher.dev-sign-in"
SESSION_SALT = "usher.session"
# Seconds.
LINK_MAX_AGE = 7 * 24 * 3600
SESSION_MAX_AGE = 12 * 3600

MINT = text(
    """
    INSERT INTO api_tokens (token_hash, role, subject, expires_at)
    VALUES (:hash, :role, :subject, now() + make_interval(days => CAST(:days AS integer)))
    RETURNING id
    """
)
# Their use is noted once a minute. Whoever holds the row of one of them notes it already, or revokes it.
FIND = Statement(
    "find_tokens",
    """
    WITH found AS MATERIALIZED (
        SELECT t.id, t.token_hash, t.role, t.subject, u.id AS user_id, t.last_used_at
        FROM api_tokens t LEFT JOIN users u ON lower(u.email) = lower(t.subject)
        WHERE t.token_hash = ANY({hashes}) AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now())
    ), touched AS (
        UPDATE api_tokens SET last_used_at = now() WHERE id IN (
            SELECT t.id FROM api_tokens t JOIN found ON found.id = t.id
            WHERE found.last_used_at IS NULL OR found.last_used_at < now() - interval '1 minute'
            FOR NO KEY UPDATE OF t SKIP LOCKED
        )
    )
    SELECT token_hash, role, subject, user_id FROM found
    """,
    hashes="text[]",
)
EXAMINE = text(
    """
    SELECT t.id, t.role, t.subject, u.id AS user_id, t.revoked_at, t.expires_at,
        t.expires_at IS NOT NULL AND t.expires_at <= now() AS expired
    FROM api_tokens t LEFT JOIN users u ON lower(u.email) = lower(t.subject) WHERE t.token_hash = :hash
    """
)
REVOKE = text("UPDATE api_tokens SET revoked_at = now() WHERE id = :id AND revoked_at IS NULL RETURNING id")


@dataclass(frozen=True)
class Identity:
    """Who is calling. `user_id` is the person's own row, whatever the role; None for somebody without one."""

    role: str
    user_id: str | None
    subject: str


def mint(session: Session, role: str, subject: str, days: int | None = None) -> tuple[str, str]:
    """Make a token that lives `days` days, None for ever; return its text, which is shown only now, and its row's id."""
    if role not in ROLES:
        raise ValueError(f"the role must be one of {', '.join(ROLES)}")
    random = "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH))
    values = {"hash": _hash(random), "role": role, "subject": subject.strip(), "days": days}
    return PREFIX + random, str(session.execute(MINT, values).scalar_one())


def find_all(plains: Sequence[str]) -> list[Identity | None]:
    """Return whose tokens these are, None for each that is unknown, expired or revoked. Notes their use once a minute.

    A transaction of its own; raises `psycopg2.Error`.
    """
    hashes = [_hash(plain.removeprefix(PREFIX)) if plain.startswith(PREFIX) else None for plain in plains]
    rows = lean.run(FIND, {"hashes": hashes})
    found = {hash: Identity(role, user_id, subject) for hash, role, subject, user_id in rows}
    return [found.get(hash) if hash else None for hash in hashes]


def examine(session: Session, plain: str) -> Row[Any] | None:
    """Return what is stored of a token, good or not, None where nothing is. Does not count as a use."""
    return session.execute(EXAMINE, {"hash": _hash(plain.removeprefix(PREFIX))}).one_or_none()


def list_tokens(session: Session, limit: int = 100) -> Sequence[ApiToken]:
    """Return the newest tokens, revoked and expired ones included."""
    return session.scalars(select(ApiToken).order_by(ApiToken.created_at.desc()).limit(limit)).all()


def revoke(session: Session, token_id: str) -> bool:
    """Make a token worthless from now on; False where there is none, or it was revoked before."""
    return session.execute(REVOKE, {"id": token_id}).one_or_none() is not None


def make_dev_link(role: str, subject: str, user_id: str | None = None) -> str:
    """Return an address that signs a browser in as this person, for a week. For development only."""
    if role not in ROLES:
        raise ValueError(f"the role must be one of {', '.join(ROLES)}")
    token = _serializer(LINK_SALT).dumps(asdict(Identity(role, user_id, subject)))
    return f"{get_settings().app_url}/dev/sign-in?{urlencode({'token': token})}"


def open_dev_token(token: str) -> Identity | None:
    """Return whom a link signs in, None where it is not ours or too old."""
    return _open(token, LINK_SALT, LINK_MAX_AGE)


def seal_session(identity: Identity) -> str:
    """Return the value of a session cookie for this person."""
    return str(_serializer(SESSION_SALT).dumps(asdict(identity)))


def open_session(value: str) -> Identity | None:
    """Return whose session cookie this is, None where it is not ours or too old."""
    return _open(value, SESSION_SALT, SESSION_MAX_AGE)


def _open(sealed: str, salt: str, max_age: int) -> Identity | None:
    try:
        return Identity(**_serializer(salt).loads(sealed, max_age=max_age))
    except (BadData, TypeError):
        return None


def _serializer(salt: str) -> URLSafeTimedSerializer:
    secret = get_settings().auth_secret.get_secret_value()
    return URLSafeTimedSerializer(secret, salt=salt, signer_kwargs={"digest_method": hashlib.sha256})


def _hash(random: str) -> str:
    # The random part has 256 bits, so nothing slower than one SHA-256 is needed.
    return hashlib.sha256(random.encode()).hexdigest()
