"""Registering tools: by the command line, with presets, and by themselves (ltijs does it for real)."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from db.session import transaction
from domain import lti
from partners.addresses import AddressRules
from partners.errors import CredentialsWrong
from partners.lti.registration import RegistrationWrong, read_registration
from partners.lti.vocabulary import SCOPES, TOOL_CONFIGURATION
from partners.registry import get_partner
from settings import get_settings
from tests.api.conftest import count, run
from tests.cli.conftest import Usher, usher
from tests.lti.conftest import PROVIDER, PROVIDER_TYPE, Ltijs, Platform

__all__ = ["usher"]

GOOD: dict[str, Any] = {
    "client_name": "A tool",
    "initiate_login_uri": "https://tool.example/login",
    "redirect_uris": ["https://tool.example/launch"],
    "jwks_uri": "https://tool.example/keys",
    "scope": f"openid {SCOPES[3]} made-up",
    TOOL_CONFIGURATION: {
        "target_link_uri": "https://tool.example/",
        "messages": [{"type": "LtiDeepLinkingRequest", "target_link_uri": "https://tool.example/choose"}],
        "custom_parameters": {"a": 1},
    },
}


def test_ltijs_registers_itself_and_is_launched(platform: Platform, ltijs: Ltijs) -> None:
    with transaction() as session:
        token = lti.invite(session, PROVIDER)
    query = {
        "openid_configuration": f"{platform.url}/.well-known/openid-configuration",
        "registration_token": token,
    }
    answer = requests.get(f"{ltijs.url}/register", params=query, timeout=30)
    assert answer.status_code == 200, answer.text
    with transaction() as session:
        ((tool, provider_type),) = lti.list_tools(session)
    assert (tool.name, tool.login_url, provider_type) == (
        "ltijs under test",
        f"{ltijs.url}/login",
        PROVIDER_TYPE,
    )
    assert (tool.custom, sorted(tool.scopes)) == ({"flavour": "vanilla"}, sorted(SCOPES))
    launched = platform.launch(platform.browser(), platform.enroll())
    assert launched.status_code == 200, launched.text
    assert launched.json()["token"]["platformContext"]["custom"]["flavour"] == "vanilla"
    again = requests.get(f"{ltijs.url}/register", params=query, timeout=30)
    assert again.status_code == 500
    assert count("lti_tools") == 1


def post(platform: Platform, token: str, body: Any) -> requests.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return requests.post(f"{platform.url}/api/lti/register", json=body, headers=headers, timeout=10)


def test_a_bad_registration_does_not_use_up_the_invitation(platform: Platform) -> None:
    with transaction() as session:
        token = lti.invite(session, PROVIDER)
    for wrong in ({}, {**GOOD, "redirect_uris": []}, {**GOOD, "jwks_uri": "ftp://x"}, [1]):
        refused = post(platform, token, wrong)
        assert (refused.status_code, refused.json()["code"]) == (400, "lti_registration_invalid")
    answer = post(platform, token, GOOD)
    assert answer.status_code == 201
    assert answer.json()[TOOL_CONFIGURATION]["deployment_id"] == "1"
    assert answer.json()["scope"] == SCOPES[3]
    for gone in (token, "made up", ""):
        refused = post(platform, gone, GOOD)
        assert (refused.status_code, refused.json()["code"]) == (401, "lti_registration_refused")
    with transaction() as session:
        late = lti.invite(session, PROVIDER)
    run("UPDATE lti_invites SET expires_at = now() WHERE tool_id IS NULL")
    assert post(platform, late, GOOD).status_code == 401
    assert count("lti_tools") == 1


def test_a_tool_may_not_be_at_an_address_of_our_own_network() -> None:
    rules = AddressRules()
    assert read_registration(GOOD, rules).deep_linking_url == "https://tool.example/choose"
    for name, address in (
        ("jwks_uri", "https://127.0.0.1/keys"),
        ("jwks_uri", "http://tool.example/keys"),
        ("initiate_login_uri", "https://[::1]/login"),
        ("initiate_login_uri", "https://tool.example/lo gin"),
        ("initiate_login_uri", "https://tool.example/login#x"),
    ):
        with pytest.raises(RegistrationWrong, match=name):
            read_registration({**GOOD, name: address}, rules)


def test_the_command_line_registers_lists_and_switches(platform: Platform, usher: Usher) -> None:
    with pytest.raises(CredentialsWrong, match="usher lti register"):
        get_partner(PROVIDER_TYPE).check()
    made = usher("lti", "register", PROVIDER_TYPE, "--preset", "certmaster", "--client-id", "c-1", "--json")
    assert made.code == 0, made.err
    assert "template-unverified" in made.err
    told = made.json()
    assert (told["client_id"], told["issuer"]) == ("c-1", platform.url)
    assert told["authentication_request_url"] == f"{platform.url}/api/lti/authorize"
    get_partner(PROVIDER_TYPE).check()
    (tool,) = usher("lti", "tools", "--json").json()
    assert tool["target_link_uri"] == "https://cdn.testout.com/lms-gate/index.html"
    assert (tool["partner"], tool["active"]) == (PROVIDER_TYPE, True)
    twice = usher("lti", "register", PROVIDER_TYPE, "--preset", "certmaster", "--client-id", "c-1")
    assert (twice.code, "c-1" in twice.err) == (1, True)
    assert usher("lti", "switch", "c-1").code == 0
    with pytest.raises(CredentialsWrong):
        get_partner(PROVIDER_TYPE).check()
    assert usher("lti", "switch", "c-1", "--on").code == 0
    assert usher("lti", "switch", "c-2").code == 1


def test_the_command_line_refuses_what_no_tool_can_be(
    platform: Platform, usher: Usher, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = usher("lti", "register", PROVIDER_TYPE, "--preset", "cengage")
    assert (missing.code, "--login-url" in missing.err) == (2, True)
    assert usher("lti", "register", PROVIDER_TYPE, "--preset", "nobody").code == 2
    assert usher("lti", "register", "nobody", "--preset", "certmaster").code == 1
    monkeypatch.setenv("PARTNER_PRIVATE_ADDRESSES", "false")
    get_settings.cache_clear()
    inside = usher(
        "lti", "register", PROVIDER_TYPE, "--preset", "cengage", "--login-url", "https://127.0.0.1/login"
    )
    assert (inside.code, "private address" in inside.err) == (2, True)
    assert count("lti_tools") == 0


def test_the_command_line_shows_and_rotates_keys(platform: Platform, usher: Usher) -> None:
    told = usher("lti", "config", "--json").json()
    assert told["public_keyset_url"] == f"{platform.url}/api/lti/jwks"
    requests.get(told["public_keyset_url"], timeout=10).raise_for_status()
    kid = usher("lti", "rotate").out.strip()
    rows = usher("lti", "keys", "--json").json()
    assert {row["kid"]: row["state"] for row in rows}[kid] == "standing"
    assert len(rows) == 2
    only = usher("lti", "rotate", "--at-once").out.strip()
    assert [row["kid"] for row in usher("lti", "keys", "--json").json()] == [only]
    invited = usher("lti", "register", PROVIDER_TYPE, "--invite", "--json").json()
    assert post(platform, invited["registration_token"], GOOD).status_code == 201
    assert usher("lti", "links", "--json").json() == []
    assert usher("lti", "links", "--remove", PROVIDER).code == 1
