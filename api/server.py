"""The process that serves the api: gunicorn's gevent worker, `gunicorn --worker-class api.server.Worker`.

One thread of a process serves all its callers, and goes on with another one wherever one waits. Threads took half of a
webhook's processor time for handing the interpreter to each other.
"""

from __future__ import annotations

from typing import Any

from gevent import get_hub
from gevent.socket import wait_read, wait_write
from gunicorn.workers.ggevent import GeventWorker

from db import green

# Callers that one process serves at once. Others wait to be accepted, so that what they send does not fill the memory.
MOST_CALLERS = 300


class Worker(GeventWorker):  # type: ignore[misc]
    """Serves `api.app:create_app()`, and any other WSGI app."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.worker_connections: int = min(self.cfg.worker_connections, MOST_CALLERS)

    def patch(self) -> None:
        """Have all that waits let others go on: Python's sockets, locks and pauses, PostgreSQL, calls in other languages."""
        super().patch()
        green.attach(wait_read, wait_write, get_hub().threadpool.apply)
