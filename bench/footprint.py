"""What a payment leaves behind: rows and bytes in each table, write-ahead log, and what a doorbell takes in the broker.

Payments go the whole way, from the webhook to the welcome mail. Sizes are with indexes, after the vacuum that autovacuum
would do: what a table comes to that is full of such rows.
"""

from __future__ import annotations

import time
from typing import Any

import redis
from sqlalchemy import text

from bench.lab import Lab
from bench.latency import UNDER_WAY, make_payments, wait_for_active, wait_until
from bench.memory import post, start_mail_sink
from bench.report import SUBJECT, Figure, Plan, say
from db.session import get_engine, transaction

PATIENCE = 900.0  # seconds
# Tables with fewer rows than this for each payment do not grow with payments.
GROWS = 0.5
SIZES = text(
    """
    SELECT relname, n_live_tup AS count, pg_total_relation_size(relid) AS bytes, pg_indexes_size(relid) AS indexes,
        n_tup_upd AS updated, n_tup_hot_upd AS hot
    FROM pg_stat_user_tables ORDER BY relname
    """
)
# Bytes since the server was made.
WRITTEN = text("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint")
RUNG = text("SELECT count(*) FROM jobs WHERE state = 'ready' AND rung_at IS NOT NULL")


def run(lab: Lab, plan: Plan) -> None:
    """Ring while nobody answers, then let all of it be done, then weigh what is left."""
    rung, count = (100, 500) if plan.quick else (500, 3_000)
    lab.start_sandbox()
    start_mail_sink(lab)
    port = lab.start_gunicorn("api", "api.app:create_app()", "/healthz")
    payments = iter(make_payments(count).values())
    empty, before = broker_bytes(lab), written()
    lab.start_relay()
    post(port, payments, rung)
    wait_until(lambda: one(RUNG) == rung, "not all doorbells were rung")
    doorbells = Figure("footprint", f"{rung} doorbells that nobody answers", "bytes each")
    doorbells.add(SUBJECT, (broker_bytes(lab) - empty) / rung)
    doorbells.print()
    lab.start_worker("worker", "workers", "--without-gossip", "--without-mingle")
    started = time.monotonic()
    post(port, payments, count - rung)
    while one(UNDER_WAY):
        if time.monotonic() - started > PATIENCE:
            raise RuntimeError(f"{one(UNDER_WAY)} jobs are still under way after {PATIENCE:.0f} s")
        time.sleep(0.5)
    wait_for_active(count)
    say(f"  {count} payments in {time.monotonic() - started:.0f} s")
    log = Figure("footprint", f"write-ahead log of {count} payments", "bytes each")
    log.add(SUBJECT, (written() - before) / count)
    log.print()
    for table in weigh():
        if table.count >= GROWS * count:
            tell(table, count)


def tell(table: Any, payments: int) -> None:
    """Print a table's line."""
    figure = Figure("footprint", f"table {table.relname}", "bytes a payment")
    figure.add(
        SUBJECT,
        table.bytes / payments,
        rows=table.count / payments,
        bytes_a_row=table.bytes / table.count,
        of_it_indexes=table.indexes / table.count,
        updates=table.updated / payments,
        hot_share=table.hot / table.updated if table.updated else 0.0,
    )
    figure.print()


def weigh() -> list[Any]:
    """Return rows and bytes of each table, vacuumed."""
    with get_engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("VACUUM ANALYZE"))
        connection.invalidate()
    with transaction() as session:
        return list(session.execute(SIZES))


def broker_bytes(lab: Lab) -> int:
    """Return what the broker's data takes in memory."""
    with redis.Redis.from_url(lab.broker_url) as broker:
        return int(broker.info("memory")["used_memory_dataset"])


def written() -> int:
    """Return the bytes of write-ahead log so far."""
    return one(WRITTEN)


def one(query: Any) -> int:
    """Return the number that a query finds."""
    with transaction() as session:
        return int(session.execute(query).scalar_one())
