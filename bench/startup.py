"""How long one waits: for `usher --help`, and for `usher run` until the api answers and until the demo is through."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from bench.lab import PATIENCE, ROOT, Lab, answers
from bench.report import Figure, Plan, say
from workers.services import free_port, spawn, stop_process, tail

HELP_ROUNDS, RUN_ROUNDS = 5, 2
READY = "Ready. Ctrl-C"
# What the laboratory set and `usher run` finds for itself.
OWN = ("DATABASE_URL", "BROKER_URL", "SMTP_URL", "SANDBOX_URL")


def run(lab: Lab, plan: Plan) -> None:
    """Measure the command line against a bare interpreter, and the second start of everything against the first."""
    say("  usher --help")
    figure = Figure("startup", "usher --help", "s")
    for _ in range(HELP_ROUNDS):
        figure.add("usher", time_command(["-m", "cli.main", "--help"], lab))
        figure.add("bare_python", time_command(["-c", "pass"], lab))
    figure.print()
    say("  usher run")
    first = Figure("startup", "usher run, first start (makes its database)", "s")
    again = Figure("startup", "usher run, later start", "s")
    for number in range(1 if plan.quick else RUN_ROUNDS):
        directory = lab.directory / f"run{number}"
        for figure in (first, again):
            api, ready = time_run(directory, lab)
            figure.add("usher", api, demo_done=ready)
    first.print()
    again.print()


def time_command(arguments: list[str], lab: Lab) -> float:
    """Return the seconds that a Python process takes from start to end."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, env=lab.env, cwd=ROOT, check=True)
    return time.perf_counter() - started


def time_run(directory: Path, lab: Lab) -> tuple[float, float]:
    """Start everything in a directory; return the seconds until the api is ready, and until everything is. Stop it."""
    directory.mkdir(exist_ok=True)
    port, log = free_port(), directory / "run.log"
    log.write_text("")
    env = {name: value for name, value in lab.env.items() if name not in OWN}
    env |= {"USHER_DATA_DIR": str(directory), "PORT": str(port), "PYTHONUNBUFFERED": "1"}
    env |= {"FLOWER_PORT": str(free_port()), "SANDBOX_PORT": str(free_port())}
    api_answers = answers(f"http://127.0.0.1:{port}/readyz")
    api: float | None = None
    started = time.perf_counter()
    with log.open("ab") as output:
        process = spawn([sys.executable, "-m", "cli.main", "run"], output, env=env, cwd=str(ROOT))
    try:
        while READY not in log.read_text(errors="replace"):
            if api is None and api_answers():
                api = time.perf_counter() - started
            if process.poll() is not None or time.perf_counter() - started > PATIENCE * 2:
                raise RuntimeError(f"usher run did not come up:\n{tail(log)}")
            time.sleep(0.02)
        ready = time.perf_counter() - started
    finally:
        stop_process(process, signal.SIGINT, grace=30)
    return api or ready, ready
