"""A day by beat's own clock: the real beat asks, with a partner that is well and one that is dead, and nothing fills up.

Beat runs under libfaketime, and PostgreSQL's clock as our SQL sees it goes with beat's: `now()` and `clock_timestamp()` are
functions of a schema that is searched first. Both are put forward together, once all that was asked for is done, so that no
machine is too slow. Relay, worker and api keep the real clock, as do PostgreSQL's own time-outs.
"""

from __future__ import annotations

from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
from sqlalchemy import text

from beat_schedule import BEAT_SCHEDULE
from db.session import get_engine
from settings import get_settings
from tests.recover.test_long_run import DEAD, FORGETTABLE, OLD_TURNS, ROOM, TABLES, Day
from tests.stack import (
    BIN,
    Stack,
    checkout_event,
    make_course,
    make_students,
    order,
    rows,
    scalar,
    wait_until,
)

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
# Seconds by which the clocks are put forward. What beat asks for more often than that, it asks for once.
STEP = 120
HOURS = 24
# How much faster beat's clock runs in between: it sleeps for a second of its own between two looks at it.
HASTE = 20
# Threads and connections by which a process may be above what it had after half a day: pools fill when they are needed.
FEW = 8
MEMORY_ROOM = 20 * 2**20  # bytes
HURRY = """
    CREATE SCHEMA hurried;
    CREATE TABLE hurried.clock (ahead interval NOT NULL);
    INSERT INTO hurried.clock VALUES ('0');
    CREATE FUNCTION hurried.now() RETURNS timestamptz LANGUAGE sql STABLE
        AS $$ SELECT pg_catalog.now() + ahead FROM hurried.clock $$;
    CREATE FUNCTION hurried.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
        AS $$ SELECT pg_catalog.clock_timestamp() + ahead FROM hurried.clock $$;
"""
DEFAULTS = (
    "SELECT table_name, column_name, column_default FROM information_schema.columns"
    " WHERE table_schema = 'public' AND column_default IN ('now()', 'clock_timestamp()')"
)
# In how many hours each turn was taken.
TURNS = "SELECT job, count(DISTINCT date_trunc('hour', slot)) FROM scheduled_runs GROUP BY job"


# A turn of this step, of what is asked for in every step.
ASKED = "SELECT max(slot) > now() - interval '30 seconds' FROM scheduled_runs WHERE job = 'progress.schedule'"


