"""The command line as a whole: cheap help, lazy commands, exit codes, readable troubles."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from cli.main import COMMANDS, usher
from tests.cli.conftest import Usher
from tests.conftest import Database
from tests.xp.conftest import complete, make_school

HEAVY = (
    "sqlalchemy",
    "alembic",
    "celery",
    "kombu",
    "pydantic",
    "flask",
    "requests",
    "stripe",
    "structlog",
    "redis",
)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, cli.main\n"
        "try: cli.main.main(['--help'])\n"
        "except SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "doctor" in done.stdout
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_on_the_list_exists_and_has_help(name: str) -> None:
    command = usher.get_command(click.Context(usher), name)
    assert command is not None
    assert command.help


@pytest.mark.parametrize(
    "arguments", [["bogus"], ["seed", "--bogus"], ["seed", "--students", "x"], ["token", "mint"]]
)
def test_a_wrong_call_exits_2(usher: Usher, arguments: list[str]) -> None:
    answer = usher(*arguments)
    assert answer.code == 2
    assert "Error: " in answer.err


def test_settings_that_are_missing_or_wrong_are_all_named_at_once(
    usher: Usher, usher_env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DATABASE_URL", "AUTH_SECRET", "STRIPE_WEBHOOK_SECRET"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("PORT", "many")
    monkeypatch.setenv("LEVEL_CURVE", "steep")
    answer = usher("config", "show")
    assert answer.code == 2
    for name in ("DATABASE_URL", "AUTH_SECRET", "STRIPE_WEBHOOK_SECRET", "PORT", "LEVEL_CURVE"):
        assert name in answer.err
    assert "Traceback" not in answer.err


def test_a_database_that_is_down_is_one_sentence_and_exit_3(usher: Usher, usher_env: dict[str, str]) -> None:
    answer = usher("catalog", "--json")
    assert answer.code == 3
    assert answer.out == ""
    assert len(answer.err.strip().splitlines()) == 1
    assert "PostgreSQL does not answer" in answer.err


def test_a_database_without_tables_says_how_to_get_them(
    usher: Usher, usher_env: dict[str, str], empty_database_in_force: None
) -> None:
    answer = usher("catalog")
    assert answer.code == 3
    assert "usher db upgrade" in answer.err
    assert usher("db", "current", "--json").json()["current"] is None
    assert usher("db", "upgrade").code == 0
    current = usher("db", "current", "--json")
    assert current.code == 0
    assert current.json()["up_to_date"] is True
    assert usher("db", "downgrade", "base").code == 0
    assert usher("db", "current").code == 1


def test_xp_is_exported_before_its_ledger_goes(usher: Usher, database: Database, tmp_path: Path) -> None:
    school = make_school(lessons=2)
    complete(school, 0)
    complete(school, 1)
    assert usher("db", "downgrade", "0004").code == 0
    refused = usher("db", "downgrade", "0002")
    assert refused.code == 2
    assert "--export" in refused.err
    file = tmp_path / "ledger.jsonl"
    assert usher("db", "downgrade", "0002", "--export", str(file)).code == 0
    assert usher("db", "current", "--json").json()["current"] == "0002"
    entries = [json.loads(line) for line in file.read_text().splitlines()]
    assert [entry["amount"] for entry in entries] == [50, 50, 200]
    assert {entry["email"] for entry in entries} == {f"learner-{school.course[:8]}-1@example.com"}
