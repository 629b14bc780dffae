"""`usher stripe`: what Stripe holds against what we hold."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click

from cli.errors import EXIT_DEPENDENCY, EXIT_FAILED
from cli.output import json_option

AGE = re.compile(r"([0-9]{1,5})([dhm])")
UNITS = {"d": "days", "h": "hours", "m": "minutes"}


@click.group()
def stripe() -> None:
    """Compare with Stripe."""


@stripe.command()
@click.option("--since", metavar="AGE|TIME", help="30d, 12h, 2026-01-31, 2026-01-31T08:00Z. [default: 180d]")
@click.option("--dry-run", is_flag=True, help="Say what would be repaired, and repair nothing.")
@json_option
def reconcile(since: str | None, dry_run: bool, as_json: bool) -> int:
    """Find what we missed or lost; repair what is certain, list the rest.

    Events, which Stripe lists for 30 days only, and for all of --since: checkout sessions, refunds and disputes; stored
    events without a job, seats that nobody paid for, payments that bought nothing, seats paid twice.
    """
    from cli.reconciling import print_report, work_off
    from db.jobs import database_now
    from db.session import transaction
    from domain import reconciliation
    from tasks.reconcile import preview
    from tasks.stripe_api import connect
    from workers.verdict import GiveUp, Later

    connect()  # says what is missing before anything is asked for
    with transaction() as session:
        now = database_now(session)
    start = read_since(since, now)
    if not dry_run:
        with transaction() as session:
            asked = reconciliation.ask_stripe(session, since=start)
        return work_off(asked.id, asked.job_id, as_json=as_json)
    try:
        report = preview(start, now)
    except (Later, GiveUp) as error:
        click.echo(str(error), err=True)
        return EXIT_DEPENDENCY if isinstance(error, Later) else EXIT_FAILED
    print_report(report, as_json=as_json)
    return 0


def read_since(given: str | None, now: datetime) -> datetime | None:
    """Return the time that `--since` means, None where it is left out."""
    if given is None:
        return None
    age = AGE.fullmatch(given.strip())
    try:
        at = now - timedelta(**{UNITS[age[2]]: int(age[1])}) if age else datetime.fromisoformat(given.strip())
    except (ValueError, OverflowError):
        raise click.BadParameter(
            "write an age like 30d or 12h, or a time like 2026-01-31T08:00Z", param_hint="--since"
        ) from None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    if at > now:
        raise click.BadParameter("lies in the future", param_hint="--since")
    return at
