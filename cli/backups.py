"""Copies of the database by pg_dump and pg_restore, from the PATH or the embedded wheel, checked before and after."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import click
from sqlalchemy import Engine, make_url, text

# PostgreSQL's custom format: compressed, checked when it is listed, restored table by table.
FORMAT = "custom"
MAGIC = b"PGDMP"
TABLES = text(
    "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')"
)
# Connecting; a dump itself takes as long as it takes.
CONNECT_TIMEOUT = "10"
LISTED = re.compile(r"^\d+; \d+ \d+ TABLE DATA \S+ (\S+) ", re.MULTILINE)


@dataclass(frozen=True)
class Copy:
    """A file that holds a database: its size in bytes and the tables in it."""

    file: Path
    size: int
    tables: list[str]


def dump(engine: Engine, url: str, file: Path) -> Copy:
    """Write the database to a file and read its list of contents back. The file appears when it is whole.

    Raises `click.ClickException` with PostgreSQL's words.
    """
    if file.exists():
        raise click.ClickException(f"{file} exists: a backup never overwrites another")
    part = file.with_name(f"{file.name}.part")
    command = ["pg_dump", "--format", FORMAT, "--no-owner", "--no-privileges", "--file", str(part)]
    part.unlink(missing_ok=True)
    with part.open("xb"):
        part.chmod(0o600)  # It holds everything that the database holds.
    _run(command, url, engine)
    copy = inspect(part)
    with engine.connect() as connection:
        missing = set(connection.scalars(TABLES)) - set(copy.tables)
    if missing:
        part.unlink()
        raise click.ClickException(f"the copy lacks {', '.join(sorted(missing))}")
    os.replace(part, file)
    return Copy(file, copy.size, copy.tables)


def inspect(file: Path) -> Copy:
    """Return what a file holds; raise `click.ClickException` where it is no whole copy of a database of ours."""
    with file.open("rb") as opened:
        if opened.read(len(MAGIC)) != MAGIC:
            raise click.ClickException(f"{file} is not a copy that `usher db backup` made")
    # Reading all of it, to nowhere, finds a file that was cut off; its list alone would not.
    _run(["pg_restore", "--file", os.devnull, str(file)])
    tables = LISTED.findall(_run(["pg_restore", "--list", str(file)]))
    if "usher_alembic_version" not in tables:
        raise click.ClickException(f"{file} holds no database of Usher's")
    return Copy(file, file.stat().st_size, tables)


def load(engine: Engine, url: str, file: Path, *, force: bool) -> Copy:
    """Restore a copy in one transaction: all of it, or nothing is changed.

    Refuses a database that has tables in it, unless `force`, which replaces those that are in the copy.
    """
    copy = inspect(file)
    with engine.connect() as connection:
        there = sorted(connection.scalars(TABLES))
    engine.dispose()
    if there and not force:
        raise click.ClickException(f"the database is not empty ({len(there)} tables); --force replaces them")
    newer = sorted(set(there) - set(copy.tables))
    if newer and "usher_alembic_version" in there:
        click.echo(f"Not in the copy, left as they are: {', '.join(newer)}", err=True)
    command = ["pg_restore", "--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"]
    command += ["--clean", "--if-exists"] if there else []
    database = make_url(url).database or ""
    _run([*command, "--dbname", database, str(file)], url, engine)
    return copy


def _run(command: list[str], url: str | None = None, engine: Engine | None = None) -> str:
    """Run a tool of PostgreSQL; return what it printed. The password goes by its environment, not by its arguments."""
    program = _program(command[0], engine)
    done = subprocess.run(
        [program, *command[1:]],
        env={**os.environ, **({} if url is None else _address(url))},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        words = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise click.ClickException(f"{command[0]}: {'; '.join(words[:3])}")
    return done.stdout


def _address(url: str) -> dict[str, str]:
    parsed = make_url(url)
    values = {
        "PGHOST": parsed.host,
        "PGPORT": None if parsed.port is None else str(parsed.port),
        "PGUSER": parsed.username,
        "PGPASSWORD": parsed.password,
        "PGDATABASE": parsed.database,
        **{f"PG{name.upper()}": str(value) for name, value in parsed.query.items() if name.startswith("ssl")},
        "PGCONNECT_TIMEOUT": CONNECT_TIMEOUT,
    }
    return {name: value for name, value in values.items() if value}


def _program(name: str, engine: Engine | None) -> str:
    """Return the newest of a tool that is here; it has to be as new as the server, and as what wrote the file."""
    found = sorted((_tool_version(path), path) for path in (_embedded(name), shutil.which(name)) if path)
    wanted = 0 if engine is None else _server_version(engine)
    if not found or found[-1][0] < wanted:
        have = ", ".join(f"{path} ({version})" for version, path in found) or "none"
        raise click.ClickException(f"{name} of PostgreSQL {wanted or 14} or newer is needed; found: {have}")
    return found[-1][1]


def _embedded(name: str) -> str | None:
    try:
        from workers.services import postgres_binaries

        found = postgres_binaries() / name
    except ImportError:
        return None
    return str(found) if found.exists() else None


def _tool_version(program: str) -> int:
    said = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=False, timeout=30
    ).stdout
    found = re.search(r"(\d+)", said)
    return int(found[1]) if found else 0


def _server_version(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(text("SHOW server_version_num")) or 0) // 10_000
