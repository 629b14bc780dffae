"""Importing an older system's progress: rows a second against one plain INSERT ... SELECT, and memory while it runs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import NamedTuple

from sqlalchemy import text

from bench.lab import ROOT, Lab
from bench.report import Figure, Plan, say
from db.session import get_engine, transaction

CHAPTERS, TAKEN = 10, 5
# What one statement can do: the same ledger rows and completed lessons, computed in one go into copies of the tables
# with all their indexes, without triggers, foreign keys, batches, mapping, or anything noted.
PLAIN = (
    "CREATE TABLE plain_ledger (LIKE xp_transactions INCLUDING ALL)",
    "CREATE TABLE plain_progress (LIKE lesson_progress INCLUDING ALL)",
    """
    INSERT INTO plain_progress (user_id, lesson_id, course_id, completed_at)
    SELECT u.id, l.id, l.course_id, p."updatedAt" FROM old."UserProgress" p
    JOIN legacy_ids u ON u.table_name = 'User' AND u.legacy_id = p."userId"
    JOIN legacy_ids c ON c.table_name = 'Chapter' AND c.legacy_id = p."chapterId" JOIN lessons l ON l.id = c.id
    WHERE p."isCompleted"
    """,
    """
    INSERT INTO plain_ledger (seq, user_id, kind, amount, base, source_type, source_id, category, reason, business_key,
        balance_after, occurred_at)
    SELECT nextval('xp_transactions_seq'), user_id, 'award', 50, 50, 'LESSON', lesson_id::text, 'LESSON',
        'legacy_import', 'lesson:' || lesson_id, 50 * row_number() OVER (PARTITION BY user_id ORDER BY completed_at),
        completed_at
    FROM plain_progress
    """,
)
OLD = (
    "DROP SCHEMA IF EXISTS old CASCADE",
    "CREATE SCHEMA old",
    'CREATE TABLE old."Course" (id text PRIMARY KEY, title text, "isPublished" boolean, "updatedAt" timestamp(3))',
    """
    CREATE TABLE old."Chapter" (id text PRIMARY KEY, title text, position integer, "isPublished" boolean,
        "courseId" text, "updatedAt" timestamp(3))
    """,
    """
    CREATE TABLE old."UserProgress" (id text PRIMARY KEY, "userId" text, "chapterId" text, "isCompleted" boolean,
        "createdAt" timestamp(3), "updatedAt" timestamp(3))
    """,
    "INSERT INTO old.\"Course\" SELECT 'course-' || n, 'Course', true, now() FROM generate_series(1, :courses) n",
    """
    INSERT INTO old."Chapter" SELECT 'chapter-' || c || '-' || n, 'Chapter', n, true, 'course-' || c, now()
    FROM generate_series(1, :courses) c, generate_series(1, :chapters) n
    """,
    """
    INSERT INTO old."UserProgress"
    SELECT gen_random_uuid()::text, 'user_' || md5(u::text), 'chapter-' || 1 + (u * 7 + t * 13) % :courses || '-' || n,
        n < :chapters OR u % 2 = 0, now() - u % 1000 * interval '1 hour', now() - u % 1000 * interval '1 hour'
    FROM generate_series(1, :users) u, generate_series(1, :taken) t, generate_series(1, :chapters) n
    """,
)


class Size(NamedTuple):
    """How many courses and people; everybody has `CHAPTERS` x `TAKEN` rows of progress."""

    courses: int
    users: int

    @property
    def rows(self) -> int:
        """Return how many rows of progress there are."""
        return self.users * CHAPTERS * TAKEN


FULL, QUICK = Size(1_000, 100_000), Size(100, 1_000)


def run(lab: Lab, plan: Plan) -> None:
    """Measure once: the work is long, and the reference is the same rows in the same database right after."""
    measure(lab, QUICK if plan.quick else FULL)


def measure(lab: Lab, size: Size) -> None:
    """Import an older system of this size, then have one statement write the same rows."""
    values = {**size._asdict(), "chapters": CHAPTERS, "taken": TAKEN}
    execute(*OLD, "ANALYZE", **values)
    say(f"  {size.rows:,} rows of progress of {size.users:,} people")
    figure = Figure("legacy", f"{size.rows} rows of progress, {size.users} users", "rows/s")
    found = importing(lab)
    seen = {name: found[name] for name in ("seconds", "first_mb", "peak_mb", "again_seconds")}
    figure.add("usher", size.rows / found["seconds"], **seen)
    execute("ANALYZE")
    started = time.monotonic()
    execute(*PLAIN)
    figure.add("one_statement", size.rows / (time.monotonic() - started))
    check(size)
    figure.print()


def importing(lab: Lab) -> dict[str, float]:
    """Import in a process of its own, twice; return seconds and memory (MB)."""
    with lab.log("legacy").open("ab") as log:
        command = [sys.executable, "-m", "bench.legacy_once"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=log, env=lab.env, cwd=ROOT, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def execute(*statements: str, **values: int) -> None:
    """Run statements, each a transaction of its own and as long as it takes."""
    with get_engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        for statement in statements:
            wanted = {name: value for name, value in values.items() if f":{name}" in statement}
            connection.execute(text(statement), wanted)
        connection.invalidate()


def check(size: Size) -> None:
    """Make sure that both did the work: even users finish their courses, odd ones lack the last chapter of each."""
    even, odd = size.users // 2, size.users - size.users // 2
    lessons = 50 * TAKEN * (CHAPTERS * even + (CHAPTERS - 1) * odd)
    with transaction() as session:
        total = session.execute(text("SELECT sum(total_xp)::bigint FROM users")).scalar_one()
        plain = session.execute(text("SELECT sum(amount)::bigint FROM plain_ledger")).scalar_one()
    if total != lessons + 200 * TAKEN * even or plain != lessons:
        raise RuntimeError(f"totals {total} and {plain} instead of {lessons} and the courses'")
