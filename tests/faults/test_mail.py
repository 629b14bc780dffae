"""A mail server that is down, refuses, or takes a mail and loses the answer."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import pytest
import requests

from tests.faults.chaos import repeat
from tests.faults.conftest import Size
from tests.faults.invariants import check_invariants
from tests.faults.payments import Payments
from tests.faults.proxy import Proxy
from tests.stack import Stack, scalar, wait_until

pytestmark = pytest.mark.e2e


def test_a_mail_server_that_is_down_for_a_while(stack: Stack, size: Size) -> None:
    stack.start_chain(workers=2)
    stack.kill("mail_sink")
    payments = Payments(stack, size.payments, refunds=size.refunds, spread=size.outage / 2).post()
    time.sleep(size.outage / 2)
    stack.restart("mail_sink")
    check_invariants(stack, payments, within=size.within)


def test_a_mail_server_that_refuses_for_now(stack: Stack, size: Size) -> None:
    stack.start_chain(workers=2)
    refuse = {"status": 451, "times": size.payments}
    assert requests.post(f"{stack.sink_url}/_faults", json=refuse, timeout=10).status_code == 200
    payments = Payments(stack, size.payments, refunds=size.refunds, spread=size.outage / 2).post()
    check_invariants(stack, payments, within=size.within)


def test_a_mail_server_that_hangs_while_students_wait_for_seats(stack: Stack, size: Size) -> None:
    stack.start_chain(workers=0)
    proxy = put_proxy_before_mail_server(stack)
    stack.start_worker("worker0", wait=False)
    stack.start_worker("worker1")
    proxy.blackhole()
    payments = Payments(stack, size.payments, spread=size.outage / 2).post()
    active = "SELECT count(*) FROM partner_lms_enrollments WHERE status = 'active'"
    try:
        wait_until(lambda: scalar(active) == size.payments, 30, lambda: f"only {scalar(active)} are active")
        proxy.heal()
        check_invariants(stack, payments, within=size.within)
    finally:
        proxy.close()


@pytest.mark.parametrize("fault", ["cut_now", "half_open", "blackhole"])
def test_a_network_to_the_mail_server_that_fails(stack: Stack, size: Size, fault: str) -> None:
    stack.start_chain(workers=0)
    proxy = put_proxy_before_mail_server(stack)
    proxy.latency(0.05)
    stack.start_worker("worker0", wait=False)
    stack.start_worker("worker1")
    payments = Payments(stack, size.payments, refunds=size.refunds, spread=size.outage / 2).start()
    wait_until(lambda: len(stack.mails()) > 0, 30)
    repeat(getattr(proxy, fault), size.outage / 2, 0.5)
    proxy.heal()
    check_invariants(stack, payments.finish(), within=size.within)
    proxy.close()


def put_proxy_before_mail_server(stack: Stack) -> Proxy:
    """Have workers that are started from now on reach the mail server through a proxy."""
    proxy = Proxy("127.0.0.1", int(urlsplit(stack.env["SMTP_URL"]).port or 0))
    stack.env["SMTP_URL"] = f"smtp://127.0.0.1:{proxy.port}"
    return proxy
