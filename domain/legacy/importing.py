"""Going through an older system's tables in batches: each batch is one transaction that also says how far it came.

So a killed import goes on where it was, and a second run reads only what changed since the first began, with an overlap
for transactions that were open then. Nothing is placed twice: rows by their mapped ids, XP by their business keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import StringIO
from typing import cast

from psycopg2.extensions import cursor as Cursor
from sqlalchemy import text
from sqlalchemy.orm import Session

from domain import counters
from domain.errors import DomainError
from domain.legacy.source import NotReadable, Row, Source
from domain.legacy.tables import TABLES, TOTALS, Table, snake
from domain.levels import Curve

Transaction = Callable[[], AbstractContextManager[Session]]

BATCH = 10_000
# A transaction of the older system that was open when a pass began may commit rows with an earlier time of change.
OVERLAP = timedelta(minutes=30)
# Milliseconds for one statement of a batch.
STATEMENT_TIMEOUT = 300_000
# What an import changes of somebody. Not the days of a streak: history is more than a week old.
MOVED_COUNTERS = ("lessons.completed", "courses.completed", *counters.OF_XP)
# What COPY reads as something else.
ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})

REGISTER = text(
    """
    INSERT INTO legacy_sources (name, time_zone, issuer) VALUES (:name, :zone, :issuer)
    ON CONFLICT (name) DO UPDATE SET time_zone = excluded.time_zone,
        issuer = coalesce(excluded.issuer, legacy_sources.issuer), updated_at = now()
    RETURNING issuer
    """
)
STATE = text("SELECT * FROM legacy_tables WHERE source = :source AND table_name = :table FOR UPDATE")
BEGIN_PASS = text(
    """
    INSERT INTO legacy_tables (source, table_name, pass_number, since, began_at, rows_total)
    VALUES (:source, :table, 1, NULL, :now, :total)
    ON CONFLICT (source, table_name) DO UPDATE SET pass_number = legacy_tables.pass_number + 1, since = :since,
        began_at = :now, finished_at = NULL, cursor = NULL, rows_total = :total, rows_read = 0, rows_placed = 0,
        updated_at = now()
    """
)
# Guarded: another import of the same source that was faster has moved the cursor.
ADVANCE = text(
    """
    UPDATE legacy_tables SET cursor = coalesce(CAST(:cursor AS text[]), cursor), rows_read = rows_read + :read,
        rows_placed = rows_placed + :placed, updated_at = now()
    WHERE source = :source AND table_name = :table AND finished_at IS NULL
        AND cursor IS NOT DISTINCT FROM CAST(:expected AS text[])
    """
)
FINISH = text(
    """
    UPDATE legacy_tables SET finished_at = now(), cursor = NULL, updated_at = now()
    WHERE source = :source AND table_name = :table
    """
)
REMARK = text(
    """
    INSERT INTO legacy_oddities (source, table_name, legacy_id, reason, detail, count)
    VALUES (:source, :table, '*', :reason, :detail, :count)
    ON CONFLICT (source, table_name, legacy_id, reason) DO UPDATE SET detail = excluded.detail,
        count = excluded.count, seen_at = now()
    """
)
PREPARE = text(
    "SELECT set_config('usher.level_curve', :curve, true), set_config('statement_timeout', :timeout, true),"
    " xp_open_batch()"
)
# What is not odd any more, among the rows that were just looked at. A duplicate stays one, also when it comes alone.
CURED = """
    DELETE FROM legacy_oddities o USING stage s
    WHERE o.source = :source AND o.table_name = :table AND o.legacy_id = s.{id} AND o.seen_at < now()
        AND o.reason NOT IN ('duplicate_progress', 'duplicate_purchase')
