"""A pooler in transaction mode before PostgreSQL: what needs a session of its own goes past it, all else through it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from cli.main import usher
from db import jobs, lean
from db import session as db_session
from db.migrate import current_revision, head_revision
from db.session import PARAMETERS, get_engine, make_engine, transaction
from settings import get_settings
from tests.conftest import Database
from tests.servers import missing, start_pgbouncer
from workers.relay import Listener
from workers.services import Service

NOW_IN_FORCE = "SELECT name, setting FROM pg_settings WHERE lower(name) = ANY(:names)"


@pytest.fixture(scope="module")
def pgbouncer(postgres: Service, services_directory: Path) -> Iterator[Service]:
    if reason := missing("pgbouncer"):
        pytest.skip(reason)
    service = start_pgbouncer(services_directory / "small", postgres.url, size=2)
    yield service
    service.stop()


@pytest.fixture
def pooled(
    pgbouncer: Service, empty_database: Database, usher_env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A database without tables behind two pooled connections, to which this process is bound; its pooled address."""
    address = f"{pgbouncer.url.rsplit('/', 1)[0]}/{empty_database.url.rsplit('/', 1)[1]}"
    monkeypatch.setenv("DATABASE_URL", address)
    monkeypatch.setenv("DATABASE_DIRECT_URL", empty_database.url)
    get_settings.cache_clear()
    db_session.get_engine.cache_clear()
    yield address
    get_engine().dispose()
    db_session.get_engine.cache_clear()
    get_settings.cache_clear()


def in_force() -> dict[str, str]:
    """Return what holds in a transaction."""
    with transaction() as session:
        found = session.execute(text(NOW_IN_FORCE), {"names": list(PARAMETERS)})
        return {name.lower(): value for name, value in found}


def test_the_time_outs_hold_in_every_transaction_whoever_had_the_connection_before(pooled: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: in_force(), range(40))) == [PARAMETERS] * 40


def test_they_hold_for_a_statement_on_its_own_too(pooled: str) -> None:
    statement = lean.Statement("in_force", NOW_IN_FORCE.replace(":names", "{names}"), names="text[]")

    def shown(_: int) -> dict[str, str]:
        return {name.lower(): value for name, value in lean.run(statement, {"names": list(PARAMETERS)})}

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(shown, range(40))) == [PARAMETERS] * 40


def test_migrations_and_listening_go_past_it(pooled: str) -> None:
    done = CliRunner().invoke(usher, ["db", "upgrade"])
    assert done.exit_code == 0, done.output
    assert current_revision(get_engine()) == head_revision()
    listener = Listener(get_settings().direct_url())
    listener.wait(0)
    with transaction() as session:
        session.execute(text(f"NOTIFY {jobs.CHANNEL}"))
    # It would wait for a minute, and the test with it, if nothing were heard.
    listener.wait(60)
    listener.close()


def test_without_the_direct_address_it_refuses_what_we_need(pooled: str) -> None:
    engine = make_engine(pooled.replace("postgresql://", "postgresql+psycopg2://", 1))
    with pytest.raises(OperationalError, match="unsupported startup parameter"), engine.connect():
        pass
