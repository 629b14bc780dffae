"""`usher jobs`: what has to be done, what is stuck, and working it off without a broker."""

from __future__ import annotations

import click

from cli.output import json_option, print_record, print_rows

STATES = click.Choice(["ready", "running", "done", "failed", "parked"])
COLUMNS = ["id", "kind", "state", "attempts", "next_run_at", "business_key", "last_error"]


@click.group()
def jobs() -> None:
    """Look at jobs, or work off those that are due."""


@jobs.command("list")
@click.option("--state", type=STATES)
@click.option("--kind", help="For example enrollment.walk.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@json_option
def list_jobs(state: str | None, kind: str | None, limit: int, as_json: bool) -> None:
    """List jobs, failed and parked ones first."""
    from db.session import transaction
    from domain import ops_view

    with transaction() as session:
        rows = ops_view.list_jobs(session, state=state, kind=kind, limit=limit)
    print_rows(rows, COLUMNS, as_json=as_json, empty="No jobs.")


@jobs.command()
@click.argument("job_id", type=click.UUID)
@json_option
def show(job_id: object, as_json: bool) -> None:
    """Show one job with its steps and its traceback."""
    from db.session import transaction
    from domain import ops_view

    with transaction() as session:
        job = ops_view.show_job(session, str(job_id))
    steps = job["steps"]
    print_record(job if as_json else {k: v for k, v in job.items() if k != "steps"}, as_json=as_json)
    if not as_json:
        print_rows(
            steps,
            ["step", "state", "attempt", "started_at", "duration_ms", "result"],
            as_json=False,
            empty="No steps.",
        )


@jobs.command()
@click.argument("job_id", type=click.UUID)
@click.option("--actor", metavar="EMAIL", required=True, help="Who decided it.")
def retry(job_id: object, actor: str) -> None:
    """Make a failed or parked job due again; for an enrolment's walk, `usher failures retry` does more."""
    from db.session import transaction
    from domain import staff, work

    with transaction() as session:
        kind = work.revive(session, str(job_id))
        staff.record(session, actor=actor, action="jobs.retry", subject=("job", str(job_id)), reason=None)
    click.echo(f"The job ({kind}) is due again: usher jobs show {job_id}")


@jobs.command()
@click.option("--kind", "kinds", multiple=True, help="Only these kinds; may be given several times.")
@click.option("--limit", type=click.IntRange(min=1), help="Stop after so many.")
@click.option("--threads", type=click.IntRange(1, 64), default=4, show_default=True)
def drain(kinds: tuple[str, ...], limit: int | None, threads: int) -> None:
    """Work off the jobs that are due, here, without any broker or worker; ends when nothing is due."""
    from cli.draining import drain_due

    done = drain_due(list(kinds), limit, threads)
    click.echo(f"{done} job{'' if done == 1 else 's'} worked.")
