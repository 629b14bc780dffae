"""Workers on several hosts, one of which loses its network in the middle of its work and gets it back."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.deploy.hosts import Network, network, why_not
from tests.faults.chaos import held_by, slow_partner
from tests.faults.conftest import Size
from tests.faults.invariants import check_invariants, wait_until_settled
from tests.faults.payments import Payments
from tests.stack import BIN, Stack, rows, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400), pytest.mark.usefixtures("only_in_full")]

HOSTS = 3
PAYMENTS = 60
HELD = "SELECT id FROM jobs WHERE state = 'running' AND split_part(lease_owner, ':', 2) = :pid"
JOBS = "SELECT id, state, token, claims, updated_at FROM jobs ORDER BY created_at, id"
STEPS = (
    "SELECT s.job_id, s.step, s.state, s.token, s.result, s.finished_at FROM job_steps s JOIN jobs j ON j.id = s.job_id"
    " ORDER BY j.created_at, j.id, s.step"
)


@pytest.fixture
def hosts() -> Iterator[Network]:
    if reason := why_not():
        pytest.skip(reason)
    with network() as made:
        yield made


def start_worker_on_a_host(stack: Stack, hosts: Network, name: str, env: dict[str, str]) -> None:
    """Start a worker that sees the network of its host only."""
    command = [*hosts.add(), str(BIN / "celery"), "-A", "workers", "worker", "--without-gossip"]
    command += ["--without-mingle", "--hostname", f"{name}@test"]
    stack.start(name, command, stack.says(name, " ready."), wait=False, env=env)


def test_a_host_is_cut_off_in_the_middle_of_jobs_and_comes_back(
    hosts: Network, stack: Stack, size: Size
) -> None:
    stack.start_chain(workers=0)
    env = hosts.reachable(stack.env)
    names = [f"host{number}" for number in range(HOSTS)]
    for name in names:
        start_worker_on_a_host(stack, hosts, name, env)
    stack.wait_until_ready()
    slow_partner(stack, 0.3)
    first = Payments(stack, PAYMENTS, refunds=PAYMENTS // 10).start()
    wait_until(lambda: min(held_by(stack, name) for name in names) >= 3, 30)

    hosts.cut_off(0)
    held = [str(row[0]) for row in rows(HELD, pid=str(stack.processes["host0"].pid))]
    assert held
    first.finish()
    wait_until_settled(0, size.within)
    taken_over = rows("SELECT state, token FROM jobs WHERE id = ANY(CAST(:ids AS uuid[]))", ids=held)
    assert len(taken_over) == len(held)
    assert all(state == "done" and token > 1 for state, token in taken_over)

    before = rows(JOBS), rows(STEPS)
    hosts.put_back(0)
    # The others end, so whatever is done from here on, the host that came back does.
    for name in names[1:]:
        stack.kill(name, signal.SIGTERM)
        assert stack.processes[name].wait(20) == 0
    second = Payments(stack, PAYMENTS // 3, course=(first.provider, first.course), prefix="later").post()
    check_invariants(stack, first, second, within=size.within, dead=names[1:])
    assert (rows(JOBS)[: len(before[0])], rows(STEPS)[: len(before[1])]) == before
