"""Who works beside whom in this process, and how many: jobs work together, but one that may have ended a worker works alone.

A process that dies takes all its jobs along, and nobody can tell which of them did it. So a job whose claims ended
without an outcome more than once runs by itself: if the process dies again, only the guilty one is counted.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from settings import get_settings


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


class Places:
    """Room for so many jobs at once, and the threads of those that are rung for together.

    A place is taken before a job is claimed, and free again when the job is over.
    """

    def __init__(self, number: Callable[[], int]) -> None:
        """`number` is asked at the first use: a worker learns its concurrency only when it starts."""
        self._number = number
        self._lock = threading.Lock()
        self._room: threading.Semaphore | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._taken = 0
        # Whether this process does the jobs of a queue: a worker says so when it starts.
        self.serves: Callable[[str], bool] = lambda _queue: False

    def resize(self, number: int) -> None:
        """Have room for so many from now on; for the start of a process."""
        with self._lock:
            self._room = threading.Semaphore(number)
            self._threads = ThreadPoolExecutor(number, thread_name_prefix="job")

    def take(self, most: int) -> int:
        """Take up to `most` places, at least one: wait for that; return how many."""
        room = self._get()
        room.acquire()
        taken = 1
        while taken < most and room.acquire(blocking=False):
            taken += 1
        with self._lock:
            self._taken += taken
        return taken

    def free(self, number: int) -> None:
        """Give places back."""
        if number:
            with self._lock:
                self._taken -= number
            self._get().release(number)

    @property
    def taken(self) -> int:
        """How many places are taken just now."""
        return self._taken

    def work(self, function: Callable[[], None]) -> None:
        """Call a function in a place that was taken, and give the place back."""
        try:
            function()
        finally:
            self.free(1)

    def start(self, function: Callable[[], None]) -> Future[None]:
        """Do the same in a thread, with a copy of this context."""
        self._get()
        assert self._threads is not None  # noqa: S101 - made with the room
        context = contextvars.copy_context()
        return self._threads.submit(lambda: context.run(self.work, function))

    def _get(self) -> threading.Semaphore:
        if self._room is None:
            self.resize(self._number())
        assert self._room is not None  # noqa: S101
        return self._room


# Of this process.
CREW = Crew()
PLACES = Places(lambda: get_settings().worker_concurrency)
