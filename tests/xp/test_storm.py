"""Many writers, rollbacks and lost connections: nothing is lost, nothing is there twice, every total is proven."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from db.session import transaction
from domain import xp, xp_corrections
from domain.errors import DomainError
from tests.stack import rows, scalar
from tests.xp.conftest import CURVE, School, make_school

pytestmark = pytest.mark.usefixtures("proven")
WRITERS = 8


class RolledBack(Exception):
    """This transaction was not meant to last."""


def act(session: Session, school: School, choice: random.Random) -> None:
    """Do one random thing to one random student."""
    student = choice.choice(school.students)
    dice = choice.random()
    if dice < 0.5:
        lesson = choice.choice(school.lessons)
        xp.complete_lesson(session, CURVE, xp.Completion(student, school.course, lesson))
    elif dice < 0.8:
        award = session.scalar(
            text(
                "SELECT id FROM xp_transactions WHERE user_id = :user AND kind = 'award' ORDER BY random() LIMIT 1"
            ),
            {"user": student},
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


def test_eight_writers_leave_every_total_proven(request: pytest.FixtureRequest) -> None:
    count = 1000 if request.config.getoption("--full", default=False) else 150
    school = make_school(students=6, lessons=4)
    stop = threading.Event()
    cutter = threading.Thread(target=cut_connections, args=(stop,))
    cutter.start()
    with ThreadPoolExecutor(WRITERS) as pool:
        lasted = sum(pool.map(lambda seed: write(school, seed, count), range(WRITERS)))
    stop.set()
    cutter.join()
    assert lasted > count
    assert scalar("SELECT count(*) FROM xp_transactions") > count
    entries = "SELECT user_id, sum(amount) AS xp FROM xp_transactions WHERE source_type <> 'MANUAL_ADJUSTMENT' GROUP BY 1"
    earned = (
        f"SELECT count(*) FROM enrollments e JOIN ({entries}) t USING (user_id) WHERE e.xp_earned <> t.xp"
    )
    assert scalar(earned) == 0, "what an enrolment earned is what the ledger says of its course"
