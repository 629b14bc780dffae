"""Progress pulled from a partner: seats per second with its bulk call against a call for each seat, and at a million seats.

A tenth of the seats moved since the last time, a tenth of these to completion. Every sync is a process of its own, so that its peak of memory shows. What
was written and what was read by a scan is PostgreSQL's own count.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import requests
from sqlalchemy import text

from bench import cohort
from bench.lab import ROOT, Lab
from bench.report import SUBJECT, Figure, Plan, say
from db.session import get_engine, transaction
from domain import progress

# Triggers and foreign keys would take minutes for a million rows; what is loaded is what they would have let through.
UNCHECKED = text("SET LOCAL session_replication_role = replica")
PATIENT = text("SET LOCAL statement_timeout = 0")
PEOPLE = text(
    "INSERT INTO users (email) SELECT 'student-' || n || '@example.com' FROM generate_series(1, :count) AS n"
)
SEATS = text(
    """
    INSERT INTO partner_lms_enrollments (id, provider_id, student_id, course_id, status, external_enrollment_id,
        external_account_id, enrolled_at)
    SELECT new.id, :provider, new.student, :course, 'active', 'enr_' || new.id, 'acc_' || new.id, now()
    FROM (SELECT gen_random_uuid() AS id, users.id AS student FROM users) AS new
    """
)
IN_ORDER = text("SELECT external_enrollment_id FROM partner_lms_enrollments ORDER BY id")
UNMOVED = text(
    "UPDATE partner_lms_enrollments SET progress_percentage = 0, progress_updated_at = NULL, status = 'active',"
    " completed_at = NULL WHERE progress_updated_at IS NOT NULL"
)
UNSYNCED = text("TRUNCATE partner_sync_states, jobs CASCADE")
BULK = text(
    "UPDATE partner_lms_providers SET metadata = jsonb_build_object('bulk_progress', CAST(:bulk AS boolean))"
    " RETURNING id"
)
PLACE = text("INSERT INTO partner_sync_states (provider_id, position) VALUES (:provider, :after)")
FIND_PROVIDER = text("SELECT id FROM partner_lms_providers")
# Rows written, and rows read by scans of a whole table.
COUNTED = text(
    "SELECT n_tup_upd, seq_tup_read FROM pg_stat_user_tables WHERE relname = 'partner_lms_enrollments'"
)
# PostgreSQL holds back a connection's counts for up to a second, until it ends or is told.
COUNT_NOW = text("SELECT pg_stat_force_next_flush()")
COUNTED_WITHIN = 10.0  # seconds
MOVED_AT_ONCE = 10_000
SMALL = "at_10000_seats"


def run(lab: Lab, plan: Plan) -> None:
    """Measure with and without the bulk call in turn; the latter on fewer seats, since its cost is that of each call."""
    seats, alone = (10_000, 1_000) if plan.quick else (100_000, 10_000)
    ids = fill(lab, seats)
    figure = Figure("sync", f"{seats} seats by the bulk call, {alone} one by one, a tenth moved", "seats/s")
    for number in range(plan.rounds):
        move(lab, ids[::10], 10 + number)
        for who, asked in ((SUBJECT, ids), ("seat_by_seat", ids[-alone:])):
            before = None if asked is ids else ids[-alone - 1]
            start_anew(bulk=asked is ids, after=before)
            measure(figure, lab, who, seats=len(asked), moved=len(asked) // 10)
    figure.print()


def run_million(lab: Lab, plan: Plan) -> None:
    """Measure the whole feed, then what changed since, at 10,000 and at 1,000,000 seats. Once: it is long."""
    large = 100_000 if plan.quick else 1_000_000
    whole = Figure("sync_million", f"the whole feed of {large} seats, a tenth moved", "seats/s")
    since = Figure("sync_million", f"what changed since: one in a hundred of {large} seats", "seats/s")
    for who, seats in ((SMALL, 10_000), (SUBJECT, large)):
        ids = fill(lab, seats)
        move(lab, ids[::10], 10)
        start_anew(bulk=True)
        measure(whole, lab, who, seats=seats, moved=seats // 10)
        move(lab, ids[5::100], 20)
        with transaction() as session:
            progress.ask_sync(session, str(session.execute(FIND_PROVIDER).scalar_one()), "sandbox")
        measure(since, lab, who, seats=seats, moved=seats // 100)
        lab.stop()
    whole.print()
    since.print()


def fill(lab: Lab, count: int) -> list[str]:
    """Insert active enrolments, give the sandbox their seats; return their ids at the partner in our ids' order."""
    started = time.monotonic()
    cohort.clear()
    with transaction() as session:
        session.execute(PATIENT)
        session.execute(UNCHECKED)
        session.execute(PEOPLE, {"count": count})
        provider = session.execute(cohort.PROVIDER).scalar_one()
        course = session.execute(cohort.COURSE, {"provider": provider}).scalar_one()
        session.execute(SEATS, {"provider": provider, "course": course})
        ids = list(session.execute(IN_ORDER).scalars())
    with get_engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("VACUUM ANALYZE"))
        connection.invalidate()
    journal = lab.directory / "sandbox.journal"
    write_journal(journal, ids)
    lab.start_sandbox(journal)
    say(f"  {count:,} seats, filled in {time.monotonic() - started:.0f} s")
    return ids


