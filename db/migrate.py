"""Bring the schema to a revision, and say at which one it stands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from db import policies

VERSION_TABLE = "usher_alembic_version"
# Any fixed number: two processes that migrate at once take turns on it.
MIGRATION_LOCK = 7_215_430_112
LOCK_TIMEOUT = "4s"
# The migration that makes the XP ledger.
LEDGER_REVISION = "0003"


def alembic_config() -> Config:
    """Return Alembic's configuration, which needs no file."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    return config


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Migrate up to `revision`, and protect the tables where Supabase's roles exist; two callers at once take turns."""
    with migrating(engine) as config:
        command.upgrade(config, revision)
        policies.apply(config.attributes["connection"])


def downgrade(engine: Engine, revision: str) -> None:
    """Migrate down to `revision` (`base` removes everything)."""
    with migrating(engine) as config:
        command.downgrade(config, revision)


def loses_ledger(engine: Engine, revision: str) -> bool:
    """Say whether going down to `revision` removes the XP ledger, with what is in it."""
    scripts = ScriptDirectory.from_config(alembic_config())
    current = current_revision(engine)
    if current is None:
        return False
    going = {script.revision for script in scripts.iterate_revisions(current, revision, inclusive=False)}
    return LEDGER_REVISION in going


@lru_cache(maxsize=1)
def head_revision() -> str:
    """Return the newest revision that this code knows."""
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    assert head is not None, "there are no migrations"  # noqa: S101
    return head


@lru_cache(maxsize=1)
def known_revisions() -> frozenset[str]:
    """Return every revision that this code knows."""
    return frozenset(
        script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()
    )


def current_revision(engine: Engine) -> str | None:
    """Return the revision of the database, None where it was never migrated."""
    with engine.connect() as connection:
        if connection.scalar(text("SELECT to_regclass(:name)"), {"name": VERSION_TABLE}) is None:
            return None
        revision: str | None = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608
        return revision


def include_object(obj: object, name: str | None, type_: str, reflected: bool, compare_to: object) -> bool:
    """Say whether autogeneration looks at it: not at tables that are not ours (Supabase's, Prisma's)."""
    return not (type_ == "table" and reflected and compare_to is None)


@contextmanager
def migrating(engine: Engine) -> Iterator[Config]:
    """Yield Alembic's configuration with a connection of its own; a second caller waits here until the first is done.

    A statement that cannot get its lock within `LOCK_TIMEOUT` fails instead of queueing all traffic behind itself.
    """
    config = alembic_config()
    with engine.connect() as connection:
        connection.execute(
            text("SELECT set_config('statement_timeout', '0', false), set_config('lock_timeout', '0', false)")
        )
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
        connection.execute(
            text("SELECT set_config('lock_timeout', :timeout, false)"), {"timeout": LOCK_TIMEOUT}
        )
        connection.commit()
        config.attributes["connection"] = connection
        try:
            yield config
        finally:
            # The session's locks and settings go with it.
            connection.invalidate()
