"""`usher sync`: pulling progress now instead of on schedule."""

from __future__ import annotations

import click


@click.group()
def sync() -> None:
    """Pull progress from partners."""


@sync.command()
@click.option("--partner", metavar="TYPE", help="Only partners of this type.")
def run(partner: str | None) -> None:
    """Ask for a sync of every active partner now; workers do it."""
    from sqlalchemy import text

    from db.session import transaction
    from domain import progress

    query = text(
        "SELECT id, provider_type FROM partner_lms_providers"
        " WHERE active AND (CAST(:type AS text) IS NULL OR provider_type = :type)"
    )
    with transaction() as session:
        found = session.execute(query, {"type": partner}).all()
        for row in found:
            progress.ask_sync(session, str(row.id), row.provider_type)
    click.echo(
        f"Asked for {len(found)} partner{'' if len(found) == 1 else 's'}: usher jobs list --kind progress.sync"
    )


@sync.command()
@click.argument("enrollment_id", type=click.UUID)
def one(enrollment_id: object) -> int:
    """Pull the progress of one enrolment, here and now, and say what it is."""
    from cli.draining import load_kinds
    from db.session import transaction
    from domain import ops_view, progress
    from workers.job import run_job
    from workers.telemetry import configure_logging

    configure_logging("cli", format="console", level="ERROR")
    load_kinds()
    with transaction() as session:
        target = progress.load_target(session, str(enrollment_id))
        [job_id] = progress.ask_single(session, [target], delay=0)
    run_job(job_id)
    with transaction() as session:
        job = ops_view.show_job(session, job_id)
        found = ops_view.show_enrollment(session, target.id)
    if job["state"] != "done":
        click.echo(f"Not synced: {job['last_error'] or 'a worker is at it'}", err=True)
        return 1
    click.echo(f"{found['status']}, {found['progress_percentage']:f} %")
    return 0