class HurriedDay(Day):
    """An installation whose clock is beat's."""

    def __init__(self, stack: Stack, file: Path) -> None:
        super().__init__(stack, STEP / 60)
        self.file = file
        with get_engine().begin() as connection:
            connection.exec_driver_sql(HURRY)
            for table, column, default in connection.exec_driver_sql(DEFAULTS).all():
                connection.exec_driver_sql(
                    f'ALTER TABLE "{table}" ALTER COLUMN "{column}" SET DEFAULT hurried.{default}'
                )
            name = connection.execute(text("SELECT current_database()")).scalar_one()
            connection.exec_driver_sql(
                f'ALTER DATABASE "{name}" SET search_path = hurried, public, pg_catalog'
            )
        get_engine().dispose()
        self.put_forward(0)

    def put_forward(self, seconds: float) -> None:
        """Put beat's clock and PostgreSQL's forward."""
        self.elapsed += seconds
        fresh = self.file.with_suffix(".fresh")
        fresh.write_text(f"+{self.elapsed:.0f} x{HASTE}\n")
        with get_engine().begin() as connection:
            ahead = {"ahead": self.elapsed}
            connection.execute(text("UPDATE hurried.clock SET ahead = :ahead * interval '1 second'"), ahead)
        fresh.replace(self.file)

    def pass_an_hour(self) -> None:
        """Have beat ask for what an hour of its schedule holds, and all of it be done."""
        for _ in range(3600 // STEP):
            self.put_forward(STEP)
            wait_until(lambda: scalar(ASKED), 120)
            wait_until(self.is_quiet, 120, lambda: f"{rows('SELECT kind, state, last_error FROM jobs')}")


def measure(run: Day) -> dict[str, int]:
    """Return the rows of each table, and of each process memory (bytes), threads and connections."""
    found = {table: int(scalar(f'SELECT count(*) FROM public."{table}"')) for (table,) in rows(TABLES)}
    for name in ("api", "relay0", "worker0", "beat"):
        root = psutil.Process(run.stack.processes[name].pid)
        family = [root, *root.children(recursive=True)]
        found[f"{name} (bytes)"] = sum(one.memory_info().rss for one in family)
        found[f"{name} (threads)"] = sum(one.num_threads() for one in family)
        found[f"{name} (connections)"] = sum(len(one.net_connections()) for one in family)
    return found


@pytest.fixture
def day(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HurriedDay:
    """The running installation, beat included."""
    if not FAKETIME.exists():
        pytest.skip("libfaketime is not installed")
    if not stack.env["BROKER_URL"].startswith("redis"):
        pytest.skip("looks into Valkey or Redis")
    (tmp_path / "dead.yaml").write_text(DEAD)
    stack.env |= {"PARTNERS": "sandbox", "PARTNERS_DIR": str(tmp_path)}
    # A relay gives its signs of life by the real clock: every few hours of this one.
    stack.env |= {"WORKER_CONCURRENCY": "8", "JOB_BACKOFF_BASE": "60", "HEARTBEAT_DEADLINE": "86400"}
    for name in ("PARTNERS", "PARTNERS_DIR", "BROKER_URL"):
        monkeypatch.setenv(name, stack.env[name])
    get_settings.cache_clear()
    run = HurriedDay(stack, tmp_path / "clock")
    stack.start_chain()
    command = [str(BIN / "celery"), "-A", "workers", "beat", "--max-interval", "1"]
    command += ["--schedule", str(tmp_path / "schedule")]
    fake = {"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(run.file), "FAKETIME_NO_CACHE": "1"}
    stack.start("beat", command, env=fake)
    return run


@pytest.mark.e2e
@pytest.mark.full
@pytest.mark.timeout(1200)
def test_a_day_of_the_real_beat_fills_no_table_no_queue_and_no_process(day: HurriedDay) -> None:
    provider, course = make_course()
    others = order("", *make_course("dead"))
    dead = [{**others, "studentId": student} for student in make_students(3, "dead")]
    for one in dead:
        assert day.stack.post_event(checkout_event(one)).status_code == 200
    students = make_students(HOURS)
    measured = []
    for hour, student in enumerate(students):
        if hour in (2, HOURS // 2 + 1):  # The first two hours are those in which everything is made.
            measured.append(measure(day))
        assert day.stack.post_event(checkout_event(order(student, provider, course))).status_code == 200
        day.pass_an_hour()
    day.stack.wait_for_statuses({"active": HOURS, "pending": len(dead)}, 180)
    measured.append(measure(day))

    turns = dict(rows(TURNS))
    for entry in BEAT_SCHEDULE.values():
        # Of some requests in one turn, one gets it. What is asked for once a day comes when this day is over.
        hours = HOURS - 1 if entry["schedule"] <= 3600 else 0
        assert turns.get(entry["task"].removeprefix("tasks."), 0) >= hours, (entry, turns)
    warm, middle, end = measured
    grown = {name: (middle[name] - warm[name], end[name] - middle[name]) for name in end}
    for name, (before, after) in grown.items():
        room = MEMORY_ROOM if "bytes" in name else FEW if "(" in name else ROOM
        # Tables grow with what happens, as much in each half; processes do not.
        steady = 0 if "(" in name else 1.3 * max(0, before)
        assert after <= steady + room, (name, grown)
    print(rows("SELECT kind, count(*) FROM alerts GROUP BY 1"))
    print({name: (warm[name], middle[name], end[name]) for name, count in end.items() if count}, turns)

    # And beat has all of it forgotten when its time is over.
    day.put_forward(401 * 86_400)
    day.pass_an_hour()
    wait_until(lambda: scalar(OLD_TURNS) + scalar(FORGETTABLE) == 0, 120)
    wait_until(lambda: scalar("SELECT count(*) FROM inbox_events") == 0, 60)
