"""Crash points: places where a test can have the process die as if the power went, before and after each commit and call."""

from __future__ import annotations

import os
import signal

import structlog

from settings import get_settings

log = structlog.get_logger("workers.crashes")


def crash_point(name: str) -> None:
    """End this process with SIGKILL when the setting CRASH_AT names this place; do nothing otherwise."""
    if get_settings().crash_at == name:
        log.error("crash point", name=name)
        os.kill(os.getpid(), signal.SIGKILL)