def write_journal(path: Path, ids: list[str]) -> None:
    """Write what the sandbox would have kept of these seats: one account holds them all, which takes half the memory."""
    account = {"id": "acc_bench", "reference": "bench", "email": "a@example.com", "name": "A"}
    seat = {"account_id": "acc_bench", "course_code": "COURSE-1", "at": 1_700_000_000.0}
    with path.open("w") as file:
        for line in ({"op": "born", "epoch": f"bench{len(ids)}"}, {"op": "account", **account}):
            file.write(f"{json.dumps(line)}\n")
        for id in ids:
            file.write(f"{json.dumps({'op': 'enrollment', 'id': id, 'reference': id, **seat})}\n")


def move(lab: Lab, ids: Sequence[str], percentage: int) -> None:
    """Move seats at the partner, each tenth of them to completion."""
    moves = [
        {"enrollment_id": id, "percentage": 100 if number % 10 == 9 else percentage}
        for number, id in enumerate(ids)
    ]
    for first in range(0, len(moves), MOVED_AT_ONCE):
        body = moves[first : first + MOVED_AT_ONCE]
        requests.post(f"{lab.sandbox_url}/_progress", json=body, timeout=30).raise_for_status()


def start_anew(*, bulk: bool, after: str | None = None) -> None:
    """Forget what was synced and ask for all of it; without the bulk call only for the seats `after` this one."""
    with transaction() as session:
        session.execute(PATIENT)
        session.execute(UNMOVED)
        session.execute(UNSYNCED)
        provider = str(session.execute(BULK, {"bulk": bulk}).scalar_one())
        if after is not None:
            session.execute(PLACE, {"provider": provider, "after": after.removeprefix("enr_")})
        progress.ask_sync(session, provider, "sandbox")


def measure(figure: Figure, lab: Lab, who: str, *, seats: int, moved: int) -> None:
    """Let a process do the sync that is due, and note what it took; what moved has to be what was written."""
    written, scanned = counted()
    used = lab.cpu()
    with lab.log("sync").open("ab") as log:
        command = [sys.executable, "-m", "bench.sync_once"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=log, env=lab.env, cwd=ROOT, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    spent = {f"{name}_cpu_ms": 1000 * (now - used[name]) / seats for name, now in lab.cpu().items()}
    written = wait_for_written(written + moved) - written
    if found["changed"] != moved or written != moved or found["failed"]:
        raise RuntimeError(f"{moved} seats moved, {written} rows were written, the sync reports {found}")
    figure.add(
        who,
        seats / found["seconds"],
        seconds=found["seconds"],
        calls=found["calls"],
        calls_per_100=100 * found["calls"] / seats,
        changed=found["changed"],
        written=written,
        scanned=counted()[1] - scanned,
        peak_growth_mb=found["peak_growth_mb"],
        worker_cpu_ms=1000 * found["cpu"] / seats,
        **spent,
    )


def counted() -> tuple[int, int]:
    """Return how many enrolments PostgreSQL wrote, and how many it read by scans, since it was started."""
    with transaction() as session:
        session.execute(COUNT_NOW)
    with transaction() as session:
        written, scanned = session.execute(COUNTED).one()
    return int(written), int(scanned)


def wait_for_written(expected: int) -> int:
    """Return the count of rows written once PostgreSQL counts so many, which it does a moment after the commit."""
    deadline = time.monotonic() + COUNTED_WITHIN
    while (written := counted()[0]) < expected and time.monotonic() < deadline:
        time.sleep(0.1)
    return written
