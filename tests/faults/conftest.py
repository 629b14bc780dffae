"""The fault harness: real processes, faults from outside, the same invariants after each.

A few scenarios run with every `make test`, in a short form; `--full` runs all of them, with at least 200 payments in
flight in each.
"""

from __future__ import annotations

import shutil
import signal
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import settings as settings_module
from db import session as db_session
from db.migrate import upgrade
from tests.conftest import Database
from tests.faults.invariants import OUTCOMES
from tests.faults.proxy import Proxy
from tests.servers import Broker, start_broker
from tests.stack import Stack, steady_port
from workers.services import Service, start_postgres, stop_process

# Everything that waits, waits a shorter time, so that many faults fit into a run. The proportions stay as they are: a
# lease outlasts three calls, a doorbell rings again before a lease ends.
HURRIED = {
    "JOB_LEASE": "4",
    "JOB_BACKOFF_BASE": "0.2",
    "JOB_BACKOFF_CAP": "2",
    "JOB_MAX_ATTEMPTS": "200",
    "BREAKER_BASE": "0.5",
    "BREAKER_CAP": "2",
    "RELAY_RING_TIMEOUT": "2",
    "PARTNER_CONNECT_TIMEOUT": "1",
    "PARTNER_READ_TIMEOUT": "1",
    "WORKER_CONCURRENCY": "8",
    "MAIL_CONCURRENCY": "4",
}


@dataclass(frozen=True)
class Size:
    """How large a scenario is: payments in flight, and for how many seconds a fault lasts."""

    payments: int
    refunds: int
    outage: float
    # Seconds in which everything has to be settled once the fault is over.
    within: float


@dataclass
class Breakable:
    """A service of this scenario's own, which can be ended in any way and started again where it was."""

    kind: str
    directory: Path
    service: Service = field(init=False)

    def __post_init__(self) -> None:
        self.service = self._start(steady_port())

    @property
    def url(self) -> str:
        """Its address, the same over restarts."""
        return self.service.url

    def stop(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End it: asked politely, or shot."""
        stop_process(self.service.process, number)
        self.service.stop()

    def start(self, *, empty: bool = False) -> None:
        """Start it on the same port, where asked for without anything that it held."""
        if empty:
            shutil.rmtree(self.directory / self.kind)
        self.service = self._start(int(urlsplit(self.url).port or 0))

    def _start(self, port: int) -> Service:
        if self.kind == "postgres":
            return start_postgres(self.directory, port)
        return start_broker(self.kind, self.directory, port)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "short: a fault that is tried with every run of the tests")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    ours = [item for item in items if item.path.is_relative_to(here)]
    full = config.getoption("full", False)
    left_out = [item for item in ours if not full and item.get_closest_marker("short") is None]
    if full:
        for item in ours:
            item.add_marker(pytest.mark.timeout(400))
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def size(request: pytest.FixtureRequest) -> Size:
    """The size of this run's scenarios."""
    if request.config.getoption("full", False):
        return Size(payments=200, refunds=20, outage=20.0, within=120.0)
    return Size(payments=30, refunds=3, outage=3.0, within=45.0)


@pytest.fixture
def stack(
    database: Database, message_broker: Broker, usher_env: dict[str, str], tmp_path: Path
) -> Iterator[Stack]:
    """An environment with a database and an emptied broker; the scenario starts the processes it wants."""
    message_broker.empty()
    env = {**usher_env, **HURRIED, "BROKER_URL": message_broker.url}
    made = Stack(env, tmp_path / "stack")
    yield made
    made.stop()


@pytest.fixture
def broker(request: pytest.FixtureRequest, stack: Stack, services_directory: Path) -> Iterator[Breakable]:
    """A broker that this scenario may break; the stack is on it."""
    made = Breakable(request.config.getoption("broker"), services_directory / uuid.uuid4().hex)
    stack.env["BROKER_URL"] = made.url
    yield made
    made.stop()


@pytest.fixture
def postgres_server(
    stack: Stack, services_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Breakable]:
    """A PostgreSQL with durability, which this scenario may break; the stack and this process are on it."""
    made = Breakable("postgres", services_directory / uuid.uuid4().hex)
    stack.env["DATABASE_URL"] = made.url
    stack.env.pop("DATABASE_DIRECT_URL", None)
    monkeypatch.setenv("DATABASE_URL", made.url)
    monkeypatch.delenv("DATABASE_DIRECT_URL", raising=False)
    db_session.get_engine().dispose()
    settings_module.get_settings.cache_clear()
    db_session.get_engine.cache_clear()
    upgrade(db_session.get_engine())
    yield made
    made.stop(signal.SIGINT)


@pytest.fixture
def database_proxy(stack: Stack) -> Iterator[Proxy]:
    """A proxy between the stack's processes and PostgreSQL; this process talks to PostgreSQL itself."""
    yield from _proxy(stack, "DATABASE_URL")


@pytest.fixture
def broker_proxy(stack: Stack) -> Iterator[Proxy]:
    """A proxy between the stack's processes and the broker."""
    yield from _proxy(stack, "BROKER_URL")


def _proxy(stack: Stack, name: str) -> Iterator[Proxy]:
    parts = urlsplit(stack.env[name])
    proxy = Proxy(str(parts.hostname), int(parts.port or 0))
    stack.env[name] = stack.env[name].replace(f":{parts.port}", f":{proxy.port}")
    yield proxy
    proxy.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not OUTCOMES:
        return
    terminalreporter.section("faults")
    terminalreporter.write_line(
        f"{'scenario':<75} payments  settled after  mails again  calls again  blind  restarts"
    )
    for outcome in OUTCOMES:
        terminalreporter.write_line(
            f"{outcome.scenario:<75} {outcome.payments:>8} {outcome.settled:>12.1f} s {outcome.mails_again:>12}"
            f" {outcome.calls_again:>12} {outcome.blind:>6} {outcome.restarts:>9}"
        )
