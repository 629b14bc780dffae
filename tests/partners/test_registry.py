"""Finding the adapter of a partner."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

import settings as settings_module
from partners.errors import CredentialsWrong, NeedsPerson
from partners.registry import ADAPTERS, UnknownPartner, get_partner, provider_types
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
    assert provider_types() == sorted(ADAPTERS)
    assert {"sandbox", "hsi", "certiport", "milady"} <= set(provider_types())


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
    with pytest.raises(CredentialsWrong, match=f"the partner hsi cannot be called: {missing} not set"):
        get_partner("hsi")


def test_naming_the_partners_imports_no_adapter() -> None:
    code = "import sys, partners.registry as r; r.provider_types(); sys.exit('partners.http' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
