"""`python -m bench.sync_once`: do the sync that is due, and print what it took as JSON."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

from sqlalchemy import text

import tasks.progress  # noqa: F401 - registers the kinds of jobs
from db.session import transaction
from partners.registry import get_partner
from workers.job import run_due
from workers.telemetry import configure_logging

FIGURES = text("SELECT last_calls, last_changed, last_failed FROM partner_sync_states")


def main() -> None:
    """Sync; memory is how far its peak rose above what the process had held before."""
    configure_logging("bench")
    get_partner("sandbox").check()
    with transaction() as session:
        session.execute(text("SELECT 1"))
    held = peak_memory()
    started, used = time.perf_counter(), time.process_time()
    while run_due(["progress.sync"]):
        pass
    seconds, cpu = time.perf_counter() - started, time.process_time() - used
    with transaction() as session:
        calls, changed, failed = session.execute(FIGURES).one()
    found = {"seconds": seconds, "cpu": cpu, "peak_growth_mb": (peak_memory() - held) / 1024}
    print(json.dumps(found | {"calls": calls, "changed": changed, "failed": failed}))


def peak_memory() -> int:
    """Return the most kilobytes that this process ever held (`getrusage` would tell its parent's). Linux only."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1])


if __name__ == "__main__":
    main()
