"""Processes that die, freeze, come back, or take others with them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.faults.chaos import POISON, freeze_at_work, held_by, kill_one_every_second, reconcile, slow_partner
from tests.faults.conftest import Size
from tests.faults.invariants import check_invariants, wait_until_settled
from tests.faults.payments import Payments
from tests.servers import Broker
from tests.stack import ROOT, Stack, rows, scalar, wait_until

pytestmark = pytest.mark.e2e


@pytest.mark.short
def test_a_worker_killed_at_random_every_second(stack: Stack, size: Size) -> None:
    # Nobody loses five workers in a row for real; here every job may.
    stack.env["JOB_MAX_CLAIMS"] = "20"
    stack.start_chain(workers=3)
    slow_partner(stack)
    payments = Payments(stack, size.payments, refunds=size.refunds, spread=size.outage / 2).start()
    killed = kill_one_every_second(stack, ["worker0", "worker1", "worker2"], size.outage, payments)
    assert killed >= size.outage / 3
    check_invariants(stack, payments.finish(), within=size.within)


def test_worker_relay_beat_and_api_killed_in_turn(stack: Stack, size: Size) -> None:
    stack.env["JOB_MAX_CLAIMS"] = "20"
    stack.start_chain()
    stack.start_beat()
    slow_partner(stack)
    payments = Payments(stack, size.payments, refunds=size.refunds, spread=size.outage).start()
    while payments.posting:
        for name in ("worker0", "relay0", "beat", "api"):
            stack.kill(name)
            time.sleep(0.5)
            stack.restart(name)
    assert payments.statuses[599] > 0
    check_invariants(stack, payments.finish(), within=size.within)


def test_a_worker_frozen_past_its_lease_and_continued(stack: Stack, size: Size) -> None:
    freeze_and_continue(stack, size, in_transaction=False)


def test_a_worker_frozen_inside_a_transaction_and_continued(stack: Stack, size: Size) -> None:
    freeze_and_continue(stack, size, in_transaction=True)


def freeze_and_continue(stack: Stack, size: Size, *, in_transaction: bool) -> None:
    """Freeze a worker until others have done all its work; what it has to say afterwards must change nothing."""
    stack.start_chain(workers=2)
    slow_partner(stack, 0.3)
    payments = Payments(stack, size.payments, refunds=size.refunds).start()
    freeze_at_work(stack, "worker0", in_transaction=in_transaction)
    payments.finish()
    wait_until_settled(0, size.within)
    jobs = "SELECT id, state, token, claims, updated_at FROM jobs ORDER BY id"
    steps = "SELECT job_id, step, state, token, result, finished_at FROM job_steps ORDER BY job_id, step"
    before = rows(jobs), rows(steps)
    stack.kill("worker0", signal.SIGCONT)
    wait_until(lambda: "lease lost" in stack.log("worker0").read_text(), 20, lambda: "no late result came")
    time.sleep(2.0)
    assert (rows(jobs), rows(steps)) == before
    # A seat that it took after it was thawed, for somebody whose money went back meanwhile, is found by comparing.
    reconcile(stack)
    check_invariants(stack, payments, within=size.within)


def test_a_worker_frozen_with_a_doorbell_in_its_hands_and_killed(
    stack: Stack, message_broker: Broker, size: Size
) -> None:
    stack.start_chain()
    stack.kill("worker0", signal.SIGSTOP)
    first = Payments(stack, 1, prefix="first").post()
    wait_until(lambda: scalar("SELECT count(*) FROM jobs WHERE rung_at IS NOT NULL") == 1, 10)
    assert message_broker.waiting("payments") == 0, "the frozen worker holds the only doorbell"
    course = (first.provider, first.course)
    rest = Payments(stack, size.payments, refunds=size.refunds, course=course).post()
    stack.kill("worker0")
    stack.restart("worker0")
    check_invariants(stack, first, rest, within=size.within)


def test_a_job_that_ends_every_worker_that_takes_it(stack: Stack, size: Size) -> None:
    stack.start_chain(workers=0)
    work_with_poison(stack, size)


def test_a_job_that_ends_its_workers_while_others_wait_for_a_slow_partner(stack: Stack, size: Size) -> None:
    # Every walk takes two seconds, so those that were beside it never get through before it strikes again.
    stack.env["JOB_LEASE"] = "8"
    stack.start_chain(workers=0)
    slow_partner(stack, 0.4)
    work_with_poison(stack, size)


def work_with_poison(stack: Stack, size: Size) -> None:
    """Work many good jobs and one that ends its worker; start each worker again that ended."""
    good = Payments(stack, size.payments, refunds=size.refunds)
    bad = Payments(stack, 1, prefix="bad", course=(good.provider, poisoned_course(good.provider)))
    good.start()
    bad.post()
    good.finish()
    workers = ["worker0", "worker1"]
    for name in workers:
        stack.start_worker(name, app="tests.faults.poisoned", wait=False)
    deaths = 0
    deadline = time.monotonic() + size.within
    while scalar("SELECT count(*) FROM jobs WHERE state = 'parked'") == 0:
        assert time.monotonic() < deadline, "the job was not parked"
        for name in workers:
            if stack.processes[name].poll() is not None:
                deaths += 1
                stack.restart(name, wait=False)
        time.sleep(0.2)
    stack.wait_until_ready()
    assert deaths == 5
    check_invariants(stack, good, bad, within=size.within, parked=bad.students)
    [(code, step, message)] = rows(
        "SELECT error_code, step, error_message FROM partner_lms_enrollment_failures WHERE final"
    )
    assert (code, step) == ("poison", "account")
    assert message.startswith("5 workers took it")


def poisoned_course(provider: str) -> str:
    """Insert the course that ends its workers."""
    return str(
        scalar(
            "INSERT INTO partner_courses (provider_id, course_name, course_code) VALUES (:p, :c, :c) RETURNING id",
            p=provider,
            c=POISON,
        )
    )


def test_a_worker_asked_to_end_under_load(stack: Stack, size: Size) -> None:
    stack.start_chain(workers=2)
    slow_partner(stack, 0.2)
    payments = Payments(stack, size.payments, refunds=size.refunds).start()
    wait_until(lambda: held_by(stack, "worker0") >= 3, 30)
    stack.kill("worker0", signal.SIGTERM)
    assert stack.processes["worker0"].wait(15) == 0
    assert held_by(stack, "worker0") == 0
    outcome = check_invariants(stack, payments.finish(), within=size.within, dead={"worker0"})
    assert outcome.calls_again == 0


def test_old_and_new_workers_side_by_side(stack: Stack, size: Size, tmp_path: Path) -> None:
    revision = os.environ.get("USHER_OLD_REVISION", "HEAD")
    old = tmp_path / "old"
    old.mkdir()
    archive = subprocess.run(["git", "archive", revision], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode != 0:
        pytest.skip("there is no git history here to take an older worker from")
    subprocess.run(["tar", "x"], cwd=old, input=archive.stdout, check=True)
    stack.start_chain()
    stack.start_worker("old_worker", tree=old)
    slow_partner(stack)
    payments = Payments(stack, size.payments, refunds=size.refunds, spread=size.outage / 2).start()
    wait_until(lambda: held_by(stack, "old_worker") > 0, 30)
    wait_until(lambda: held_by(stack, "worker0") > 0, 30)
    check_invariants(stack, payments.finish(), within=size.within)


def test_a_worker_whose_clock_is_an_hour_ahead(stack: Stack, size: Size) -> None:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        pytest.skip("libfaketime is not installed: no process can be given a wrong clock")
    stack.start_chain()
    ahead = {"LD_PRELOAD": str(found[0]), "FAKETIME": "+3600s", "DONT_FAKE_MONOTONIC": "1"}
    stack.start_worker("ahead", env=ahead)
    slow_partner(stack)
    payments = Payments(stack, size.payments, refunds=size.refunds, spread=size.outage / 2).start()
    wait_until(lambda: held_by(stack, "ahead") > 0, 30)
    check_invariants(stack, payments.finish(), within=size.within)
