"""`usher events`: what Stripe told us, what became of it, and completing what could not be placed."""

from __future__ import annotations

import click

from cli.output import json_option, print_record, print_rows

STATES = click.Choice(["received", "done", "ignored", "waiting", "failed"])
COLUMNS = ["id", "external_id", "type", "state", "received_at", "reason"]


@click.group()
def events() -> None:
    """Look at stored events, replay them, complete those that wait."""


@events.command("list")
@click.option("--state", type=STATES)
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@json_option
def list_events(state: str | None, limit: int, as_json: bool) -> None:
    """List events, newest first; `--state waiting` are those that need somebody."""
    from db.session import transaction
    from domain import ops_view

    with transaction() as session:
        rows = ops_view.list_events(session, state=state, limit=limit)
    print_rows(rows, COLUMNS, as_json=as_json, empty="No events.")


@events.command()
@click.argument("event_id")
@json_option
def show(event_id: str, as_json: bool) -> None:
    """Show one event, by our id or Stripe's."""
    from db.session import transaction
    from domain import ops_view

    with transaction() as session:
        found = ops_view.show_event(session, event_id)
    print_record(found, as_json=as_json)


@events.command()
@click.argument("event_id")
def replay(event_id: str) -> None:
    """Have an event looked at again; what it did already is not done twice."""
    from db.session import transaction
    from domain import events as rules

    with transaction() as session:
        found = rules.replay(session, event_id)
    click.echo(f"Event {found} will be looked at again.")


@events.command()
@click.argument("event_id")
@click.option(
    "--set",
    "pairs",
    multiple=True,
    metavar="KEY=UUID",
    required=True,
    help="studentId, partnerId, courseId, programId.",
)
@click.option("--actor", required=True, metavar="EMAIL", help="Who decided it.")
def complete(event_id: str, pairs: tuple[str, ...], actor: str) -> None:
    """Supply metadata that a waiting event lacks, and go on with it."""
    from db.session import transaction
    from domain import events as rules

    if any("=" not in pair for pair in pairs):
        raise click.BadParameter("write KEY=UUID, for example --set studentId=4f2c...", param_hint="--set")
    metadata = dict(pair.split("=", 1) for pair in pairs)
    with transaction() as session:
        found = rules.complete(session, event_id, metadata, actor=actor)
    click.echo(f"Event {found} is complete and will be looked at again.")
