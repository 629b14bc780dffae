"""Our own LTI signing keys: made when first needed, sealed at rest, rotated so that tools know a key before it signs.

`retired_at` lies in the future for a key that is being replaced: until then it signs, and its successor is published
beside it. After it, the key stays published until everything that it signed is dead.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from joserfc.jwk import RSAKey
from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from domain.secrets import reseal, seal, unseal

ALGORITHM = "RS256"
BITS = 2048
# Seconds for which tools may keep our key set, so how long a new key is published before it signs.
LEAD = 600
# Seconds that a retired key stays published: longer than any token that it signed lives.
AFTERLIFE = 24 * 3600
# One process makes or rotates keys at a time.
LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('usher.lti_keys', 0))")

SIGNING = text(
    """
    SELECT kid, private_key_encrypted FROM lti_keys WHERE retired_at IS NULL OR retired_at > now()
    ORDER BY retired_at NULLS LAST, created_at LIMIT 1
    """
)
PUBLISHED = text(
    """
    SELECT public_jwk FROM lti_keys
    WHERE retired_at IS NULL OR retired_at > now() - :afterlife * interval '1 second' ORDER BY created_at DESC, kid
    """
)
LIST = text(
    """
    SELECT kid, created_at, retired_at, CASE WHEN retired_at <= now() THEN 'retired' WHEN retired_at IS NOT NULL
        THEN 'replaced soon' ELSE 'standing' END AS state FROM lti_keys ORDER BY created_at DESC, kid
    """
)
INSERT = text(
    """
    INSERT INTO lti_keys (kid, public_jwk, private_key_encrypted)
    VALUES (:kid, CAST(:public AS jsonb), :private)
    """
)
RETIRE = text(
    """
    UPDATE lti_keys SET retired_at = now() + :lead * interval '1 second'
    WHERE retired_at IS NULL OR retired_at > now() + :lead * interval '1 second'
    """
)
DROP = text("DELETE FROM lti_keys")


@dataclass(frozen=True)
class SigningKey:
    """The key that signs now."""

    kid: str
    key: RSAKey


def signing_key(session: Session) -> SigningKey:
    """Return the key that signs, made now if there is none; raise `secrets.NoKeys` or `secrets.NotOurs`."""
    row = session.execute(SIGNING).one_or_none()
    if row is None:
        session.execute(LOCK)
        row = session.execute(SIGNING).one_or_none() or _make(session)
    return SigningKey(row.kid, _open(row.private_key_encrypted))


def published(session: Session) -> list[dict[str, Any]]:
    """Return the public keys (JWK) that tools may meet, the newest first."""
    return list(session.scalars(PUBLISHED, {"afterlife": AFTERLIFE}))


def list_keys(session: Session) -> list[dict[str, Any]]:
    """Return every key with its state and times, the newest first."""
    return [dict(row) for row in session.execute(LIST).mappings()]


def rotate(session: Session, *, at_once: bool = False) -> str:
    """Make a new key and return its `kid`.

    It signs after `LEAD` seconds, when tools have had time to read it. `at_once`, for a key that became known: the new
    one signs now, and the others are forgotten, so tools refuse what they sign.
    """
    session.execute(LOCK)
    if at_once:
        session.execute(DROP)
    else:
        session.execute(RETIRE, {"lead": LEAD})
    return str(_make(session).kid)


def reseal_keys(session: Session) -> int:
    """Seal every private key with the newest of `CREDENTIALS_KEYS`; return how many."""
    rows = session.execute(text("SELECT kid, private_key_encrypted FROM lti_keys FOR UPDATE")).all()
    for row in rows:
        session.execute(
            text("UPDATE lti_keys SET private_key_encrypted = :sealed WHERE kid = :kid"),
            {"sealed": reseal(row.private_key_encrypted), "kid": row.kid},
        )
    return len(rows)


def _make(session: Session) -> Row[Any]:
    key = RSAKey.generate_key(BITS)
    kid = key.thumbprint()
    public = {**key.as_dict(private=False), "kid": kid, "use": "sig", "alg": ALGORITHM}
    values = {
        "kid": kid,
        "public": json.dumps(public),
        "private": seal(key.as_pem(private=True).decode()),
    }
    session.execute(INSERT, values)
    return session.execute(
        text("SELECT kid, private_key_encrypted FROM lti_keys WHERE kid = :kid"), {"kid": kid}
    ).one()


@lru_cache(maxsize=4)
def _open(sealed: str) -> RSAKey:
    return RSAKey.import_key(unseal(sealed))
