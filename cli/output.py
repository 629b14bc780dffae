"""How commands print: a table for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import click

F = TypeVar("F", bound=Callable[..., Any])
WIDEST = 80


def json_option(command: F) -> F:
    """Add `--json` to a reading command, as the argument `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)


def print_json(value: Any) -> None:
    """Print one JSON document. Times are ISO 8601, ids and decimals are strings and numbers."""
    click.echo(dump_json(value))


def dump_json(value: Any) -> str:
    """Return one JSON document on one line, as `print_json` prints it."""
    return json.dumps(value, default=_plain, ensure_ascii=False)


def write_lines(file: Path, records: Iterable[Mapping[str, Any]]) -> int:
    """Write records to a new file, a JSON object per line; return how many. A file that exists is a usage error."""
    if file.exists():
        raise click.UsageError(f"{file} exists")
    count = 0
    with file.open("x", encoding="utf-8") as lines:
        for record in records:
            lines.write(dump_json(dict(record)) + "\n")
            count += 1
    return count


def print_rows(
    rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool, empty: str = "Nothing."
) -> None:
    """Print rows as JSON objects in a list, or as a table of these columns."""
    listed = [dict(row) for row in rows]
    if as_json:
        print_json(listed)
    elif listed:
        print_table(listed, columns)
    else:
        click.echo(empty)


def print_record(record: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one row as a JSON object, or as lines of name and value."""
    if as_json:
        print_json(dict(record))
        return
    width = max((len(name) for name in record), default=0)
    for name, value in record.items():
        click.echo(f"{name:<{width}}  {_cell(value)}")


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print a table; the last column is never cut."""
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    for line in cells:
        line[:-1] = [_shorten(cell) for cell in line[:-1]]
    widths = [max(len(column), *(len(line[i]) for line in cells)) for i, column in enumerate(columns)]
    for line in [[column.upper().replace("_", " ") for column in columns], *cells]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    return str(_plain(value) if isinstance(value, UUID | Decimal) else value)


def _shorten(text: str) -> str:
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
