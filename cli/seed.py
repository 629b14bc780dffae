"""`usher seed`: the demo rows."""

from __future__ import annotations

import click

from cli.output import json_option, print_json


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
