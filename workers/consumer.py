"""The worker's consumer: Celery's, without what costs a worker more than its jobs.

* No delayed delivery, which Celery lays out for quorum queues: 28 exchanges and 28 queues that every worker declares at
  each connection, for `countdown` and `eta`. Usher has neither: due times are rows.
* Events for Flower are published a few times a second, and not one by one: that took a fifth of a busy worker's time.
"""

from __future__ import annotations

import time
from typing import ClassVar

from celery.worker import consumer

DELAYED_DELIVERY = "celery.worker.consumer.delayed_delivery:DelayedDelivery"
# Seconds for which events gather; Celery publishes 24 of them at once in any case.
EVENTS_GATHER = 0.25
# Seconds after which a publishing that was planned has been lost, with the connection that it was planned on.
EVENTS_LOST = 5.0


class Consumer(consumer.Consumer):  # type: ignore[misc]
    """What `worker_consumer` names."""

    _events_planned_at = -EVENTS_LOST

    class Blueprint(consumer.Consumer.Blueprint):  # type: ignore[misc]
        """Its steps."""

        default_steps: ClassVar[list[str]] = [
            step for step in consumer.Consumer.Blueprint.default_steps if step != DELAYED_DELIVERY
        ]

    def on_send_event_buffered(self) -> None:
        """Plan to publish what gathers from now on, unless that is planned. Called by any thread."""
        now = time.monotonic()
        if self.hub and now - self._events_planned_at > EVENTS_LOST:
            self._events_planned_at = now
            # Timers belong to the loop's own thread.
            self.hub.call_soon(self.hub.call_later, EVENTS_GATHER, self._publish_events)

    def _publish_events(self) -> None:
        self._events_planned_at = -EVENTS_LOST
        self._flush_events()
