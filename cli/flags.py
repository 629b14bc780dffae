"""`usher flags`: features switched off and on."""

from __future__ import annotations

import click

from cli.output import json_option, print_rows

COMMAND_LINE = "command line"


@click.group()
def flags() -> None:
    """Switch features off and on: streaks, achievements, quizzes, assignments, certificates."""


@flags.command("list")
@json_option
def list_flags(as_json: bool) -> None:
    """List the features, whether each is on, and when it was switched."""
    from db.session import transaction
    from domain import flags as rules

    with transaction() as session:
        rows = [vars(flag) for flag in rules.list_flags(session)]
    print_rows(rows, ["name", "enabled", "changed_at", "about"], as_json=as_json)


@flags.command()
@click.argument("name")
@click.option("--reason", help="Why; kept in the audit.")
@click.option("--actor", metavar="EMAIL", default=COMMAND_LINE, show_default=True, help="Who decided it.")
def on(name: str, reason: str | None, actor: str) -> None:
    """Switch a feature on. What was earned before is there again."""
    _switch(name, on=True, actor=actor, reason=reason)


@flags.command()
@click.argument("name")
@click.option("--reason", help="Why; kept in the audit.")
@click.option("--actor", metavar="EMAIL", default=COMMAND_LINE, show_default=True, help="Who decided it.")
def off(name: str, reason: str | None, actor: str) -> None:
    """Switch a feature off, within seconds: its routes answer 404. Nothing is deleted."""
    _switch(name, on=False, actor=actor, reason=reason)


def _switch(name: str, *, on: bool, actor: str, reason: str | None) -> None:
    from db.session import transaction
    from domain import flags as rules

    with transaction() as session:
        changed = rules.switch(session, name, on=on, actor=actor, reason=reason)
    state = "on" if on else "off"
    click.echo(f"{name} is {state}." if changed else f"{name} was {state} already.")
