"""The same import while somebody goes on writing in the older system, killed half-way and started again."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil  # type: ignore[import-untyped]
from sqlalchemy import text

from bench.lab import ROOT, Lab
from bench.legacy import CHAPTERS, FULL, OLD, QUICK, Size, execute
from bench.report import Figure, Plan, say
from db.session import get_engine

KILL_AT = 0.4  # of the rows of progress
PAUSE, QUICK_PAUSE = 0.05, 0.002  # seconds between two rows of the writer
# What everybody must have at the end, in one statement that shares nothing with the import.
DIFFERENCES = """
    WITH done AS (
        SELECT DISTINCT p."userId" AS person, p."chapterId" AS chapter, c."courseId" AS course
        FROM old."UserProgress" p JOIN old."Chapter" c ON c.id = p."chapterId" WHERE p."isCompleted"
    ), whole AS (
        SELECT person, course FROM done GROUP BY 1, 2 HAVING count(*) = :chapters
    ), wanted AS (
        SELECT person, sum(xp) AS xp FROM (
            SELECT person, 50 AS xp FROM done UNION ALL SELECT person, 200 FROM whole
        ) entries GROUP BY 1
    )
    SELECT count(*) FROM wanted w
    FULL JOIN (
        SELECT m.legacy_id AS person, u.total_xp FROM legacy_ids m JOIN users u ON u.id = m.id
        WHERE m.table_name = 'User' AND u.total_xp > 0
    ) have USING (person) WHERE w.xp IS DISTINCT FROM have.total_xp
"""


def run(lab: Lab, plan: Plan) -> None:
    """Measure once; raise unless nothing was lost or doubled."""
    size = QUICK if plan.quick else FULL
    execute(*OLD, "ANALYZE", **{**size._asdict(), "chapters": CHAPTERS, "taken": 5})
    say(f"  {size.rows:,} rows of progress of {size.users:,} people, and a writer")
    figure = Figure("legacy_beside", f"{size.rows} rows, a writer, a kill", "rows/s")
    started, peak = time.monotonic(), 0.0
    with writing(size) as wrote:
        killed = import_once(lab, int(size.rows * KILL_AT))
        say(f"  killed after {killed.seconds:.0f} s and {rows_read():,} rows")
        resumed = import_once(lab)
        caught_up = import_once(lab)
    last = import_once(lab)
    peak = max(once.peak_mb for once in (killed, resumed, caught_up, last))
    took = killed.seconds + resumed.seconds
    figure.add(
        "usher",
        size.rows / took,
        seconds=time.monotonic() - started,
        killed_after=killed.seconds,
        catching_up=caught_up.seconds,
        last=last.seconds,
        written_meanwhile=len(wrote),
        first_mb=killed.peak_mb,
        peak_mb=peak,
    )
    different = scalar(DIFFERENCES, chapters=CHAPTERS)
    if different:
        raise RuntimeError(f"{different} people have another total than the older system says")
    usher(lab, "legacy", "validate", "--source", source_url(lab), "--schema", "old")
    figure.print()


class Once:
    """One run of the import: seconds and memory at its highest (MB)."""

    def __init__(self) -> None:
        self.seconds = self.peak_mb = 0.0


def import_once(lab: Lab, kill_at: int | None = None) -> Once:
    """Run the command to its end, or kill it as soon as it has read so many rows of progress."""
    once, started = Once(), time.monotonic()
    command = [sys.executable, "-m", "cli.main", "legacy", "import", "--schema", "old"]
    with lab.log("legacy").open("ab") as log:
        child = subprocess.Popen(
            [*command, "--source", source_url(lab)], stdout=log, stderr=log, env=lab.env, cwd=ROOT
        )
        process = psutil.Process(child.pid)
        while child.poll() is None:
            try:
                once.peak_mb = max(once.peak_mb, process.memory_info().rss / 1e6)
            except psutil.NoSuchProcess:
                break
            if kill_at is not None and rows_read() >= kill_at:
                child.send_signal(signal.SIGKILL)
                child.wait()
                break
            time.sleep(0.2)
    once.seconds = time.monotonic() - started
    if child.wait() != (0 if kill_at is None else -signal.SIGKILL):
        raise RuntimeError(f"the import ended with {child.returncode}: {lab.log('legacy')}")
    return once


@contextmanager
def writing(size: Size) -> Iterator[list[str]]:
    """Complete chapters at random, old rows and new ones, until the block ends; yields what was written."""
    stop, wrote, chance = threading.Event(), list[str](), random.Random(7)

    def write() -> None:
        with get_engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            ids = connection.execute(
                text('SELECT id FROM old."UserProgress" TABLESAMPLE SYSTEM (2) LIMIT 50000')
            )
            known = [row.id for row in ids]
            while not stop.wait(QUICK_PAUSE if size == QUICK else PAUSE):
                if chance.random() < 0.5:
                    statement = 'UPDATE old."UserProgress" SET "isCompleted" = true, "updatedAt" = now() WHERE id = :id'
                    values = {"id": chance.choice(known)}
                else:
                    statement = (
                        'INSERT INTO old."UserProgress"'
                        " VALUES (:id, 'user_' || md5(:user), :chapter, :done, now(), now())"
                    )
                    values = {
                        "id": f"live-{len(wrote)}",
                        "user": str(chance.randint(1, size.users)),
                        "chapter": f"chapter-{chance.randint(1, size.courses)}-{chance.randint(1, CHAPTERS)}",
                        "done": chance.random() < 0.7,
                    }
                connection.execute(text(statement), values)
                wrote.append(str(values["id"]))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield wrote
    finally:
        stop.set()
        thread.join()


def usher(lab: Lab, *words: str) -> None:
    """Run a command that must succeed."""
    command = [sys.executable, "-m", "cli.main", *words]
    done = subprocess.run(command, capture_output=True, text=True, env=lab.env, cwd=ROOT, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words[:2])} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def rows_read() -> int:
    """Return how many rows of progress the import says that it has read."""
    return int(
        scalar("SELECT coalesce(max(rows_read), 0) FROM legacy_tables WHERE table_name = 'UserProgress'")
    )


def scalar(statement: str, **values: int) -> int:
    """Return the one value of a query that may take its time."""
    with get_engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        found = int(connection.execute(text(statement), values).scalar_one())
        connection.invalidate()
    return found


def source_url(lab: Lab) -> str:
    """Return the address of the older system: a schema of the same database."""
    return str(lab.env["DATABASE_URL"])
