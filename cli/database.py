"""`usher db`: the schema's revision, what must hold of the rows, and copies of all of it."""

from __future__ import annotations

from pathlib import Path

import click

from cli.output import json_option, print_record, print_rows, write_lines


@click.group()
def db() -> None:
    """Bring the schema to a revision; check the rows; back up and restore."""


@db.command()
@click.argument("revision", default="head")
def upgrade(revision: str) -> None:
    """Migrate up to REVISION, the newest if left out. Two at once take turns."""
    from db import migrate
    from db.session import direct_engine

    with direct_engine() as engine:
        migrate.upgrade(engine, revision)
        click.echo(f"The database is at {migrate.current_revision(engine)}.")


@db.command()
@click.argument("revision")
@click.option(
    "--export",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the XP ledger is written before it goes, one JSON object per line. Needed where there is XP.",
)
def downgrade(revision: str, file: Path | None) -> None:
    """Migrate down to REVISION; `base` removes every table with what is in it."""
    from db import migrate
    from db.session import direct_engine, get_engine, transaction
    from domain import xp_export

    if migrate.loses_ledger(get_engine(), revision):
        with transaction() as session:
            earned = xp_export.any_entries(session)
        if earned and file is None:
            raise click.UsageError(
                f"{revision} has no XP ledger, and people have XP: name a file with --export"
            )
        if earned and file is not None:
            click.echo(f"{write_lines(file, xp_export.entries(transaction)):,} entries written to {file}")
    with direct_engine() as engine:
        migrate.downgrade(engine, revision)
    click.echo(f"The database is at {migrate.current_revision(get_engine()) or 'base'}.")


@db.command()
def policies() -> None:
    """Protect the tables from Supabase's roles: students read their own rows. For roles that came after the migration."""
    from db import migrate
    from db import policies as rules
    from db.session import direct_engine

    with direct_engine() as engine, migrate.migrating(engine) as config:
        tables = rules.apply(config.attributes["connection"])
    if tables:
        click.echo(f"{tables} tables are protected.")
    else:
        click.echo(
            "Nothing to do: the roles authenticated and anon do not exist, or the schema is older than 0006."
        )


@db.command()
@json_option
def current(as_json: bool) -> int:
    """Show where the database stands and where this code wants it; exit 1 when they differ."""
    from db import migrate
    from db.session import get_engine

    at, head = migrate.current_revision(get_engine()), migrate.head_revision()
    print_record({"current": at, "head": head, "up_to_date": at == head}, as_json=as_json)
    return 0 if at == head else 1


@db.command()
@json_option
def validate(as_json: bool) -> int:
    """Look at what no constraint can hold: totals, percentages, certificates, limits. Changes nothing.

    Reads everything in small batches, so it may take a while and holds nothing up. Exit code 1 where something is wrong.
    """
    from db.session import transaction
    from domain import integrity

    found = [vars(finding) for finding in integrity.check_all(transaction)]
    print_rows(found, ["wrong", "rows", "table", "examples", "name"], as_json=as_json)
    return 1 if any(finding["wrong"] for finding in found) else 0


@db.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def backup(file: Path) -> None:
    """Write the whole database to FILE, in PostgreSQL's custom format, and check that it can be read back."""
    from cli import backups
    from db.session import get_engine
    from settings import get_settings

    copy = backups.dump(get_engine(), get_settings().direct_sqlalchemy_url(), file)
    click.echo(f"{copy.file}: {copy.size:,} bytes, {len(copy.tables)} tables")


@db.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Replace the tables that are there.")
def restore(file: Path, force: bool) -> None:
    """Restore FILE into an empty database, in one transaction. Stop all processes of Usher first."""
    from cli import backups
    from db import migrate
    from db.session import get_engine
    from settings import get_settings

    copy = backups.load(get_engine(), get_settings().direct_sqlalchemy_url(), file, force=force)
    at = migrate.current_revision(get_engine())
    click.echo(f"{len(copy.tables)} tables restored. The database is at {at}; next: usher db upgrade")
