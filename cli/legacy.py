"""`usher legacy`: take over an older system's courses, people, progress and XP; prove it; take it back."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cli.output import json_option, print_json, print_rows, print_table, write_lines

if TYPE_CHECKING:
    from domain.legacy.importing import Options, Step
    from domain.legacy.source import Source

F = TypeVar("F", bound=Callable[..., Any])
# Seconds between two lines of progress where nobody watches.
QUIET = 10.0
BAR = 30


@click.group()
def legacy() -> None:
    """Take over an older system: its courses, people, progress and XP."""


def source_options(command: F) -> F:
    """Add the options that say where the older system is and how it is read."""
    for option in (
        click.option(
            "--source-timezone",
            default="UTC",
            show_default=True,
            help="What its times without a zone mean; Prisma writes UTC.",
        ),
        click.option("--schema", default="public", show_default=True, help="The schema of its tables."),
        click.option("--source", "url", required=True, metavar="URL", help="Its database: postgresql://..."),
        name_option,
    ):
        command = option(command)
    return command


def name_option(command: F) -> F:
    """Add the name under which the older system is known here."""
    return click.option(
        "--name",
        default="legacy",
        show_default=True,
        help="What you call it; one name for each older system.",
    )(command)


@legacy.command("import")
@source_options
@click.option("--issuer", metavar="URL", help="Whose subjects its user ids are, such as Clerk's address.")
@click.option(
    "--batch",
    type=click.IntRange(1, 100_000),
    default=10_000,
    show_default=True,
    help="Rows per transaction.",
)
@click.option(
    "--overlap",
    type=click.IntRange(0, 7 * 24 * 60),
    default=30,
    show_default=True,
    help="Minutes before the last import that are read again.",
)
@click.option("--full", is_flag=True, help="Read everything again, not only what changed.")
@json_option
def import_(
    url: str,
    schema: str,
    source_timezone: str,
    name: str,
    issuer: str | None,
    batch: int,
    overlap: int,
    full: bool,
    as_json: bool,
) -> None:
    """Import everything, or what changed since the last time. Safe to kill and to repeat; the older system may run on."""
    from db.session import transaction
    from domain.legacy import checks, importing

    options = _options(name, batch, issuer=issuer, full=full, overlap=timedelta(minutes=overlap))
    show = _Progress(quiet=as_json)
    with _open(url, schema, source_timezone) as source:
        for step in importing.run(transaction, source, options):
            show.step(step)
    show.end()
    with transaction() as session:
        found = checks.report(session, name)
    if as_json:
        print_json(found)
        return
    odd = sum(row["rows"] for row in found["odd"] if row["reason"] != "naive_times")
    read = sum(row["rows_read"] for row in found["tables"])
    click.echo(f"{read:,} rows read, {odd:,} remarks in all: usher legacy report --name {name}")


@legacy.command()
@name_option
@click.option("--reason", help="List every row that was noted for this reason.")
@json_option
def report(name: str, reason: str | None, as_json: bool) -> None:
    """Show how far the import came and what could not be placed, by reason."""
    from db.session import transaction
    from domain.legacy import checks

    with transaction() as session:
        if reason is not None:
            columns = ["table_name", "legacy_id", "count", "seen_at", "detail"]
            print_rows(checks.odd_rows(session, name, reason), columns, as_json=as_json)
            return
        found = checks.report(session, name)
    if as_json:
        print_json(found)
        return
    if found["tables"]:
        print_table(found["tables"], ["table_name", "pass_number", "rows_read", "rows_placed", "finished_at"])
    if found["odd"]:
        click.echo()
        lines = [{**row, "examples": "; ".join(row["examples"])} for row in found["odd"]]
        print_table(lines, ["table_name", "reason", "rows", "examples"])


@legacy.command()
@source_options
@json_option
def validate(url: str, schema: str, source_timezone: str, name: str, as_json: bool) -> int:
    """Compare counts and sums with the older system; exit code 1 where they differ. Changes nothing."""
    from db.session import transaction
    from domain.legacy import checks

    with _open(url, schema, source_timezone) as source:
        found = [
            {**vars(check), "ok": check.ok}
            for check in checks.validate(transaction, source, _options(name, 10_000))
        ]
    print_rows(found, ["table", "expected", "found", "ok", "check"], as_json=as_json)
    return 0 if all(row["ok"] for row in found) else 1


@legacy.command()
@name_option
@click.option(
    "--export",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="Where the XP that people earned since are written first, one JSON object per line.",
)
@click.option("--actor", required=True, help="Who you are.")
@click.option("--reason", required=True, help="Why.")
@click.option("--go", is_flag=True, help="Do it. Without it, only the export is written.")
def undo(name: str, file: Path, actor: str, reason: str, go: bool) -> None:
    """Take an import back: reverse its XP, remove the rows that it made and nobody used since. Safe to repeat."""
    from db.session import transaction
    from domain.legacy import undoing

    live = write_lines(file, undoing.live_entries(transaction, name))
    click.echo(f"{live:,} live entries written to {file}")
    if not go:
        click.echo("Nothing was changed. Add --go to take the import back.")
        return
    gone: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    for done in undoing.run(transaction, undoing.Undo(name, _options(name, 1).curve, actor, reason)):
        gone[done.what] += done.gone
        kept[done.what] += done.kept
    for what in gone:
        stays = f", {kept[what]:,} stay because something live stands on them" if kept[what] else ""
        click.echo(f"{what}: {gone[what]:,}{stays}")


def _open(url: str, schema: str, zone: str) -> Source:
    from domain.legacy.source import Source
    from domain.users import check_time_zone

    try:
        check_time_zone(zone)
    except ValueError as error:
        raise click.UsageError(f"--source-timezone {error}") from None
    if not url.startswith(("postgresql://", "postgres://", "postgresql+psycopg2://")):
        raise click.UsageError("--source must be postgresql://user@host:port/name")
    return Source(url, schema, zone)


def _options(name: str, batch: int, **more: Any) -> Options:
    from domain.legacy.importing import Options
    from domain.levels import current_curve

    return Options(name, current_curve(), batch=batch, **more)


class _Progress:
    """A bar on a terminal, else a line per table and every ten seconds. On standard error: output stays clean."""

    def __init__(self, *, quiet: bool) -> None:
        self._terminal, self._quiet = sys.stderr.isatty(), quiet
        self._last: Step | None = None
        self._said = time.monotonic()

    def step(self, step: Step) -> None:
        """Show a batch."""
        if self._last is not None and self._last.table != step.table:
            self.end()
        self._last = step
        if self._terminal:
            filled = BAR * step.read // max(step.total, 1)
            click.echo(f"\r{step.table:<15}[{'#' * filled:<{BAR}}] {_counted(step)}", nl=False, err=True)
        elif time.monotonic() - self._said > QUIET and not self._quiet:
            self._said = time.monotonic()
            click.echo(f"{step.table:<15}{_counted(step)}", err=True)

    def end(self) -> None:
        """End the table's line."""
        if self._last is not None and self._terminal:
            click.echo(err=True)
        elif self._last is not None and not self._quiet:
            click.echo(f"{self._last.table:<15}{_counted(self._last)}", err=True)
        self._last = None


def _counted(step: Step) -> str:
    return f"{step.read:,} of {step.total:,} rows"
