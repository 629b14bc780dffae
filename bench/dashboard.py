"""What pages cost as the tables grow: 1,000 users against 1,000,000, each with ten ledger entries and five partner seats.

Both databases are on the same PostgreSQL, each behind an api of its own, and are read in turn by students at random. Time
is that of the whole request; pages are those that PostgreSQL touches for it, which no other load on the machine moves.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
from flask import Flask
from sqlalchemy import event, text

from api.app import create_app
from bench.lab import Lab
from bench.load import post_for
from bench.report import SUBJECT, Figure, Plan, percentile, say
from bench.xp import PEOPLE, UUID, make_id
from db.session import get_engine, transaction
from domain import tokens

PATHS = (
    "/dashboard",
    "/api/me/stats",
    "/api/xp",
    "/api/xp/transactions",
    "/ops",
    "/ops/enrollments",
    "/ops/enrollments?status=failed",
    "/ops/failures",
    "/ops/students?q=student-77@example.com",
)
ENTRIES, SEATS = 10, 5
# Seats of the last day, of which some wait or failed: the same in both. What grows is what lies behind, three years of it.
TODAY = 1_000
READERS = 1_000
CONNECTIONS = 2
# Students whose reads are taken apart, statement by statement.
TAKEN_APART = 25
SMALL, LARGE = "at_1000_users", SUBJECT

# Triggers and foreign keys would take hours; what is loaded is what they would have let through. Entries go in turn by
# turn for all users, so that those of one user lie apart, as they do in life.
COURSE, PARTNER = (f"'00000000-0000-4000-8000-00000000{name}'" for name in ("c001", "d001"))
LOAD = f"""
    SET LOCAL session_replication_role = replica;
    SET LOCAL statement_timeout = 0;
    SET LOCAL maintenance_work_mem = '512MB';
    {PEOPLE.text};
    UPDATE users SET total_xp = 50 * :entries, level = xp_level(50 * :entries, 'sqrt'),
        highest_level = xp_level(50 * :entries, 'sqrt');
    INSERT INTO courses (id, title, published) VALUES ({COURSE}, 'Course', true);
    INSERT INTO lessons (id, course_id, title, published)
    SELECT {UUID.format(number="n")}, {COURSE}, 'Lesson', true FROM generate_series(1, :entries) AS n;
    INSERT INTO enrollments (user_id, course_id, completion_percentage, xp_earned)
    SELECT id, {COURSE}, 100, 50 * :entries FROM users;
    INSERT INTO lesson_progress (user_id, lesson_id, course_id)
    SELECT id, {UUID.format(number="n")}, {COURSE} FROM users, generate_series(1, 2) AS n;
    INSERT INTO partner_lms_providers (id, provider_name, provider_type) VALUES ({PARTNER}, 'Bench', 'sandbox');
    INSERT INTO partner_courses (id, provider_id, course_name, course_code)
    SELECT {UUID.format(number="900000 + n")}, {PARTNER}, 'Course ' || n, 'COURSE-' || n
    FROM generate_series(1, :seats) AS n;
    INSERT INTO partner_lms_enrollments (provider_id, student_id, course_id, status, external_enrollment_id,
        created_at, enrolled_at, launch_checked_at, completed_at)
    SELECT {PARTNER}, u.id, {UUID.format(number="900000 + turn")}, status,
        CASE WHEN status NOT IN ('pending', 'failed') THEN 'enr_' || turn || u.id END, at, at, at + interval '3 seconds',
        CASE WHEN status = 'completed' THEN at END
    FROM generate_series(1, :seats) AS turn, (SELECT id, row_number() OVER (ORDER BY id) AS n FROM users) AS u,
        LATERAL (SELECT (turn - 1) * :count + u.n AS seat) AS numbered,
        LATERAL (SELECT CASE WHEN seat <= :today THEN now() - seat * interval '80 seconds'
                ELSE now() - interval '1 day' - seat * 7919 % (:seats * :count) * interval '3 years' / (:seats * :count)
            END AS at,
            CASE WHEN seat <= 100 THEN 'failed' WHEN seat <= 120 THEN 'pending' WHEN turn = 1 THEN 'active'
                ELSE 'completed' END AS status) AS made;
    INSERT INTO partner_lms_enrollment_failures (enrollment_id, student_id, provider_id, course_id, error_code,
        error_message, retry_count, final, created_at)
    SELECT id, student_id, provider_id, course_id, 'refused', 'Course is full', 0, true, created_at
    FROM partner_lms_enrollments WHERE status = 'failed';
    INSERT INTO xp_transactions (id, seq, user_id, kind, amount, base, source_type, source_id, category, reason,
        business_key, balance_after)
    SELECT {UUID.format(number="(turn - 1) * :count + n")}, (turn - 1) * :count + n, {UUID.format(number="n")},
        'award', 50, 50, 'LESSON', {UUID.format(number="turn")}::text, 'LESSON', 'lesson_completed',
        'lesson:' || {UUID.format(number="turn")}, 50 * turn
    FROM generate_series(1, :entries) AS turn, generate_series(1, :count) AS n;
    SELECT setval('xp_transactions_seq', :entries * :count)
