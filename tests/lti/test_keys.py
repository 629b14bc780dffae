"""Our signing keys: one at first, published before they sign and after they retired, sealed at rest."""

from __future__ import annotations

import threading

import pytest
from cryptography.fernet import Fernet

from db.session import transaction
from domain import lti_keys, secrets
from settings import get_settings
from tests.api.conftest import count, run
from tests.conftest import Database


@pytest.fixture
def sealed(database: Database, monkeypatch: pytest.MonkeyPatch) -> str:
    key = secrets.new_key()
    monkeypatch.setenv("CREDENTIALS_KEYS", key)
    get_settings.cache_clear()
    return key


def signing() -> str:
    with transaction() as session:
        return lti_keys.signing_key(session).kid


def published() -> list[str]:
    with transaction() as session:
        return [str(key["kid"]) for key in lti_keys.published(session)]


def test_the_first_use_makes_one_key_however_many_ask_at_once(sealed: str) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(signing())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(found), len(set(found)), count("lti_keys")) == (6, 1, 1)


def test_a_new_key_is_published_before_it_signs_and_the_old_one_after(sealed: str) -> None:
    old = signing()
    with transaction() as session:
        new = lti_keys.rotate(session)
    assert (signing(), published()) == (old, [new, old])
    lead, afterlife = lti_keys.LEAD, lti_keys.AFTERLIFE
    run(
        f"UPDATE lti_keys SET retired_at = retired_at - interval '{lead} seconds' WHERE retired_at IS NOT NULL"
    )
    assert (signing(), published()) == (new, [new, old])
    run(f"UPDATE lti_keys SET retired_at = retired_at - interval '{afterlife} seconds' WHERE kid = '{old}'")
    assert (signing(), published()) == (new, [new])
    with transaction() as session:
        states = {row["kid"]: row["state"] for row in lti_keys.list_keys(session)}
    assert states == {old: "retired", new: "standing"}


def test_two_rotations_in_a_row_keep_the_oldest_signing_until_its_time(sealed: str) -> None:
    first = signing()
    for _ in range(2):
        with transaction() as session:
            last = lti_keys.rotate(session)
    assert signing() == first
    run("UPDATE lti_keys SET retired_at = now() WHERE retired_at IS NOT NULL")
    assert signing() == last
    assert len(published()) == 3


def test_a_key_that_became_known_goes_at_once(sealed: str) -> None:
    old = signing()
    with transaction() as session:
        new = lti_keys.rotate(session, at_once=True)
    assert new != old
    assert (signing(), published()) == (new, [new])


def test_private_keys_are_sealed_anew_with_the_newest_key(
    sealed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kid = signing()
    newer = Fernet.generate_key().decode()
    monkeypatch.setenv("CREDENTIALS_KEYS", f"{newer},{sealed}")
    get_settings.cache_clear()
    with transaction() as session:
        assert lti_keys.reseal_keys(session) == 1
    monkeypatch.setenv("CREDENTIALS_KEYS", newer)
    get_settings.cache_clear()
    assert signing() == kid
    monkeypatch.setenv("CREDENTIALS_KEYS", secrets.new_key())
    get_settings.cache_clear()
    lti_keys._open.cache_clear()
    with pytest.raises(secrets.NotOurs):
        signing()
