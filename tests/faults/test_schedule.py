"""Relays and beats: none for a while, several at once."""

from __future__ import annotations

import signal
import time

import pytest

from tests.faults.chaos import slow_partner
from tests.faults.conftest import Size
from tests.faults.invariants import check_invariants
from tests.faults.payments import Payments
from tests.stack import Stack, rows, scalar, wait_until

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_no_relay_for_a_while(stack: Stack, size: Size, how: signal.Signals) -> None:
    stack.start_chain()
    slow_partner(stack)
    payments = Payments(stack, size.payments, refunds=size.refunds, spread=size.outage / 2).start()
    wait_until(lambda: scalar("SELECT count(*) FROM partner_lms_enrollments") > 5, 20)
    stack.kill("relay0", how)
    time.sleep(size.outage)
    if how == signal.SIGKILL:
        stack.restart("relay0")
    else:
        stack.kill("relay0", signal.SIGCONT)
    check_invariants(stack, payments.finish(), within=size.within)


def test_a_frozen_relay_beside_a_well_one(stack: Stack, size: Size) -> None:
    stack.start_chain(relays=2)
    slow_partner(stack)
    payments = Payments(stack, size.payments, refunds=size.refunds, spread=size.outage / 2).start()
    wait_until(lambda: scalar("SELECT count(*) FROM partner_lms_enrollments") > 5, 20)
    stack.kill("relay0", signal.SIGSTOP)
    payments.finish()
    wait_until(lambda: scalar("SELECT count(*) FROM jobs WHERE state <> 'done'") == 0, size.within)
    stack.kill("relay0", signal.SIGCONT)
    check_invariants(stack, payments, within=size.within)


def test_three_relays_at_once(stack: Stack, size: Size) -> None:
    stack.start_chain(relays=3, workers=2)
    slow_partner(stack)
    payments = Payments(stack, size.payments, refunds=size.refunds).post()
    outcome = check_invariants(stack, payments, within=size.within)
    assert outcome.calls_again == 0
    assert scalar("SELECT count(*) FROM jobs WHERE token > 1 AND kind <> 'enrollment.walk'") == 0


def test_two_beats_take_each_turn_once(stack: Stack, size: Size) -> None:
    stack.env["SYNC_INTERVAL"] = "1"
    stack.start_chain(workers=2)
    payments = Payments(stack, size.payments, refunds=size.refunds).post()
    wait_until(lambda: scalar("SELECT count(*) FROM partner_lms_enrollments WHERE status = 'active'") > 0, 30)
    beats = ["beat0", "beat1"]
    for name in beats:
        stack.start_beat(name)
    asked = "Sending due task sync-progress"
    wait_until(lambda: min(stack.log(name).read_text().count(asked) for name in beats) >= 2, 60)
    time.sleep(2.0)
    for name in beats:
        stack.kill(name)
    check_invariants(stack, payments, within=size.within, dead=beats)
    slots = scalar("SELECT count(*) FROM scheduled_runs WHERE job = 'progress.schedule'")
    assert 2 <= slots <= 4
    [(syncs,)] = rows("SELECT token FROM jobs WHERE kind = 'progress.sync'")
    assert syncs == slots
