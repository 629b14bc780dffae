"""What scenarios have in common: slow partners, who holds which job, killing in a row."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Callable, Sequence

from tests.faults.payments import Payments
from tests.stack import BIN, Stack, scalar, wait_until

# The course in which taking a seat ends the worker, where `tests.faults.poisoned` is its app.
POISON = "ENDS-ITS-WORKER"


def slow_partner(stack: Stack, seconds: float = 0.1) -> None:
    """Have every call take its time, so that work is in flight when a fault comes."""
    stack.fault(call="*", latency=seconds)


def held_by(stack: Stack, name: str) -> int:
    """Return how many jobs a worker holds."""
    pid = stack.processes[name].pid
    return int(
        scalar(
            "SELECT count(*) FROM jobs WHERE state = 'running' AND split_part(lease_owner, ':', 2) = :pid",
            pid=str(pid),
        )
    )


def freeze_at_work(stack: Stack, name: str, *, in_transaction: bool = False) -> None:
    """Stop a worker where it stands, with some jobs in its hands, and with or without a transaction open."""
    deadline = time.monotonic() + 30
    while True:
        wait_until(lambda: held_by(stack, name) >= 3, 30, lambda: f"{name} holds {held_by(stack, name)} jobs")
        stack.kill(name, signal.SIGSTOP)
        if held_by(stack, name) and (open_transactions() > 0) == in_transaction:
            return
        stack.kill(name, signal.SIGCONT)
        assert time.monotonic() < deadline, f"{name} was never caught as wanted"
        time.sleep(0.01)


def open_transactions() -> int:
    """Return how many transactions have been waiting for their client for a while."""
    time.sleep(0.2)
    return int(
        scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND state LIKE 'idle in transaction%' AND state_change < now() - interval '150 ms'"
        )
    )


def ready(stack: Stack, names: Sequence[str]) -> list[str]:
    """Return those that have come up since they were started last."""
    return [name for name in names if name not in stack.unready or stack.unready[name]()]


def kill_one_every_second(stack: Stack, names: Sequence[str], seconds: float, payments: Payments) -> int:
    """Kill one of them at random, as soon as it is up, and start it again; return how many died."""
    killed = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end or payments.posting:
        for name in random.sample(ready(stack, names), k=1) if ready(stack, names) else []:
            stack.kill(name)
            stack.restart(name, wait=False)
            killed += 1
        time.sleep(1.0)
    stack.wait_until_ready()
    return killed


def reconcile(stack: Stack) -> None:
    """Compare the partner's seats with ours, as beat asks for once a day."""
    command = [str(BIN / "usher"), "partner", "reconcile", "sandbox"]
    done = subprocess.run(command, env=stack.env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def repeat(action: Callable[[], object], seconds: float, pause: float) -> None:
    """Do something again and again."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        action()
        time.sleep(pause)
