"""XP awards per second: a lesson completed over HTTP, its entry, total and enrolment committed before the answer.

The api runs as `usher run` starts it; each request is a student's with an API token, who completes a lesson for the first
time. Against it the same over the ORM as one writes it first, behind the same gunicorn, and pgbench on the same
PostgreSQL: running our own statement, and running the tightest SQL that leaves the same rows behind: one data-modifying
CTE on tables without triggers.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import text

from bench import pgbench
from bench.lab import Lab
from bench.load import Tally, post_for
from bench.report import Figure, Plan, percentile, say
from db.session import transaction
from domain import tokens, xp

CONNECTIONS = (16, 64)
STUDENTS = 20_000
LESSONS = 50
# Requests made beforehand for each second: more than a gunicorn process answers.
MOST_PER_SECOND = 2_000
WARM_UP = 0.5  # seconds
UUID = "CAST('00000000-0000-4000-8000-' || lpad(to_hex(CAST({number} AS integer)), 12, '0') AS uuid)"

PEOPLE = text(
    f"INSERT INTO users (id, email) SELECT {UUID.format(number='n')}, 'student-' || n || '@example.com'"
    " FROM generate_series(1, :count) AS n"
)
TOKENS = text(
    "INSERT INTO api_tokens (token_hash, role, subject)"
    " SELECT encode(sha256(convert_to('bench' || n, 'UTF8')), 'hex'), 'student', 'student-' || n || '@example.com'"
    " FROM generate_series(1, :count) AS n"
)
# A token notes its use once a minute; that is not what is measured.
TOUCHED = text("UPDATE api_tokens SET last_used_at = now()")
COURSE = text("INSERT INTO courses (title, published) VALUES ('Course', true) RETURNING id")
# Lessons are numbered over all courses, so that a number makes the id, here and in pgbench.
NEW_LESSONS = text(
    f"INSERT INTO lessons (id, course_id, title, position, published) SELECT {UUID.format(number='n')}, :course,"
    " 'Lesson', n, true FROM generate_series(CAST(:first AS integer), :first + :count - 1) AS n"
)
ENROLL = "INSERT INTO {table} (user_id, course_id) SELECT id, :course FROM users"
# The same columns and indexes, without triggers and foreign keys.
COPIED = ("users", "enrollments", "lesson_progress", "xp_transactions", "jobs")
COPY = (
    "CREATE TABLE bench_{table} (LIKE {table} INCLUDING ALL)",
    "INSERT INTO bench_users SELECT * FROM users",
)
TIGHTEST = """
    WITH lesson AS (
        SELECT l.id, l.course_id, l.xp_reward FROM lessons l JOIN courses c ON c.id = l.course_id
        WHERE l.id = {lesson} AND l.published AND c.deleted_at IS NULL
    ), done AS (
        INSERT INTO bench_lesson_progress (user_id, lesson_id, course_id)
        SELECT {user}, lesson.id, lesson.course_id FROM lesson
        ON CONFLICT (user_id, lesson_id) DO NOTHING RETURNING user_id, lesson_id
    ), moved AS (
        UPDATE bench_users u SET total_xp = u.total_xp + lesson.xp_reward,
            level = xp_level(u.total_xp + lesson.xp_reward, 'sqrt'),
            highest_level = greatest(u.highest_level, xp_level(u.total_xp + lesson.xp_reward, 'sqrt'))
        FROM done, lesson WHERE u.id = done.user_id RETURNING u.id, u.total_xp
    ), entry AS (
        INSERT INTO bench_xp_transactions (user_id, seq, kind, amount, base, source_type, source_id, category, reason,
            description, business_key, balance_after)
        SELECT moved.id, nextval('xp_transactions_seq'), 'award', lesson.xp_reward, lesson.xp_reward, 'LESSON',
            lesson.id::text, 'LESSON', 'lesson_completed', 'Lesson completed', 'lesson:' || lesson.id, moved.total_xp
        FROM moved, lesson RETURNING id
    ), enrolled AS (
        UPDATE bench_enrollments e SET xp_earned = e.xp_earned + lesson.xp_reward,
            started_at = coalesce(e.started_at, now()),
            completion_percentage = (
                1 + (SELECT count(*) FROM bench_lesson_progress p WHERE p.user_id = {user} AND p.course_id = e.course_id)
            ) * 100 / (SELECT count(*) FROM lessons l WHERE l.course_id = e.course_id AND l.published)
        FROM moved, lesson WHERE e.user_id = moved.id AND e.course_id = lesson.course_id
    )
    INSERT INTO bench_jobs (kind, business_key, queue, subject_id)
    SELECT 'xp.after_award', entry.id::text, 'xp', entry.id FROM entry
