"""The identity provider's keys: rotation, outages, floods of invented key ids."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from joserfc.jwk import OctKey

from api import sessions_keys
from api.sessions import KeysUnavailable, Refused
from api.sessions_keys import LOOKS, KeyStore
from partners.errors import RetryLater
from tests.api.conftest import Logs
from tests.api.test_sessions_bearer import (
    EC,
    RSA,
    STRANGE,
    Provider,
    assert_refused,
    call,
    configure,
    provider,
    public,
    sign,
)

__all__ = ["configure", "provider"]


def test_a_published_secret_or_encryption_key_verifies_nothing(
    app: Flask, logs: Logs, configure: Any, provider: Provider
) -> None:
    secret = OctKey.import_key("a-published-secret-0123456789abcdef", {"kid": "oct-1"})
    provider.keys = [
        secret.as_dict(private=True),
        public(RSA, use="enc"),
        public(EC, alg="ES384"),
        "x",
        {"kty": "RSA"},
    ]
    assert_refused(app, logs, sign(secret, "HS256"), "algorithm")
    assert_refused(app, logs, sign(RSA), "unknown_key")
    assert_refused(app, logs, sign(EC, "ES256"), "unknown_key")


def test_a_key_without_a_name_serves_only_alone(
    app: Flask, logs: Logs, configure: Any, provider: Provider
) -> None:
    nameless = sign(RSA, header={"alg": "RS256"})
    assert call(app, nameless).status_code == 200
    sessions_keys.keys_at.cache_clear()
    provider.keys = [public(RSA), public(STRANGE)]
    assert_refused(app, logs, nameless, "unknown_key")


def test_a_new_key_is_found_at_once_and_a_removed_one_ends(
    app: Flask, logs: Logs, configure: Any, provider: Provider
) -> None:
    assert call(app, sign(RSA)).status_code == 200
    provider.keys = [public(STRANGE)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: call(app, sign(STRANGE)).status_code, range(8)))
    assert answers == [200] * 8
    assert provider.asked == 2
    assert_refused(app, logs, sign(RSA), "unknown_key")


def test_a_flood_of_unknown_keys_is_not_passed_on(
    app: Flask, logs: Logs, configure: Any, provider: Provider
) -> None:
    assert call(app, sign(RSA)).status_code == 200
    tokens = [sign(STRANGE, header={"alg": "RS256", "kid": f"invented-{number}"}) for number in range(100)]
    with ThreadPoolExecutor(8) as pool:
        codes = {answer.status_code for answer in pool.map(lambda token: call(app, token), tokens)}
    assert codes == {401}
    assert provider.asked == 1 + LOOKS
    assert call(app, sign(RSA)).status_code == 200


def test_while_the_provider_is_away_known_keys_last_and_nobody_is_signed_out(
    app: Flask, configure: Any, provider: Provider
) -> None:
    provider.status = 503
    for _ in range(3):
        answer = call(app, sign(RSA))
        assert (answer.status_code, answer.get_json()["code"]) == (503, "identity_provider_unavailable")
        assert answer.headers["Retry-After"] == "10"
    assert provider.asked == 1


def test_a_provider_that_hangs_is_not_waited_for(
    app: Flask, configure: Any, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions_keys, "TIMEOUT", 0.3)
    provider.delay = 2
    started = time.monotonic()
    assert call(app, sign(RSA)).status_code == 503
    assert time.monotonic() - started < 1.5


class Clock:
    """A clock that tests set, and a provider that it counts calls of."""

    def __init__(self) -> None:
        self.now, self.asked, self.away, self.keys = 0.0, 0, False, [public(RSA)]
        self.store = KeyStore("unused", self.fetch, lambda: self.now)

    def fetch(self, _url: str) -> Any:
        self.asked += 1
        if self.away:
            raise RetryLater("away")
        return {"keys": self.keys}


def test_keys_are_kept_ten_minutes_and_an_hour_longer_while_the_provider_is_away() -> None:
    clock = Clock()
    for clock.now in (0, 599):
        clock.store.find("rsa-1", "RS256")
    assert clock.asked == 1
    clock.now, clock.away = 601, True
    clock.store.find("rsa-1", "RS256")
    clock.store.find("rsa-1", "RS256")
    assert clock.asked == 2
    clock.now = 600 + 3600 + 1
    with pytest.raises(KeysUnavailable):
        clock.store.find("rsa-1", "RS256")
    clock.now, clock.away = clock.now + 11, False
    clock.store.find("rsa-1", "RS256")


def test_an_unknown_key_is_looked_for_again_after_a_while() -> None:
    clock = Clock()
    for _ in range(20):
        with pytest.raises(Refused):
            clock.store.find("new", "RS256")
    assert clock.asked == 1 + LOOKS
    clock.keys = [public(RSA, kid="new")]
    clock.now = 31
    clock.store.find("new", "RS256")
    assert clock.asked == 2 + LOOKS
