"""`usher seed` and `usher catalog`: the demo rows, and what there is to buy and for whom."""

from __future__ import annotations

import click

from cli.output import json_option, print_json, print_table

SHOWN_STUDENTS = 10


@click.command()
@click.option(
    "--students",
    type=click.IntRange(min=0),
    default=0,
    help="Make sure that at least so many demo students exist.",
)
@json_option
def seed(students: int, as_json: bool) -> None:
    """Make sure that the demo rows exist: fixed ids, safe to repeat. What is there stays as it is."""
    from db.session import transaction
    from domain import demo
    from domain.catalog import count

    with transaction() as session:
        demo.seed(session, students)
        counts = count(session)
    if as_json:
        print_json(counts)
    else:
        click.echo(", ".join(f"{number} {name}" for name, number in counts.items()))


@click.command()
@json_option
def catalog(as_json: bool) -> None:
    """List students, active partners and their active courses with the ids that a checkout's metadata carries."""
    from db.session import transaction
    from domain.catalog import list_catalog

    with transaction() as session:
        found = list_catalog(session)
    if as_json:
        print_json(found)
        return
    rows = [
        {
            "partner": partner["providerType"],
            "partner_id": partner["id"],
            "course": course["courseCode"],
            "course_id": course["id"],
        }
        for partner in found["partners"]
        for course in partner["courses"]
    ]
    print_table(rows, ["partner", "partner_id", "course", "course_id"]) if rows else click.echo(
        "No active partner."
    )
    click.echo()
    print_table(found["students"][:SHOWN_STUDENTS], ["id", "email"]) if found["students"] else click.echo(
        "No student."
    )
    if (more := len(found["students"]) - SHOWN_STUDENTS) > 0:
        click.echo(f"and {more} more students (--json lists all)")
