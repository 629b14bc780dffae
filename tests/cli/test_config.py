"""`usher config show`: everything, and no secret."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from cli.config import MASK
from domain.badge_keys import make_keys
from domain.secrets import new_key
from settings import Settings
from tests.cli.conftest import Usher

CANARY = "canary-0123456789"
KEY = new_key()
ACME = """
adapter: sandbox
verified: {level: own-protocol, against: a made-up partner}
base_url: ${ACME_URL}
secrets: {api_key: ACME_API_KEY}
"""
URLS = {
    "DATABASE_URL": f"postgresql://{CANARY}:{CANARY}@db.example.com:5432/usher?password={CANARY}",
    "DATABASE_DIRECT_URL": f"postgresql://{CANARY}:{CANARY}@direct.example.com:5432/usher",
    "SENTRY_DSN": f"https://{CANARY}@sentry.example.com/1",
    "ALERT_WEBHOOK_URL": f"https://alerts.example.com/{CANARY}",
    "BROKER_URL": f"redis://:{CANARY}@broker.example.com:6379/0",
    "SMTP_URL": f"smtp://{CANARY}:{CANARY}@mail.example.com:587",
    "SANDBOX_URL": f"http://user:{CANARY}@sandbox.example.com",
}


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_secrets_are_masked_and_places_are_not(
    usher: Usher, usher_env: dict[str, str], monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    secret = [
        name for name, field in Settings.model_fields.items() if SecretStr.__name__ in str(field.annotation)
    ]
    assert len(secret) >= 10
    for name in secret:
        monkeypatch.setenv(name.upper(), CANARY)
    # A key is looked at when it is read; what stands around it does no harm.
    monkeypatch.setenv("BADGE_SIGNING_KEYS", f"{CANARY} {make_keys()}")
    monkeypatch.setenv("CREDENTIALS_KEYS", KEY)
    for name, value in URLS.items():
        monkeypatch.setenv(name, value)
    answer = usher("config", "show", *arguments)
    assert answer.code == 0
    assert CANARY not in answer.out + answer.err
    assert KEY not in answer.out
    assert "db.example.com:5432/usher" in answer.out


def test_each_setting_says_where_it_comes_from(
    usher: Usher,
    usher_env: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    directory = tmp_path_factory.mktemp("data")
    (directory / "runtime.env").write_text("SUPPORT_EMAIL='help@example.com'\nPORT='9000'\n")
    monkeypatch.setenv("USHER_DATA_DIR", str(directory))
    monkeypatch.setenv("PORT", "9001")
    (directory / "partners").mkdir()
    (directory / "partners" / "acme.yaml").write_text(ACME)
    monkeypatch.setenv("PARTNERS_DIR", str(directory / "partners"))
    monkeypatch.setenv("PARTNERS", "sandbox")
    monkeypatch.setenv("ACME_API_KEY", CANARY)
    monkeypatch.delenv("AUTH_SECRET")
    monkeypatch.setenv("NEXTAUTH_SECRET", CANARY)
    rows = {row["name"]: row for row in usher("config", "show", "--json").json()}
    assert rows.keys() == {name.upper() for name in Settings.model_fields} | {"ACME_URL", "ACME_API_KEY"}
    assert (rows["ACME_URL"]["source"], rows["ACME_URL"]["partners"]) == ("not set", "acme")
    assert (rows["ACME_API_KEY"]["source"], rows["ACME_API_KEY"]["value"]) == ("environment", MASK)
    assert rows["SANDBOX_WEBHOOK_SECRET"]["partners"] == "sandbox"
    assert (rows["PORT"]["value"], rows["PORT"]["source"]) == (9001, "environment")
    assert (rows["SUPPORT_EMAIL"]["value"], rows["SUPPORT_EMAIL"]["source"]) == (
        "help@example.com",
        "runtime.env",
    )
    assert rows["AUTH_SECRET"]["source"] == "environment"
    assert rows["API_WORKERS"]["source"] == "default"
    assert rows["AUTH_ISSUER"]["source"] == "not set"
