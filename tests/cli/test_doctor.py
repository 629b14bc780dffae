"""`usher doctor` names each trouble and what to do about it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text

import settings as settings_module
from cli import doctor
from db.session import transaction
from tests.cli.conftest import Answer, Usher
from tests.conftest import Database
from workers.services import Service


def states(answer: Answer) -> dict[str, Any]:
    return {finding["name"]: finding for finding in answer.json()}


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_everything_that_is_down_is_named_with_its_fix(usher: Usher, usher_env: dict[str, str]) -> None:
    answer = usher("doctor", "--json")
    assert answer.code == 3
    found = states(answer)
    assert {name for name, finding in found.items() if finding["state"] == "down"} >= {
        "database", "schema", "clock", "broker", "workers", "mail", "sandbox",
    }  # fmt: skip
    assert all(finding["fix"] for finding in found.values() if finding["state"] != "ok")
    assert "DATABASE_URL" in found["database"]["fix"]
    assert "BROKER_URL" in found["broker"]["fix"]


def test_a_service_that_says_nothing_is_not_waited_for(
    usher: Usher, database: Database, monkeypatch: pytest.MonkeyPatch, silent_port: int
) -> None:
    monkeypatch.setattr(doctor, "TIMEOUT", 0.3)
    monkeypatch.setenv("BROKER_URL", f"redis://127.0.0.1:{silent_port}/0")
    monkeypatch.setenv("SMTP_URL", f"smtp://127.0.0.1:{silent_port}")
    monkeypatch.setenv("SANDBOX_URL", f"http://127.0.0.1:{silent_port}")
    settings_module.get_settings.cache_clear()
    found = states(usher("doctor", "--json"))
    assert {name for name, finding in found.items() if finding["state"] == "down"} == {
        "broker",
        "mail",
        "sandbox",
    }


def test_what_is_well_is_said_to_be_well(
    usher: Usher, database: Database, valkey: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKER_URL", valkey.url)
    monkeypatch.delenv("SANDBOX_URL")
    settings_module.get_settings.cache_clear()
    found = states(usher("doctor", "--json"))
    assert {name for name, finding in found.items() if finding["state"] == "ok"} == {
        "settings", "database", "schema", "clock", "broker", "workers", "sandbox", "disk",
    }  # fmt: skip
    assert "down     mail" in usher("doctor").out


def test_an_old_schema_is_wrong_but_not_down(
    usher: Usher, usher_env: dict[str, str], empty_database_in_force: None
) -> None:
    found = states(usher("doctor", "--json"))
    assert found["database"]["state"] == "ok"
    assert found["schema"]["state"] == "wrong"
    assert found["schema"]["fix"] == "run `usher db upgrade`"


def test_work_that_nobody_does_is_noticed(usher: Usher, database: Database) -> None:
    with transaction() as session:
        session.execute(
            text(
                "INSERT INTO jobs (kind, business_key, queue, subject_id, next_run_at)"
                " VALUES ('mail.send', 'x', 'mail', gen_random_uuid(), now() - interval '5 minutes')"
            )
        )
    found = states(usher("doctor", "--json"))
    assert found["workers"]["state"] == "wrong"
    assert "1 jobs are due" in found["workers"]["detail"]


def test_settings_that_are_wrong_exit_2(
    usher: Usher, usher_env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SMTP_URL")
    monkeypatch.setenv("PORT", "0")
    answer = usher("doctor", "--json")
    assert answer.code == 2
    assert {finding["detail"].split(" ")[0] for finding in answer.json()} == {"SMTP_URL", "PORT"}
