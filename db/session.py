"""Connections and transactions: one engine per process, one transaction per unit of work."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import psycopg2
from psycopg2 import extensions
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.orm import Session

from db import green
from settings import get_settings

# Milliseconds. A statement that takes longer is a bug or a dead peer; the network is never waited for inside one.
STATEMENT_TIMEOUT = 15_000
LOCK_TIMEOUT = 5_000
IDLE_IN_TRANSACTION_TIMEOUT = 30_000

# Seconds for which a connection may lie idle before it is asked whether it still works.
PING_AFTER = 1.0
# Connections that one process keeps; five more may be opened for a moment.
MOST_CONNECTIONS = 20
# PostgreSQL's number of the type `uuid`.
UUID_OID = 2950

CONNECT_ARGS = {
    "connect_timeout": 3,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
# What holds in every transaction.
PARAMETERS = {
    "statement_timeout": str(STATEMENT_TIMEOUT),
    "lock_timeout": str(LOCK_TIMEOUT),
    "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_TIMEOUT),
    "timezone": "UTC",
}
SET_PARAMETERS = "SELECT " + ", ".join(
    f"set_config('{name}', '{value}', true)" for name, value in PARAMETERS.items()
)


def make_engine(
    url: str, *, pool_size: int = 5, application_name: str = "usher", pooled: bool = False
) -> Engine:
    """Return an engine with our timeouts. Parameters are hidden from its error messages, since they end up in logs.

    They are given once, when a connection is made. Where it is `pooled` by transaction, each transaction may get another
    server connection, and poolers refuse `options`: there every transaction begins with them, at one round trip.
    """
    connect_args: dict[str, Any] = {**CONNECT_ARGS, "application_name": application_name}
    if not pooled:
        options = {**PARAMETERS, "plan_cache_mode": "force_generic_plan"}
        connect_args["options"] = " ".join(f"-c {name}={value}" for name, value in options.items())
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=5,
        # Those that were used last are used next: few connections do most of the work, and keep their plans.
        pool_use_lifo=True,
        pool_timeout=15,
        hide_parameters=True,
        connect_args=connect_args,
    )
    event.listen(engine, "do_connect", lambda _dialect, _record, _args, values: green.connect(values))
    event.listen(engine, "connect", _read_uuids_as_text)
    event.listen(engine, "checkin", _note_use)
    event.listen(engine, "checkout", _ping_idle)
    if pooled:
        event.listen(engine, "begin", _set_parameters)
    return engine


def _note_use(_connection: Any, record: Any) -> None:
    record.info["used_at"] = time.monotonic()


def _ping_idle(connection: Any, record: Any, proxy: Any) -> None:
    """Ask a connection that lay idle whether it still works; one that was used a moment ago most likely does."""
    if time.monotonic() - record.info.get("used_at", time.monotonic()) < PING_AFTER:
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        connection.rollback()
    except psycopg2.Error as error:
        raise DisconnectionError("the connection was lost while it lay idle") from error


def _set_parameters(connection: Connection) -> None:
    connection.exec_driver_sql(SET_PARAMETERS)


def _read_uuids_as_text(connection: Any, _record: Any) -> None:
    """Have hand-written SQL give ids as `str`, as the models do."""
    as_text = extensions.new_type((UUID_OID,), "UUID_TEXT", lambda value, _cursor: value)
    extensions.register_type(as_text, connection)


@lru_cache(maxsize=1)
def get_engine() -> Engine:
    """Return the process's engine, made at the first use.

    Transactions are short and never wait for the network, so many at work share few connections.
    """
    settings = get_settings()
    return make_engine(settings.sqlalchemy_url(), pool_size=MOST_CONNECTIONS, pooled=settings.is_pooled())


@contextmanager
def direct_engine() -> Iterator[Engine]:
    """Open an engine on PostgreSQL itself, past any pooler: for migrations, whose lock is their session's."""
    engine = make_engine(get_settings().direct_sqlalchemy_url(), pool_size=1)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def transaction() -> Iterator[Session]:
    """Open one transaction: committed when the block ends, rolled back when it raises."""
    with Session(get_engine(), expire_on_commit=False) as session, session.begin():
        yield session


def find_rows(session: Session, sql: str, **values: Any) -> list[dict[str, Any]]:
    """Return the rows of a query by the names of their columns."""
    return [dict(row._mapping) for row in session.execute(text(sql), values)]
