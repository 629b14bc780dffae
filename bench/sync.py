"""Progress pulled from a partner: seats per second with its bulk call, against a call for each seat.

A tenth of the seats moved since the last time. Every sync is a process of its own, so that its peak of memory shows.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import requests
from sqlalchemy import text

from bench import cohort
from bench.lab import ROOT, Lab
from bench.report import Figure, Plan, say
from db.session import transaction
from domain import progress

ACTIVE = text(
    "UPDATE partner_lms_enrollments SET status = 'active', external_enrollment_id = 'enr_' || id,"
    " external_account_id = 'acc_' || id, enrolled_at = now() RETURNING external_enrollment_id"
)
UNMOVED = text("UPDATE partner_lms_enrollments SET progress_percentage = 0, progress_updated_at = NULL")
UNSYNCED = text("TRUNCATE partner_sync_states, jobs CASCADE")
BULK = text(
    "UPDATE partner_lms_providers SET metadata = jsonb_build_object('bulk_progress', CAST(:bulk AS boolean))"
    " RETURNING id"
)


def run(lab: Lab, plan: Plan) -> None:
    """Measure with and without the bulk call in turn."""
    seats = 2_000 if plan.quick else 10_000
    ids = insert_seats(seats)
    journal = lab.directory / "sandbox.journal"
    write_journal(journal, ids)
    lab.start_sandbox(journal)
    say(f"  {seats} seats")
    figure = Figure("sync", f"{seats} seats, a tenth moved", "seats/s")
    for number in range(plan.rounds):
        move(lab, ids[::10], 10 + number)
        for who, bulk in (("usher", True), ("seat_by_seat", False)):
            found = sync(lab, bulk=bulk)
            if found["changed"] != len(ids[::10]) or found["failed"]:
                raise RuntimeError(f"the sync reports {found}")
            seen = {name: found[name] for name in ("calls", "changed", "peak_growth_mb")}
            figure.add(who, seats / found["seconds"], cpu_ms=1000 * found["cpu"] / seats, **seen)
    figure.print()


def insert_seats(count: int) -> list[str]:
    """Insert active enrolments; return their ids at the partner."""
    cohort.clear()
    with transaction() as session:
        cohort.insert_pending(session, count)
        return list(session.execute(ACTIVE).scalars())


def write_journal(path: Path, ids: list[str]) -> None:
    """Write what the sandbox would have kept of these seats."""
    lines: list[dict[str, object]] = [{"op": "born", "epoch": "bench"}]
    for number, id in enumerate(ids):
        account = {
            "id": f"acc_{number}",
            "reference": f"student-{number}",
            "email": "a@example.com",
            "name": "A",
        }
        seat = {
            "id": id,
            "account_id": account["id"],
            "course_code": "COURSE-1",
            "reference": f"seat-{number}",
        }
        lines += [{"op": "account", **account}, {"op": "enrollment", **seat, "at": 1_700_000_000.0}]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def move(lab: Lab, ids: list[str], percentage: int) -> None:
    """Move seats at the partner."""
    body = [{"enrollment_id": id, "percentage": percentage} for id in ids]
    requests.post(f"{lab.sandbox_url}/_progress", json=body, timeout=30).raise_for_status()


def sync(lab: Lab, *, bulk: bool) -> dict[str, float]:
    """Let a process pull everything anew; return what it found."""
    with transaction() as session:
        session.execute(UNMOVED)
        session.execute(UNSYNCED)
        provider = str(session.execute(BULK, {"bulk": bulk}).scalar_one())
        progress.ask_sync(session, provider, "sandbox")
    with lab.log("sync").open("ab") as log:
        command = [sys.executable, "-m", "bench.sync_once"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=log, env=lab.env, cwd=ROOT, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found
