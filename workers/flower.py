"""Tells Flower of jobs that came by no doorbell, in the events that Celery sends of those that did."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

_dispatcher: Callable[[], Any] | None = None
_soon: Callable[..., Any] | None = None


def attach(dispatcher: Callable[[], Any] | None, soon: Callable[..., Any] | None = None) -> None:
    """Have events go through what this returns: the worker's own, another one after each new connection to the broker.

    `soon` calls a function in the thread that owns the connection: one to RabbitMQ must not be written to by two.
    """
    global _dispatcher, _soon
    _dispatcher, _soon = dispatcher, soon


@contextmanager
def shown(kind: str, job_id: str) -> Iterator[None]:
    """Show what is done meanwhile as a task of this kind, whose id is the job's."""
    events = None if _dispatcher is None else _dispatcher()
    if events is None or not events.enabled:
        yield
        return
    named = {"name": f"tasks.{kind}", "args": repr((job_id,)), "kwargs": "{}", "retries": 0}
    _send(events, "task-received", uuid=job_id, **named)
    _send(events, "task-started", uuid=job_id)
    began = time.monotonic()
    try:
        yield
    finally:
        # How the job ended is in its row: a task has done what it could in any case.
        _send(events, "task-succeeded", uuid=job_id, result="None", runtime=time.monotonic() - began)


def _send(events: Any, type: str, **fields: Any) -> None:
    if _soon is None:
        events.send(type, **fields)
    else:
        _soon(partial(events.send, type, **fields))
