"""`usher db`: the schema's revision."""

from __future__ import annotations

import click

from cli.output import json_option, print_record


@click.group()
def db() -> None:
    """Bring the schema to a revision."""


@db.command()
@click.argument("revision", default="head")
def upgrade(revision: str) -> None:
    """Migrate up to REVISION, the newest if left out. Two at once take turns."""
    from db import migrate
    from db.session import get_engine

    migrate.upgrade(get_engine(), revision)
    click.echo(f"The database is at {migrate.current_revision(get_engine())}.")


@db.command()
@click.argument("revision")
def downgrade(revision: str) -> None:
    """Migrate down to REVISION; `base` removes every table with what is in it."""
    from db import migrate
    from db.session import get_engine

    migrate.downgrade(get_engine(), revision)
    click.echo(f"The database is at {migrate.current_revision(get_engine()) or 'base'}.")


@db.command()
@json_option
def current(as_json: bool) -> int:
    """Show where the database stands and where this code wants it; exit 1 when they differ."""
    from db import migrate
    from db.session import get_engine

    at, head = migrate.current_revision(get_engine()), migrate.head_revision()
    print_record({"current": at, "head": head, "up_to_date": at == head}, as_json=as_json)
    return 0 if at == head else 1
