"""`usher enrollments`: who has which seat, and everything that happened to one."""

from __future__ import annotations

import click

from cli.output import json_option, print_json, print_record, print_rows

STATUSES = click.Choice(["pending", "active", "completed", "failed", "suspended", "revoked"])
COLUMNS = [
    "id",
    "status",
    "student",
    "provider",
    "course",
    "progress_percentage",
    "created_at",
    "failure_reason",
]
TIMELINE = ["at", "what", "state", "attempt", "duration_ms", "detail"]


@click.group()
def enrollments() -> None:
    """Look at enrolments and their timelines."""


@enrollments.command("list")
@click.option("--status", type=STATUSES)
@click.option("--student", metavar="EMAIL|ID")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@json_option
def list_enrollments(status: str | None, student: str | None, limit: int, as_json: bool) -> None:
    """List enrolments, newest first."""
    from db.session import transaction
    from domain import ops_view

    with transaction() as session:
        rows = ops_view.list_enrollments(session, status=status, student=student, limit=limit)
    print_rows(rows, COLUMNS, as_json=as_json, empty="No enrolments.")


@enrollments.command()
@click.argument("enrollment_id", type=click.UUID)
@json_option
def show(enrollment_id: object, as_json: bool) -> None:
    """Show one enrolment with its timeline: webhook, payment, each step, each failure, the mail."""
    from db.session import transaction
    from domain import ops_view

    with transaction() as session:
        found = ops_view.show_enrollment(session, str(enrollment_id))
    if as_json:
        print_json(found)
        return
    print_record({name: value for name, value in found.items() if name != "timeline"}, as_json=False)
    click.echo()
    print_rows(found["timeline"], TIMELINE, as_json=False, empty="Nothing happened yet.")
