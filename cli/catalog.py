"""`usher catalog`: what there is to buy and for whom; the catalogue from a file and to a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.output import json_option, print_json, print_table

if TYPE_CHECKING:
    from domain.catalogue_file import Mistake, Parsed
    from domain.catalogue_import import Imported

SHOWN_STUDENTS = 10
SHOWN_CHANGES = 50


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def catalog(context: click.Context, as_json: bool) -> None:
    """List students, active partners and their active courses with the ids that a checkout's metadata carries.

    With a command below: take the whole catalogue from a file, or write it to one.
    """
    if context.invoked_subcommand is None:
        _show(as_json=as_json)


@catalog.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option("--reason", help="Why; kept in the audit.")
@click.option("--actor", metavar="EMAIL", default="command line", show_default=True, help="Who decided it.")
@json_option
def import_file(file: Path, dry_run: bool, reason: str | None, actor: str, as_json: bool) -> int:
    """Take courses, categories and partners over from FILE: YAML, or CSV for one kind of row.

    All of it or, where anything is wrong, nothing; each mistake is named with its line. What the file leaves out stays
    as it is. Run again, it changes nothing.
    """
    from db.session import transaction
    from domain.catalogue_file import FileMistakes
    from domain.catalogue_import import import_catalogue
    from partners.registry import provider_types

    try:
        parsed = _read(file)
        with transaction() as session:
            done = import_catalogue(session, parsed, provider_types(), actor=actor, reason=reason)
            if dry_run:
                session.rollback()
    except FileMistakes as error:
        _print_mistakes(file, error.mistakes, as_json=as_json)
        return 1
    _print_done(done, dry_run=dry_run, as_json=as_json)
    return 0


@catalog.command()
@click.argument("file", type=click.Path(dir_okay=False, writable=True, path_type=Path), required=False)
def export(file: Path | None) -> None:
    """Write courses, categories and partners as YAML, to FILE or standard output. `usher catalog import` takes it back."""
    from db.session import transaction
    from domain.catalogue_export import export_catalogue
    from domain.catalogue_file import dump

    with transaction() as session:
        written = dump(export_catalogue(session))
    if file is None:
        click.echo(written, nl=False)
    else:
        file.write_text(written, encoding="utf-8")


def _show(*, as_json: bool) -> None:
    from db.session import transaction
    from domain.catalog import list_catalog

    with transaction() as session:
        found = list_catalog(session)
    if as_json:
        print_json(found)
        return
    rows = [
        {
            "partner": partner["providerType"],
            "partner_id": partner["id"],
            "course": course["courseCode"],
            "course_id": course["id"],
        }
        for partner in found["partners"]
        for course in partner["courses"]
    ]
    print_table(rows, ["partner", "partner_id", "course", "course_id"]) if rows else click.echo(
        "No active partner."
    )
    click.echo()
    print_table(found["students"][:SHOWN_STUDENTS], ["id", "email"]) if found["students"] else click.echo(
        "No student."
    )
    if (more := len(found["students"]) - SHOWN_STUDENTS) > 0:
        click.echo(f"and {more} more students (--json lists all)")


def _read(file: Path) -> Parsed:
    from domain.catalogue_file import FileMistakes, Mistake, parse

    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise FileMistakes([Mistake(line, "", "is not UTF-8")]) from None
    return parse(text, is_csv=file.suffix.lower() == ".csv")


def _print_mistakes(file: Path, mistakes: list[Mistake], *, as_json: bool) -> None:
    if as_json:
        print_json({"errors": [{"file": str(file), **vars(mistake)} for mistake in mistakes]})
        return
    for mistake in mistakes:
        key = f"{mistake.key}: " if mistake.key else ""
        click.echo(f"{file}:{mistake.line}: {key}{mistake.message}", err=True)
    number = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    click.echo(f"{number}, nothing was changed", err=True)


def _print_done(done: Imported, *, dry_run: bool, as_json: bool) -> None:
    counts = {"created": done.count("create"), "updated": done.count("update"), "unchanged": done.unchanged}
    if as_json:
        changes: list[dict[str, Any]] = [dict(vars(change)) for change in done.changes]
        print_json({"dry_run": dry_run, **counts, "changes": changes})
        return
    for change in done.changes[:SHOWN_CHANGES]:
        fields = f": {', '.join(change.fields)}" if change.fields else ""
        click.echo(f"{change.action} {change.kind} {change.key}{fields}")
    if (more := len(done.changes) - SHOWN_CHANGES) > 0:
        click.echo(f"and {more} more (--json lists all)")
    summary = ", ".join(f"{number} {name}" for name, number in counts.items())
    click.echo(f"{summary}{' (dry run: nothing was changed)' if dry_run else ''}")
