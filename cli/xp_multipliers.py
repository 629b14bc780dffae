"""`usher xp multiplier`: when which XP count for more."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from uuid import UUID

import click

from cli.output import json_option, print_record, print_rows

COLUMNS = ["id", "name", "factor", "state", "starts_at", "ends_at", "course_id", "category", "source_type"]


class Moment(click.ParamType[datetime]):
    """A time in ISO 8601; without an offset it is UTC."""

    name = "time"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time such as 2026-12-24T18:00:00+01:00", param, ctx)
        return found if found.tzinfo else found.replace(tzinfo=UTC)


class Factor(click.ParamType[int]):
    """A factor such as 1.5, in basis points."""

    name = "factor"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            points = Decimal(value) * 10_000
        except InvalidOperation:
            self.fail(f"{value!r} is no number such as 1.5", param, ctx)
        if not points.is_finite() or points != int(points):
            self.fail(f"{value!r} has more than four decimals", param, ctx)
        return int(points)


@click.group()
def multiplier() -> None:
    """Multipliers: list, add, end."""


@multiplier.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@json_option
def list_multipliers(limit: int, as_json: bool) -> None:
    """List multipliers, newest first; factors are in basis points."""
    from db.session import transaction
    from domain import xp_multipliers

    with transaction() as session:
        rows = xp_multipliers.list_rules(session, limit=limit).items
    print_rows(rows, COLUMNS, as_json=as_json, empty="There are no multipliers.")


@multiplier.command()
@click.argument("name")
@click.argument("factor", type=Factor())
@click.option("--from", "starts_at", type=Moment(), help="When it begins; now if left out.")
@click.option(
    "--until", "ends_at", type=Moment(), required=True, help="When it ends: what happens then is out."
)
@click.option("--course", type=click.UUID, help="Only what belongs to this course.")
@click.option("--category", help="Only this category, such as QUIZ.")
@click.option("--source-type", help="Only this source type, such as LESSON.")
@click.option("--reason", required=True)
@click.option("--actor", metavar="EMAIL", required=True, help="Who decided it.")
@json_option
def add(
    name: str,
    factor: int,
    starts_at: datetime | None,
    ends_at: datetime,
    course: UUID | None,
    category: str | None,
    source_type: str | None,
    reason: str,
    actor: str,
    as_json: bool,
) -> None:
    """Have XP count FACTOR times (1.5: half as much again); several at once add up, to 3 at most."""
    from db.session import transaction
    from domain import staff, xp_multipliers

    course_id = None if course is None else str(course)
    rule = xp_multipliers.Rule(name, factor, ends_at, starts_at, course_id, category, source_type)
    with transaction() as session:
        try:
            made = xp_multipliers.add(session, rule)
        except xp_multipliers.WrongRule as error:
            raise click.UsageError(f"{error.field} {error}") from None
        detail = {column: str(made[column]) for column in COLUMNS if made[column] is not None}
        staff.record(
            session,
            actor=actor,
            action="xp.multiplier.add",
            subject=("xp_multiplier", made["id"]),
            reason=reason,
            detail=detail,
        )
    print_record({column: made[column] for column in COLUMNS}, as_json=as_json)


@multiplier.command()
@click.argument("id", type=click.UUID)
@click.option("--reason", required=True)
@click.option("--actor", metavar="EMAIL", required=True, help="Who decided it.")
def end(id: UUID, reason: str, actor: str) -> None:
    """End a multiplier now, or call it off before it begins. What happened while it held keeps it."""
    from db.session import transaction
    from domain import staff, xp_multipliers

    with transaction() as session:
        ended = xp_multipliers.end(session, str(id))
        staff.record(
            session,
            actor=actor,
            action="xp.multiplier.end",
            subject=("xp_multiplier", ended["id"]),
            reason=reason,
            detail={"state": ended["state"]},
        )
    click.echo(f"{ended['name']} {'has ended' if ended['state'] == 'ended' else 'was called off'}.")
