"""The relay: rings for every job that is due, whether it is new, retried, or left by a worker that died.

It is the only one that publishes. Several may run: each skips the rows that another holds. It listens for
`NOTIFY`, and polls as well, since a notification can be missed and a pooler may not pass it on.
"""

from __future__ import annotations

import contextlib
import select
import signal
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import psycopg2
import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from db import jobs
from db.session import transaction
from domain import partner_health
from settings import Settings, get_settings
from workers import sentry, tracing
from workers.queues import MAIL
from workers.windows import windows

log = structlog.get_logger("workers.relay")

# Seconds to wait after the broker or the database failed, doubling up to the last.
TROUBLE_PAUSES = (0.5, 1.0, 2.0, 5.0)
# Seconds between two looks while a queue has no room; half of that where the last one rang for fewer than so many jobs.
FULL_PAUSE = 0.03
GATHERED = 8
# Seconds between two looks otherwise: whoever comes alone is rung for at once, and a crowd is not looked after one by one.
BUSY_PAUSE = 0.025
# Seconds between two looks at the mails: nobody waits for one, and those that gather share a doorbell and sessions.
MAIL_PAUSE = 0.1
# Seconds between two signs of life, and the name under which they are kept.
HEARTBEAT = 20.0
HEARTBEAT_NAME = "relay"
# Rows stamped in one transaction.
BATCH = 500
# Jobs of one doorbell at most.
PACK = 32


class Listener:
    """Waits for `NOTIFY`; where listening is not possible, for the time-out alone."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: Any = None

    def wait(self, seconds: float) -> None:
        """Return when something was notified, or after `seconds`."""
        if self._connection is None and not self._connect():
            time.sleep(seconds)
            return
        try:
            select.select([self._connection], [], [], seconds)
            self._connection.poll()
            self._connection.notifies.clear()
        except (psycopg2.Error, OSError, ValueError):
            self.close()

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            with contextlib.suppress(psycopg2.Error):
                self._connection.close()
            self._connection = None

    def _connect(self) -> bool:
        try:
            self._connection = psycopg2.connect(
                self._dsn, connect_timeout=2, application_name="usher-relay-listen"
            )
            self._connection.autocommit = True
            with self._connection.cursor() as cursor:
                cursor.execute(f"LISTEN {jobs.CHANNEL}")
        except psycopg2.Error:
            self.close()
            return False
        return True


class Bell:
    """Publishes doorbells on a connection of its own, which is thrown away after any trouble."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._connection: Any = None
        self._producer: Any = None

    def ring(self, doorbells: Sequence[jobs.Doorbell]) -> list[jobs.Doorbell]:
        """Publish them, packed; return those that could not be."""
        packs = pack(doorbells)
        for position, bells in enumerate(packs):
            try:
                self._publish(bells)
            except Exception as error:  # noqa: BLE001 - brokers fail in many classes; the rows keep everything
                left = [bell for pack in packs[position:] for bell in pack]
                log.warning("broker does not take doorbells", error=type(error).__name__, left=len(left))
                self._forsake()
                return left
        return []

    def close(self) -> None:
        """Drop the connection."""
        if self._connection is not None:
            with contextlib.suppress(Exception):
                self._connection.close()
        self._connection = self._producer = None

    def _forsake(self) -> None:
        """Drop the connection without a word: RabbitMQ wants to be asked, and one that is frozen does not answer."""
        if self._connection is not None:
            with contextlib.suppress(Exception):
                self._connection.collect(socket_timeout=0.1)
        self._connection = self._producer = None

    def _publish(self, bells: Sequence[jobs.Doorbell]) -> None:
        """Publish one doorbell for jobs of one kind and queue."""
        if self._producer is None:
            self._connection = self._app.connection_for_write()
            self._connection.ensure_connection(max_retries=1, timeout=2, interval_start=0.1)
            self._producer = self._app.amqp.Producer(self._connection)
        first = bells[0]
        send = partial(
            self._app.send_task,
            f"tasks.{first.kind}",
            args=tuple(bell.id for bell in bells),
            queue=first.queue,
            producer=self._producer,
            retry=False,
        )
        if len(bells) == 1 and first.traceparent is not None:
            with tracing.entry(f"ring {first.kind}", first.traceparent, role="PRODUCER", job_id=first.id):
                send(headers=tracing.headers())
            return
        # Jobs that are rung for together have traces of their own, which their rows keep.
        send()


