"""Everything that is stored about one person, as one ZIP: a JSON file for each table, and the files they uploaded.

Left out are secrets, which open something, and other people: who of the staff did it, whoever else an event names.
"""

from __future__ import annotations

import base64
import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import date, datetime
from decimal import Decimal
from typing import IO, Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from domain import files
from domain.errors import NotFound
from domain.privacy_register import Table, with_people
from domain.privacy_stages import Person, events_of
from domain.privacy_words import mask_payload, other_addresses

Transaction = Callable[[], AbstractContextManager[Session]]

# Rows read at once.
BATCH = 1_000
ONE_MOMENT = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
READ_ME = """What Usher stores about you, one JSON file for each table; files/ has what you uploaded.
Times are UTC. What opens something (tokens, codes) is left out, and so is who of the staff did something.
What each table is for, and for how long it is kept: docs/privacy.md of Usher, or ask whoever sent you this.
"""


def write(transaction: Transaction, person: Person, store: str, target: IO[bytes]) -> dict[str, int]:
    """Write the ZIP; return how many rows of which table are in it.

    The tables are read in one transaction, as of one moment; the file store afterwards. A file that the store lost
    is named in `missing.json`.
    """
    counts: dict[str, int] = {}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README.txt", READ_ME)
        with transaction() as session:
            session.execute(ONE_MOMENT)
            names = {**person.names, "events": list(events_of(session, person))}
            uploads = _uploads(session, person)
            for table in with_people():
                count = _write_table(archive, table, _rows(session, table, names, person))
                if count:
                    counts[table.name] = count
        _write_files(archive, uploads, store)
    return counts


def _rows(session: Session, table: Table, names: dict[str, Any], person: Person) -> Iterator[dict[str, Any]]:
    shown = sorted(table.columns - set(table.hidden.split()))
    columns = ", ".join(f't."{name}"' for name in shown)
    statement = text(f"SELECT {columns} FROM {table.name} t WHERE {table.rows}")  # noqa: S608
    for row in session.execute(statement, names, execution_options={"yield_per": BATCH}):
        found = dict(row._mapping)
        if table.name == "inbox_events":
            found["payload"] = _payload(bytes(found["payload"]), person)
        yield found


def _write_table(archive: zipfile.ZipFile, table: Table, rows: Iterator[dict[str, Any]]) -> int:
    """Write a table's rows, one on each line of a JSON list; no file where there are none."""
    first = next(rows, None)
    if first is None:
        return 0
    count = 1
    with archive.open(f"tables/{table.name}.json", "w", force_zip64=True) as member:
        member.write(b"[\n" + _json(first))
        for row in rows:
            member.write(b",\n" + _json(row))
            count += 1
        member.write(b"\n]\n")
    return count


def _uploads(session: Session, person: Person) -> list[tuple[str, str]]:
    rows = session.execute(
        text(
            "SELECT id, name FROM assignment_files WHERE user_id = CAST(:user AS uuid) AND stored_at IS NOT NULL"
            " ORDER BY id"
        ),
        person.names,
    )
    return [(str(row.id), row.name) for row in rows]


def _write_files(archive: zipfile.ZipFile, uploads: list[tuple[str, str]], store: str) -> None:
    missing = []
    for file_id, name in uploads:
        try:
            pieces = files.read(store, file_id)
        except NotFound:
            missing.append({"id": file_id, "name": name})
            continue
        with archive.open(f"files/{file_id}-{name}", "w", force_zip64=True) as member:
            for piece in pieces:
                member.write(piece)
    if missing:
        archive.writestr("missing.json", json.dumps(missing))


def _payload(payload: bytes, person: Person) -> Any:
    """Return an event as it was sent; where it names somebody else's address, without what it says of people."""
    try:
        said = payload.decode()
        own = not other_addresses(said, person.addresses)
        return json.loads(said if own else mask_payload(payload))
    except ValueError:
        return None


def _json(row: dict[str, Any]) -> bytes:
    return json.dumps(row, default=_plain, ensure_ascii=False).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes | memoryview):
        return base64.b64encode(bytes(value)).decode()
    return str(value)
