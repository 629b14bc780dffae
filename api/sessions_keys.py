"""The public keys of the identity provider: fetched once, kept, and fetched again when a key is unknown.

Tokens with invented key ids must not turn us into a flood on the provider, so only a few of them make us look.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key

from api.limits import Bucket
from api.sessions import KeysUnavailable, Refused
from partners.errors import PartnerError
from partners.http import HttpDoor

# Seconds that keys are believed without asking, and how much longer while the provider does not answer.
FRESH, STALE = 600.0, 3600.0
# Seconds after a failure before the provider is asked again.
PAUSE = 10.0
# Looks for an unknown key: this many at once, then one in as many seconds.
LOOKS, LOOK_EVERY = 3, 30.0
CONNECT_TIMEOUT, TIMEOUT = 2.0, 4.0
# Which algorithms a kind of key is good for. None of them works with a secret: whoever knows a public key must not
# be able to sign with it.
ALGORITHMS = {
    "RSA": frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
    "P-256": frozenset({"ES256"}),
    "P-384": frozenset({"ES384"}),
    "P-521": frozenset({"ES512"}),
    "Ed25519": frozenset({"EdDSA", "Ed25519"}),
}
ASYMMETRIC = frozenset().union(*ALGORITHMS.values())

PublicKey = RSAKey | ECKey | OKPKey
log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Key:
    """One published key and what it may be used for."""

    kid: str | None
    algorithms: frozenset[str]
    key: PublicKey


@dataclass(frozen=True)
class Fetched:
    """The keys as they were at a time of the monotonic clock."""

    at: float
    keys: tuple[Key, ...]


def fetch(url: str) -> Any:
    """Return what the provider answers; raise a `PartnerError` where it does not answer properly, or not in time."""
    parts = urlsplit(url)
    door = HttpDoor(
        "identity provider",
        f"{parts.scheme}://{parts.netloc}",
        connect_timeout=CONNECT_TIMEOUT,
        timeout=TIMEOUT,
    )
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return door.call("GET", path, idempotent=True).json


class KeyStore:
    """The keys of one address. Threads share it; one of them fetches while the others use what there is."""

    def __init__(
        self,
        url: str,
        fetch: Callable[[str], Any] = fetch,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url, self._fetch, self._clock = url, fetch, clock
        self._lock = threading.Lock()
        self._fetched: Fetched | None = None
        self._failed_at: float | None = None
        self._looks = Bucket(LOOKS, 1 / LOOK_EVERY, clock())

    def find(self, kid: str | None, algorithm: str) -> PublicKey:
        """Return the key for a token; raise `Refused` where there is none, `KeysUnavailable` where nobody can say."""
        fetched = self._current()
        found = pick(fetched.keys, kid, algorithm)
        if found is None:
            found = pick(self._look_again(fetched).keys, kid, algorithm)
        if found is None:
            raise Refused(
                "unknown_key",
                "It was signed with a key that the identity provider does not publish.",
                f"kid {kid!r} for {algorithm} is not at AUTH_JWKS_URL ({self._names()})",
            )
        return found

    def _current(self) -> Fetched:
        """Return keys that are fresh; older ones while another thread fetches, or while the provider is away."""
        fetched = self._fetched
        if fetched is not None and self._clock() - fetched.at < FRESH:
            return fetched
        if not self._lock.acquire(blocking=fetched is None):
            return self._usable()  # Only who has none waits.
        try:
            if self._fetched is fetched and not self._pausing():
                self._refresh()
        finally:
            self._lock.release()
        return self._usable()

    def _look_again(self, seen: Fetched) -> Fetched:
        """Return newer keys than those seen, where there are any and it is not too soon to ask for them."""
        with self._lock:
            if self._fetched is seen and not self._pausing() and self._looks.take(self._clock()) == 0:
                self._refresh()
        return self._usable()

    def _refresh(self) -> None:
        try:
            keys = read_keys(self._fetch(self._url))
        except PartnerError as error:
            self._failed_at = self._clock()
            log.warning("[Auth] keys not fetched", error=error.code, status=error.status)
        else:
            self._fetched, self._failed_at = Fetched(self._clock(), keys), None

    def _pausing(self) -> bool:
        return self._failed_at is not None and self._clock() - self._failed_at < PAUSE

    def _usable(self) -> Fetched:
        fetched = self._fetched
        if fetched is None or self._clock() - fetched.at > FRESH + STALE:
            raise KeysUnavailable
        return fetched

    def _names(self) -> str:
        return ", ".join(repr(key.kid) for key in self._usable().keys) or "which has no usable key"


def read_keys(answer: Any) -> tuple[Key, ...]:
    """Return the public signing keys of a JWK set. Secrets, keys for encryption and unknown kinds are left out."""
    listed = answer.get("keys") if isinstance(answer, dict) else None
    found = [_read_key(item) for item in listed] if isinstance(listed, list) else []
    return tuple(key for key in found if key is not None)


def pick(keys: tuple[Key, ...], kid: str | None, algorithm: str) -> PublicKey | None:
    """Return the key with this name and use, None where there is none. Without a name only a single one will do."""
    fitting = [key for key in keys if algorithm in key.algorithms and kid in (None, key.kid)]
    return fitting[0].key if len(fitting) == 1 else None


@lru_cache(maxsize=4)
def keys_at(url: str) -> KeyStore:
    """Return this process's store of the keys at an address."""
    return KeyStore(url)


def _read_key(item: Any) -> Key | None:
    if not isinstance(item, dict) or item.get("use", "sig") != "sig":
        return None
    allowed = ALGORITHMS.get(str(item.get("crv", item.get("kty"))), frozenset())
    if isinstance(item.get("alg"), str):
        allowed &= {item["alg"]}
    if not allowed:
        return None
    public = {name: item[name] for name in ("kty", "crv", "n", "e", "x", "y") if name in item}
    try:
        key = import_key(public)
    except (JoseError, ValueError, TypeError):
        return None
    kid = item.get("kid")
    return Key(kid if isinstance(kid, str) else None, allowed, key) if isinstance(key, PublicKey) else None
