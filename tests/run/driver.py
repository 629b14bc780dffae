"""`usher run` as its user sees it: its output, its signals, and every process that it has started."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from settings import Settings
from workers.services import free_port

ROOT = Path(__file__).parents[2]
USHER = Path(sys.executable).parent / "usher"
PORTS = ("PORT", "FLOWER_PORT", "SANDBOX_PORT")


class Run:
    """One `usher run` (or `make run`) in a data directory of its own."""

    def __init__(self, directory: Path, *arguments: str, make: bool = False, **env: str) -> None:
        self.directory = directory
        self.env = (
            clean_env(USHER_DATA_DIR=str(directory / "data"))
            | {name: str(free_port()) for name in PORTS}
            | env
        )
        self.known: set[psutil.Process] = set()
        directory.mkdir(parents=True, exist_ok=True)
        self.output = directory / f"output-{time.monotonic_ns()}"
        # `-o` keeps make from setting up the environment that these tests run in.
        command = ["make", "-o", ".venv/.locked", "run"] if make else [str(USHER), "run", *arguments]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.env,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        return self.output.read_text()

    @property
    def port(self) -> str:
        return self.env["PORT"]

    def wait_for(self, text: str | Callable[[], bool], seconds: float = 40) -> None:
        """Wait until the output holds a text, or a condition holds."""
        deadline = time.monotonic() + seconds
        while not (text in self.text if isinstance(text, str) else text()):
            assert time.monotonic() < deadline, f"{text!r} was not seen:\n{self.text}"
            assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.text}"
            self.note_processes()
            time.sleep(0.1)
        self.note_processes()

    def note_processes(self) -> None:
        """Remember every process below ours."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self.known.update(psutil.Process(self.process.pid).children(recursive=True))

    def pid_of(self, text: str) -> int:
        """Return the process, below ours, whose command line holds a text: the first of its kind."""
        self.note_processes()
        return min(process.pid for process in self.known if text in command_of(process))

    def stop(
        self, number: signal.Signals = signal.SIGINT, *, group: bool = False, seconds: float = 20
    ) -> int:
        """Send a signal (to the whole group as a terminal does) and return the exit code."""
        self.note_processes()
        os.killpg(self.process.pid, number) if group else self.process.send_signal(number)
        return self.wait(seconds)

    def wait(self, seconds: float = 60) -> int:
        """Wait for the end and return the exit code."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it does not end:\n{self.text}"
            self.note_processes()
            time.sleep(0.1)
        return self.process.returncode

    def left_behind(self) -> list[str]:
        """Return what is still running of what it started: its descendants, and whoever has our marker."""
        still = {process.pid: process for process in self.known}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if self.env["USHER_DATA_DIR"] in (
                    process.environ().get("USHER_DATA_DIR"),
                    *process.cmdline(),
                ):
                    still[process.pid] = process
        still.pop(self.process.pid, None)
        return [f"{pid} {command}" for pid, process in still.items() if (command := command_of(process))]

    def usher(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Call `usher` as from a second terminal, which knows the data directory only."""
        env = clean_env(USHER_DATA_DIR=self.env["USHER_DATA_DIR"])
        return subprocess.run(
            [str(USHER), *arguments], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60
        )

    def kill_all(self) -> None:
        """End whatever is left, however the test went."""
        self.note_processes()
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait(10)
        for process in self.known:
            with contextlib.suppress(psutil.Error):
                process.kill()


def command_of(process: psutil.Process) -> str:
    """Return the command line of a process, empty for one that has ended."""
    try:
        return " ".join(process.cmdline()) if process.is_running() else ""
    except psutil.Error:
        return ""


def clean_env(**values: str) -> dict[str, str]:
    """Return this process's environment without any setting."""
    names = {name.upper() for name in Settings.model_fields} | {"NEXTAUTH_SECRET", "MAKEFLAGS", "MAKELEVEL"}
    # What `make ARGS=...` hands down is meant for the make that runs these tests.
    names |= {"MFLAGS", "MAKEOVERRIDES", "ARGS"}
    return {name: value for name, value in os.environ.items() if name not in names} | values


def find(pattern: str, text: str) -> str:
    """Return what a pattern's group matches in an output."""
    found = re.search(pattern, text)
    assert found is not None, f"{pattern} is not in:\n{text}"
    return found[1]
