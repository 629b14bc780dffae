"""`usher doctor --token`: why a token or cookie is refused, in words that help."""

from __future__ import annotations

import io
from typing import Any

import pytest

import settings as settings_module
from api import sessions_keys
from db.session import transaction
from domain import demo, tokens
from domain.tokens import Identity
from tests.api.conftest import STUDENT, count, run
from tests.api.test_sessions_bearer import AUDIENCE, ISSUER, RSA, STRANGE, Provider, provider, sign
from tests.api.test_sessions_cookies import ANA_V4, ANA_V5, LONG_V5, MINTED, V4, V5, flip, set_env
from tests.cli.conftest import Usher, usher
from tests.conftest import Database

__all__ = ["provider", "usher"]


@pytest.fixture(autouse=True)
def seeded(database: Database) -> None:
    with transaction() as session:
        demo.seed(session)


def ask(usher: Usher, token: str) -> tuple[int, str, str, str]:
    """Return exit code, state, detail and fix."""
    answer = usher("doctor", "--json", "--token", token)
    settings, finding = answer.json()
    assert (settings["state"], finding["name"]) == ("ok", "token")
    assert len(token) < 30 or token not in answer.out + answer.err
    return answer.code, finding["state"], finding["detail"], finding["fix"] or ""


def says(usher: Usher, token: str, *words: str) -> None:
    """Check that the token is refused in these words."""
    code, state, detail, fix = ask(usher, token)
    assert (code, state) == (1, "wrong")
    for word in words:
        assert word in f"{detail} {fix}"


def test_an_api_token(usher: Usher) -> None:
    with transaction() as session:
        plain, row_id = tokens.mint(session, "student", "ana@example.com", 1)
    for given in (plain, f"Bearer {plain}", f"Authorization: Bearer {plain}\n"):
        code, state, detail, _ = ask(usher, given)
        assert (code, state) == (0, "ok")
        assert STUDENT in detail
    with transaction() as session:
        assert tokens.list_tokens(session)[0].last_used_at is None
    says(usher, plain[:-3], "not whole", "here 40")
    says(usher, flip(plain, 20), "no such API token", "DATABASE_URL")
    run("UPDATE api_tokens SET expires_at = now() - interval '1 second'")
    says(usher, plain, row_id, "expired at", "usher token mint")
    run("UPDATE api_tokens SET revoked_at = now()")
    says(usher, plain, row_id, "was revoked at")


def test_a_token_of_nobody_is_accepted_with_a_warning(usher: Usher) -> None:
    with transaction() as session:
        plain, _ = tokens.mint(session, "student", "nobody@example.com", 1)
    code, state, _, fix = ask(usher, plain)
    assert (code, state) == (0, "warning")
    assert "nobody@example.com" in fix


def test_a_session_cookie(usher: Usher) -> None:
    header = "; ".join(f"{name}={value}" for name, value in LONG_V5.items())
    for given in (ANA_V4, ANA_V5, f"{V5}={ANA_V5}", f"Cookie: theme=dark; {header}"):
        code, state, detail, _ = ask(usher, given)
        assert (code, state) == (0, "ok")
        assert STUDENT in detail
    assert count("identities") == 0
    says(usher, MINTED["expired"]["v4"][V4], V4, "expired", "ago")
    says(usher, MINTED["expired"]["v5"][V5], V5, "expired")
    says(usher, MINTED["wrong_secret"]["v4"][V4], "another secret", "AUTH_SECRET")
    says(usher, MINTED["wrong_secret"]["v5"][V5], "another secret", "AUTH_SECRET")
    says(usher, flip(ANA_V5, len(ANA_V5) - 5), "changed after it was made")
    says(usher, header.partition("; ")[2], "part of the session cookie is missing")
    says(usher, "0b7a2a0e-6a6a-4c58-9d4f-0d6f7d1f1a11", "neither", "session.strategy")
    says(usher, f"{V5}=0b7a2a0e-6a6a-4c58-9d4f-0d6f7d1f1a11", "not an encrypted", "session.strategy")


def test_a_development_session(usher: Usher, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = tokens.seal_session(Identity("student", STUDENT, "ana@example.com"))
    assert ask(usher, sealed)[:2] == (0, "ok")
    set_env(monkeypatch, DEV_SIGN_IN="false")
    says(usher, sealed, "development", "DEV_SIGN_IN")


def test_a_bearer_token(usher: Usher, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    says(usher, sign(RSA), "not taken here", "AUTH_JWKS_URL")
    set_env(monkeypatch, AUTH_JWKS_URL=provider.url, AUTH_ISSUER=ISSUER, AUTH_AUDIENCE=AUDIENCE)
    code, state, detail, _ = ask(usher, sign(RSA))
    assert (code, state) == (0, "ok")
    assert STUDENT in detail
    says(usher, sign(RSA, exp=1_700_000_000), "expired", "days ago")
    says(usher, sign(RSA, iss=ISSUER[:-1]), "issuer", repr(ISSUER[:-1]), repr(ISSUER))
    says(usher, sign(RSA, aud="other"), "'other'", repr(AUDIENCE))
    says(usher, sign(STRANGE), "does not publish", "'strange'", "'rsa-1'")
    says(usher, "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbmEifQ.", "alg is 'none'")
    assert ask(usher, sign(RSA, email_verified=None))[1] == "warning"
    assert "a new one" in ask(usher, sign(RSA, email="newcomer@example.com"))[2]
    provider.status = 500
    sessions_keys.keys_at.cache_clear()
    assert ask(usher, sign(RSA))[:2] == (3, "down")


def test_the_token_may_come_by_standard_input(usher: Usher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{ANA_V5}\n"))
    assert ask(usher, "-")[:2] == (0, "ok")


def test_wrong_settings_are_named_before_the_token(usher: Usher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTH_JWKS_URL", "https://id.example.com/jwks")
    settings_module.get_settings.cache_clear()
    answer: Any = usher("doctor", "--json", "--token", ANA_V5)
    assert answer.code == 2
    assert "AUTH_ISSUER" in answer.out
