"""A broker that forgets, stops, freezes, fills up, or is cut off: nothing that matters lives in it."""

from __future__ import annotations

import signal
import time

import pytest
import redis

from tests.faults.chaos import repeat, slow_partner
from tests.faults.conftest import Breakable, Size
from tests.faults.invariants import check_invariants
from tests.faults.payments import Payments
from tests.faults.proxy import Proxy
from tests.servers import Broker
from tests.stack import Stack, scalar, wait_until

pytestmark = pytest.mark.e2e


def begin(stack: Stack, size: Size) -> Payments:
    """Start everything and have payments on their way."""
    stack.start_chain(relays=2, workers=2)
    slow_partner(stack)
    payments = Payments(stack, size.payments, refunds=size.refunds, spread=size.outage / 2).start()
    wait_until(lambda: scalar("SELECT count(*) FROM jobs") > 5, 10)
    return payments


def test_everything_in_the_broker_flushed_again_and_again(
    stack: Stack, message_broker: Broker, size: Size
) -> None:
    payments = begin(stack, size)
    repeat(message_broker.empty, size.outage / 2, 0.7)
    check_invariants(stack, payments.finish(), within=size.within)


def test_the_broker_stopped_for_a_while(stack: Stack, size: Size, broker: Breakable) -> None:
    payments = begin(stack, size)
    broker.stop(signal.SIGTERM)
    time.sleep(size.outage)
    assert not payments.posting
    assert payments.slowest < 2.0
    broker.start()
    check_invariants(stack, payments.finish(), within=size.within)


@pytest.mark.short
def test_the_broker_shot_and_restarted_empty(stack: Stack, size: Size, broker: Breakable) -> None:
    payments = begin(stack, size)
    for _ in range(2):
        broker.stop(signal.SIGKILL)
        time.sleep(0.5)
        broker.start(empty=True)
        time.sleep(1.0)
    check_invariants(stack, payments.finish(), within=size.within)


def test_the_broker_frozen_for_a_while(stack: Stack, size: Size, broker: Breakable) -> None:
    payments = begin(stack, size)
    broker.service.process.send_signal(signal.SIGSTOP)
    time.sleep(size.outage)
    assert not payments.posting
    broker.service.process.send_signal(signal.SIGCONT)
    check_invariants(stack, payments.finish(), within=size.within)


def test_a_broker_that_is_full(stack: Stack, size: Size, broker: Breakable) -> None:
    if broker.kind == "rabbitmq":
        pytest.skip("RabbitMQ that is full holds publishers up: that is a broker that is frozen")
    client = redis.Redis.from_url(broker.url)
    payments = begin(stack, size)
    client.config_set("maxmemory", "1")
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        client.set("anything", "more")
    time.sleep(size.outage)
    client.config_set("maxmemory", "0")
    # Celery ends a worker that takes a doorbell and cannot note down in the broker that it has it.
    check_invariants(stack, payments.finish(), within=size.within, supervised={"worker0", "worker1"})


@pytest.mark.parametrize("fault", ["cut_now", "half_open", "reset", "refuse", "blackhole", "latency"])
def test_a_network_to_the_broker_that_fails(
    stack: Stack, size: Size, broker_proxy: Proxy, fault: str
) -> None:
    payments = begin(stack, size)
    if fault == "latency":
        broker_proxy.latency(0.3)
        time.sleep(size.outage / 2)
    else:
        repeat(getattr(broker_proxy, fault), size.outage / 2, 1.0)
    broker_proxy.heal()
    check_invariants(stack, payments.finish(), within=size.within)
