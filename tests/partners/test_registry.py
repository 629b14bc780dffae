"""Finding the adapter of a partner."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import settings as settings_module
from partners import configuration, registry
from partners.addresses import AddressRules
from partners.connection import Overlay
from partners.errors import CredentialsWrong, NeedsPerson
from partners.http import HttpDoor
from partners.registry import UnknownPartner, connect, get_partner, played_by_sandbox, provider_types
from tests.partners.conftest import API_KEY, RunningSandbox

NEEDED = {
    "DATABASE_URL": "postgresql://u:p@localhost/x",
    "BROKER_URL": "redis://localhost",
    "STRIPE_WEBHOOK_SECRET": "whsec_x",
    "SMTP_URL": "smtp://localhost",
    "AUTH_SECRET": "0123456789abcdef0123",
}


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    for name, value in NEEDED.items():
        monkeypatch.setenv(name, value)
    for name in ("SANDBOX_URL", "SANDBOX_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("USHER_DATA_DIR", str(tmp_path_factory.mktemp("data")))
    settings_module.get_settings.cache_clear()
    get_partner.cache_clear()
    yield
    settings_module.get_settings.cache_clear()
    get_partner.cache_clear()


def test_the_provider_types_are_sorted_and_known() -> None:
    assert provider_types() == ["certiport", "hsi", "milady", "sandbox"]


def test_each_provider_type_gets_one_adapter_that_works(
    sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SANDBOX_URL", sandbox.url)
    monkeypatch.setenv("SANDBOX_API_KEY", API_KEY)
    for provider_type in provider_types():
        partner = get_partner(provider_type)
        assert partner.provider_type == provider_type
        assert partner is get_partner(provider_type)
        partner.check()


def test_an_unknown_provider_type_is_named() -> None:
    with pytest.raises(
        UnknownPartner, match=r"no adapter for the provider type 'hsl'; there are: .*hsi"
    ) as caught:
        get_partner("hsl")
    assert isinstance(caught.value, NeedsPerson)


@pytest.mark.parametrize(
    ("given", "missing"),
    [({}, "SANDBOX_URL and SANDBOX_API_KEY"), ({"SANDBOX_URL": "http://localhost:1"}, "SANDBOX_API_KEY")],
)
def test_missing_settings_are_named(
    given: dict[str, str], missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(CredentialsWrong, match=f"the partner sandbox cannot be called: {missing} not set"):
        get_partner("sandbox")


def test_naming_the_partners_imports_no_adapter() -> None:
    code = "import sys, partners.registry as r; r.provider_types(); sys.exit('partners.http' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


ACME = """
adapter: sandbox
verified: {level: own-protocol, against: a test}
base_url: ${ACME_URL}/v1
secrets: {api_key: ACME_KEY}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An operator's own folder of configurations, with one partner."""
    (tmp_path / "acme.yaml").write_text(ACME)
    monkeypatch.setenv("PARTNERS_DIR", str(tmp_path))
    monkeypatch.setenv("PARTNER_PRIVATE_ADDRESSES", "true")
    settings_module.get_settings.cache_clear()
    return tmp_path