def pack(doorbells: Sequence[jobs.Doorbell]) -> list[list[jobs.Doorbell]]:
    """Return what goes into one message each: what is due of one kind and queue, which is one job without a backlog.

    Jobs that will work alone are rung for alone: in one pack they would wait for each other until their leases end, and
    be taken for what ended their workers.
    """
    alike: dict[tuple[str, str], list[jobs.Doorbell]] = {}
    packs = []
    for bell in doorbells:
        if bell.claims >= jobs.SUSPECT_CLAIMS:
            packs.append([bell])
        else:
            alike.setdefault((bell.kind, bell.queue), []).append(bell)
    for bells in alike.values():
        packs += [bells[start : start + PACK] for start in range(0, len(bells), PACK)]
    return packs


class Relay:
    """One relay process."""

    def __init__(self, app: Any, settings: Settings, queues: Sequence[str]) -> None:
        self._settings = settings
        self._queues = list(queues)
        self._bell = Bell(app)
        self._listener = Listener(settings.direct_url())
        self._stopping = threading.Event()
        self._troubles = 0
        self._is_full = False
        self._noted_at = -HEARTBEAT
        self._mailed_at = -MAIL_PAUSE

    def run(self) -> None:
        """Ring until told to stop."""
        log.info("relay started", queues=len(self._queues))
        while not self._stopping.is_set():
            try:
                self._note_alive()
                began = time.monotonic()
                rang = self.turn()
                if self._is_full:
                    # Room comes back without a notification, and a pause lets some of it gather; where it comes back
                    # slowly, those who wait for it are not kept waiting as well.
                    self._stopping.wait(FULL_PAUSE if rang >= GATHERED else FULL_PAUSE / 2)
                    continue
                if not rang:
                    self._listener.wait(self._time_to_wait())
                self._stopping.wait(max(0.0, BUSY_PAUSE - (time.monotonic() - began)))
            except (DBAPIError, PoolTimeout) as error:
                log.warning("database does not answer", error=type(error).__name__)
                self._rest()
        self._listener.close()
        self._bell.close()
        log.info("relay stopped")

    def stop(self) -> None:
        """Have `run` return after its current turn."""
        self._stopping.set()

    def turn(self) -> int:
        """Ring for what is due now; return how many doorbells were published."""
        settings = self._settings
        with transaction() as session:
            room = windows(self._queues, partner_health.health_of_all(session), settings)
            if self._mails_wait() > 0:
                room.pop(MAIL, None)
            ringing = jobs.ring_due(session, room, ring_timeout=settings.relay_ring_timeout, limit=BATCH)
        due, self._is_full = ringing.doorbells, ringing.is_full
        if not self._is_full and any(bell.queue == MAIL for bell in due):
            self._mailed_at = time.monotonic()
        if not due:
            return 0
        silent = self._bell.ring(due)
        if silent:
            with transaction() as session:
                jobs.unring(session, [bell.id for bell in silent])
            self._rest()
        else:
            self._troubles = 0
        return len(due) - len(silent)

    def _note_alive(self) -> None:
        """Write down now and then that a relay is at work, for health checks."""
        if time.monotonic() - self._noted_at < HEARTBEAT:
            return
        with transaction() as session:
            jobs.claim_slot(session, HEARTBEAT_NAME, HEARTBEAT)
        self._noted_at = time.monotonic()

    def _time_to_wait(self) -> float:
        with transaction() as session:
            next_due = jobs.seconds_to_next_due(session, self._queues)
        longest = self._settings.relay_poll
        if (gathering := self._mails_wait()) > 0:
            longest = min(longest, gathering)  # They are due already, and nothing tells of them again.
        return longest if next_due is None else min(longest, max(0.01, next_due))

    def _mails_wait(self) -> float:
        """Return for how many seconds mails gather yet."""
        return MAIL_PAUSE - (time.monotonic() - self._mailed_at)

    def _rest(self) -> None:
        self._stopping.wait(TROUBLE_PAUSES[min(self._troubles, len(TROUBLE_PAUSES) - 1)])
        self._troubles += 1


def main() -> None:
    """Run a relay until SIGTERM or SIGINT."""
    from workers.app import app
    from workers.queues import all_queues
    from workers.telemetry import configure_logging
    from workers.watch import Observer

    configure_logging("relay")
    tracing.attach("relay")
    sentry.attach("relay")
    relay = Relay(app, get_settings(), all_queues())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: relay.stop())
    observer = Observer(app, get_settings())
    observer.start()
    relay.run()
    observer.stop()


if __name__ == "__main__":
    main()
