"""`usher run`, which `make run` calls: it starts, shows, restarts, stops, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests.run.driver import Run, find

pytestmark = pytest.mark.e2e

STEPS = (
    "PostgreSQL", "Valkey", "migrations", "demo catalogue", "mail sink", "sandbox", "api", "relay", "worker", "beat",
    "flower", "A purchase\n", "webhook", "event stored", "payment", "account", "seat", "launch check", "active",
    "launch link", "welcome mail", "A purchase that the partner refuses", "refused", "replay it",
)  # fmt: skip


@pytest.fixture(scope="module")
def up() -> Iterator[Run]:
    """One that stays up for the tests of this module, one of which kills it."""
    with temporary_directory() as directory:
        run = Run(directory)
        run.wait_for("in another terminal")
        yield run
        run.kill_all()


@pytest.fixture
def start() -> Iterator[Callable[..., Run]]:
    """Return a function that starts another one, killed at the test's end."""
    runs: list[Run] = []
    with temporary_directory() as own:

        def make_run(*arguments: str, directory: Path = own, make: bool = False, **env: str) -> Run:
            runs.append(Run(directory, *arguments, make=make, **env))
            return runs[-1]

        yield make_run
        for run in runs:
            run.kill_all()


@contextlib.contextmanager
def temporary_directory() -> Iterator[Path]:
    """Yield a directory outside pytest's, which every other run of pytest closes to the user that PostgreSQL runs as."""
    with tempfile.TemporaryDirectory(prefix="usher-run-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def test_it_prints_each_step_in_order_and_no_colours_into_a_file(up: Run) -> None:
    positions = [up.text.find(step) for step in STEPS]
    assert -1 not in positions, up.text
    assert positions == sorted(positions)
    assert "\033[" not in up.text
    assert "/launch/" not in up.text


def test_what_it_keeps_is_readable_by_nobody_else(up: Run) -> None:
    data = Path(up.env["USHER_DATA_DIR"])
    assert stat.S_IMODE(data.stat().st_mode) & 0o066 == 0
    for name in ("secrets.env", "runtime.env"):
        assert stat.S_IMODE((data / name).stat().st_mode) == 0o600


def test_a_second_terminal_finds_everything_well_and_the_replay_command_works(up: Run) -> None:
    doctor = up.usher("doctor")
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    enrollment = up.usher("failures", "list", "--json")
    assert "Course is full (demo)" in enrollment.stdout
    retried = up.usher(*find(r"replay it .*usher (failures retry \S+)", up.text).split())
    assert retried.returncode == 0, retried.stderr
    up.wait_for(lambda: '"failed"' not in up.usher("enrollments", "list", "--json").stdout, 15)


def test_the_sign_in_links_open_their_pages(up: Run) -> None:
    for label in ("student dashboard", "ops console"):
        answer = requests.get(find(rf"{label} +(http\S+)", up.text), timeout=10)
        assert answer.status_code == 200


def test_the_same_data_directory_twice_is_refused_with_the_way_out(
    up: Run, start: Callable[..., Run]
) -> None:
    second = start(USHER_DATA_DIR=up.env["USHER_DATA_DIR"])
    assert second.wait() == 2
    assert f"process {up.process.pid}" in second.text
    assert "USHER_DATA_DIR=" in second.text


def test_ports_that_are_taken_are_all_named_before_anything_starts(
    up: Run, start: Callable[..., Run]
) -> None:
    taken = {name: up.env[name] for name in ("PORT", "FLOWER_PORT", "SANDBOX_PORT")}
    second = start(**taken)
    assert second.wait() == 2
    for name, port in taken.items():
        assert f"{name}={port} is taken" in second.text
    assert "PostgreSQL" not in second.text


def test_another_one_beside_it_runs_once_and_exits_0(up: Run, start: Callable[..., Run]) -> None:
    beside = start("--once")
    assert beside.wait() == 0, beside.text
    assert "launch link works" in beside.text
    assert beside.left_behind() == []
    assert not (Path(beside.env["USHER_DATA_DIR"]) / "runtime.env").exists()
    assert up.process.poll() is None


def test_a_crashed_child_is_restarted_and_said_so(up: Run) -> None:
    worker, server = up.pid_of("celery -A workers worker"), up.pid_of("postgres -D")
    os.kill(worker, signal.SIGKILL)
    os.kill(server, signal.SIGKILL)
    up.wait_for("worker was killed by SIGKILL")
    up.wait_for("PostgreSQL was killed by SIGKILL")
    up.wait_for(lambda: up.text.count("runs again") == 2)
    assert up.pid_of("celery -A workers worker") != worker
    up.wait_for(lambda: ready(up), 15)
    assert up.usher("doctor").returncode == 0


def test_nothing_outlives_a_kill_and_the_data_does(up: Run, start: Callable[..., Run]) -> None:
    before = up.usher("catalog", "--json").stdout.count("demo-")
    up.stop(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while up.left_behind() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert up.left_behind() == []
    again = start(
        "--once", directory=up.directory, **{name: up.env[name] for name in ("PORT", "SANDBOX_PORT")}
    )
    assert again.wait() == 0, again.text
    assert f"demo-{before + 1}@example.com" in again.text
    assert again.left_behind() == []


@pytest.mark.skipif(not Path(".venv/bin/usher").exists(), reason="make runs the program of .venv")
def test_ctrl_c_under_make_stops_everything(start: Callable[..., Run]) -> None:
    run = start(make=True)
    run.wait_for("in another terminal")
    run.stop(signal.SIGINT, group=True)
    assert run.left_behind() == []
    assert "stopped in" in run.text
    assert "did not end by itself" not in run.text
    assert not (Path(run.env["USHER_DATA_DIR"]) / "runtime.env").exists()


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("Starting", signal.SIGINT),
        ("migrations", signal.SIGTERM),
        ("A purchase", signal.SIGTERM),
    ],
)
def test_a_signal_during_the_start_leaves_no_process(
    start: Callable[..., Run], moment: str, number: signal.Signals
) -> None:
    run = start()
    run.wait_for(moment)
    assert run.stop(number) == 128 + number
    assert run.left_behind() == []
    assert "Traceback" not in run.text


def test_a_second_ctrl_c_hurries(start: Callable[..., Run]) -> None:
    run = start()
    run.wait_for("api ")
    run.process.send_signal(signal.SIGINT)
    run.wait_for("Stopping")
    assert run.stop(signal.SIGINT, seconds=3) == 130
    assert run.left_behind() == []


def test_settings_that_are_wrong_are_named_before_anything_starts(start: Callable[..., Run]) -> None:
    run = start(LEVEL_CURVE="steep", PORT="many")
    assert run.wait() == 2
    assert "LEVEL_CURVE is wrong" in run.text
    assert "PORT is wrong" in run.text
    assert "PostgreSQL  " not in run.text


def test_services_of_the_users_own_are_used_and_named_when_they_are_down(start: Callable[..., Run]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        run = start(DATABASE_URL=f"postgresql://u:p@127.0.0.1:{closed.getsockname()[1]}/x")
        assert run.wait() == 3
    assert "not started: DATABASE_URL names another" in run.text
    assert "PostgreSQL does not answer" in run.text
    assert run.left_behind() == []


def ready(run: Run) -> bool:
    with contextlib.suppress(requests.RequestException):
        return requests.get(f"http://127.0.0.1:{run.port}/readyz", timeout=5).status_code == 200
    return False
