"""From payment to active at a fixed load: half of what the whole chain does in a burst, measured just before.

Signed events arrive at times that are drawn beforehand, whether or not earlier ones are through, each on a connection of its
own. A payment's time begins when it is due to arrive, so waiting for the api counts too, and ends when its enrolment became
active by the row's own time. Everything of Usher's works: api, relay, workers on all queues, welcome mails.

At the same arrivals: a naive Celery task of the same pool, and an asyncio loop without any durability. Both are asked
directly, without a webhook before them.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import hmac
import itertools
import json
import random
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import aiohttp
import psycopg2
import requests
from sqlalchemy import text

from bench import bare_loop, cohort
from bench.lab import SANDBOX_KEY, STRIPE_SECRET, Lab
from bench.load import post_for
from bench.report import SUBJECT, Figure, Plan, percentile, say
from bench.stripe_events import EVENT_ID, make_body
from db.session import transaction
from settings import get_settings
from workers.services import free_port

LATENCY = 50  # milliseconds of each answer of the partner
PROCESSES = 2
PATIENCE = 120.0  # seconds
# Connections that post a burst.
BURST_CONNECTIONS = 16
# Whose processor time is told beside the workers'.
OTHERS = ("api", "relay", "postgres", "sandbox", "mail_drop")
# Seconds between the drawing of arrivals and the first of them.
AHEAD = 1.0

# Each student pays once. Times are seconds since 1970.
STAGES = text(
    """
    SELECT e.student_id::text AS student, extract(epoch FROM e.launch_checked_at)::float AS active,
        extract(epoch FROM i.received_at)::float AS stored, extract(epoch FROM e.created_at)::float AS decided,
        extract(epoch FROM s.begun)::float AS begun, extract(epoch FROM s.ended)::float AS ended, s.called
    FROM partner_lms_enrollments e
    LEFT JOIN inbox_events i ON i.id::text = e.correlation_id
    LEFT JOIN LATERAL (
        SELECT min(steps.started_at) AS begun, max(steps.finished_at) AS ended, sum(steps.duration_ms)::float AS called
        FROM job_steps AS steps JOIN jobs ON jobs.id = steps.job_id
        WHERE jobs.kind = 'enrollment.walk' AND jobs.business_key = e.id::text
    ) AS s ON true
    WHERE e.status = 'active'
    """
)
UNDER_WAY = text("SELECT count(*) FROM jobs WHERE state IN ('ready', 'running')")
PENDING = text(
    "SELECT e.id::text, u.id::text, u.email, u.name, c.course_code FROM partner_lms_enrollments e"
    " JOIN users u ON u.id = e.student_id JOIN partner_courses c ON c.id = e.course_id ORDER BY e.id"
)


class Took(NamedTuple):
    """What became of a round: milliseconds of each payment, and medians of their parts."""

    times: list[float]
    parts: dict[str, float]


# Takes the times at which payments arrive, and whatever it needs to know of each.
Contender = Callable[[Sequence[float]], Took]


def run(lab: Lab, plan: Plan) -> None:
    """Measure what a burst does, then offer half of it to each in turn."""
    burst, seconds = (100, 5) if plan.quick else (400, 20)
    port = start_processes(lab)
    contenders: dict[str, Contender] = {
        SUBJECT: functools.partial(pay, port),
        "naive_celery": ask_naive,
        "asyncio_loop": functools.partial(ask_loop, lab),
    }
    clear(lab)
    pay_at_once(port, 50)  # Warms everything up.
    clear(lab)
    most = pay_at_once(port, burst)
    say(f"  {most:.0f} payments/s in a burst")
    figure = Figure(
        "latency", f"partner latency {LATENCY} ms, {most / 2:.0f} payments/s, half of a burst's", "ms"
    )
    for number in range(plan.rounds):
        offsets = draw(most / 2, seconds, seed=number)
        for who, contender in contenders.items():
            clear(lab)
            before = lab.cpu()
            took = contender([time.time() + AHEAD + offset for offset in offsets])
            spent = cost(who, before, lab.cpu(), len(offsets))
            figure.add(
                who,
                percentile(took.times, 0.5),
                p99_ms=percentile(took.times, 0.99),
                **took.parts,
                **spent,
            )
    figure.print()


def cost(who: str, before: dict[str, float], after: dict[str, float], payments: int) -> dict[str, float]:
    """Return the milliseconds of processor time per payment, of its workers together and of each other process."""
    spent = {name: 1000 * (seconds - before[name]) / payments for name, seconds in after.items()}
    workers = sum(time for name, time in spent.items() if name.startswith(who))
    return {"worker_cpu_ms": workers} | {f"{name}_cpu_ms": spent[name] for name in OTHERS}


def start_processes(lab: Lab) -> int:
    """Start the whole chain and the naive task's workers; return the api's port.

    The partner's cap is raised to twice the workers' threads, so that the threads are what limits.
    """
    threads = get_settings().worker_concurrency
    lab.set_env("PARTNER_CONCURRENCY", str(2 * PROCESSES * threads))
    lab.start_sandbox()
    smtp = free_port()
    lab.set_env("SMTP_URL", f"smtp://127.0.0.1:{smtp}")
    lab.start("mail_drop", ["bench.mail_drop", str(smtp)], lab.says("mail_drop", "mail drop started"))
    port = lab.start_gunicorn("api", "api.app:create_app()", "/healthz")
    lab.start_relay()
    quiet = ("--without-gossip", "--without-mingle")
    for number in range(PROCESSES):
        lab.start_worker(f"usher{number}", "workers", *quiet)
        pool = ("--pool", "threads", "--concurrency", str(threads), "--loglevel", "INFO")
        lab.start_worker(f"naive_celery{number}", "bench.naive_celery", *quiet, *pool)
    return port


def clear(lab: Lab) -> None:
    """Wait until nothing is under way, and begin anew with a partner that takes its time."""
    wait_until(lambda: _count_under_way() == 0, "jobs are still under way")
    cohort.clear()
    requests.post(f"{lab.sandbox_url}/_reset", timeout=5).raise_for_status()
    fault = {"call": "*", "latency": LATENCY / 1000, "times": None}
    requests.post(f"{lab.sandbox_url}/_faults", json=fault, timeout=5).raise_for_status()


def draw(rate: float, seconds: float, *, seed: int) -> list[float]:
    """Return when payments arrive that know nothing of each other: `rate` a second, in seconds from the start."""
    gaps = random.Random(seed)
    return list(itertools.accumulate(gaps.expovariate(rate) for _ in range(int(rate * seconds))))


def pay_at_once(port: int, count: int) -> float:
    """Post this many payments as fast as the api takes them; return how many a second became active."""
    payments = iter(make_payments(count).values())
    started = time.time()
    tally = post_for(PATIENCE, port, payments, BURST_CONNECTIONS)
    if tally.accepted != count:
        raise RuntimeError(f"answers {dict(tally.statuses)}, {tally.lost} lost")
    last: float = max(row.active for row in wait_for_active(count))
    return count / (last - started)


def pay(port: int, arrivals: Sequence[float]) -> Took:
    """Post a payment at each of these times."""
    payments = make_payments(len(arrivals))
    due = dict(zip(payments, arrivals, strict=True))
    asyncio.run(_post_each(port, list(zip(arrivals, payments.values(), strict=True))))
    rows = wait_for_active(len(arrivals))
    parts = {
        "stored_ms": [row.stored - due[row.student] for row in rows],
        "decided_ms": [row.decided - row.stored for row in rows],
        "begun_ms": [row.begun - row.decided for row in rows],
        "called_ms": [row.called / 1000 for row in rows],
        "between_calls_ms": [row.ended - row.begun - row.called / 1000 for row in rows],
        "activated_ms": [row.active - row.ended for row in rows],
    }
    medians = {name: 1000 * percentile(values, 0.5) for name, values in parts.items()}
    return Took([1000 * (row.active - due[row.student]) for row in rows], medians)


def make_payments(count: int) -> dict[str, bytes]:
    """Insert students; return by student a signed event that says that they paid."""
    with transaction() as session:
        made = cohort.insert_cohort(session, count)
    event, signed_at = json.loads(make_body()), str(int(time.time()))
    return {
        student: _sign(
            _pay_for(event, {"partnerId": made.provider, "courseId": made.course}, student), signed_at
        )
        for student in made.students
    }


def ask_naive(arrivals: Sequence[float]) -> Took:
    """Send a message at each of these times."""
    from bench.naive_celery import enroll

    with transaction() as session:
        cohort.insert_pending(session, len(arrivals))
    pending = read_pending()
    for at, row in zip(arrivals, pending, strict=True):
        time.sleep(max(0.0, at - time.time()))
        enroll.delay(row[0])
    return _since(arrivals, pending)


def ask_loop(lab: Lab, arrivals: Sequence[float]) -> Took:
    """Start the three calls at each of these times in one loop, here."""
    with transaction() as session:
        cohort.insert_pending(session, len(arrivals))
    pending = read_pending()
    asyncio.run(_loop(lab, arrivals, pending))
    return _since(arrivals, pending)


def read_pending() -> list[tuple[str, ...]]:
    """Return what has to be known to enrol each."""
    with transaction() as session:
        return [tuple(row) for row in session.execute(PENDING)]


def wait_for_active(count: int) -> list[Any]:
    """Return the rows of as many enrolments once all are active."""
    found: list[Any] = []

    def all_active() -> bool:
        with transaction() as session:
            found[:] = session.execute(STAGES).all()
        return len(found) == count

    wait_until(all_active, f"fewer than {count} enrolments became active")
    return found


def wait_until(condition: Callable[[], bool], otherwise: str) -> None:
    """Look now and then until it holds; seldom enough not to be what is measured."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{otherwise} after {PATIENCE:.0f} s")
        time.sleep(0.2)


