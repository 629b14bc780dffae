"""Partners that hang, break off, forget to answer, answer nonsense, or send everybody away."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest
import requests

from tests.faults.chaos import reconcile, repeat
from tests.faults.conftest import Size
from tests.faults.invariants import check_invariants
from tests.faults.payments import Payments
from tests.stack import Stack, rows, scalar, statuses, wait_until

pytestmark = pytest.mark.e2e

CREATES = ("POST /accounts", "POST /enrollments", "POST /enrollments/{id}/launch")

LOOKS = ("GET /accounts", "GET /enrollments")


def begin(stack: Stack, size: Size) -> Payments:
    """Have payments on their way."""
    return Payments(stack, size.payments, refunds=size.refunds, spread=size.outage / 2).start()


def spoil_a_third(stack: Stack, calls: Sequence[str] = (*CREATES, *LOOKS), **fault: Any) -> None:
    """Have every third of these calls go wrong: each fault counts the calls that those before it let through."""
    for call in calls:
        for after in range(0, 400, 2):
            stack.fault(call=call, after=after, times=1, **fault)


def heal(stack: Stack) -> None:
    """Have the partner behave."""
    assert requests.delete(f"{stack.sandbox_url}/_faults", timeout=10).status_code == 200


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"hang": 60}, id="hangs"),
        pytest.param({"reset": True}, id="resets"),
        pytest.param({"garbage": True}, id="answers garbage"),
        pytest.param({"status": 502}, id="answers 502"),
        pytest.param({"lose_answer": True}, id="works and loses the answer"),
        pytest.param({"lose_answer": True, "hang": 60}, id="works and hangs"),
        pytest.param({"lose_answer": True, "garbage": True}, id="works and answers garbage"),
        pytest.param({"lose_answer": True, "status": 500}, id="works and answers 500"),
    ],
)
def test_a_partner_that(stack: Stack, size: Size, fault: dict[str, Any]) -> None:
    stack.start_chain(workers=2)
    spoil_a_third(stack, **fault)
    payments = begin(stack, size)
    time.sleep(size.outage / 2)
    stack.fault(call="*", **fault)
    time.sleep(size.outage / 4)
    heal(stack)
    check_invariants(stack, payments.finish(), within=size.within)


def test_a_partner_that_works_and_loses_every_third_answer(stack: Stack, size: Size) -> None:
    stack.start_chain(workers=2)
    spoil_a_third(stack, CREATES, lose_answer=True)
    payments = begin(stack, size)
    outcome = check_invariants(stack, payments.finish(), within=size.within)
    assert outcome.blind == 0


def test_a_partner_that_answers_after_40_seconds(stack: Stack, size: Size) -> None:
    stack.start_chain(workers=2)
    spoil_a_third(stack, CREATES, latency=40)
    payments = begin(stack, size)
    time.sleep(size.outage)
    heal(stack)
    check_invariants(stack, payments.finish(), within=size.within)
    assert sum(call["status"] is None for call in stack.sandbox_calls()) >= size.payments / 20
    # What was given up is still done at the partner: no second seat for anybody, but one for somebody whose money went
    # back meanwhile, until the partner's seats are compared with ours.
    wait_until(lambda: all(call["status"] is not None for call in stack.sandbox_calls()), 60)
    reconcile(stack)
    check_invariants(stack, payments, within=size.within)


def test_a_storm_of_429(stack: Stack, size: Size) -> None:
    stack.start_chain(workers=2)
    stack.fault(call="*", status=429, retry_after=2, times=size.payments * 2)
    payments = begin(stack, size)
    check_invariants(stack, payments.finish(), within=size.within)
    assert (
        scalar("SELECT count(*) FROM partner_lms_enrollment_failures WHERE error_code = 'rate_limited'") > 0
    )
    early = rows(
        """
        SELECT count(*) FROM partner_lms_enrollment_failures f
        JOIN job_steps s ON s.job_id = f.job_id AND s.step = f.step
        JOIN partner_lms_enrollments e ON e.id = f.enrollment_id AND e.status = 'active'
        WHERE f.error_code = 'rate_limited' AND s.started_at < f.created_at + interval '2 seconds'
        """
    )
    assert early == [(0,)]


def test_a_partner_that_is_down_for_a_while(stack: Stack, size: Size) -> None:
    stack.start_chain(workers=2)
    stack.fault(call="*", status=503)
    payments = begin(stack, size)
    time.sleep(size.outage)
    payments.finish()
    assert scalar("SELECT count(*) FROM partner_lms_enrollments WHERE status = 'active'") == 0
    heal(stack)
    check_invariants(stack, payments, within=size.within)


def test_a_partner_that_is_down_for_days(stack: Stack, size: Size) -> None:
    # With the pauses and the number of attempts that are the default.
    for name in ("JOB_MAX_ATTEMPTS", "JOB_BACKOFF_BASE", "JOB_BACKOFF_CAP", "BREAKER_BASE", "BREAKER_CAP"):
        del stack.env[name]
    stack.start_chain(workers=2)
    stack.fault(call="*", status=503)
    payments = begin(stack, size).finish()
    repeat(turn_the_clock_by_an_hour, 45, 0.5)
    assert statuses().keys() <= {"pending", "revoked"}
    heal(stack)
    repeat(turn_the_clock_by_an_hour, 5, 0.5)
    check_invariants(stack, payments, within=size.within)


def turn_the_clock_by_an_hour() -> None:
    """Make everything that waits for a time an hour older."""
    rows("UPDATE jobs SET next_run_at = next_run_at - interval '1 hour' WHERE state = 'ready' RETURNING 1")
    rows("UPDATE partner_states SET open_until = open_until - interval '1 hour' RETURNING 1")


def test_a_partner_killed_and_restarted(stack: Stack, size: Size) -> None:
    stack.start_chain(workers=2)
    payments = begin(stack, size)
    for _ in range(int(size.outage / 4)):
        wait_until(lambda: scalar("SELECT count(*) FROM jobs WHERE state = 'running'") > 0, 10)
        stack.kill("sandbox")
        time.sleep(1.0)
        stack.restart("sandbox")
    check_invariants(stack, payments.finish(), within=size.within)
