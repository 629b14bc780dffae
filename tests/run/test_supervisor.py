"""The supervisor: readiness, restarts, the end of what does not want to end."""

from __future__ import annotations

import io
import itertools
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from workers.embedded import supervisor as supervisor_module
from workers.embedded.console import Console
from workers.embedded.supervisor import Child, Signals, StopRequested, Supervisor
from workers.services import Service, ServiceError, spawn


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    made = Supervisor(Console(io.StringIO()), Signals())
    yield made
    made.signals.hurry = True
    made.stop_all()


@pytest.fixture
def signals() -> Iterator[Signals]:
    """Signals that are taken over for the test."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    made = Signals()
    made.install()
    yield made
    for number, handler in before.items():
        signal.signal(number, handler)


def child(directory: Path, script: str, name: str = "child") -> Child:
    """Return a child that runs a line of shell."""
    log = directory / f"{name}.log"

    def start() -> Service:
        with log.open("ab") as output:
            return Service(name, spawn(["sh", "-c", script], output), "", log)

    return Child(name, start, ready=lambda: False)


def said(supervisor: Supervisor) -> str:
    assert isinstance(supervisor.console.stream, io.StringIO)
    return supervisor.console.stream.getvalue()


def test_a_child_that_ends_instead_of_being_ready_is_reported_with_its_log(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    broken = child(tmp_path, "echo no port for me; exit 3")
    supervisor.launch(broken)
    with pytest.raises(
        ServiceError, match=r"child ended with exit code 3; .*child.log ends:\nno port for me"
    ):
        supervisor.await_ready(broken)


def test_a_child_that_is_never_ready_is_not_waited_for(supervisor: Supervisor, tmp_path: Path) -> None:
    silent = child(tmp_path, "sleep 60")
    supervisor.launch(silent)
    with pytest.raises(ServiceError, match=r"not ready within 0 s"):
        supervisor.await_ready(silent, 0.1)


def test_a_child_that_keeps_crashing_is_started_at_growing_distances(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "FIRST_BACKOFF", 0.05)
    supervisor.launch(child(tmp_path, "date +%s.%N; exit 1"))
    starts = tmp_path / "child.log"
    assert supervisor.wait(lambda: len(starts.read_text().splitlines()) >= 5, 10, poll=0.01)
    times = [float(line) for line in starts.read_text().splitlines()]
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(pause >= 0.05 * 2**number for number, pause in enumerate(pauses[:4]))
    assert "child ended with exit code 1" in said(supervisor)
    assert "runs again" in said(supervisor)


def test_what_ignores_the_signal_is_killed_with_all_that_it_started(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "STOP_GRACE", 0.3)
    supervisor.launch(child(tmp_path, "trap '' TERM; sleep 60 & echo $!; wait; sleep 60"))
    log = tmp_path / "child.log"
    assert supervisor.wait(lambda: log.read_text().endswith("\n"), 5)
    supervisor.stop_all()
    grandchild = int(log.read_text())
    deadline = time.monotonic() + 5
    while Path(f"/proc/{grandchild}/cmdline").exists() and Path(f"/proc/{grandchild}/cmdline").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert "did not end by itself" in said(supervisor)


def test_a_signal_waits_until_a_child_is_known_and_then_stops_everything(signals: Signals) -> None:
    known: list[str] = []
    with pytest.raises(StopRequested):
        _start_under_fire(signals, known)
    assert known == ["child"]
    signals.stopping = True
    os.kill(os.getpid(), signal.SIGTERM)
    assert signals.hurry


def _start_under_fire(signals: Signals, known: list[str]) -> None:
    with signals.held_back():
        os.kill(os.getpid(), signal.SIGTERM)
        known.append("child")


def test_a_reader_that_went_away_does_not_disturb(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    console = Console(os.fdopen(writing, "w"))
    console.say("to nobody")
    console.say("and again")
