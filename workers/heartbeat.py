"""A worker's signs of life in the database, so that who looks at the queues need not ask the broker."""

from __future__ import annotations

import threading
from typing import Any

import structlog
from celery.signals import worker_ready, worker_shutdown
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from db.session import transaction
from domain.gauges import WORKER_HEARTBEAT

log = structlog.get_logger("workers.heartbeat")

SIGN = text(
    """
    INSERT INTO worker_nodes (node, queues, connected) VALUES (:node, :queues, :connected)
    ON CONFLICT (node) DO UPDATE SET queues = excluded.queues, connected = excluded.connected, seen_at = now()
    """
)
GONE = text("DELETE FROM worker_nodes WHERE node = :node")

_stopping = threading.Event()


def attach() -> None:
    """Have this process sign while it is a worker; Celery says when that begins and ends."""
    worker_ready.connect(_begin, weak=False)
    worker_shutdown.connect(_end, weak=False)


def sign(consumer: Any) -> None:
    """Write down which queues this worker listens to, and whether it has the broker."""
    values = {
        "node": consumer.hostname,
        "queues": sorted(consumer.app.amqp.queues.consume_from),
        "connected": consumer.connection is not None and bool(consumer.connection.connected),
    }
    with transaction() as session:
        session.execute(SIGN, values)


def _begin(sender: Any, **_: Any) -> None:
    _stopping.clear()
    threading.Thread(target=_keep_signing, args=(sender,), name="heartbeat", daemon=True).start()


def _keep_signing(consumer: Any) -> None:
    while True:
        try:
            sign(consumer)
        except (DBAPIError, PoolTimeout) as error:
            log.warning("no sign of life", error=type(error).__name__)
        if _stopping.wait(WORKER_HEARTBEAT):
            return


def _end(sender: Any, **_: Any) -> None:
    _stopping.set()
    try:
        with transaction() as session:
            session.execute(GONE, {"node": sender.hostname})
    except (DBAPIError, PoolTimeout):
        log.warning("did not sign off")
