"""`python -m bench [NAME ...] [--rounds N] [--quick]`: one JSON line per figure on standard output."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable

from bench import (
    bulkhead,
    dashboard,
    enrollments,
    footprint,
    latency,
    legacy,
    legacy_beside,
    memory,
    metrics,
    simulate,
    startup,
    sync,
    webhook_intake,
    xp,
)
from bench.lab import Lab, open_lab
from bench.report import Plan, print_context, say

BENCHMARKS: dict[str, Callable[[Lab, Plan], None]] = {
    "webhook_intake": webhook_intake.run,
    "enrollments": enrollments.run,
    "latency": latency.run,
    "bulkhead": bulkhead.run,
    "sync": sync.run,
    "sync_million": sync.run_million,
    "legacy": legacy.run,
    "legacy_beside": legacy_beside.run,
    "xp": xp.run,
    "dashboard": dashboard.run,
    "metrics": metrics.run,
    "memory": memory.run,
    "footprint": footprint.run,
    "simulate": simulate.run,
    "startup": startup.run,
}


def main() -> int:
    """Run the named benchmarks, all of them without a name."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--rounds", type=int, help="rounds of each figure (default: 3, quick: 2)")
    parser.add_argument("--quick", action="store_true", help="fewer rows and shorter rounds")
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - BENCHMARKS.keys()):
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    plan = Plan(options.rounds or (2 if options.quick else 3), options.quick)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print_context(plan)
    try:
        for name in options.names or BENCHMARKS:
            run(name, plan)
    except KeyboardInterrupt:
        return 130
    return 0


def run(name: str, plan: Plan) -> None:
    """Run one benchmark on services of its own."""
    started = time.monotonic()
    say(f"{name} ...")
    with open_lab() as lab:
        BENCHMARKS[name](lab, plan)
    say(f"{name}: {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
