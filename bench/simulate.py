"""Bursts that nobody wants to try in production: how long payments wait, how many do, and how many workers are wanted.

A discrete-event simulation. A payment goes through four stages, each first come, first served: the api, the workers'
processors, PostgreSQL's, and a place at the partner, which it holds for as long as its calls take. A sync goes page by page.
What the table of inputs leaves out is left out: retries, a partner that slows down, checkpoints of PostgreSQL.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from bench.lab import Lab
from bench.report import SUBJECT, Figure, Plan, percentile, say


@dataclass(frozen=True)
class Inputs:
    """Every number that the simulation rests on; times in milliseconds. docs/capacity.md says where each is from."""

    apis: int = 2  # processes
    api_ms: float = 0.75  # processor of the api for an event
    worker_ms: float = 13.0  # processor of one worker for an enrolment, its payment and its mail
    threads: int = 64  # of one worker: walks that it may have under way
    database_ms: float = 8.0  # processor of PostgreSQL for all of a payment
    database_cores: int = 2
    calls: int = 3  # to the partner, one after the other
    latency_ms: float = 200.0  # of one call
    places: int = 32  # `PARTNER_CONCURRENCY`: walks of one partner at once
    page_seats: int = 500  # of a bulk call
    page_ms: float = 15.0  # worker and PostgreSQL for a page, a tenth of it changed
    single_ms: float = 0.4  # the same for a seat that is asked for alone
    side_by_side: int = 8  # such calls at once


class Case(NamedTuple):
    """Payments that arrive at random, and how long the last of a hundred may wait (seconds)."""

    name: str
    payments: int
    seconds: float
    wait: float


class Outcome(NamedTuple):
    """Seconds that each waited beyond what it takes by itself, the most that waited at once, and when all was done."""

    waits: list[float]
    longest_queue: int
    done: float


HOUR = Case("20,000 payments in an hour", 20_000, 3600, 1.0)
MINUTE = Case("20,000 payments in a minute", 20_000, 60, 60.0)
SEATS = 1_000_000
# Over how many partners the seats of a sync are spread.
PARTNERS = (1, 10)
MOST_WORKERS = 16
# The default, and places enough that the partner is not the limit.
PLACES = (32, 256)


def run(lab: Lab, plan: Plan) -> None:
    """Print each case; nothing of Usher's is started."""
    inputs = Inputs()
    for places in PLACES:
        for case in (HOUR, MINUTE):
            tell_burst(case, replace(inputs, places=places))
    for partners in PARTNERS:
        tell_sync(inputs, partners)
    waves = SEATS / inputs.side_by_side
    seconds = waves * max(inputs.latency_ms, inputs.side_by_side * inputs.single_ms) / 1000
    figure = Figure("simulate", f"sync of {SEATS} seats of a partner without a bulk call", "s")
    figure.add(SUBJECT, seconds, calls=SEATS)
    figure.print()


def tell_burst(case: Case, inputs: Inputs) -> None:
    """Print how long payments wait with so many workers."""
    wanted = workers_wanted(case, inputs)
    say(
        f"  {case.name}, {inputs.places} places: p99 stays below {case.wait:g} s with {wanted or 'no number of'} workers"
    )
    figure = Figure("simulate", f"{case.name}, {inputs.places} places at the partner", "s waited (p50)")
    told = {} if wanted is None else {"wanted": wanted}
    for workers in (1, 2, 4):
        add(figure, f"workers_{workers}", pay(case, inputs, workers), **told)
    figure.print()


def tell_sync(inputs: Inputs, partners: int) -> None:
    """Print how long pages wait for a processor, and how long all of it takes."""
    figure = Figure(
        "simulate", f"sync of {SEATS} seats of {partners} partners by bulk calls", "s waited (p50)"
    )
    for workers in (1, 2, 4):
        add(figure, f"workers_{workers}", sync(inputs, workers, partners))
    figure.print()


def add(figure: Figure, who: str, outcome: Outcome, **details: float) -> None:
    """Note an outcome."""
    p50, p99 = percentile(outcome.waits, 0.5), percentile(outcome.waits, 0.99)
    figure.add(who, p50, p99_s=p99, longest_queue=outcome.longest_queue, done_after_s=outcome.done, **details)


def workers_wanted(case: Case, inputs: Inputs) -> int | None:
    """Return the fewest workers with which 99 of 100 wait no longer than wanted; None where the partner is the limit."""
    enough = (
        workers
        for workers in range(1, MOST_WORKERS + 1)
        if percentile(pay(case, inputs, workers).waits, 0.99) <= case.wait
    )
    return next(enough, None)


def pay(case: Case, inputs: Inputs, workers: int) -> Outcome:
    """Send payments through the stages."""
    chance = random.Random(1)
    arrivals = sorted(chance.uniform(0, case.seconds) for _ in range(case.payments))
    calls = inputs.calls * inputs.latency_ms / 1000
    at = serve(arrivals, inputs.apis, inputs.api_ms / 1000)
    at = serve(at, workers, inputs.worker_ms / 1000)
    at = serve(at, inputs.database_cores, inputs.database_ms / 1000)
    active = serve(at, min(inputs.places, workers * inputs.threads), calls)
    alone = calls + (inputs.api_ms + inputs.worker_ms + inputs.database_ms) / 1000
    waits = [max(0.0, round(end - start - alone, 6)) for start, end in zip(arrivals, active, strict=True)]
    return Outcome(waits, longest_queue(arrivals, [end - calls for end in active]), max(active))


def sync(inputs: Inputs, workers: int, partners: int) -> Outcome:
    """Read each partner's pages, one after the other; the partners side by side, all due at once."""
    free = [0.0] * workers
    pages = round(SEATS / partners / inputs.page_seats)
    answered = [(inputs.latency_ms / 1000, partner, pages) for partner in range(partners)]
    arrivals, begun, done = [], [], 0.0
    while answered:
        at, partner, left = heapq.heappop(answered)
        arrivals.append(at)
        begun.append(max(at, free[0]))
        done = begun[-1] + inputs.page_ms / 1000
        heapq.heapreplace(free, done)
        if left > 1:
            heapq.heappush(answered, (done + inputs.latency_ms / 1000, partner, left - 1))
    waits = [start - at for at, start in zip(arrivals, begun, strict=True)]
    return Outcome(waits, longest_queue(arrivals, begun), done)


def serve(arrivals: Sequence[float], servers: int, seconds: float) -> list[float]:
    """Return when each is done: the first server that is free takes the first that waits, for so many seconds."""
    free = [0.0] * servers
    ends = []
    for at in arrivals:
        end = max(at, free[0]) + seconds
        heapq.heapreplace(free, end)
        ends.append(end)
    return ends


def longest_queue(arrivals: Sequence[float], begun: Sequence[float]) -> int:
    """Return how many had arrived and not begun, at worst."""
    changes = sorted([(at, 1) for at in arrivals] + [(at, -1) for at in begun])
    longest = waiting = 0
    for _, change in changes:
        waiting += change
        longest = max(longest, waiting)
    return longest
