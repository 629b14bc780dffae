"""A day of beat, relay and workers with a partner that is well and one that is dead: nothing grows without bound.

The processes are real, and so are the messages that beat would send. Time passes by `clock.pass_time`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy.exc import OperationalError

from beat_schedule import BEAT_SCHEDULE
from settings import get_settings
from tests.recover.clock import pass_time
from tests.stack import Stack, checkout_event, make_course, make_students, order, rows, scalar, wait_until

# A partner behind an address that nobody listens at.
DEAD = """
adapter: sandbox
name: Dead
verified: {level: own-protocol, against: "nothing"}
base_url: http://127.0.0.1:1
secrets: {api_key: SANDBOX_API_KEY}
"""
DEAD_STUDENTS = 3
# What is under way: jobs that a worker has, and those that are due and whose partner may be called.
UNDER_WAY = """
    SELECT count(*) FROM jobs j LEFT JOIN partner_states s USING (partner)
    WHERE j.state = 'running' OR (j.state = 'ready' AND j.next_run_at <= now()
        AND s.paused_at IS NULL AND (s.open_until IS NULL OR s.open_until <= now()))
"""
TABLES = (
    "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1"
)
# Of that day; who looks after 401 days has something to say too.
FORGETTABLE = (
    "SELECT count(*) FROM jobs WHERE state = 'done' AND kind <> 'enrollment.walk'"
    " AND updated_at < now() - interval '1 day'"
)
OLD_TURNS = "SELECT count(*) FROM scheduled_runs WHERE slot < now() - interval '8 days'"
OLD_CALLS = "SELECT count(*) FROM partner_calls WHERE at < now() - interval '1 day'"
LEFT = "SELECT kind, state, count(*), max(updated_at) FROM jobs GROUP BY 1, 2"
# Rows, doorbells and KiB by which the second half of a run may exceed the first, for what comes in batches.
ROOM = 12
MEMORY_ROOM = 12 * 1024


class Day:
    """A run that takes steps of some minutes."""

    def __init__(self, stack: Stack, minutes: float) -> None:
        from workers.app import make_app

        self.stack, self.minutes = stack, minutes
        self.asked_for: dict[str, float] = dict.fromkeys(BEAT_SCHEDULE, -1e9)
        self.elapsed = 0.0
        self.app = make_app(get_settings())
        self.broker = redis.Redis.from_url(stack.env["BROKER_URL"])

    def step(self, *bodies: bytes) -> None:
        """Take payments, ask for what beat would ask for now, wait until all is quiet, and let time pass."""
        for body in bodies:
            assert self.stack.post_event(body).status_code == 200
        due = [
            name
            for name, entry in BEAT_SCHEDULE.items()
            if self.elapsed - self.asked_for[name] >= entry["schedule"]
        ]
        begun = scalar("SELECT now()")
        for name in due:
            self.app.send_task(BEAT_SCHEDULE[name]["task"])
            self.asked_for[name] = self.elapsed
        names = {BEAT_SCHEDULE[name]["task"].removeprefix("tasks.") for name in due}
        taken = "SELECT job FROM scheduled_runs WHERE ran_at >= :begun"
        wait_until(lambda: names <= {job for (job,) in rows(taken, begun=begun)}, 90)
        wait_until(self.is_quiet, 90, lambda: f"{rows('SELECT kind, state, last_error FROM jobs')}")
        self.let_pass(self.minutes / 60)

    def is_quiet(self) -> bool:
        return scalar(UNDER_WAY) == 0 and self.doorbells() == 0

    def let_pass(self, hours: float) -> None:
        try:
            pass_time(hours=hours)
        except OperationalError:  # A deadlock with a turn that was still at work: it is over now.
            pass_time(hours=hours)
        self.elapsed += hours * 3600

    def doorbells(self) -> int:
        """Return how many messages wait in the broker."""
        keys = self.broker.keys("usher:*")
        return sum(int(self.broker.llen(key)) for key in keys if self.broker.type(key) == b"list")

    def measure(self) -> dict[str, int]:
        """Return the rows of each table, and the memory of each process in KiB."""
        found = {table: int(scalar(f'SELECT count(*) FROM "{table}"')) for (table,) in rows(TABLES)}
        found |= {f"{name} (KiB)": memory(self.stack, name) for name in ("api", "relay0", "worker0")}
        return found


def memory(stack: Stack, name: str) -> int:
    """Return the resident memory of a process and its children in KiB."""
    pid = stack.processes[name].pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    texts = [Path(f"/proc/{one}/status").read_text() for one in [str(pid), *children]]
    return sum(int(text.partition("VmRSS:")[2].split()[0]) for text in texts)


@pytest.fixture
def day(request: pytest.FixtureRequest, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A running installation; with `--full` a day in steps of five minutes, else six steps of fifteen."""
    if not stack.env["BROKER_URL"].startswith("redis"):
        pytest.skip("looks into Valkey or Redis")
    (tmp_path / "dead.yaml").write_text(DEAD)
    stack.env |= {
        "PARTNERS": "sandbox",
        "PARTNERS_DIR": str(tmp_path),
        "WORKER_CONCURRENCY": "8",
        "JOB_BACKOFF_BASE": "60",
        "SYNC_INTERVAL": "1800",
    }
    for name in ("PARTNERS", "PARTNERS_DIR", "BROKER_URL"):
        monkeypatch.setenv(name, stack.env[name])
    get_settings.cache_clear()
    stack.start_chain()
    full = request.config.getoption("full")
    return Day(stack, 5 if full else 15), 288 if full else 6


