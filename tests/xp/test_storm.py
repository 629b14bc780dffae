"""Many writers, rollbacks and lost connections: nothing is lost, nothing is there twice, every total is proven."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

import tasks.xp  # noqa: F401 - registers the kinds
from db.session import transaction
from domain import xp, xp_corrections
from domain.errors import DomainError
from tests.conftest import Database
from tests.faults.chaos import held_by
from tests.stack import Stack, rows, scalar, wait_until
from tests.xp.conftest import CURVE, School, make_school
from workers.job import run_due
from workers.services import Service

pytestmark = pytest.mark.usefixtures("proven")
WRITERS = 8
WORKERS = ("worker0", "worker1")
# A dead worker's jobs are soon taken over, and each worker has several in its hands.
HURRIED = {"JOB_LEASE": "4", "JOB_BACKOFF_BASE": "0.2", "RELAY_RING_TIMEOUT": "2", "WORKER_CONCURRENCY": "4"}


class RolledBack(Exception):
    """This transaction was not meant to last."""


def act(session: Session, school: School, choice: random.Random) -> None:
    """Do one random thing to one random student."""
    student = choice.choice(school.students)
    dice = choice.random()
    lesson = choice.choice(school.lessons)
    if dice < 0.4:
        xp.complete_lesson(session, CURVE, xp.Completion(student, school.course, lesson))
    elif dice < 0.5:
        xp.ask_lesson(session, user_id=student, lesson_id=lesson)
    elif dice < 0.8:
        award = session.scalar(
            text(
                "SELECT id FROM xp_transactions WHERE user_id = :user AND kind = 'award' ORDER BY seq DESC"
                " LIMIT 1 OFFSET :back"
            ),
            {"user": student, "back": choice.randrange(3)},
        )
        if award is not None:
            xp_corrections.reverse(session, CURVE, str(award), reason="reversed_by_staff")
    else:
        amount, key = choice.choice([-40, 10, 25]), str(choice.random())
        xp_corrections.adjust(session, CURVE, student, amount, transport_key=key)


def write(school: School, seed: int, count: int) -> int:
    """Do `count` things, roll one in ten back, go on after a lost connection; return how many lasted."""
    choice, lasted = random.Random(seed), 0
    for _ in range(count):
        try:
            with transaction() as session:
                act(session, school, choice)
                if choice.random() < 0.1:
                    raise RolledBack
            lasted += 1
        except (DomainError, RolledBack):
            pass
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
    return lasted


def cut_connections(stop: threading.Event) -> None:
    """Kill two of the writers' connections in the middle of what they do."""
    killed = 0
    while killed < 2 and not stop.wait(0.2):
        killed += len(
            rows(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid() AND (state = 'active' OR state LIKE '%transaction') LIMIT 1"
            )
        )


def kill_at_work(stack: Stack, name: str) -> None:
    """Shoot a worker while it holds a job, and start it again."""
    while True:
        wait_until(lambda: held_by(stack, name) > 0, 60, lambda: f"{name} was never at work")
        stack.kill(name, signal.SIGSTOP)
        if held_by(stack, name) > 0:
            break
        stack.kill(name, signal.SIGCONT)
    stack.kill(name)
    stack.restart(name)


@pytest.fixture
def full(request: pytest.FixtureRequest) -> bool:
    """Is this the long form, with real workers?"""
    return bool(request.config.getoption("--full", default=False))


@pytest.fixture
def stack(
    full: bool, database: Database, valkey: Service, usher_env: dict[str, str], tmp_path: Path
) -> Iterator[Stack]:
    """In the long form a relay and two Celery workers, which do the awards that are asked for."""
    redis.Redis.from_url(valkey.url).flushall()
    made = Stack({**usher_env, **HURRIED, "BROKER_URL": valkey.url}, tmp_path / "stack")
    if full:
        made.start_relay(wait=False)
        for name in WORKERS:
            made.start_worker(name, "--queues", xp.QUEUE, wait=False)
        made.wait_until_ready()
    yield made
    made.stop()


@pytest.mark.timeout(600)
def test_eight_writers_leave_every_total_proven(full: bool, stack: Stack) -> None:
    count = 1000 if full else 150
    school = make_school(students=6, lessons=8)
    stop = threading.Event()
    cutter = threading.Thread(target=cut_connections, args=(stop,))
    cutter.start()
    with ThreadPoolExecutor(WRITERS) as pool:
        writers = [pool.submit(write, school, seed, count) for seed in range(WRITERS)]
        if full:
            for name in WORKERS:
                kill_at_work(stack, name)
        lasted = sum(writer.result() for writer in writers)
    stop.set()
    cutter.join()
    if full:
        states = "SELECT count(*) FROM jobs WHERE kind = 'xp.award' AND state <> 'done'"
        wait_until(lambda: scalar(states) == 0, 240, lambda: f"{scalar(states)} awards are open")
    else:
        while run_due([xp.AWARD]):
            pass
    kinds = dict(rows("SELECT kind, count(*) FROM xp_transactions GROUP BY kind"))
    asked = scalar("SELECT count(*) FROM jobs WHERE kind = 'xp.award'")
    print(f"{WRITERS} x {count}: {lasted} lasted, {asked} asked for; entries {kinds}")
    assert lasted > count
    assert sum(kinds.values()) > count
    assert asked > 0
    entries = "SELECT user_id, sum(amount) AS xp FROM xp_transactions WHERE source_type <> 'MANUAL_ADJUSTMENT' GROUP BY 1"
    earned = (
        f"SELECT count(*) FROM enrollments e JOIN ({entries}) t USING (user_id) WHERE e.xp_earned <> t.xp"
    )
    assert scalar(earned) == 0, "what an enrolment earned is what the ledger says of its course"
