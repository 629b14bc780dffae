"""Calling `usher` in this process, as its entry point does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import settings as settings_module
from cli.main import main
from db import session as db_session
from tests.conftest import Database


@dataclass
class Answer:
    """What a command printed and its exit code."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


Usher = Callable[..., Answer]


@pytest.fixture
def usher(capsys: pytest.CaptureFixture[str]) -> Usher:
    """Return a function that runs one command."""

    def call(*arguments: str) -> Answer:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        printed = capsys.readouterr()
        return Answer(int(ended.value.code or 0), printed.out, printed.err)

    return call


@pytest.fixture
def empty_database_in_force(empty_database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Bind this process to a database without any table."""
    monkeypatch.setenv("DATABASE_URL", empty_database.url)
    settings_module.get_settings.cache_clear()
    db_session.get_engine.cache_clear()
    yield
    db_session.get_engine().dispose()
    db_session.get_engine.cache_clear()
    settings_module.get_settings.cache_clear()
