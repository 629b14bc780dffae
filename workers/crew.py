"""Who works beside whom in this process: jobs work together, but one that may have ended a worker works alone.

A process that dies takes all its jobs along, and nobody can tell which of them did it. So a job whose claims ended
without an outcome more than once runs by itself: if the process dies again, only the guilty one is counted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Crew:
    """A lock with two ways in: together with others, or alone. Whoever wants to be alone goes first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._together = 0
        self._alone = False
        self._waiting = 0

    @contextmanager
    def together(self) -> Iterator[None]:
        """Work beside others; wait while somebody works alone or wants to."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone and not self._waiting)
            self._together += 1
        try:
            yield
        finally:
            with self._changed:
                self._together -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self, while_waiting: Callable[[], None], every: float, times: int = 2) -> Iterator[None]:
        """Work alone; call `while_waiting` every so many seconds until the others are done.

        After so many `times` work beside them after all: a long job must not stop everything.
        """
        with self._changed:
            self._waiting += 1
        try:
            alone = self._take(every)
            while not alone and times > 0:
                while_waiting()
                alone, times = self._take(every), times - 1
        finally:
            with self._changed:
                self._waiting -= 1
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._alone = self._alone and not alone
                self._changed.notify_all()

    def _take(self, seconds: float) -> bool:
        with self._changed:
            free = self._changed.wait_for(lambda: not self._alone and self._together == 0, seconds)
            self._alone = self._alone or free
            return free