"""
OURS = {
    "user": UUID.format(number=":u"),
    "course": "CAST(:course AS uuid)",
    "lesson": UUID.format(number=":l"),
    "claimed": "50",
    "factor": "NULL",
    "breakdown": "NULL",
    "transport": "NULL",
    "curve": "'sqrt'",
    "completed_at": "NULL",
}


def run(lab: Lab, plan: Plan) -> None:
    """Measure at each number of connections, subject and references in turn."""
    seconds = 1.5 if plan.quick else 4.0
    lab.set_env("RATE_LIMIT", "0")
    prepare()
    school = School()
    ports = {
        "usher": lab.start_gunicorn("api", "api.app:create_app()", "/healthz"),
        "plain_orm": lab.start_gunicorn("plain_orm", "bench.plain_orm:app", "/healthz"),
    }
    for port in ports.values():
        post(WARM_UP, port, 16, school)
    ours = re.sub(r"(?<!:):(\w+)", lambda name: OURS[name[1]], xp.COMPLETE_LESSON.text)
    statements = {
        "pgbench_ours": ours,
        "pgbench_tightest": TIGHTEST.format(user=OURS["user"], lesson=OURS["lesson"]),
    }
    for connections in CONNECTIONS:
        say(f"  {connections} connections")
        figure = Figure("xp", f"{connections} connections", "awards/s")
        for _ in range(plan.rounds):
            for who, port in ports.items():
                measure_http(figure, lab, who, port, connections, seconds, school)
            for who, statement in statements.items():
                measure_pgbench(figure, lab, who, statement, connections, seconds, school)
        figure.print()


class School:
    """A course at a time, in which every student is enrolled and no lesson is completed yet."""

    def __init__(self) -> None:
        self.first, self.course = 1, ""
        self.open_course()

    def open_course(self) -> None:
        """Open the next course."""
        self.first += LESSONS
        with transaction() as session:
            self.course = str(session.execute(COURSE).scalar_one())
            session.execute(NEW_LESSONS, {"course": self.course, "first": self.first, "count": LESSONS})
            for table in ("enrollments", "bench_enrollments"):
                session.execute(text(ENROLL.format(table=table)), {"course": self.course})
            session.execute(TOUCHED)

    def requests(self, count: int) -> Iterator[bytes]:
        """Return prepared requests, each for another lesson of another student."""
        pairs = random.sample(range(STUDENTS * LESSONS), count)
        return iter([self._request(1 + pair % STUDENTS, self.first + pair // STUDENTS) for pair in pairs])

    def _request(self, student: int, lesson: int) -> bytes:
        body = {
            "userId": make_id(student),
            "courseId": self.course,
            "lessonId": make_id(lesson),
            "xpAmount": 50,
        }
        sent = json.dumps(body).encode()
        head = (
            "POST /api/xp/award HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {tokens.PREFIX}bench{student}\r\nContent-Length: {len(sent)}\r\n\r\n"
        )
        return head.encode() + sent


def make_id(number: int) -> str:
    """Return the id of the student or lesson with this number."""
    return f"00000000-0000-4000-8000-{number:012x}"


def prepare() -> None:
    """Insert students with their tokens, and copies of the tables without triggers."""
    with transaction() as session:
        session.execute(PEOPLE, {"count": STUDENTS})
        session.execute(TOKENS, {"count": STUDENTS})
        for table in COPIED:
            session.execute(text(COPY[0].format(table=table)))
        session.execute(text(COPY[1]))


def measure_http(
    figure: Figure, lab: Lab, who: str, port: int, connections: int, seconds: float, school: School
) -> None:
    """Note one round over HTTP; every award that was answered has to be in the ledger."""
    school.open_course()
    before, entries = lab.cpu(), count_entries()
    tally = post(seconds, port, connections, school)
    spent = {name: 1000 * (after - before[name]) / tally.accepted for name, after in lab.cpu().items()}
    if count_entries() - entries != tally.accepted:
        raise RuntimeError(f"{tally.accepted} awards were answered, {count_entries() - entries} are stored")
    milliseconds = [1000 * time for time in tally.times]
    figure.add(
        who,
        tally.accepted / tally.seconds,
        p50_ms=percentile(milliseconds, 0.5),
        p99_ms=percentile(milliseconds, 0.99),
        api_cpu_ms=spent["api" if who == "usher" else who],
        postgres_cpu_ms=spent["postgres"],
    )


def post(seconds: float, port: int, connections: int, school: School) -> Tally:
    """Complete lessons for so long; each has to be accepted."""
    tally = post_for(seconds, port, school.requests(int(seconds * MOST_PER_SECOND)), connections)
    if tally.lost or set(tally.statuses) != {200}:
        raise RuntimeError(f"answers {dict(tally.statuses)}, {tally.lost} lost")
    return tally


def count_entries() -> int:
    """Return the number of ledger entries of lessons."""
    with transaction() as session:
        found = session.execute(text("SELECT count(*) FROM xp_transactions WHERE source_type = 'LESSON'"))
        return int(found.scalar_one())


def measure_pgbench(
    figure: Figure, lab: Lab, who: str, statement: str, clients: int, seconds: float, school: School
) -> None:
    """Note one round of PostgreSQL alone, awarding by a statement random lessons to random students."""
    school.open_course()
    script: Path = lab.directory / "award.sql"
    last = school.first + LESSONS - 1
    script.write_text(
        f"\\set u random(1, {STUDENTS})\n\\set l random({school.first}, {last})\n{statement.strip()};\n"
    )
    before = lab.cpu()["postgres"]
    rate = pgbench.rate(lab.database_url, script, {"course": school.course}, clients=clients, seconds=seconds)
    spent = lab.cpu()["postgres"] - before
    figure.add(who, rate, postgres_cpu_ms=1000 * spent / (rate * max(1, round(seconds))))