"""
TOKENS = text(
    "INSERT INTO api_tokens (token_hash, role, subject, last_used_at)"
    " SELECT encode(sha256(convert_to('bench' || n, 'UTF8')), 'hex'), 'student', 'student-' || n || '@example.com', now()"
    " FROM unnest(CAST(:students AS integer[])) AS n"
)
EXPLAIN = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) "
STAFF = text(
    "INSERT INTO api_tokens (token_hash, role, subject, last_used_at)"
    " VALUES (encode(sha256(convert_to('benchstaff', 'UTF8')), 'hex'), 'ops', 'staff@example.com', now())"
)
# What can be explained; the rest sets something.
EXPLAINED = ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE")
TOUCHED = text("UPDATE api_tokens SET last_used_at = now()")


class School:
    """A database with so many users, an api on it, and the students who read."""

    def __init__(self, lab: Lab, name: str, users: int) -> None:
        self.lab, self.users = lab, users
        self.url = f"{lab.database_url.rsplit('/', 1)[0]}/{name}"
        self.students = random.sample(range(1, users + 1), min(READERS, users))
        with self.bound():
            load(users)
            with transaction() as session:
                session.execute(TOKENS, {"students": self.students})
                session.execute(STAFF)
            self.port = lab.start_gunicorn(name, "api.app:create_app()", "/healthz")

    @contextmanager
    def bound(self) -> Iterator[None]:
        """Bind this process, and those that it starts, to this database."""
        get_engine().dispose()
        get_engine.cache_clear()
        self.lab.set_env("DATABASE_URL", self.url)
        yield
        get_engine().dispose()
        get_engine.cache_clear()
        self.lab.set_env("DATABASE_URL", self.lab.database_url)

    def read(self, path: str, seconds: float) -> list[float]:
        """Read a page as students at random for so long; return the milliseconds of each read."""
        with self.bound():
            touch()
        requests = iter([self._request(path) for _ in range(int(seconds * 2_000))])
        tally = post_for(seconds, self.port, requests, CONNECTIONS)
        if tally.lost or set(tally.statuses) != {200}:
            raise RuntimeError(f"{path}: answers {dict(tally.statuses)}, {tally.lost} lost")
        return [1000 * time for time in tally.times]

    def take_apart(self, path: str) -> dict[str, float]:
        """Return what a read of this page is to PostgreSQL: statements, pages that they touch, and their milliseconds."""
        with self.bound():
            touch()
            self.lab.set_env("LOG_LEVEL", "ERROR")
            app = create_app()
            found = [_take_apart(app, path, student) for student in random.sample(self.students, TAKEN_APART)]
            self.lab.set_env("LOG_LEVEL", "INFO")
        names = ("queries", "pages", "sql_ms")
        return dict(zip(names, map(statistics.median, zip(*found, strict=True)), strict=True))

    def _request(self, path: str) -> bytes:
        head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {_who(path, random.choice(self.students))}"
        return f"{head}\r\n\r\n".encode()


def run(lab: Lab, plan: Plan) -> None:
    """Load both databases and read each page in both in turn."""
    seconds = 1.0 if plan.quick else 3.0
    lab.set_env("RATE_LIMIT", "0")
    make_databases(lab)
    small = School(lab, "bench_small", 1_000)
    large = School(lab, "bench_large", 20_000 if plan.quick else 1_000_000)
    say(f"  loaded, {size_of(large):.1f} GB")
    for path in PATHS:
        figure = Figure(
            "dashboard",
            f"{path} at {large.users} users, {large.users * ENTRIES} entries, {large.users * SEATS} seats",
            "ms",
        )
        parts = {who: school.take_apart(path) for who, school in ((SMALL, small), (LARGE, large))}
        for school in (small, large):
            school.read(path, 0.5)
        for _ in range(plan.rounds):
            for who, school in ((SMALL, small), (LARGE, large)):
                times = school.read(path, seconds)
                figure.add(who, percentile(times, 0.5), p99_ms=percentile(times, 0.99), **parts[who])
        figure.print()


def _who(path: str, student: int) -> str:
    """Return the credentials of whoever reads this page."""
    return f"Bearer {tokens.PREFIX}bench{'staff' if path.startswith('/ops') else student}"


def make_databases(lab: Lab) -> None:
    """Copy the migrated, empty database twice, and keep the write-ahead log short."""
    get_engine().dispose()
    connection = psycopg2.connect(f"{lab.database_url.rsplit('/', 1)[0]}/postgres")
    connection.autocommit = True
    name = lab.database_url.rsplit("/", 1)[1]
    with connection.cursor() as cursor:
        cursor.execute("ALTER SYSTEM SET max_wal_size = '512MB'")
        cursor.execute("SELECT pg_reload_conf()")
        for copy in ("bench_small", "bench_large"):
            cursor.execute(f'CREATE DATABASE {copy} TEMPLATE "{name}"')
    connection.close()


def load(users: int) -> None:
    """Fill the database: each user with entries, lessons and enrolments. Indexes are built afterwards, as a restore does."""
    with transaction() as session:
        indexes = session.execute(
            text(
                "SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS made FROM pg_index"
                " WHERE indrelid = 'xp_transactions'::regclass"
                " AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conindid = indexrelid)"
            )
        ).all()
        for index in indexes:
            session.execute(text(f"DROP INDEX {index.name}"))
        for statement in LOAD.split(";"):
            session.execute(
                text(statement), {"count": users, "entries": ENTRIES, "seats": SEATS, "today": TODAY}
            )
        for index in indexes:
            session.execute(text(index.made))
    with get_engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("VACUUM ANALYZE"))
        connection.execute(text("RESET statement_timeout"))


def touch() -> None:
    """Note that every token was just used: a token notes its use once a minute, which is not what is measured."""
    with transaction() as session:
        session.execute(TOUCHED)


def size_of(school: School) -> float:
    """Return the gigabytes of a database."""
    with school.bound(), transaction() as session:
        return int(session.execute(text("SELECT pg_database_size(current_database())")).scalar_one()) / 1e9


def _take_apart(app: Flask, path: str, student: int) -> tuple[float, float, float]:
    """Read once as this student; return the number of statements, the pages that they touch, and their milliseconds."""
    done: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        done.append((statement, parameters))

    engine = get_engine()
    event.listen(engine, "before_cursor_execute", note)
    answer = app.test_client().get(path, headers={"Authorization": _who(path, student)})
    event.remove(engine, "before_cursor_execute", note)
    if answer.status_code != 200:
        raise RuntimeError(f"{path}: {answer.status_code} for {make_id(student)}")
    with engine.connect() as connection:
        plans = [
            connection.exec_driver_sql(EXPLAIN + statement, parameters).scalar_one()[0]
            for statement, parameters in done
            if statement.lstrip().upper().startswith(EXPLAINED)
        ]
        connection.rollback()
    pages = sum(plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"] for plan in plans)
    return len(done), pages, sum(plan["Planning Time"] + plan["Execution Time"] for plan in plans)
