"""Children of `usher run`: started in order, restarted when they crash, stopped in reverse order, none left behind.

All in one thread. Linux ends a child when the thread that started it ends, and a signal can only interrupt the main
thread; so whoever waits for something does it in `Supervisor.wait`, which looks after the children meanwhile.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from workers.embedded.console import Console
from workers.services import Service, ServiceError, kill_group, tail

POLL = 0.05
STOP_GRACE = 10.0
# Seconds for the last signal, where that is a gentler one than SIGKILL.
LAST_GRACE = 3.0
# Seconds until a crashed child is started again: doubled with each crash in a row.
FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 30.0
# A child that lived this long starts with a clean record.
STABLE_AFTER = 60.0


class StopRequested(BaseException):
    """Somebody pressed Ctrl-C or sent a signal. `signum` says which. No handler of ordinary errors may swallow it."""

    def __init__(self, signum: int) -> None:
        self.signum = signum
        super().__init__(f"stopped by {signal.Signals(signum).name}")


@dataclass
class Signals:
    """Turns SIGINT, SIGTERM and SIGHUP into `StopRequested` wherever the main thread is, except where it must not be."""

    received: int | None = None
    hurry: bool = False
    stopping: bool = False
    _shields: int = 0

    def install(self) -> None:
        """Take the signals over. SIGHUP stays ignored where it is (nohup)."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._handle)

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Let a first signal wait until the block is done: from a child's start until it is known to us."""
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1
        self.check()

    def check(self) -> None:
        """Raise `StopRequested` for a signal that was held back, or that came where Python drops exceptions."""
        if self.received is not None and not self._shields and not self.stopping:
            raise StopRequested(self.received)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.hurry = self.received is not None
        self.received = self.received or number
        if not self.stopping and (self.hurry or not self._shields):
            raise StopRequested(number)


@dataclass
class Child:
    """Something to run: how to start it, and how to tell that it is ready. Children of a higher tier stop first."""

    name: str
    start: Callable[[], Service]
    ready: Callable[[], bool] = lambda: True
    tier: int = 1
    # For one that does not end by itself, or when somebody hurries.
    last_signal: signal.Signals = signal.SIGKILL
    note: str = ""
    service: Service | None = None
    started_at: float = 0.0
    crashes: int = 0
    restart_at: float | None = None

    @property
    def alive(self) -> bool:
        return self.service is not None and self.service.process.poll() is None


@dataclass
class Supervisor:
    """Keeps the children running until it is told to stop them."""

    console: Console
    signals: Signals
    children: list[Child] = field(default_factory=list)

    def launch(self, child: Child) -> None:
        """Start a child; the caller waits for its readiness with `await_ready`."""
        with self.signals.held_back():
            child.service = child.start()
            child.started_at = time.monotonic()
            self.children.append(child)

    def await_ready(self, child: Child, seconds: float = 30.0) -> None:
        """Return when the child is ready; raise `ServiceError` with the end of its log when it ends or takes too long."""
        deadline = time.monotonic() + seconds
        while not child.ready():
            self.signals.check()
            if not child.alive:
                raise ServiceError(f"{_how_it_ended(child)}; {_log_end(child)}")
            if time.monotonic() > deadline:
                raise ServiceError(f"{child.name} was not ready within {seconds:.0f} s; {_log_end(child)}")
            time.sleep(POLL)

    def wait(self, until: Callable[[], bool], seconds: float | None = None, poll: float = POLL) -> bool:
        """Look after the children until the condition holds; return False when it did not within `seconds`."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while not until():
            if deadline is not None and time.monotonic() > deadline:
                return False
            self.look_after()
            time.sleep(poll)
        return True

    def look_after(self) -> None:
        """Say which children ended, and start those again whose pause is over."""
        self.signals.check()
        for child in self.children:
            if child.restart_at is None:
                if not child.alive:
                    self._note_crash(child)
            elif time.monotonic() >= child.restart_at:
                self._restart(child)

    def stop_all(self) -> None:
        """Stop everything, the last started first; return when nothing is left."""
        self.signals.stopping = True
        for tier in sorted({child.tier for child in self.children}, reverse=True):
            self._stop([child for child in reversed(self.children) if child.tier == tier and child.service])

    def _note_crash(self, child: Child) -> None:
        if time.monotonic() - child.started_at > STABLE_AFTER:
            child.crashes = 0
        _kill_remains(child)
        self.console.warn(_how_it_ended(child))
        self.console.quote(_log_end(child, lines=5))
        self.console.warn(f"{child.name} starts again in {_plan_restart(child):.1f} s")

    def _restart(self, child: Child) -> None:
        try:
            with self.signals.held_back():
                child.service = child.start()
                child.started_at = time.monotonic()
                child.restart_at = None
        except (ServiceError, OSError) as error:
            self.console.warn(f"{child.name} did not start; next attempt in {_plan_restart(child):.1f} s")
            self.console.quote(str(error))
            return
        self.console.item(child.name, f"runs again (process {child.service.process.pid})")

    def _stop(self, children: list[Child]) -> None:
        for child in children:
            if child.service is not None and child.alive:
                child.service.process.send_signal(child.service.stop_signal)
        deadline = time.monotonic() + STOP_GRACE
        for child in children:
            while child.alive and not self.signals.hurry and time.monotonic() < deadline:
                time.sleep(POLL / 2)
            if child.alive:
                if not self.signals.hurry:
                    self.console.warn(f"{child.name} did not end by itself and is killed")
                _end_now(child)
            _kill_remains(child)


def _end_now(child: Child) -> None:
    assert child.service is not None  # noqa: S101
    process = child.service.process
    process.send_signal(child.last_signal)
    try:
        process.wait(LAST_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _plan_restart(child: Child) -> float:
    pause: float = min(FIRST_BACKOFF * 2.0**child.crashes, LONGEST_BACKOFF)
    child.crashes += 1
    child.restart_at = time.monotonic() + pause
    return pause


def _kill_remains(child: Child) -> None:
    if child.service is not None:
        kill_group(child.service.process.pid)


def _how_it_ended(child: Child) -> str:
    code = child.service.process.returncode if child.service else 0
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return f"{child.name} {how}"


def _log_end(child: Child, lines: int = 15) -> str:
    assert child.service is not None  # noqa: S101
    return f"{child.service.log} ends:\n{tail(child.service.log, lines)}"
