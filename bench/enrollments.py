"""Enrolments per second, from the first that is due to the last that is active, at three latencies of the partner.

Usher with all its guarantees, as in production: relay, workers, checkpoints, leases, audit. Against it a naive Celery
task in the same pool, and asyncio loops without a queue and without any guarantee. Each has two processes with
`CONCURRENCY` enrolments at once in each; for Usher the partner's cap is raised to what that makes together.

The workers here serve the queue of enrolments only: the welcome mails are asked for and rung, and left unsent.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import redis
import requests
from sqlalchemy import text

from bench import bare_loop, cohort
from bench.lab import Lab
from bench.report import Figure, Plan, say
from db.session import transaction
from workers.windows import SYNC_SHARE

# Enrolments of a round by latency of the partner in milliseconds: so many that filling and draining are a small part of what is seen.
COUNTS = {0: 4_000, 50: 4_000, 200: 8_000}
PROCESSES = 2
CONCURRENCY = 100
# Calls that an enrolment takes: nobody gets through with less than these, one after the other.
CALLS = 3
PATIENCE = 180.0  # seconds

TOOK = text(
    "SELECT count(*), extract(epoch FROM max(launch_checked_at) - to_timestamp(:start))"
    " FROM partner_lms_enrollments WHERE status = 'active'"
)
# Whose processor time is told beside the workers'.
OTHERS = ("relay", "postgres", "sandbox")

Start = Callable[[int], float]


def run(lab: Lab, plan: Plan) -> None:
    """Measure at each latency, subject and references in turn."""
    contenders: dict[str, Start] = {
        "usher": start_usher,
        "naive_celery": start_naive,
        "asyncio_loop": start_loops,
    }
    start_processes(lab)
    for start in contenders.values():
        measure(lab, start, 100, latency=0)  # Warms everything up.
    for latency, full in COUNTS.items():
        say(f"  partner latency {latency} ms")
        figure = Figure("enrollments", f"partner latency {latency} ms", "1/s")
        count = full // 10 if plan.quick else full
        for _ in range(plan.rounds):
            for who, start in contenders.items():
                before = lab.cpu()
                seconds = measure(lab, start, count, latency)
                figure.add(who, count / seconds, **cost(who, before, lab.cpu(), count))
            if latency:
                figure.add("concurrency_limit", PROCESSES * CONCURRENCY / (CALLS * latency / 1000))
        figure.print()


def start_processes(lab: Lab) -> None:
    """Start the partner, Usher's relay and workers, and the references' processes."""
    lab.set_env("WORKER_CONCURRENCY", str(CONCURRENCY))
    lab.set_env("PARTNER_CONCURRENCY", str(PROCESSES * CONCURRENCY + SYNC_SHARE))
    lab.start_sandbox()
    lab.start_relay()
    quiet = ("--without-gossip", "--without-mingle")
    for number in range(PROCESSES):
        lab.start_worker(f"usher{number}", "workers", *quiet, "--queues", "enroll.sandbox")
        pool = ("--pool", "threads", "--concurrency", str(CONCURRENCY), "--loglevel", "INFO")
        lab.start_worker(f"naive_celery{number}", "bench.naive_celery", *quiet, *pool)
        name = f"asyncio_loop{number}"
        lab.start(
            name,
            ["bench.bare_loop", str(number), str(PROCESSES), str(CONCURRENCY)],
            lab.says(name, "listening"),
        )


def measure(lab: Lab, start: Start, count: int, latency: int) -> float:
    """Return the seconds from the first due to the last active. The latency is in milliseconds."""
    cohort.clear()
    requests.post(f"{lab.sandbox_url}/_reset", timeout=5).raise_for_status()
    with redis.Redis.from_url(lab.broker_url) as broker:
        broker.delete("usher:mail")
    if latency:
        fault = {"call": "*", "latency": latency / 1000, "times": None}
        requests.post(f"{lab.sandbox_url}/_faults", json=fault, timeout=5).raise_for_status()
    return wait_for_all(count, start(count))


def wait_for_all(count: int, started: float) -> float:
    """Return the seconds until the last became active, by the times of the rows."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with transaction() as session:
            active, seconds = session.execute(TOOK, {"start": started}).one()
        if active == count:
            return float(seconds)
        time.sleep(0.05)
    raise RuntimeError(f"only {active} of {count} enrolments became active within {PATIENCE:.0f} s")


def start_usher(count: int) -> float:
    """Open enrolments through the domain, which writes their jobs: they are due when this commits."""
    with transaction() as session:
        cohort.open_enrollments(session, count)
        return time.time()


def start_naive(count: int) -> float:
    """Insert pending enrolments, then send a message for each."""
    from bench.naive_celery import enroll

    with transaction() as session:
        ids = cohort.insert_pending(session, count)
    started = time.time()
    for enrollment_id in ids:
        enroll.delay(enrollment_id)
    return started


def start_loops(count: int) -> float:
    """Insert pending enrolments and wake the loops."""
    with transaction() as session:
        cohort.insert_pending(session, count)
    started = time.time()
    with transaction() as session:
        session.execute(text(f"NOTIFY {bare_loop.CHANNEL}"))
    return started


def cost(who: str, before: dict[str, float], after: dict[str, float], rows: int) -> dict[str, float]:
    """Return the milliseconds of processor time per enrolment, of its workers together and of each other process."""
    spent = {name: 1000 * (seconds - before[name]) / rows for name, seconds in after.items()}
    workers = sum(time for name, time in spent.items() if name.startswith(who))
    return {"worker_cpu_ms": workers} | {f"{name}_cpu_ms": spent[name] for name in OTHERS}
