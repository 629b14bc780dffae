"""The whole chain as processes: for each test its own database, broker database, sandbox and mail sink."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.servers import Broker
from tests.stack import Stack
from workers.telemetry import configure_logging


@pytest.fixture
def stack(
    database: Database, message_broker: Broker, usher_env: dict[str, str], tmp_path: Path
) -> Iterator[Stack]:
    """An environment with a database and an emptied broker; the test starts the processes it wants."""
    message_broker.empty()
    # Other tests of this process may have made an app, which logs every call that goes well.
    configure_logging("tests", format="json", level="WARNING")
    made = Stack({**usher_env, "BROKER_URL": message_broker.url}, tmp_path / "stack")
    yield made
    made.stop()
