"""A lean way to the database for the hottest paths: statements that are planned once for each connection.

`run` makes one of them a transaction of its own, in one round trip: no session, no BEGIN and COMMIT around it, no ping
before it. `execute` runs one in the transaction of a session. Everything else goes through `db.session`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, cast

import psycopg2
from psycopg2.errors import FeatureNotSupported
from psycopg2.extensions import connection
from psycopg2.extras import NamedTupleCursor
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from db.session import SET_PARAMETERS, get_engine
from settings import get_settings

# What tells that the database cannot be used just now, whatever was asked of it.
AWAY = (psycopg2.OperationalError, psycopg2.InterfaceError, PoolTimeout)
# Seconds for which plans are kept: one that was made while a table was empty must not serve a crowd.
PLANNED_FOR = 5.0


class Statement:
    """SQL with `{name}` in the places of its values, and their types by name. Doing it twice must do no harm."""

    def __init__(self, name: str, sql: str, /, **types: str) -> None:
        numbered = {value: f"${place}" for place, value in enumerate(types, start=1)}
        cast = {value: f"CAST(%({value})s AS {type})" for value, type in types.items()}
        kinds = f" ({', '.join(types.values())})" if types else ""
        values = f" ({', '.join(cast.values())})" if types else ""
        self.prepare = f"PREPARE {name}{kinds} AS {sql.format(**numbered)}"
        self.execute = f"EXECUTE {name}{values}"
        self.name = name
        self.inline = sql.format(**cast)
        # Several statements in one message are one transaction, so the time-outs hold for the second.
        self.unprepared = f"{SET_PARAMETERS}; {self.inline}"


class Rows(list[Any]):
    """The rows of a statement as named tuples, with the few ways to read them that are needed."""

    def one(self) -> Any:
        """Return the only row."""
        (row,) = self
        return row

    def one_or_none(self) -> Any:
        """Return the only row, None where there is none."""
        return self.one() if self else None

    def scalars(self) -> list[Any]:
        """Return the first value of each row."""
        return [row[0] for row in self]

    def scalar(self) -> Any:
        """Return the first value of the first row, None where there is none."""
        return self[0][0] if self else None


class Plans:
    """What is prepared on one connection. All of it is given up together, which cannot fail for want of a name."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._since = time.monotonic()
        # A pooler may give each transaction another server connection, on which nothing was prepared.
        self._kept = not get_settings().is_pooled()

    def of(self, cursor: Any, statement: Statement) -> str | None:
        """Return what executes the statement by its plan, made here where there is none; None where none is kept."""
        if not self._kept:
            return None
        if time.monotonic() - self._since > PLANNED_FOR:
            cursor.execute("DEALLOCATE ALL")
            self._names.clear()
            self._since = time.monotonic()
        if statement.name not in self._names:
            cursor.execute(statement.prepare)
            self._names.add(statement.name)
        return statement.execute


def execute(session: Session, statement: Statement, values: Mapping[str, Any]) -> Rows:
    """Execute a statement in a session's transaction; raises what `session.execute` raises.

    It goes to psycopg2 directly: SQLAlchemy's part took as long again as the statement.
    """
    connection = session.connection()
    proxied = connection.connection
    driver = cast(Any, proxied.driver_connection)
    plans = proxied.info.get("plans")
    if plans is None:
        plans = proxied.info["plans"] = Plans()
    cursor = driver.cursor(cursor_factory=NamedTupleCursor)
    try:
        cursor.execute(plans.of(cursor, statement) or statement.inline, values)
        return Rows(cursor.fetchall() if cursor.description is not None else ())
    except psycopg2.Error as error:
        # A plan that a migration made useless goes with its connection.
        lost = isinstance(error, FeatureNotSupported) or connection.dialect.is_disconnect(
            cast(Any, error), driver, cursor
        )
        if lost:
            connection.invalidate(error)
        raise DBAPIError.instance(
            statement.name, None, error, psycopg2.Error, hide_parameters=True, connection_invalidated=lost
        ) from error
    finally:
        cursor.close()


class Wire:
    """A connection that is nobody else's, and what was prepared on it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        opened = engine.raw_connection()
        self.connection = cast(connection, opened.driver_connection)
        self.connection.autocommit = True
        opened.detach()
        self._plans = Plans()

    def run(self, statement: Statement, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Return the rows of the statement, which is committed then."""
        with self.connection.cursor() as cursor:
            cursor.execute(self._plans.of(cursor, statement) or statement.unprepared, values)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
            return rows


# Those that nobody is using. There are as many as there ever were callers at the same moment.
_free: list[Wire] = []


def run(statement: Statement, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Run a statement and return its rows. Where its connection was lost, it is run once more on a new one.

    Raises `psycopg2.Error`, of which those in `AWAY` leave the outcome unknown.
    """
    wire = _take()
    try:
        return wire.run(statement, values)
    except psycopg2.Error:
        if not wire.connection.closed:
            raise
        _free.clear()  # They were lost as well, most likely.
        wire = Wire(get_engine())
        return wire.run(statement, values)
    finally:
        if not wire.connection.closed:
            _free.append(wire)


def _take() -> Wire:
    engine = get_engine()
    while _free:
        try:
            wire = _free.pop()
        except IndexError:
            break
        if wire.engine is engine:
            return wire
    return Wire(engine)
