"""Connections and transactions: one engine per process, one transaction per unit of work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from psycopg2 import extensions
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.orm import Session

from settings import get_settings

# Milliseconds. A statement that takes longer is a bug or a dead peer; the network is never waited for inside one.
STATEMENT_TIMEOUT = 15_000
LOCK_TIMEOUT = 5_000
IDLE_IN_TRANSACTION_TIMEOUT = 30_000

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
    "options": (
        f"-c statement_timeout={STATEMENT_TIMEOUT} -c lock_timeout={LOCK_TIMEOUT}"
        f" -c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_TIMEOUT} -c timezone=UTC"
    ),
}


def make_engine(url: str, *, pool_size: int = 5, application_name: str = "usher") -> Engine:
    """Return an engine with our timeouts. Parameters are hidden from its error messages, since they end up in logs."""
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=5,
        pool_timeout=15,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={**CONNECT_ARGS, "application_name": application_name},
    )
    event.listen(engine, "connect", _read_uuids_as_text)
    return engine


def _read_uuids_as_text(connection: Any, _record: Any) -> None:
    """Have hand-written SQL give ids as `str`, as the models do."""
    as_text = extensions.new_type((UUID_OID,), "UUID_TEXT", lambda value, _cursor: value)
    extensions.register_type(as_text, connection)


@lru_cache(maxsize=1)
def get_engine() -> Engine:
    """Return the process's engine, made at the first use.

    Transactions are short and never wait for the network, so many threads share few connections.
    """
    settings = get_settings()
    threads = max(settings.worker_concurrency, settings.api_threads)
    return make_engine(settings.sqlalchemy_url(), pool_size=min(threads, MOST_CONNECTIONS))


@contextmanager
def transaction() -> Iterator[Session]:
    """Open one transaction: committed when the block ends, rolled back when it raises."""
    with Session(get_engine(), expire_on_commit=False) as session, session.begin():
        yield session
