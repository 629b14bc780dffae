"""The Celery app: its queues, limits and broker behaviour. Tasks are doorbells, so nothing here keeps work safe.

Each setting that departs from Celery's default answers a failure that was seen: see `docs/decisions/0002`.
"""

from __future__ import annotations

import gc
from functools import partial
from typing import Any

from celery import Celery
from celery.bootsteps import RUN
from celery.signals import celeryd_after_setup, setup_logging, worker_ready
from celery.worker import state
from kombu import Exchange, Queue
from kombu.transport import TRANSPORT_ALIASES

from beat_schedule import BEAT_SCHEDULE
from settings import ConfigurationError, Settings, get_settings
from workers import connections, flower, heartbeat, lti, queues, sentry, tracing
from workers.crew import PLACES
from workers.telemetry import configure_logging

TASK_MODULES = (
    "tasks.payments",
    "tasks.enrollment",
    "tasks.progress",
    "tasks.mail",
    "tasks.housekeeping",
    "tasks.partner_watch",
    "tasks.partner_events",
    "tasks.replays",
    "tasks.reconcile",
    "tasks.xp",
    "tasks.quizzes",
    "tasks.gamification",
    "tasks.certificates",
    "tasks.manual",
    "tasks.privacy",
    "tasks.watch",
)
EXCHANGE = Exchange("usher", type="direct")
# What kombu loads for `redis://`, when it first connects.
REDIS_TRANSPORT = "workers.transport:Transport"
# New objects after which Python looks for rings of garbage; its own 700 is reached several times by each job.
GC_THRESHOLD = 20_000
# Seconds. A broker that does not answer must not hold the relay.
BROKER_TIMEOUT = 2.0
# Seconds in which RabbitMQ has to answer: it writes a doorbell to the disks of most of its nodes before it does.
CONFIRM_TIMEOUT = 5.0
# Seconds between two heartbeats of a worker's connection to RabbitMQ; after two that are missed it connects anew.
BROKER_HEARTBEAT = 10


def make_app(settings: Settings) -> Celery:
    """Return the configured app; the task modules are imported when a worker or the relay needs them."""
    app = Celery("usher", broker=settings.broker_url.get_secret_value(), include=list(TASK_MODULES))
    app.conf.update(
        task_queues=[
            Queue(name, EXCHANGE, routing_key=name, queue_arguments=_queue_arguments(settings))
            for name in queues.all_queues()
        ],
        task_default_queue=queues.CONTROL,
        task_default_exchange=EXCHANGE.name,
        task_default_routing_key=queues.CONTROL,
        task_create_missing_queues=False,
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        # The row is the message: a doorbell that is lost rings again, one that is heard twice finds nothing to do.
        task_acks_late=False,
        task_publish_retry=False,
        task_serializer="json",
        accept_content=["json"],
        timezone="UTC",
        enable_utc=True,
        worker_consumer="workers.consumer:Consumer",
        worker_pool="threads",
        worker_concurrency=settings.worker_concurrency,
        worker_prefetch_multiplier=1,
        worker_disable_rate_limits=True,
        worker_hijack_root_logger=False,
        worker_send_task_events=True,
        task_send_sent_event=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=BROKER_TIMEOUT,
        broker_heartbeat=BROKER_HEARTBEAT,
        # Flower asks several things at once and holds two connections for each: with fewer it waits for itself for ever.
        broker_pool_limit=20,
        broker_transport_options=_transport_options(settings),
        beat_schedule=BEAT_SCHEDULE,
        beat_max_loop_interval=5,
    )
    return app


def _is_rabbitmq(settings: Settings) -> bool:
    return not settings.broker_url.get_secret_value().startswith("redis")


def _queue_arguments(settings: Settings) -> dict[str, str]:
    """Return quorum queues for RabbitMQ, which outlive the loss of a node, as classic ones do not."""
    return {"x-queue-type": "quorum"} if _is_rabbitmq(settings) else {}


def _transport_options(settings: Settings) -> dict[str, Any]:
    if _is_rabbitmq(settings):
        return {
            "confirm_publish": True,
            "connect_timeout": BROKER_TIMEOUT,
            "read_timeout": CONFIRM_TIMEOUT,
            "write_timeout": CONFIRM_TIMEOUT,
        }
    return {
        "global_keyprefix": "usher:",
        "queue_order_strategy": "priority",
        "priority_steps": [0],
        "socket_timeout": BROKER_TIMEOUT,
        "socket_connect_timeout": BROKER_TIMEOUT,
        "socket_keepalive": True,
        "health_check_interval": 10,
    }


def _load() -> Celery:
    try:
        return make_app(get_settings())
    except ConfigurationError as error:
        raise SystemExit(str(error)) from None


TRANSPORT_ALIASES.update(redis=REDIS_TRANSPORT, rediss=REDIS_TRANSPORT)
app = _load()
app.set_default()
lti.attach()
connections.attach()
heartbeat.attach()


@setup_logging.connect  # type: ignore[untyped-decorator]
def _configure_logging(**_: Any) -> None:
    configure_logging("celery")


@celeryd_after_setup.connect  # type: ignore[untyped-decorator]
def _make_places(instance: Any, **_: Any) -> None:
    """Have as many jobs at once, of those queues, as the worker was started for, in the settings or on its command line."""
    PLACES.resize(instance.concurrency)
    PLACES.serves = partial(_serves, instance)
    # What was imported stays: looking through it again and again took a twelfth of a busy worker's time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 20)


def _serves(worker: Any, queue: str) -> bool:
    """Return whether this worker takes doorbells of a queue just now: not where it was told to stop or to leave the queue."""
    # An exit code, which may be 0, where it was told to stop; it is only later that it begins to.
    told = any(code is not None and code is not False for code in (state.should_stop, state.should_terminate))
    return not told and worker.blueprint.state == RUN and queue in app.amqp.queues.consume_from


@worker_ready.connect  # type: ignore[untyped-decorator]
def _tell_outside(sender: Any, **_: Any) -> None:
    tracing.attach("worker")
    sentry.attach("worker")
    flower.attach(lambda: sender.event_dispatcher, sender.hub.call_soon if sender.hub else None)
