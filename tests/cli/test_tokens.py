"""`usher token` and `usher sign-in-link`."""

from __future__ import annotations

import uuid

import pytest

import settings as settings_module
from domain import tokens
from tests.cli.conftest import Usher
from tests.conftest import Database


def test_a_minted_token_is_alone_on_stdout_and_works_until_it_is_revoked(
    usher: Usher, database: Database
) -> None:
    minted = usher("token", "mint", "--role", "ops", "--subject", "staff@example.com", "--days", "7")
    assert minted.code == 0
    plain = minted.out.strip()
    assert minted.out == f"{plain}\n"
    assert len(plain.split()) == 1
    [identity] = tokens.find_all([plain])
    assert identity is not None
    assert (identity.role, identity.subject) == ("ops", "staff@example.com")

    listed = usher("token", "list", "--json")
    assert plain not in listed.out
    (row,) = listed.json()
    assert row["subject"] == "staff@example.com"
    assert row["expires_at"] is not None

    assert usher("token", "revoke", row["id"]).code == 0
    assert tokens.find_all([plain]) == [None]
    assert usher("token", "revoke", row["id"]).code == 1
    assert usher("token", "revoke", str(uuid.uuid4())).code == 1
    assert usher("token", "revoke", "nonsense").code == 2


def test_a_sign_in_link_is_for_people_who_exist(usher: Usher, database: Database) -> None:
    usher("seed")
    link = usher("sign-in-link", "ANA@example.com")
    assert link.code == 0
    assert link.out.startswith("http://testserver/dev/sign-in?token=")
    assert usher("sign-in-link", "nobody@example.com").code == 1
    assert usher("sign-in-link", "nobody@example.com", "--role", "ops").code == 0


def test_no_sign_in_link_where_the_api_would_refuse_it(
    usher: Usher, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEV_SIGN_IN", "false")
    settings_module.get_settings.cache_clear()
    refused = usher("sign-in-link", "ana@example.com")
    assert refused.code == 2
    assert "DEV_SIGN_IN" in refused.err
