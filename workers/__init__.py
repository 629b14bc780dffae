"""How work gets done: the Celery app, the relay that rings, and the one place where every task lives and dies.

`celery -A workers worker | beat` finds the app as `workers.celery`. It is made at the first use, so that the HTTP
front can import `workers.telemetry` without loading Celery.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "celery":
        from workers.app import app

        return app
    raise AttributeError(name)
