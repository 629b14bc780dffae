"""Works jobs in a forked process of its own that may be told to die at a crash point; no broker, no Celery."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Mapping, Sequence

import settings as settings_module
from db import session as db_session
from partners.registry import get_partner
from workers.job import run_due
from workers.telemetry import configure_logging

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.faults.crasher", "tasks.payments", "tasks.enrollment", "tasks.mail"])


def work_off(kinds: Sequence[str], env: Mapping[str, str], seconds: float) -> int | None:
    """Work jobs of these kinds until nothing was due for `seconds`; return the process's exit code."""
    process = FORKS.Process(target=_work_off, args=(list(kinds), dict(env), seconds))
    process.start()
    process.join(30)
    return process.exitcode


def _work_off(kinds: list[str], env: dict[str, str], seconds: float) -> None:
    import tasks.enrollment
    import tasks.mail
    import tasks.payments  # noqa: F401 - registers the kinds

    configure_logging("crasher", format="json", level="WARNING")
    os.environ.update(env)
    settings_module.get_settings.cache_clear()
    db_session.get_engine.cache_clear()
    get_partner.cache_clear()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if run_due(kinds):
            end = time.monotonic() + seconds
        else:
            time.sleep(0.05)
