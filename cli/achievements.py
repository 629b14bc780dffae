"""`usher achievements`: those to begin with, what there is, and caches built anew."""

from __future__ import annotations

import click

from cli.output import json_option, print_json, print_rows

SHOWN = 1000


@click.group()
def achievements() -> None:
    """Achievements: seed, list, rebuild streaks and counters."""


@achievements.command()
@json_option
def seed(as_json: bool) -> None:
    """Make the common achievements; those that are there stay as they are. Safe to repeat."""
    from db.session import transaction
    from domain import achievement_seeds

    with transaction() as session:
        made = achievement_seeds.seed(session)
    if as_json:
        print_json({"made": made})
    else:
        click.echo(f"made: {', '.join(made)}" if made else "All of them are there.")


@achievements.command("list")
@json_option
def list_all(as_json: bool) -> None:
    """List achievements: which version holds, whether everybody has been shown it, how many hold it."""
    from db.session import transaction
    from domain import achievement_catalogue

    with transaction() as session:
        found = achievement_catalogue.list_all(session, limit=SHOWN)
    columns = ["code", "version", "category", "is_active", "revocable", "holders", "backfilled_at", "id"]
    print_rows(
        found, columns, as_json=as_json, empty="None. `usher achievements seed` makes the common ones."
    )


@achievements.command()
@click.option("--after", metavar="ID", help="Go on after this user, whom an interrupted run named.")
@json_option
def rebuild(after: str | None, as_json: bool) -> None:
    """Build everybody's streak and counters anew from the facts, and unlock what follows.

    After an import, or after achievements were switched on again. Safe to repeat and to interrupt.
    """
    from db.session import transaction
    from domain import achievements as rules
    from domain import counters, levels
    from settings import get_settings

    settings = get_settings()
    curve, following = levels.current_curve(), after or counters.FIRST
    users = differed = 0
    while True:
        with transaction() as session:
            done = rules.rebuild_batch(session, curve, following, xp_per_day=settings.streak_xp)
        users, differed = users + done.users, differed + done.differed
        if done.next_after is None:
            break
        following = done.next_after
        click.echo(f"{users} users, up to {following}", err=True)
    if as_json:
        print_json({"users": users, "differed": differed})
    else:
        click.echo(f"{users} users built anew, {differed} had counters that said something else")
