"""The worker's consumer: Celery's, without the delayed delivery that it lays out for quorum queues.

That is 28 exchanges and 28 queues which every worker declares at each connection, for `countdown` and `eta`. Usher has
neither: due times are rows.
"""

from __future__ import annotations

from typing import ClassVar

from celery.worker import consumer

DELAYED_DELIVERY = "celery.worker.consumer.delayed_delivery:DelayedDelivery"


class Consumer(consumer.Consumer):  # type: ignore[misc]
    """What `worker_consumer` names."""

    class Blueprint(consumer.Consumer.Blueprint):  # type: ignore[misc]
        """Its steps."""

        default_steps: ClassVar[list[str]] = [
            step for step in consumer.Consumer.Blueprint.default_steps if step != DELAYED_DELIVERY
        ]