"""
ODD = text(
    """
    SELECT count(DISTINCT legacy_id) FROM legacy_oddities
    WHERE source = :source AND table_name = :table AND seen_at = now()
    """
)
TO_RETRY = text(
    """
    SELECT legacy_id FROM legacy_oddities
    WHERE source = :source AND table_name = :table AND reason = ANY(:reasons) AND legacy_id > :after
    ORDER BY legacy_id LIMIT :limit
    """
)


class OtherImport(DomainError):
    """Another import of this source is under way."""

    code = "legacy_import_running"


@dataclass(frozen=True)
class Options:
    """How to import: under which name, whose subjects the user ids are, rows per batch, everything once more."""

    name: str
    curve: Curve
    issuer: str | None = None
    batch: int = BATCH
    full: bool = False
    overlap: timedelta = OVERLAP


@dataclass(frozen=True)
class Step:
    """A batch that was placed: of which table, how many rows of how many were read in this pass."""

    table: str
    read: int
    total: int


def run(transaction: Transaction, source: Source, options: Options) -> Iterator[Step]:
    """Import everything, or what changed since the last run; yield after each batch, each a transaction of its own.

    Raises `NotReadable` before anything was written where the tables are not as expected.
    """
    tables = present(source)
    with transaction() as session:
        names = {"name": options.name, "zone": source.zone, "issuer": options.issuer}
        issuer = session.execute(REGISTER, names).scalar_one()
    for table in tables:
        yield from _import_table(transaction, source, options, table, issuer)


def present(source: Source) -> list[Table]:
    """Return the tables that the source has; raise `NotReadable` where one lacks a column, or there is none."""
    found = [table for table in TABLES if source.columns(table.name) and _has_total(source, table)]
    for table in found:
        missing = [name for name in table.needed if name.lower() not in source.columns(table.name)]
        if missing:
            raise NotReadable(f'table "{table.name}" has no column {", ".join(missing)}')
    if not found:
        names = ", ".join(f'"{table.name}"' for table in TABLES)
        raise NotReadable(f"schema {source.schema} has none of the tables {names}")
    totals = [table for table in found if table in TOTALS]
    return [table for table in found if table not in totals[1:]]


def _has_total(source: Source, table: Table) -> bool:
    """Leave out a `UserXP` that holds entries (seed B) instead of totals (seed D)."""
    return table not in TOTALS or "totalxp" in source.columns(table.name)


def _import_table(
    transaction: Transaction, source: Source, options: Options, table: Table, issuer: str | None
) -> Iterator[Step]:
    since, cursor, read, total = _begin(transaction, source, options, table)
    retries = _retries(transaction, options, table) if cursor is None else []
    names = {"source": options.name, "issuer": issuer}
    for start in range(0, len(retries), options.batch):
        rows = list(source.read_ids(table.name, table.columns, retries[start : start + options.batch]))
        with transaction() as session:
            place(session, table, rows, names, options.curve)
    stream = source.read(table.name, table.columns, table.key, since=since, after=cursor)
    for rows in batches(stream, options.batch, table):
        following = key_of(rows[-1], table)
        with transaction() as session:
            odd = place(session, table, rows, names, options.curve)
            _advance(session, options, table, (cursor, following), (len(rows), len(rows) - odd))
        cursor, read = following, read + len(rows)
        yield Step(table.name, read, max(total, read))
    with transaction() as session:
        session.execute(FINISH, {"source": options.name, "table": table.name})
    if read == 0:
        yield Step(table.name, 0, 0)


def _begin(
    transaction: Transaction, source: Source, options: Options, table: Table
) -> tuple[datetime | None, list[str] | None, int, int]:
    """Begin a pass, or go on with one that was broken off: since when, after which key, rows read, rows in all."""
    names = {"source": options.name, "table": table.name}
    with transaction() as session:
        state = session.execute(STATE, names).one_or_none()
    if state is not None and state.finished_at is None:
        return state.since, state.cursor, state.rows_read, state.rows_total
    since = None
    if state is not None and table.catches_up and not options.full:
        since = state.began_at - options.overlap
    now, rows = source.now(), source.count(table.name)
    total = rows if since is None else source.count(table.name, table.key, since)
    remarks = _remarks(source, table, rows)
    with transaction() as session:
        session.execute(BEGIN_PASS, {**names, "since": since, "now": now, "total": total})
        for remark in remarks:
            session.execute(REMARK, {**names, **remark})
    return since, None, 0, total


def _remarks(source: Source, table: Table, rows: int) -> list[dict[str, object]]:
    """Return what concerns a table as a whole: rows that cannot be addressed, times without a zone."""
    found: list[dict[str, object]] = []
    lost = source.count_without(table.name, table.key[-1])
    if lost:
        detail = f"{table.key[-1]} is null: left out"
        found.append({"reason": "null_id", "detail": detail, "count": lost})
    naive = [name for name in source.naive(table.name) if name in table.columns]
    if naive and rows:
        detail = f"{', '.join(naive)}: times without a zone were read as {source.zone}"
        found.append({"reason": "naive_times", "detail": detail, "count": rows})
    return found


def _retries(transaction: Transaction, options: Options, table: Table) -> list[str]:
    """Return the ids of the rows that could not be placed and perhaps can be by now."""
    found: list[str] = []
    names = {"source": options.name, "table": table.name, "reasons": list(table.curable)}
    while table.curable:
        with transaction() as session:
            after = found[-1] if found else ""
            page = session.scalars(TO_RETRY, {**names, "after": after, "limit": options.batch}).all()
        found += page
        if len(page) < options.batch:
            break
    return found


def batches(rows: Iterable[Row], size: int, table: Table) -> Iterator[list[Row]]:
    """Yield rows by about `size`; with a key of several columns, all rows with the same first one in one batch."""
    position, batch = table.columns.index(table.key[0]), list[Row]()
    whole = len(table.key) > 1
    for row in rows:
        if len(batch) >= size and not (whole and row[position] == batch[-1][position]):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def key_of(row: Row, table: Table) -> list[str]:
    """Return a row's place in the order in which the table is read."""
    return [row[table.columns.index(name)] or "" for name in table.key]


