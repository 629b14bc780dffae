"""Who looks for alerts: each relay in a thread of its own, and beat's turn in a worker. Any of them is enough.

What is found is told by the observer itself, through the job system, since there may be no worker left to do it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from beat_schedule import BEAT_SCHEDULE
from db.session import transaction
from domain import gauges, watch
from domain.alerts import TELL_STAFF
from settings import Settings, get_settings
from workers.job import run_due
from workers.queues import all_queues

log = structlog.get_logger("workers.watch")

RELAY = "relay"
# The names under which turns of the schedule are claimed.
TURNS = sorted(entry["task"].removeprefix("tasks.") for entry in BEAT_SCHEDULE.values())
TOLD_BY_OBSERVER = [watch.POST, TELL_STAFF]
# Notices that one look tells at most; what is left is told by the next, or by a worker.
MOST_NOTICES = 50
_STARTED = time.monotonic()


def look() -> None:
    """Look once: open and resolve alerts, tell what is due to be told, count for those who scrape."""
    settings = get_settings()
    with transaction() as session:
        watch.look(session, make_view(settings))
    for _ in range(MOST_NOTICES):
        if not run_due(TOLD_BY_OBSERVER):
            break
    more = True
    while more:
        with transaction() as session:
            more = gauges.count_calls(session)
    recount()


def recount() -> None:
    """Count what a scrape does not count itself, each where it is time to."""
    for name in gauges.COUNTED:
        with transaction() as session:
            gauges.recount(session, name)


def make_view(settings: Settings) -> watch.View:
    """Return what this process looks at. By its third look, whatever was started with it has given a sign of life."""
    return watch.View(
        queues=all_queues(),
        turns=TURNS,
        relay=RELAY,
        settled=time.monotonic() - _STARTED > 2 * settings.watch_interval,
        payment_deadline=settings.payment_deadline,
        queue_deadline=settings.queue_deadline,
        heartbeat_deadline=settings.heartbeat_deadline,
    )


class Observer(threading.Thread):
    """Looks now and then beside a relay, and at the broker's queues too, which only who rings has to reach."""

    def __init__(self, app: Any, settings: Settings) -> None:
        super().__init__(name="watch", daemon=True)
        self._app, self._settings = app, settings
        self._stopping = threading.Event()

    def run(self) -> None:
        """Look until told to stop; what fails now is looked at again the next time."""
        # The notices are jobs, whose functions the task modules register.
        self._app.loader.import_default_modules()
        while not self._stopping.wait(self._settings.watch_interval):
            try:
                depths = read_depths(self._app, all_queues())
                if depths is not None:
                    with transaction() as session:
                        gauges.note_depths(session, depths)
                look()
            except (DBAPIError, PoolTimeout) as error:
                log.warning("could not look", error=type(error).__name__)

    def stop(self) -> None:
        """Have it end after its current look."""
        self._stopping.set()


def read_depths(app: Any, queues: Sequence[str]) -> dict[str, int] | None:
    """Return how many doorbells the broker holds for each queue; None while it does not answer in time."""
    try:
        with app.connection_for_read() as connection:
            connection.ensure_connection(max_retries=1, timeout=2, interval_start=0.1)
            return {queue: _depth(connection, queue) for queue in queues}
    except Exception as error:  # noqa: BLE001 - brokers fail in many classes; an unknown depth is no trouble
        log.warning("broker does not tell its queues", error=type(error).__name__)
        return None


def _depth(connection: Any, queue: str) -> int:
    try:
        with connection.channel() as channel:
            return int(channel.queue_declare(queue=queue, passive=True).message_count)
    except connection.channel_errors:
        # Redis keeps no empty list, and RabbitMQ no queue that nobody declared yet.
        return 0
