"""`usher db backup` and `restore`: the same rows again, and nothing half done."""

from __future__ import annotations

from pathlib import Path

import pytest

import settings as settings_module
from db import session as db_session
from tests.cli.conftest import Usher
from tests.conftest import Database
from tests.stack import rows, scalar
from tests.xp.conftest import assert_proven, complete, make_school


def bind(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process use another database; the fixtures undo it."""
    db_session.get_engine().dispose()
    monkeypatch.setenv("DATABASE_URL", database.url)
    settings_module.get_settings.cache_clear()
    db_session.get_engine.cache_clear()


def test_a_backup_is_restored_with_its_rules(
    database: Database,
    empty_database: Database,
    usher: Usher,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    school = make_school()
    complete(school)
    entries = rows("SELECT * FROM xp_transactions")
    file = tmp_path / "copy.dump"
    done = usher("db", "backup", str(file))
    assert (done.code, done.err, f"{file}: " in done.out) == (0, "", True)
    assert file.stat().st_mode & 0o077 == 0
    assert usher("db", "backup", str(file)).code == 1  # It is not overwritten.
    bind(empty_database, monkeypatch)
    assert usher("db", "restore", str(file)).code == 0
    assert usher("db", "current").code == 0
    assert rows("SELECT * FROM xp_transactions") == entries
    complete(school, 1)
    assert_proven()


def test_a_database_that_is_not_empty_is_left_alone_without_force(
    database: Database, usher: Usher, tmp_path: Path
) -> None:
    school = make_school()
    file = tmp_path / "copy.dump"
    usher("db", "backup", str(file))
    complete(school)
    refused = usher("db", "restore", str(file))
    assert (refused.code, "not empty" in refused.err) == (1, True)
    assert scalar("SELECT count(*) FROM xp_transactions") == 1
    assert usher("db", "restore", str(file), "--force").code == 0
    assert scalar("SELECT count(*) FROM xp_transactions") == 0
    assert usher("db", "current").code == 0
    complete(school)


def test_a_file_that_is_no_whole_copy_changes_nothing(
    database: Database, usher: Usher, tmp_path: Path
) -> None:
    make_school(students=50)
    whole, broken, other = (tmp_path / name for name in ("whole", "broken", "other"))
    usher("db", "backup", str(whole))
    broken.write_bytes(whole.read_bytes()[: whole.stat().st_size * 9 // 10])
    other.write_text("no copy")
    for file in (broken, other):
        refused = usher("db", "restore", str(file), "--force")
        assert (refused.code, bool(refused.err)) == (1, True)
    assert scalar("SELECT count(*) FROM users") == 50


def test_the_password_is_not_among_the_arguments(
    database: Database, usher: Usher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "bin" / "pg_dump"
    tool.parent.mkdir()
    tool.write_text(
        '#!/bin/sh\ncase "$1" in --version) echo "pg_dump 99.1";; *) echo "$@" >&2; exit 1;; esac\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent), prepend=":")
    failed = usher("db", "backup", str(tmp_path / "copy.dump"))
    assert (failed.code, "--format" in failed.err) == (1, True)
    password = database.url.split(":")[2].split("@")[0]
    assert password not in failed.err
    assert list(tmp_path.glob("*.dump")) == []
