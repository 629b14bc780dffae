"""Memory of each process over time, while payments arrive at a fixed rate and are walked to active seats.

Everything runs as `usher run` starts it: api, relay, worker, beat, Flower, against the sandbox and a mail sink. Memory is
the proportional share (PSS) of a process with its children where it can be read, else what is resident (RSS). Growth is
that of the RSS: a share also grows when others end that had the same libraries.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import psutil  # type: ignore[import-untyped]

from bench.lab import Lab, answers
from bench.latency import PATIENCE, make_payments, wait_for_active
from bench.load import post_for
from bench.report import SUBJECT, Figure, Plan, say
from workers.embedded.children import FLOWER_TASKS
from workers.services import free_port

# Payments a second: what two shared cores carry with room to spare.
RATE = 10
SECONDS, QUICK_SECONDS = 180, 30
# Seconds that posting may lag behind: with more, the machine is too busy for the load, and signatures grow old.
LAG = 30
# Payments at once before the first sample: every thread, pool and cache has been used by then.
WARM_UP, CONNECTIONS = 300, 16
OBSERVED = ("api", "relay", "worker", "beat", "flower")
MB = 1_000_000


class Sample(NamedTuple):
    """What one process with its children held at a moment. Memory is in MB; `at` in seconds."""

    at: float
    rss: float
    pss: float
    connections: int
    threads: int


def run(lab: Lab, plan: Plan) -> None:
    """Offer the load, look at each process once a second, and tell what came of each."""
    seconds = QUICK_SECONDS if plan.quick else SECONDS
    port = start_everything(lab)
    payments = iter(make_payments(WARM_UP + RATE * seconds).values())
    post(port, payments, WARM_UP)
    wait_for_active(WARM_UP)
    say(f"  {RATE} payments/s for {seconds} s")
    seen = offer(lab, port, payments, seconds)
    wait_for_active(WARM_UP + RATE * seconds)
    for name, samples in seen.items():
        tell(name, samples, seconds)


def start_everything(lab: Lab) -> int:
    """Start all of Usher and what is around it; return the api's port."""
    lab.start_sandbox()
    start_mail_sink(lab)
    port = lab.start_gunicorn("api", "api.app:create_app()", "/healthz")
    lab.start_relay()
    lab.start_worker("worker", "workers", "--without-gossip", "--without-mingle")
    celery = ["celery", "-A", "workers"]
    beat = ["beat", "--schedule", str(lab.directory / "beat-schedule")]
    lab.start("beat", [*celery, *beat], lab.says("beat", "beat: Starting"))
    watched = free_port()
    flower = ["flower", "--address=127.0.0.1", f"--port={watched}", "--read_only"]
    flower += [f"--max_tasks={FLOWER_TASKS}"]
    lab.start("flower", [*celery, *flower], answers(f"http://127.0.0.1:{watched}/healthcheck"))
    return port


def start_mail_sink(lab: Lab) -> None:
    """Start what takes the mails."""
    smtp, http = free_port(), free_port()
    lab.set_env("SMTP_URL", f"smtp://127.0.0.1:{smtp}")
    command = ["workers.mail_sink", "--smtp-port", str(smtp), "--http-port", str(http)]
    command += ["--file", str(lab.directory / "mail.jsonl")]
    lab.start("mail_sink", command, answers(f"http://127.0.0.1:{http}/count"))


def offer(lab: Lab, port: int, payments: Iterator[bytes], seconds: int) -> dict[str, list[Sample]]:
    """Post `RATE` payments each second for so long; return what each process held each second."""
    seen: dict[str, list[Sample]] = {name: [] for name in OBSERVED}
    started = time.monotonic()
    for second in range(seconds):
        if time.monotonic() - started > second + LAG:
            raise RuntimeError(f"the machine is too busy for {RATE} payments/s")
        post(port, payments, RATE)
        for name, samples in seen.items():
            samples.append(look(lab.pids[name], time.monotonic() - started))
        time.sleep(max(0.0, started + second + 1 - time.monotonic()))
    return seen


def post(port: int, payments: Iterator[bytes], count: int) -> None:
    """Post so many payments as fast as the api takes them; each has to be accepted."""
    tally = post_for(PATIENCE, port, islice(payments, count), CONNECTIONS)
    if tally.accepted != count:
        raise RuntimeError(f"answers {dict(tally.statuses)}, {tally.lost} lost")


def look(pid: int, at: float) -> Sample:
    """Return what a process and its children hold now."""
    root = psutil.Process(pid)
    family = [root, *root.children(recursive=True)]
    memory = [process.memory_full_info() for process in family]
    return Sample(
        at,
        sum(one.rss for one in memory) / MB,
        sum(getattr(one, "pss", one.rss) for one in memory) / MB,
        sum(len(process.net_connections("tcp")) for process in family),
        sum(process.num_threads() for process in family),
    )


def tell(name: str, samples: list[Sample], seconds: int) -> None:
    """Print a process's line: growth is that of the last two thirds, by the straight line that fits best."""
    third = len(samples) // 3
    settled, last = samples[third:], samples[-third:]
    growth = statistics.linear_regression([one.at for one in settled], [one.rss for one in settled]).slope
    figure = Figure("memory", f"{name}, {RATE} payments/s for {seconds} s", "MB")
    figure.add("at_start", samples[0].pss, rss_mb=samples[0].rss)
    figure.add(
        SUBJECT,
        statistics.median(one.pss for one in last),
        rss_mb=statistics.median(one.rss for one in last),
        growth_mb_per_hour=growth * 3600,
        growth_mb_per_1000_payments=growth / RATE * 1000,
        connections_at_start=samples[0].connections,
        connections=max(one.connections for one in last),
        threads_at_start=samples[0].threads,
        threads=max(one.threads for one in last),
    )
    figure.print()
