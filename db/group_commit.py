"""Group commit: what several threads want to write at the same moment is written in one transaction.

Whoever comes while nobody writes writes at once. Those who come meanwhile wait, and one of them then writes for all. So
it costs nothing when there is one, and the more there are, the less each costs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# Answers, in their order, one result or error for each item; what it raises concerns the group as a whole.
Write = Callable[[Sequence[Item]], Sequence[Result | Exception]]


class _Waiting(Generic[Item, Result]):
    """One caller: woken when its item is written, or when it is its turn to write for all who wait."""

    def __init__(self, item: Item) -> None:
        self.item = item
        self.turn = threading.Lock()
        self.turn.acquire()
        self.outcome: tuple[Result] | Exception | None = None


class GroupCommit(Generic[Item, Result]):
    """Hands items of several threads to `write`, up to `most` at once; `write` never runs in two threads at a time.

    Where a group of several fails as a whole, each of its items is written once more alone, so each fails alone: `write`
    must leave nothing behind when it raises. What `concerns_all` says of an error is told to all of them at once: a
    database that is away need not be asked by each. `patience` says for how many seconds whoever is to write waits for
    more to come.
    """

    def __init__(
        self,
        write: Write[Item, Result],
        *,
        most: int = 100,
        concerns_all: Callable[[Exception], bool] = lambda error: False,
        patience: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._write = write
        self._most = most
        self._concerns_all = concerns_all
        self._patience = patience
        self._lock = threading.Lock()
        self._queue: list[_Waiting[Item, Result]] = []
        self._busy = False

    def __call__(self, item: Item) -> Result:
        """Return the item's result once it is written; raise what it failed with."""
        own = _Waiting[Item, Result](item)
        with self._lock:
            self._queue.append(own)
            waits, self._busy = self._busy, True
        if waits:
            own.turn.acquire()
        if own.outcome is None:
            self._write_group()
        if isinstance(own.outcome, Exception):
            raise own.outcome
        assert own.outcome is not None  # noqa: S101 - the first of the queue writes, itself included
        return own.outcome[0]

    def _write_group(self) -> None:
        """Write what waits, and wake the next who is to write. The caller is the first of the queue."""
        if pause := self._patience():
            time.sleep(pause)
        with self._lock:
            group, self._queue = self._queue[: self._most], self._queue[self._most :]
        try:
            self._settle(group)
        finally:
            with self._lock:
                self._busy = bool(self._queue)
                heir = self._queue[0] if self._queue else None
            if heir is not None:
                heir.turn.release()
            for one in group:
                one.outcome = one.outcome or RuntimeError("the thread that wrote for others ended")
                one.turn.release()

    def _settle(self, group: list[_Waiting[Item, Result]]) -> None:
        try:
            found = self._write([one.item for one in group])
        except Exception as error:  # noqa: BLE001 - whatever it was, those who wait have to be told
            if len(group) == 1 or self._concerns_all(error):
                for one in group:
                    one.outcome = error
                return
            for one in group:
                self._settle([one])
            return
        for one, result in zip(group, found, strict=True):
            one.outcome = result if isinstance(result, Exception) else (result,)
