"""Each migration with rows in every table: up step by step, down step by step, and old code on the newer schema."""

from __future__ import annotations

from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from db.migrate import VERSION_TABLE, alembic_config, current_revision, downgrade, head_revision, upgrade
from tests.conftest import Database
from tests.db.filling import Filler


def revisions() -> list[str]:
    """Return every revision, the first one first."""
    scripts = ScriptDirectory.from_config(alembic_config()).walk_revisions()
    return [script.revision for script in scripts][::-1]


def test_every_step_works_with_rows_in_every_table(empty_database: Database) -> None:
    engine, filled = empty_database.engine, set[str]()
    for revision in revisions():
        upgrade(engine, revision)
        with engine.begin() as connection:
            filled |= set(Filler(connection).fill())
    assert filled == set(inspect(engine).get_table_names()) - {VERSION_TABLE}
    for revision in [*revisions()[-2::-1], "base"]:
        downgrade(engine, revision)
        assert current_revision(engine) == (None if revision == "base" else revision)
    assert set(inspect(engine).get_table_names()) == {VERSION_TABLE}
    upgrade(engine)
    with engine.begin() as connection:
        assert set(Filler(connection).fill()) == filled
    assert current_revision(engine) == head_revision()


def test_code_of_one_step_earlier_can_write_to_every_table(empty_database: Database) -> None:
    """While processes are restarted, old ones insert without the columns that are new: those have defaults."""
    engine, older = empty_database.engine, []
    for revision in revisions():
        upgrade(engine, revision)
        with engine.connect() as connection:
            for statement, values in older:
                connection.execute(text(statement), values)
            connection.rollback()
            filler = Filler(connection)
            filler.fill()
            older = filler.statements
            connection.rollback()
    assert len(older) > 40
