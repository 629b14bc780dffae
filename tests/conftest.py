"""What tests stand on: one PostgreSQL and one Valkey for the run, a fresh database for each test that asks for one."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psycopg2
import pytest
from sqlalchemy import Engine

import settings as settings_module
from db import session as db_session
from db.migrate import upgrade
from db.session import make_engine
from partners import registry
from tests.servers import BROKERS, Broker, missing, start_broker, start_pgbouncer
from workers.services import Service, start_postgres, start_valkey
from workers.telemetry import configure_logging

STRIPE_SECRET = "whsec_test_0123456789abcdef0123456789abcdef"
STRIPE_OLD_SECRET = "whsec_test_old_9876543210fedcba9876543210fed"
AUTH_SECRET = "test-auth-secret-0123456789abcdef"
CREDENTIALS_KEY = "dGVzdC1jcmVkZW50aWFscy1rZXktMDEyMzQ1Njc4OWE="
SANDBOX_KEY = "sandbox-key-for-tests"
TEMPLATE = "usher_template"
WITHOUT_DURABILITY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
ROOM = 8 * 2**30  # bytes: several workers, each with a write-ahead log of up to 1 GiB


class Database(NamedTuple):
    """A database of its own: its address and an engine on it."""

    url: str
    engine: Engine


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full",
        action="store_true",
        help="all faults, with 200 payments in flight each; hundreds of fuzzed requests",
    )
    parser.addoption(
        "--broker", choices=BROKERS, default=BROKERS[0], help="what real processes have as their broker"
    )
    parser.addoption(
        "--pooler", action="store_true", help="PgBouncer in transaction mode before every database"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of real processes begin first: they wait more than they work, and the quick ones fill the gaps.

    They also get a second try, which the run reports (decision 17); not so with `--full`, where every failure counts.
    """
    slow = ("run", "faults", "e2e", "deploy", "recover", "browser", "observe", "clients")
    items.sort(key=lambda item: slow.index(part) if (part := item.path.parent.name) in slow else len(slow))
    if config.getoption("full"):
        return
    for item in items:
        if item.path.parent.name in slow:
            item.add_marker(pytest.mark.flaky(reruns=1))
        if item.get_closest_marker("full"):
            item.add_marker(pytest.mark.skip(reason="only with --full"))


@pytest.fixture(scope="session")
def services_directory() -> Iterator[Path]:
    """A folder outside pytest's own, which every start of pytest closes to other users, PostgreSQL's among them."""
    directory = Path(tempfile.mkdtemp(prefix="usher-tests-", dir=_memory()))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


def _memory() -> Path | None:
    """A file system in memory, where making a database takes a tenth of the time, if it has room for the run."""
    memory = Path("/dev/shm")
    roomy = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > ROOM
    return memory if roomy else None


@pytest.fixture(scope="session")
def postgres(services_directory: Path) -> Iterator[Service]:
    """PostgreSQL without durability, which tests of rules do not need, and with a migrated template database."""
    service = start_postgres(services_directory, settings=WITHOUT_DURABILITY)
    try:
        _admin(service.url, f'CREATE DATABASE "{TEMPLATE}"')
        engine = make_engine(_sqlalchemy(_with_name(service.url, TEMPLATE)))
        upgrade(engine)
        engine.dispose()
        yield service
    finally:
        service.stop()


@pytest.fixture(scope="session")
def valkey(services_directory: Path) -> Iterator[Service]:
    """A broker for the run. A test that breaks it starts its own."""
    service = start_valkey(services_directory)
    yield service
    service.stop()


@pytest.fixture(scope="session")
def message_broker(request: pytest.FixtureRequest, services_directory: Path) -> Iterator[Broker]:
    """The broker that `--broker` names, for the run's real processes. A test that breaks it starts its own."""
    kind = request.config.getoption("broker")
    if reason := missing(kind):
        pytest.skip(reason)
    service = start_broker(kind, services_directory / "broker")
    yield service
    service.stop()


