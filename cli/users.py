"""`usher users`: people from a file."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import click

from cli.output import json_option, print_json

Row = dict[str, str | None]


@click.group()
def users() -> None:
    """Import people."""


@users.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
def import_file(file: Path, as_json: bool) -> int:
    """Upsert users from a CSV file with a header or a JSON list: email, and optional id, name, time_zone.

    A row that cannot be taken is named and left out; then the exit code is 1.
    """
    from db.session import transaction
    from domain.users import import_users

    rows = list(read_rows(file))
    with transaction() as session:
        done = import_users(session, rows)
    if as_json:
        rejected = [{"row": number, "reason": reason} for number, reason in done.rejected]
        print_json({"created": done.created, "updated": done.updated, "rejected": rejected})
    else:
        click.echo(f"{done.created} created, {done.updated} updated, {len(done.rejected)} left out")
        for number, reason in done.rejected:
            click.echo(f"  row {number}: {reason}", err=True)
    return 1 if done.rejected else 0


def read_rows(file: Path) -> Iterator[Row]:
    """Yield the rows of a CSV or JSON file as text values; raise `click.UsageError` for a file that is neither."""
    if file.suffix.lower() == ".json":
        yield from _json_rows(file)
        return
    with file.open(newline="", encoding="utf-8-sig") as lines:
        reader = csv.DictReader(lines)
        if "email" not in (reader.fieldnames or []):
            raise click.UsageError(f"{file} needs a header line with at least the column `email`")
        for row in reader:
            yield {name: value for name, value in row.items() if isinstance(name, str)}


def _json_rows(file: Path) -> Iterator[Row]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise click.UsageError(f"{file} is not JSON: {error}") from None
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise click.UsageError(f"{file} must hold a JSON list of objects")
    for row in found:
        yield {name: None if value is None else str(value) for name, value in row.items()}