@pytest.mark.e2e
@pytest.mark.timeout(1200)
def test_a_day_with_a_dead_partner_fills_no_table_no_queue_and_no_memory(
    day: tuple[Day, int], request: pytest.FixtureRequest
) -> None:
    run, steps = day
    provider, course = make_course()
    dead = [order(student, *make_course("dead")) for student in make_students(1, "dead")]
    dead += [
        order(student, dead[0]["partnerId"], dead[0]["courseId"]) for student in make_students(2, "more")
    ]
    students = make_students(steps)
    marks = [0, steps // 3, 2 * steps // 3, steps]
    measured = []
    for number in range(steps):
        if number in marks:
            measured.append(run.measure())
        bodies = [checkout_event(order(students[number], provider, course))]
        bodies += [checkout_event(one) for one in dead] if number == 0 else []
        run.step(*bodies)
    measured.append(run.measure())
    statuses = dict(rows("SELECT status, count(*) FROM partner_lms_enrollments GROUP BY 1"))
    # Given up after 25 attempts of their own, or still waiting while the partner is left alone.
    waiting = statuses.get("pending", 0) + statuses.get("failed", 0)
    assert (statuses["active"], waiting) == (steps, DEAD_STUDENTS)
    assert len(run.stack.sandbox_state()["enrollments"]) == steps
    _, warm, middle, end = measured
    grown = {name: (middle[name] - warm[name], end[name] - middle[name]) for name in end}
    for name, (before, after) in grown.items():
        assert after <= 1.3 * max(0, before) + (MEMORY_ROOM if "KiB" in name else ROOM), (name, grown)
    attempts = scalar("SELECT max(attempts) FROM jobs WHERE partner = 'dead'")
    failures = scalar("SELECT count(*) FROM partner_lms_enrollment_failures")
    assert DEAD_STUDENTS <= failures <= DEAD_STUDENTS * (steps + 1)
    assert attempts <= get_settings().job_max_attempts

    # And in the end it is forgotten.
    run.let_pass(24 * 401)
    run.app.send_task("tasks.watch.look")  # Calls to partners are forgotten once they are counted.
    wait_until(lambda: scalar("SELECT until > now() - interval '1 day' FROM counted_until"), 30)
    run.app.send_task("tasks.housekeeping.trim")
    wait_until(lambda: scalar(FORGETTABLE) == 0, 30, lambda: f"{rows(LEFT)}")
    wait_until(lambda: scalar(OLD_CALLS) + scalar(OLD_TURNS) == 0, 30)
    wait_until(lambda: scalar("SELECT count(*) FROM inbox_events") == 0, 30)
    if request.config.getoption("full"):
        print({name: (warm[name], middle[name], end[name]) for name, count in end.items() if count})