@pytest.fixture(scope="session")
def pooler(
    request: pytest.FixtureRequest, postgres: Service, services_directory: Path
) -> Iterator[Service | None]:
    """With `--pooler`, PgBouncer before the run's PostgreSQL; few connections, so that they are shared."""
    if not request.config.getoption("pooler"):
        yield None
        return
    if reason := missing("pgbouncer"):
        pytest.skip(reason)
    service = start_pgbouncer(services_directory, postgres.url, size=8)
    yield service
    service.stop()


@pytest.fixture
def empty_database(postgres: Service) -> Iterator[Database]:
    """A database without any table."""
    yield from _database(postgres, template="template1")


@pytest.fixture
def database(
    postgres: Service, pooler: Service | None, usher_env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Database]:
    """A migrated, empty database, to which `db.session.transaction()` of this process is bound."""
    for made in _database(postgres, template=TEMPLATE):
        addresses = {"DATABASE_URL": made.url}
        if pooler is not None:
            pooled = _with_name(pooler.url, made.url.rsplit("/", 1)[1])
            addresses = {"DATABASE_URL": pooled, "DATABASE_DIRECT_URL": made.url}
        usher_env |= addresses
        for name, value in addresses.items():
            monkeypatch.setenv(name, value)
        settings_module.get_settings.cache_clear()
        db_session.get_engine.cache_clear()
        yield made
        db_session.get_engine().dispose()
        db_session.get_engine.cache_clear()
        settings_module.get_settings.cache_clear()


@pytest.fixture
def usher_env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """A complete environment with nothing behind the addresses; fixtures that start something fill theirs in."""
    values = {
        "DATABASE_URL": "postgresql://nobody:nothing@127.0.0.1:1/none",
        "BROKER_URL": "redis://127.0.0.1:1/0",
        "APP_URL": "http://testserver",
        "STRIPE_WEBHOOK_SECRET": f"{STRIPE_SECRET},{STRIPE_OLD_SECRET}",
        "SMTP_URL": "smtp://127.0.0.1:1",
        "AUTH_SECRET": AUTH_SECRET,
        "SANDBOX_URL": "http://127.0.0.1:1",
        "SANDBOX_API_KEY": SANDBOX_KEY,
        "CREDENTIALS_KEYS": CREDENTIALS_KEY,
        "PARTNER_PRIVATE_ADDRESSES": "true",
        "DEV_SIGN_IN": "true",
        "USHER_DATA_DIR": str(tmp_path / "data"),
        "JOB_BACKOFF_BASE": "0.2",
    }
    for name in list(os.environ):
        if name.lower() in settings_module.Settings.model_fields or name == "NEXTAUTH_SECRET":
            monkeypatch.delenv(name)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    settings_module.get_settings.cache_clear()
    # What another test's processes attached reads that test's database.
    registry.use_overlay(None)
    yield values
    registry.use_overlay(None)
    settings_module.get_settings.cache_clear()


def _database(postgres: Service, template: str) -> Iterator[Database]:
    name = f"test_{uuid.uuid4().hex}"
    _admin(postgres.url, f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
    url = _with_name(postgres.url, name)
    engine = make_engine(_sqlalchemy(url))
    yield Database(url, engine)
    engine.dispose()
    _admin(postgres.url, f'DROP DATABASE "{name}" WITH (FORCE)')


def _admin(url: str, statement: str) -> None:
    connection = psycopg2.connect(_with_name(url, "postgres"))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statement)
    connection.close()


def _with_name(url: str, name: str) -> str:
    return f"{url.rsplit('/', 1)[0]}/{name}"


def _sqlalchemy(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg2://", 1)


@pytest.fixture(scope="session", autouse=True)
def quiet_logs() -> None:
    """Log as JSON from WARNING on: a failing test shows what went wrong, not ten thousand calls that went well."""
    configure_logging("tests", format="json", level="WARNING")
