"""`usher partner`: how partners are doing; pausing, resuming, limiting and checking them; what is stored for them."""

from __future__ import annotations

import click

from cli import partner_connections, partner_kit
from cli.output import json_option, print_rows

COLUMNS = [
    "partner",
    "adapter",
    "verified",
    "played_by",
    "state",
    "waiting",
    "failures",
    "open_until",
    "concurrency",
    "rate_per_second",
    "paused_reason",
    "missing",
    "credentials",
]


@click.group()
def partner() -> None:
    """Look at partners; pause, resume, limit and check them; store how they are called."""


@partner.command("list")
@json_option
def list_partners(as_json: bool) -> None:
    """List partners: ok, paused, open (left alone after failures) or probing, how many jobs wait, and how each is served.

    The adapter, how far it was verified, who plays the partner, and where each credential comes from; never a value.
    """
    from dataclasses import asdict

    from db.session import transaction
    from domain import partner_health
    from partners.registry import declared_limits, provider_types
    from workers import connections

    connections.attach()
    with transaction() as session:
        rows = partner_health.list_partners(session, provider_types())
    rows = [{**row, **asdict(connections.picture(row["partner"]))} for row in rows]
    for row in rows:
        # What staff set counts before what the configuration declares.
        declared = declared_limits(row["partner"])
        row["concurrency"] = row["concurrency"] or declared.concurrency
        row["rate_per_second"] = row["rate_per_second"] or declared.rate_per_second
    if not as_json:
        for row in rows:
            row["credentials"] = "; ".join(f"{name}: {of}" for name, of in row["credentials"].items()) or None
            row["missing"] = "; ".join(row["missing"]) or None
    print_rows(rows, COLUMNS, as_json=as_json)


@partner.command()
@click.argument("type")
@click.option("--reason", required=True)
@click.option("--actor", metavar="EMAIL", required=True, help="Who decided it.")
def pause(type: str, reason: str, actor: str) -> int:
    """Ask nothing of a partner until it is resumed; its work waits and uses up no attempts."""
    from db.session import transaction
    from domain import partner_health, staff

    _check_type(type)
    with transaction() as session:
        paused = partner_health.pause(session, type, by=actor, reason=reason)
        if paused:
            staff.record(
                session, actor=actor, action="partner.pause", subject=("partner", type), reason=reason
            )
    click.echo(f"{type} is paused." if paused else f"{type} was paused already.")
    return 0


@partner.command()
@click.argument("type")
@click.option("--actor", metavar="EMAIL", required=True, help="Who decided it.")
def resume(type: str, actor: str) -> int:
    """Lift a pause and close the circuit; waiting work goes on by itself."""
    from db.session import transaction
    from domain import partner_health, staff

    _check_type(type)
    with transaction() as session:
        resumed = partner_health.resume(session, type)
        if resumed:
            staff.record(
                session, actor=actor, action="partner.resume", subject=("partner", type), reason=None
            )
    click.echo(f"{type} goes on." if resumed else f"{type} was neither paused nor left alone.")
    return 0


@partner.command()
@click.argument("type")
@click.option(
    "--concurrency",
    type=click.IntRange(1, 1000),
    help="Jobs at once over all workers; the setting if left out.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0, 10_000, min_open=True),
    help="Calls per second over all workers; no limit if left out.",
)
@click.option("--burst", type=click.IntRange(1, 1000), default=1, show_default=True)
@click.option("--actor", metavar="EMAIL", required=True, help="Who decided it.")
def limit(type: str, concurrency: int | None, rate: float | None, burst: int, actor: str) -> None:
    """Set what may be asked of a partner at most."""
    from db.session import transaction
    from domain import partner_health, staff

    _check_type(type)
    detail = {"concurrency": concurrency, "rate_per_second": rate, "burst": burst}
    with transaction() as session:
        partner_health.set_limits(session, type, concurrency=concurrency, rate_per_second=rate, burst=burst)
        staff.record(
            session,
            actor=actor,
            action="partner.limit",
            subject=("partner", type),
            reason=None,
            detail=detail,
        )
    click.echo(
        f"{type}: {concurrency or 'the usual'} at once, {f'{rate:g} calls/s' if rate else 'no rate limit'}."
    )


@partner.command()
@click.argument("type")
def check(type: str) -> int:
    """Call the partner once and say whether it answers and accepts our credentials."""
    from partners.errors import PartnerError
    from partners.registry import get_partner
    from workers import connections, lti
    from workers.telemetry import configure_logging

    configure_logging("cli", format="console", level="ERROR")
    _check_type(type)
    lti.attach()
    connections.attach()
    try:
        get_partner(type).check()
    except PartnerError as error:
        click.echo(f"{type}: {error.code}: {error}", err=True)
        return 3 if error.code == "retry_later" else 1
    click.echo(f"{type} answers and accepts our credentials.")
    return 0


@partner.command()
@click.argument("type")
@json_option
def reconcile(type: str, as_json: bool) -> int:
    """Compare the partner's roster with ours: give leaked seats back, list what nobody can explain."""
    from cli.reconciling import work_off
    from db.session import transaction
    from domain import reconciliation

    _check_type(type)
    with transaction() as session:
        asked = reconciliation.ask_partner(session, type)
    return work_off(asked.id, asked.job_id, as_json=as_json)


def _check_type(type: str) -> None:
    from partners.registry import provider_types

    if type not in provider_types():
        raise click.UsageError(f"there is no partner {type!r}; there are {', '.join(provider_types())}")


for _command in (
    partner_kit.new,
    partner_kit.test,
    partner_kit.call,
    partner_kit.record,
    *partner_connections.COMMANDS,
):
    partner.add_command(_command)
