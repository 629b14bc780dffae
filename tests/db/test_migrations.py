"""The migrations: up, down, the same as the models, and one at a time."""

from __future__ import annotations

import subprocess
import sys

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from db.migrate import VERSION_TABLE, current_revision, downgrade, head_revision, include_object, upgrade
from db.models import Base
from tests.conftest import Database


def test_an_empty_database_goes_up_down_and_up_again(empty_database: Database) -> None:
    engine = empty_database.engine
    assert current_revision(engine) is None
    upgrade(engine)
    assert current_revision(engine) == head_revision()
    downgrade(engine, "base")
    assert set(inspect(engine).get_table_names()) == {VERSION_TABLE}
    upgrade(engine)
    assert current_revision(engine) == head_revision()


def test_the_models_are_what_the_migrations_make(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_object": include_object,
                "compare_server_default": True,
                "version_table": VERSION_TABLE,
            },
        )
        assert compare_metadata(context, Base.metadata) == []


def test_tables_are_kept_as_the_models_say(database: Database) -> None:
    """Fillfactors and vacuum settings, which a comparison by Alembic leaves out."""
    with database.engine.connect() as connection:
        kept = connection.execute(
            text("SELECT relname, reloptions FROM pg_class WHERE relkind = 'r' AND reloptions IS NOT NULL")
        )
        found = {row.relname: set(row.reloptions) for row in kept if row.relname in Base.metadata.tables}
    told = {
        name: {f"{key}={value}" for key, value in table.dialect_options["postgresql"]["with"].items()}
        for name, table in Base.metadata.tables.items()
        if table.dialect_options["postgresql"]["with"]
    }
    assert found == told


def test_two_processes_that_migrate_at_once_take_turns(empty_database: Database) -> None:
    code = "import sys; from db.session import make_engine; from db.migrate import upgrade; upgrade(make_engine(sys.argv[1]))"
    url = empty_database.url.replace("postgresql://", "postgresql+psycopg2://")
    processes = [
        subprocess.Popen([sys.executable, "-c", code, url], stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], errors
    assert current_revision(empty_database.engine) == head_revision()
