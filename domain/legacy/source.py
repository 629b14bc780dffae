"""Reading an older system's database: which tables it has, and their rows in order, a few thousand in memory at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from types import TracebackType

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from domain.errors import DomainError

Row = tuple[str | None, ...]

# Seconds to connect, milliseconds for one statement: the first of a table sorts all of it.
CONNECT_TIMEOUT = 10
STATEMENT_TIMEOUT = 30 * 60 * 1000
FETCH = 2_000
NAIVE = "timestamp without time zone"
COLUMNS = """
    SELECT column_name, data_type FROM information_schema.columns
    WHERE table_schema = %s AND table_name = %s
"""


class NotReadable(DomainError):
    """The older system's database is not as expected; the message names what is missing."""

    code = "legacy_not_readable"


class Source:
    """A read-only connection. Times without a zone are read as times of `zone`; all values come as text."""

    def __init__(self, url: str, schema: str, zone: str) -> None:
        self.schema, self.zone = schema, zone
        self._columns: dict[str, dict[str, tuple[str, str]]] = {}
        self._connection: Connection = psycopg2.connect(
            re.sub(r"^postgresql\+\w+", "postgresql", url),
            connect_timeout=CONNECT_TIMEOUT,
            application_name="usher-legacy",
            options=f"-c timezone=UTC -c statement_timeout={STATEMENT_TIMEOUT} -c idle_in_transaction_session_timeout=0",
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
        )
        self._connection.set_session(isolation_level="REPEATABLE READ", readonly=True)

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def now(self) -> datetime:
        """Return the clock of that database."""
        ((found,),) = self._all(sql.SQL("SELECT now()"))
        assert isinstance(found, datetime)  # noqa: S101
        return found

    def columns(self, table: str) -> dict[str, tuple[str, str]]:
        """Return what a table has: name in small letters -> (name, type). Empty where there is no such table."""
        if table not in self._columns:
            found = self._all(sql.SQL(COLUMNS), (self.schema, table))
            self._columns[table] = {str(name).lower(): (str(name), str(kind)) for name, kind in found}
        return self._columns[table]

    def naive(self, table: str) -> list[str]:
        """Return the columns of a table that hold times without a zone."""
        return [name for name, kind in self.columns(table).values() if kind == NAIVE]

    def count(self, table: str, key: Sequence[str] = (), since: datetime | None = None) -> int:
        """Return how many rows a table has, or how many of them `read` yields for what changed since."""
        where, values = self._changed(table, key, since)
        ((found,),) = self._all(
            sql.SQL("SELECT count(*) FROM {} WHERE {}").format(self._name(table), where), values
        )
        return int(str(found))

    def count_without(self, table: str, column: str) -> int:
        """Return how many rows have no value in a column."""
        name = sql.Identifier(self.columns(table)[column.lower()][0])
        statement = sql.SQL("SELECT count(*) FROM {} WHERE {} IS NULL").format(self._name(table), name)
        ((found,),) = self._all(statement)
        return int(str(found))

    def read(
        self,
        table: str,
        columns: Sequence[str],
        key: Sequence[str],
        *,
        since: datetime | None = None,
        after: Sequence[str] | None = None,
    ) -> Iterator[Row]:
        """Yield rows in the order of `key`, those after a key only, or those changed since only.

        With a key of several columns, a changed row comes with all that share its first one: they are judged together.
        Columns that the table does not have are None. Rows without a value in the last column of the key are left out.
        One server-side cursor: the source sorts once, we hold a few thousand rows.
        """
        order = sql.SQL(", ").join(self._key(table, name) for name in key)
        changed, values = self._changed(table, key, since)
        where = [changed, sql.SQL("{} IS NOT NULL").format(self._value(table, key[-1]))]
        if after is not None:
            wanted = sql.SQL(", ").join([sql.Placeholder()] * len(after))
            where.append(sql.SQL("({}) > ({})").format(order, wanted))
            values += list(after)
        yield from self._stream(table, columns, where, order, values)

    def read_ids(self, table: str, columns: Sequence[str], ids: Sequence[str]) -> Iterator[Row]:
        """Yield the rows with these ids."""
        where = [sql.SQL("{} = ANY(%s)").format(self._value(table, "id"))]
        yield from self._stream(table, columns, where, self._key(table, "id"), [list(ids)])

    def _stream(
        self,
        table: str,
        columns: Sequence[str],
        where: Sequence[sql.Composable],
        order: sql.Composable,
        values: Sequence[object],
    ) -> Iterator[Row]:
        statement = sql.SQL("SELECT {} FROM {} WHERE {} ORDER BY {}").format(
            sql.SQL(", ").join(self._value(table, name) for name in columns),
            self._name(table),
            sql.SQL(" AND ").join(where),
            order,
        )
        try:
            with closing(self._connection.cursor("usher_legacy")) as cursor:
                cursor.itersize = FETCH
                cursor.execute(statement, list(values))
                yield from cursor
        finally:
            if not self._connection.closed:
                self._connection.rollback()

    def _changed(
        self, table: str, key: Sequence[str], since: datetime | None
    ) -> tuple[sql.Composable, list[object]]:
        """Return the condition that a row, or one of its group, changed since. Without a time of change all rows did."""
        if since is None or "updatedat" not in self.columns(table):
            return sql.SQL("true"), []
        changed = self._time(table, "updatedAt")
        condition = sql.SQL("({} >= %s OR {} IS NULL)").format(changed, changed)
        if len(key) > 1:
            first = self._key(table, key[0])
            condition = sql.SQL("{} IN (SELECT {} FROM {} WHERE {})").format(
                first, first, self._name(table), condition
            )
        return condition, [since]

    def _name(self, table: str) -> sql.Composable:
        return sql.Identifier(self.schema, table)

    def _time(self, table: str, column: str) -> sql.Composable:
        """Return a column as it is, a time without a zone as a moment."""
        name, kind = self.columns(table)[column.lower()]
        if kind != NAIVE:
            return sql.Identifier(name)
        return sql.SQL("({} AT TIME ZONE {})").format(sql.Identifier(name), sql.Literal(self.zone))

    def _value(self, table: str, column: str) -> sql.Composable:
        if column.lower() not in self.columns(table):
            return sql.SQL("NULL::text")
        return sql.SQL("({})::text").format(self._time(table, column))

    def _key(self, table: str, column: str) -> sql.Composable:
        return sql.SQL("""coalesce({}, '') COLLATE "C" """).format(self._value(table, column))

    def _all(self, statement: sql.Composable, values: Sequence[object] = ()) -> list[tuple[object, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, list(values))
            found: list[tuple[object, ...]] = cursor.fetchall()
        self._connection.rollback()
        return found
