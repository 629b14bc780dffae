"""The workers' Celery app, where one course ends the process that begins its walk: `-A tests.faults.poisoned`.

It stands for what no `except` catches: a crash in a C library, a process that the kernel ends for its memory.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from domain.enrollments import Enrollment
from partners.base import Partner
from tasks import enrollment as walk
from tests.faults.chaos import POISON
from workers.app import app
from workers.job import StepResult

__all__ = ["app"]

_take_account = walk.take_account


def _take_poisoned_account(partner: Partner, enrollment: Enrollment, **named: Any) -> StepResult:
    if enrollment.course_code == POISON:
        os.kill(os.getpid(), signal.SIGKILL)
    return _take_account(partner, enrollment, **named)


walk.take_account = _take_poisoned_account
