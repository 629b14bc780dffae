"""What each broker needs of us: a frozen one gives the relay back, and RabbitMQ holds quorum queues and nothing besides."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.jobs import Doorbell
from settings import get_settings
from tests.servers import BROKERS, Broker, missing, start_broker
from tests.stack import Stack
from workers.queues import PAYMENTS, all_queues
from workers.relay import Bell, pack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400), pytest.mark.usefixtures("only_in_full")]


@pytest.fixture
def broker(kind: str, tmp_path: Path) -> Iterator[Broker]:
    if reason := missing(kind):
        pytest.skip(reason)
    made = start_broker(kind, tmp_path / "broker")
    yield made
    os.killpg(made.process.pid, signal.SIGCONT)
    made.stop()


@pytest.mark.parametrize("kind", BROKERS)
def test_a_frozen_broker_does_not_keep_the_relay(
    broker: Broker, usher_env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKER_URL", broker.url)
    get_settings.cache_clear()
    # Importing it makes an app of the environment.
    from workers.app import make_app

    bell = Bell(make_app(get_settings()))
    doorbells = [Doorbell(id=str(number), kind="payments.process", queue=PAYMENTS) for number in range(20)]
    assert bell.ring(doorbells) == []
    assert broker.waiting(PAYMENTS) == len(pack(doorbells))
    os.killpg(broker.process.pid, signal.SIGSTOP)
    # On the connection that it has, and on one that it would have to make.
    for _ in range(2):
        assert bell.ring(doorbells) == doorbells
    os.killpg(broker.process.pid, signal.SIGCONT)
    assert bell.ring(doorbells) == []
    bell.close()


@pytest.mark.parametrize("kind", ["rabbitmq"])
def test_rabbitmq_holds_our_queues_as_quorum_queues_and_none_for_delays(broker: Broker, stack: Stack) -> None:
    stack.env["BROKER_URL"] = broker.url
    stack.start_worker()
    queues = {item["name"]: item for item in broker.ask("GET", "queues/%2F").json()}
    assert all(queues[name]["type"] == "quorum" and queues[name]["durable"] for name in all_queues())
    assert [name for name in queues if "delay" in name] == []
    assert not [item for item in broker.ask("GET", "exchanges/%2F").json() if "delay" in item["name"]]
