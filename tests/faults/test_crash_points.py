"""The process dies before and after every commit and every call, one point after the other, none left out."""

from __future__ import annotations

import math
import signal

import pytest

from tests.faults.conftest import Size
from tests.faults.crasher import work_off
from tests.faults.invariants import check_invariants
from tests.faults.payments import Payments
from tests.stack import Stack, rows, scalar, wait_until
from workers.queues import all_queues

pytestmark = pytest.mark.e2e

AROUND_STEPS = ("before begin", "before call", "after call")
AROUND_JOBS = ("after claim", "before complete", "after complete")
STEPS = {
    "payments.process": (),
    "enrollment.walk": ("account", "seat", "launch_check"),
    "mail.send": ("send",),
}
# A worker that has the queues of both goes on with the enrolment that its payment made.
KEPT = "payments.process with its enrollment.walk"
QUEUES = {
    "payments.process": "payments",
    "enrollment.walk": "enroll.sandbox",
    "mail.send": "mail",
    KEPT: "payments,enroll.sandbox",
}


def points(kind: str) -> list[str]:
    """Return every crash point on the way of a job of this kind."""
    if kind == KEPT:
        return points("enrollment.walk")
    return [*AROUND_JOBS, *(f"{place} {step}" for step in STEPS[kind] for place in AROUND_STEPS)]


@pytest.mark.short
def test_a_process_that_dies_at_every_point_once(stack: Stack, size: Size) -> None:
    stack.env["JOB_LEASE"] = "1"
    stack.start_sandbox(wait=False)
    stack.start_mail_sink(wait=False)
    stack.start_api()
    payments = Payments(stack, size.payments).post()
    for kind in STEPS:
        for point in points(kind):
            died = work_off([kind], {**stack.env, "CRASH_AT": point}, 1.5)
            assert died == -signal.SIGKILL, f"nothing reached the point {point!r} of {kind}"
        assert work_off([kind], stack.env, 1.5) == 0
    outcome = check_invariants(stack, payments, within=size.within)
    # After the mail server took it, and before that was written down.
    assert outcome.mails_again == 2
    assert outcome.blind == 0
    adopted = rows("SELECT DISTINCT step FROM job_steps WHERE result->>'adopted' = 'true' ORDER BY step")
    assert adopted == [("account",), ("seat",)]


@pytest.mark.parametrize("kind", QUEUES)
def test_a_worker_that_dies_at_every_point_again_and_again(stack: Stack, size: Size, kind: str) -> None:
    stack.env["JOB_MAX_CLAIMS"] = "20"
    stack.env["WORKER_CONCURRENCY"] = "4"
    stack.start_chain(workers=0)
    others = ",".join(queue for queue in all_queues() if queue not in QUEUES[kind].split(","))
    stack.start_worker("others", "-Q", others)
    crowd = math.ceil(size.payments / len(points(kind)))
    sets: list[Payments] = []
    for number, point in enumerate(points(kind)):
        stack.start_worker("victim", "-Q", QUEUES[kind], env={"CRASH_AT": point}, wait=False)
        course = (sets[0].provider, sets[0].course) if sets else None
        sets.append(Payments(stack, crowd, prefix=f"set-{number}", course=course).post())
        wait_until(lambda: stack.processes["victim"].poll() is not None, 30, lambda: f"{point!r} not reached")  # noqa: B023
        assert stack.processes["victim"].returncode == -signal.SIGKILL
        stack.unready.pop("victim", None)
        stack.start_worker("healthy", "-Q", QUEUES[kind])
        wait_until(lambda: scalar("SELECT count(*) FROM jobs WHERE state <> 'done'") == 0, size.within)
        stack.kill("healthy")
    stack.start_worker("healthy", "-Q", QUEUES[kind])
    check_invariants(stack, *sets, within=size.within, dead={"victim"})
