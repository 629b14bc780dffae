"""PostgreSQL restarted, crashed, cut off: while it is away nothing is taken on, and what was taken on is finished."""

from __future__ import annotations

import signal
import time

import pytest

from tests.faults.chaos import repeat, slow_partner
from tests.faults.conftest import Breakable, Size
from tests.faults.invariants import check_invariants
from tests.faults.payments import Payments
from tests.faults.proxy import Proxy
from tests.stack import Stack, rows, scalar, wait_until

pytestmark = pytest.mark.e2e

END_ALL = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


def begin(stack: Stack, size: Size) -> Payments:
    """Start everything and have payments on their way."""
    stack.start_chain(workers=2)
    slow_partner(stack)
    payments = Payments(stack, size.payments, refunds=size.refunds, spread=size.outage / 2).start()
    wait_until(lambda: scalar("SELECT count(*) FROM partner_lms_enrollments") > 5, 20)
    return payments


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["restarted", "crashed"])
def test_postgresql_down_for_a_while(
    stack: Stack, size: Size, postgres_server: Breakable, how: signal.Signals
) -> None:
    payments = begin(stack, size)
    for _ in range(2):
        postgres_server.stop(how)
        time.sleep(size.outage / 4)
        postgres_server.start()
        time.sleep(1.0)
    assert sum(count for status, count in payments.statuses.items() if status >= 500) > 0
    check_invariants(stack, payments.finish(), within=size.within)


@pytest.mark.short
def test_every_connection_to_postgresql_ended_again_and_again(stack: Stack, size: Size) -> None:
    payments = begin(stack, size)
    repeat(lambda: rows(END_ALL), size.outage / 2, 0.5)
    check_invariants(stack, payments.finish(), within=size.within)


@pytest.mark.parametrize("fault", ["cut_now", "half_open", "reset", "refuse", "blackhole", "latency"])
def test_a_network_to_postgresql_that_fails(
    stack: Stack, size: Size, database_proxy: Proxy, fault: str
) -> None:
    payments = begin(stack, size)
    if fault == "latency":
        database_proxy.latency(0.05)
        time.sleep(size.outage / 2)
    else:
        repeat(getattr(database_proxy, fault), size.outage / 2, 1.0)
    database_proxy.heal()
    check_invariants(stack, payments.finish(), within=size.within)
