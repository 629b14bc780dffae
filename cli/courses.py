"""`usher courses`: deleting one of our own courses with all that it gave."""

from __future__ import annotations

from uuid import UUID

import click

from cli.output import json_option, print_record


@click.group()
def courses() -> None:
    """Our own courses: delete one."""


@courses.command()
@click.argument("id", type=click.UUID)
@click.option("--reason", help="Why; needed unless it is a dry run.")
@click.option("--actor", metavar="EMAIL", help="Who decided it.")
@click.option("--dry-run", is_flag=True, help="Only say what would go with it.")
@json_option
def delete(id: UUID, reason: str | None, actor: str | None, dry_run: bool, as_json: bool) -> None:
    """Delete a course and reverse the XP that it and its lessons gave.

    A small one goes at once. Of a large one the workers reverse batch by batch; nobody earns in it meanwhile.
    """
    from db.session import transaction
    from domain import courses as rules
    from domain import staff
    from domain.levels import current_curve

    if not reason and not dry_run:
        raise click.UsageError("--reason is needed; to look first, --dry-run")
    with transaction() as session:
        found = vars(rules.preview(session, str(id)))
        state = "nothing was changed"
        if not dry_run:
            gone = rules.delete(session, current_curve(), str(id))
            state = "deleted" if gone else "being deleted"
            staff.record(
                session,
                actor=actor or "command line",
                action="courses.delete",
                subject=("course", str(id)),
                reason=reason,
                detail=found,
            )
    print_record({**found, "state": state}, as_json=as_json)
    if state == "being deleted" and not as_json:
        click.echo(f"\nThe workers go on: usher jobs list --kind {rules.DELETE}")