def place(session: Session, table: Table, rows: list[Row], names: dict[str, str | None], curve: Curve) -> int:
    """Place a batch of rows; return how many of them are odd and noted."""
    stage(session, table, rows)
    session.execute(PREPARE, {"curve": curve.spec, "timeout": str(STATEMENT_TIMEOUT)})
    for statement in table.statements:
        session.execute(text(statement), names)
    if table.moved is not None:
        tell_counters(session, table.moved)
    values = {"source": names["source"], "table": table.name}
    session.execute(text(CURED.format(id=snake(table.key[-1]))), values)
    return int(session.execute(ODD, values).scalar_one())


def tell_counters(session: Session, moved: str) -> None:
    """Have what the counters of these users stand on counted anew, and with it achievements; `moved` is SQL."""
    for user in session.scalars(text(moved)).all():
        counters.changed(session, str(user), *MOVED_COUNTERS)


def stage(session: Session, table: Table, rows: list[Row]) -> None:
    """Put rows into the temporary table `stage`, all values as text."""
    columns = ", ".join(f"{name} text" for name in table.staged)
    session.execute(text(f"CREATE TEMP TABLE stage ({columns}) ON COMMIT DROP"))
    cursor = cast(Cursor, session.connection().connection.cursor())
    lines = "".join("\t".join(map(_escape, row)) + "\n" for row in rows)
    cursor.copy_expert("COPY stage FROM STDIN", StringIO(lines))
    cursor.close()
    session.execute(text("ANALYZE stage"))


def _escape(value: str | None) -> str:
    return "\\N" if value is None else value.translate(ESCAPES)


def _advance(
    session: Session,
    options: Options,
    table: Table,
    keys: tuple[list[str] | None, list[str]],
    counts: tuple[int, int],
) -> None:
    values = {"source": options.name, "table": table.name, "expected": keys[0], "cursor": keys[1]}
    moved = session.execute(ADVANCE, {**values, "read": counts[0], "placed": counts[1]})
    if moved.rowcount != 1:  # type: ignore[attr-defined]
        raise OtherImport("another import of this source is under way")