async def _post_each(port: int, payments: Sequence[tuple[float, bytes]]) -> None:
    await asyncio.gather(*(_post(port, at, request) for at, request in payments))


async def _post(port: int, at: float, request: bytes) -> None:
    await asyncio.sleep(max(0.0, at - time.time()))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
    answer = await reader.read()
    writer.close()
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(answer[:200].decode(errors="replace"))


async def _loop(lab: Lab, arrivals: Sequence[float], pending: Sequence[tuple[str, ...]]) -> None:
    connection = psycopg2.connect(lab.database_url)
    headers = {"Authorization": f"Bearer {SANDBOX_KEY}"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(lab.sandbox_url, headers=headers, connector=connector) as session:
        await bare_loop.Loop(connection, session, len(pending)).enroll_all(pending, arrivals)
    connection.close()


def _since(arrivals: Sequence[float], pending: Sequence[tuple[str, ...]]) -> Took:
    due = {row[1]: at for at, row in zip(arrivals, pending, strict=True)}
    return Took([1000 * (row.active - due[row.student]) for row in wait_for_active(len(arrivals))], {})


def _count_under_way() -> int:
    with transaction() as session:
        return int(session.execute(UNDER_WAY).scalar_one())


def _pay_for(event: dict[str, Any], order: dict[str, str], student: str) -> bytes:
    """Return the event as one of this student's, with ids of its own throughout."""
    name = uuid.uuid4().hex
    checkout = event["data"]["object"] | {
        "metadata": {**order, "studentId": student},
        "payment_intent": f"pi_{name}",
    }
    return json.dumps(event | {"data": {"object": checkout}}).replace(EVENT_ID, f"evt_{name}").encode()


def _sign(body: bytes, signed_at: str) -> bytes:
    """Return the HTTP request with which Stripe posts this event."""
    signature = hmac.new(STRIPE_SECRET.encode(), signed_at.encode() + b"." + body, hashlib.sha256).hexdigest()
    head = (
        "POST /api/stripe/webhook HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Stripe/1.0\r\n"
        f"Content-Type: application/json; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
        f"Stripe-Signature: t={signed_at},v1={signature}\r\n\r\n"
    )
    return head.encode() + body
