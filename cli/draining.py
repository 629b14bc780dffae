"""Working off due jobs in threads of this process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from itertools import count

import click

from workers.app import TASK_MODULES
from workers.job import KINDS, run_due
from workers.telemetry import configure_logging


def load_kinds() -> None:
    """Import every task module, which registers its kinds of jobs."""
    for module in TASK_MODULES:
        import_module(module)


def drain_due(kinds: list[str], limit: int | None, threads: int) -> int:
    """Work jobs until none is due or `limit` is reached; return how many were worked."""
    load_kinds()
    unknown = set(kinds) - set(KINDS)
    if unknown:
        raise click.UsageError(
            f"there is no kind {', '.join(sorted(unknown))}; there are {', '.join(sorted(KINDS))}"
        )
    configure_logging("drain", format="console", level="WARNING")
    tickets = count()

    def work_off() -> int:
        done = 0
        while (limit is None or next(tickets) < limit) and run_due(kinds or None):
            done += 1
        return done

    with ThreadPoolExecutor(threads) as pool:
        return sum(worker.result() for worker in [pool.submit(work_off) for _ in range(threads)])
