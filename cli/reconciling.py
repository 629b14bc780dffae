"""Working off a comparison here and now, and printing what it found."""

from __future__ import annotations

import time
from typing import Any

import click

from cli.errors import EXIT_DEPENDENCY, EXIT_FAILED
from cli.output import print_json, print_table

COLUMNS = ["outcome", "kind", "subject", "since", "message"]
# Seconds between two looks at a job that a worker was quicker to take, and how long one that nobody can take is watched.
PAUSE = 0.5
PATIENCE = 10.0


def work_off(run_id: str, job_id: str, *, as_json: bool) -> int:
    """Do a comparison's job in this process, or watch the worker that has it; print its report, return the exit code."""
    from db.session import transaction
    from domain import reconciliation

    job = _wait_for_end(job_id)
    if job["state"] == "done":
        with transaction() as session:
            report = reconciliation.report(session, run_id)
        print_report(report, as_json=as_json)
        return 0
    # What is written there starts with a code for programs.
    reason = (
        str(job["last_error"] or "").partition(": ")[2] or job["last_error"] or "it cannot be done at present"
    )
    if job["state"] == "ready":
        click.echo(f"Not compared yet: {reason}. A worker will try again: job {job_id}", err=True)
        return EXIT_DEPENDENCY
    click.echo(f"Not compared: {reason}", err=True)
    return EXIT_FAILED


def print_report(report: dict[str, Any], *, as_json: bool) -> None:
    """Print what was repaired (or would be: a dry run has no id) and what needs a person."""
    dry_run = report["id"] is None
    if as_json:
        print_json({**report, "dry_run": dry_run})
        return
    repaired = "to be repaired" if dry_run else "repaired"
    rows = [_row(repaired, found) for found in report["repaired"]]
    rows += [_row("needs a person", found) for found in report["needs_person"]]
    if rows:
        print_table(rows, COLUMNS)
    counts = f"{len(report['repaired'])} {repaired}, {len(report['needs_person'])} for a person"
    click.echo(f"Looked at {report['looked_at']}: {counts}.")


def _wait_for_end(job_id: str) -> dict[str, Any]:
    """Return the job once it ended, failed an attempt, or could not be begun for a while."""
    from cli.draining import load_kinds
    from db.session import transaction
    from domain import ops_view
    from workers.job import run_job

    load_kinds()
    begun = time.monotonic()
    while True:
        run_job(job_id)
        with transaction() as session:
            job = ops_view.show_job(session, job_id)
        if job["state"] == "running":
            begun = time.monotonic()
        elif job["state"] != "ready" or job["attempts"] or time.monotonic() - begun > PATIENCE:
            return job
        time.sleep(PAUSE)


def _row(outcome: str, found: dict[str, Any]) -> dict[str, Any]:
    subject = f"{found['subject_type']} {found['subject_id']}"
    return {**found, "outcome": outcome, "subject": subject, "since": found.get("first_seen_at")}