def test_an_operators_own_file_is_served(
    folder: Path, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "acme" in provider_types()
    with pytest.raises(CredentialsWrong, match="ACME_URL and ACME_KEY not set"):
        get_partner("acme")
    monkeypatch.setenv("ACME_URL", sandbox.url)
    monkeypatch.setenv("ACME_KEY", API_KEY)
    assert connect("acme").url() == f"{sandbox.url}/v1"


def test_the_sandbox_plays_who_has_no_settings_of_their_own(
    sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setenv("SANDBOX_URL", sandbox.url)
    monkeypatch.setenv("SANDBOX_API_KEY", API_KEY)
    settings_module.get_settings.cache_clear()
    assert played_by_sandbox() == ["certiport", "hsi", "milady", "sandbox"]
    for name in ("HSI_URL", "HSI_API_KEY", "HSI_API_SECRET"):
        monkeypatch.setenv(name, "https://hsi.example")
    settings_module.get_settings.cache_clear()
    assert played_by_sandbox() == ["certiport", "milady", "sandbox"]


def test_without_a_sandbox_nobody_is_played() -> None:
    assert played_by_sandbox() == []
    assert connect("certiport").adapter == "manual"


def test_what_staff_stored_wins_and_is_looked_at_again(
    folder: Path, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = Overlay("1", sandbox.url, {"api_key": API_KEY})
    monkeypatch.setattr(registry, "OVERLAY_SECONDS", 0.0)
    registry.use_overlay(lambda name: stored if name == "acme" else None)
    try:
        first = get_partner("acme")
        first.check()
        assert get_partner("acme") is first
        stored = Overlay("2", sandbox.url, {"api_key": "wrong-key-0123456789"})
        second = get_partner("acme")
        assert second is not first
        with pytest.raises(CredentialsWrong):
            second.check()
    finally:
        registry.use_overlay(None)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("adapter: nix\nverified: {level: manual, against: x}", r"acme.yaml:1: adapter: 'nix' is not one of"),
        (
            "adapter: rest\n\nverified:\n  level: sure\n  against: x",
            r"acme.yaml:4: verified.level: 'sure' is not",
        ),
        ("adapter: rest", r"acme.yaml:1: \(the whole file\): 'verified' is a required property"),
        (ACME + "secret: x", r"acme.yaml:6: secret: is not known here; known are adapter"),
        (ACME + "adapter: rest", r"acme.yaml:6: adapter: stands twice"),
        ("adapter: [", r"acme.yaml:1: "),
        ("", r"acme.yaml:1: \(the whole file\): None is not of type 'object'"),
        (ACME.replace("ACME_KEY", "acme-key"), r"acme.yaml:5: secrets.api_key: 'acme-key' does not match"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_key(folder: Path, text: str, problem: str) -> None:
    (folder / "acme.yaml").write_text(text)
    with pytest.raises(CredentialsWrong, match=problem):
        get_partner("acme")


def test_every_shipped_configuration_can_be_read() -> None:
    for path in configuration.SHIPPED.glob("*.yaml"):
        assert configuration.read(path).adapter in registry.ADAPTERS


@pytest.mark.parametrize(
    ("rules", "url", "problem"),
    [
        (AddressRules(), "http://partner.example/", "must be https"),
        (AddressRules(), "ftp://partner.example/", "must be https"),
        (AddressRules(), "https://user:pw@partner.example/", "no user"),
        (AddressRules(), "https://169.254.169.254/latest", "private address"),
        (AddressRules(), "https://[::1]/", "private address"),
        (AddressRules(), "https://[::ffff:10.0.0.1]/", "private address"),
        (AddressRules(("*.example.com",)), "https://example.com.evil.test/", "PARTNER_HOSTS"),
        (AddressRules(("*.example.com",)), "https://example.com/", "PARTNER_HOSTS"),
        (AddressRules(("*.example.com",)), "https://api.example.com/v2", None),
        (AddressRules(private=True), "http://127.0.0.1:8010", None),
    ],
)
def test_where_a_partner_may_be(rules: AddressRules, url: str, problem: str | None) -> None:
    if problem is None:
        rules.check_url(url)
        return
    with pytest.raises(ValueError, match=problem):
        rules.check_url(url)


def test_a_public_name_that_leads_inside_is_not_spoken_to(sandbox: RunningSandbox) -> None:
    port = sandbox.url.rpartition(":")[2]
    door = HttpDoor(
        "acme",
        f"http://localhost:{port}",
        connect_timeout=1.0,
        timeout=5.0,
        rules=AddressRules(private=False),
    )
    sandbox.request("POST", "/_reset")
    before = len(sandbox.calls())
    with pytest.raises(CredentialsWrong, match="private address"):
        door.call("GET", "/accounts", idempotent=True)
    assert len(sandbox.calls()) == before


@pytest.mark.parametrize("path", sorted(configuration.SHIPPED.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_policy_that_an_adapter_does_not_know_keeps_no_partner_from_being_served(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARTNERS", path.stem)
    for name in configuration.read(path).environment_names():
        monkeypatch.setenv(name, "https://partner.example" if name.endswith("_URL") else "1234567890")
    settings_module.get_settings.cache_clear()
    registry.use_overlay(lambda name: Overlay("1", policies={"adopt_by_email": True}))
    try:
        partner = get_partner(path.stem)
        assert partner.provider_type == path.stem
        if path.stem in ("moodle", "open_edx"):
            assert partner._options.adopt_by_email is True  # type: ignore[attr-defined]
    finally:
        registry.use_overlay(None)
