"""What `usher run` runs: how each child is started, and how it is known to be ready."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from settings import Settings, data_dir
from workers.embedded import env
from workers.embedded.supervisor import Child
from workers.services import Service, free_port, spawn, start_postgres, start_valkey

# What stops last: the services that the others stand on, then the world outside, then Usher's own processes.
FOUNDATION, OUTSIDE, OURS = 0, 1, 2
# Bytes. A log that has grown beyond this is put aside at the next start.
LOG_LIMIT = 10_000_000
# Tasks that Flower remembers, about 7 kB each; by itself it would keep ten times as many.
FLOWER_TASKS = 10_000
# Seconds for the PostgreSQL of a run that was killed outright to end.
LEFTOVER_PATIENCE = 10.0


def postgres(directory: Path) -> Child:
    """Return PostgreSQL on a port that stays the same over its restarts."""
    start = _postgres_starter(directory, free_port())
    # SIGQUIT is PostgreSQL's immediate shutdown; SIGKILL would leave its processes to find out by themselves.
    return Child("PostgreSQL", start, tier=FOUNDATION, last_signal=signal.SIGQUIT)


def valkey(directory: Path) -> Child:
    """Return Valkey on a port that stays the same over its restarts."""
    port = free_port()
    return Child("Valkey", lambda: start_valkey(directory, port), tier=FOUNDATION)


def mail_sink() -> Child:
    """Return the mail sink, its address in the environment of those that start after it."""
    smtp_port, http_port = free_port(), free_port()
    page = f"http://127.0.0.1:{http_port}"
    env.set_address("SMTP_URL", f"smtp://127.0.0.1:{smtp_port}")
    env.set_address("MAIL_SINK_URL", page)
    options = ["--smtp-port", str(smtp_port), "--http-port", str(http_port)]
    command = _python("workers.mail_sink", *options, "--file", str(data_dir() / "mail.jsonl"))
    return Child(
        "mail sink", _starter("mail-sink", command), ready=_answers(f"{page}/count"), tier=OUTSIDE, note=page
    )


def sandbox(port: int) -> Child:
    """Return the partner sandbox, its address in the environment of those that start after it."""
    address = f"http://127.0.0.1:{port}"
    env.set_address("SANDBOX_URL", address)
    options = ["--port", str(port), "--host", "127.0.0.1", "--api-key-env", "SANDBOX_API_KEY"]
    command = _python("partners.sandbox", *options, "--state", str(data_dir() / "sandbox.state"))
    ready = _answers(f"{address}/_health")
    return Child("sandbox", _starter("sandbox", command), ready=ready, tier=OUTSIDE, note=address)


def our_processes(settings: Settings) -> list[Child]:
    """Return Usher itself: api, relay, worker, beat, Flower."""
    base, flower = f"http://127.0.0.1:{settings.port}", f"http://127.0.0.1:{settings.flower_port}"
    gunicorn = _python("gunicorn", "api.app:create_app()", "--worker-class", "api.server.Worker")
    gunicorn += ["--workers", str(settings.api_workers)]
    # Without the control socket, which two runs beside each other would share.
    gunicorn += ["--bind", f"127.0.0.1:{settings.port}", "--graceful-timeout", "5", "--no-control-socket"]
    # The port in the node's name tells two runs on one broker apart.
    node = f"--hostname=worker-{settings.port}@%h"
    worker = _celery("worker", "--without-gossip", "--without-mingle", node)
    beat = _celery("beat", "--schedule", str(data_dir() / "beat-schedule"))
    watch = _celery(
        "flower",
        "--address=127.0.0.1",
        f"--port={settings.flower_port}",
        "--read_only",
        f"--max_tasks={FLOWER_TASKS}",
    )
    return [
        Child("api", _starter("api", gunicorn), ready=_answers(f"{base}/readyz"), tier=OURS, note=base),
        _logging_child("relay", _python("workers.relay"), "relay started", settings),
        _logging_child("worker", worker, " ready.", settings),
        _logging_child("beat", beat, "beat: Starting", settings),
        Child(
            "flower",
            _starter("flower", watch),
            ready=_answers(f"{flower}/healthcheck"),
            tier=OURS,
            note=flower,
        ),
    ]


def _postgres_starter(directory: Path, port: int) -> Callable[[], Service]:
    """Return what starts PostgreSQL on this port. A first start that was interrupted is begun anew."""
    data, unfinished = directory / "postgres", directory / "postgres.unfinished"

    def start() -> Service:
        _await_leftover(data / "postmaster.pid")
        if unfinished.exists():
            shutil.rmtree(data, ignore_errors=True)
        if not (data / "PG_VERSION").exists():
            unfinished.touch()
        service = start_postgres(directory, port)
        unfinished.unlink(missing_ok=True)
        return service

    return start


def _await_leftover(pid_file: Path) -> None:
    """Wait for the PostgreSQL of a run that was killed outright to end; remove the file where its pid is another's."""
    deadline = time.monotonic() + LEFTOVER_PATIENCE
    while pid_file.exists() and time.monotonic() < deadline:
        pid = pid_file.read_text().split("\n", 1)[0].strip()
        command = Path(f"/proc/{pid}/cmdline")
        if not pid.isdigit() or not Path("/proc/self").exists():
            return
        if not command.exists() or str(pid_file.parent).encode() not in command.read_bytes():
            pid_file.unlink(missing_ok=True)
            return
        time.sleep(0.1)


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def _celery(*arguments: str) -> list[str]:
    return _python("celery", "-A", "workers", *arguments)


def _starter(name: str, command: list[str]) -> Callable[[], Service]:
    log = data_dir() / "logs" / f"{name}.log"
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.replace(log.with_suffix(".log.1"))

    def start() -> Service:
        with log.open("ab") as output:
            return Service(name, spawn(command, output), "", log)

    return start


def _answers(url: str) -> Callable[[], bool]:
    """Return a check that the address answers 200."""
    import requests

    def check() -> bool:
        try:
            return requests.get(url, timeout=2).status_code == 200
        except requests.RequestException:
            return False

    return check


def _logging_child(name: str, command: list[str], marker: str, settings: Settings) -> Child:
    """Return a child without an address, which is ready when it says so in its log."""
    log = data_dir() / "logs" / f"{name}.log"
    begin = log.stat().st_size if log.exists() else 0
    child = Child(name, _starter(name, command), tier=OURS)

    def says_so() -> bool:
        if settings.log_level not in ("DEBUG", "INFO"):
            return child.alive and time.monotonic() - child.started_at > 2.0
        with log.open("rb") as file:
            file.seek(begin)
            return marker.encode() in file.read()

    child.ready = says_so
    return child
