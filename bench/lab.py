"""What a benchmark stands on: PostgreSQL as in production (fsync on), a broker, and Usher's own processes beside them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import requests

import settings as settings_module
from db.migrate import upgrade
from db.session import get_engine
from workers.services import free_port, spawn, start_postgres, start_valkey, stop_process, tail

ROOT = Path(__file__).parents[1]
STRIPE_SECRET = "whsec_bench_0123456789abcdef0123456789abcdef"
SANDBOX_KEY = "sandbox-key-for-the-benchmarks"
# Seconds until a process has to be ready.
PATIENCE = 30.0
# Processor seconds in half a second that count as none.
IDLE = 0.03


class Lab:
    """An environment with a database and a broker of its own, and the processes that were started in it."""

    def __init__(self, directory: Path, env: dict[str, str]) -> None:
        self.directory = directory
        self.env = env
        self.broker_url, self.database_url = env["BROKER_URL"], env["DATABASE_URL"]
        self.sandbox_url = ""
        self.pids: dict[str, int] = {}
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, command: list[str], ready: Callable[[], bool]) -> None:
        """Start a Python module with its arguments as a process; return once it is ready."""
        log = self.log(name)
        with log.open("ab") as output:
            process = spawn([sys.executable, "-m", *command], output, env=self.env, cwd=str(ROOT))
        self._processes.append(process)
        self.pids[name] = process.pid
        deadline = time.monotonic() + PATIENCE
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} did not come up:\n{tail(log)}")
            time.sleep(0.05)

    def start_sandbox(self, state: Path | None = None) -> None:
        """Start the partner, which keeps what it holds in `state`."""
        port = free_port()
        self.sandbox_url = f"http://127.0.0.1:{port}"
        self.set_env("SANDBOX_URL", self.sandbox_url)
        command = ["partners.sandbox", "--port", str(port), *(["--state", str(state)] if state else [])]
        self.start("sandbox", command, answers(f"{self.sandbox_url}/_health"))

    def start_gunicorn(self, name: str, app: str, path: str) -> int:
        """Start a web app as `usher run` starts the api; return its port once `path` answers."""
        settings, port = settings_module.get_settings(), free_port()
        command = ["gunicorn", app, "--worker-class", "api.server.Worker", "--bind", f"127.0.0.1:{port}"]
        command += ["--workers", str(settings.api_workers), "--no-control-socket"]
        self.start(name, command, answers(f"http://127.0.0.1:{port}{path}"))
        return port

    def start_relay(self) -> None:
        """Start the relay."""
        self.start("relay", ["workers.relay"], self.says("relay", "relay started"))

    def start_worker(self, name: str, app: str, *arguments: str) -> None:
        """Start a Celery worker of this app."""
        command = ["celery", "-A", app, "worker", "--hostname", f"{name}@bench", *arguments]
        self.start(name, command, self.says(name, " ready."))

    def settle(self) -> None:
        """Wait until what was started is idle: a server that answers may have processes that still load the app."""
        deadline = time.monotonic() + PATIENCE
        before, spent = 0.0, sum(self.cpu().values())
        while spent - before > IDLE and time.monotonic() < deadline:
            time.sleep(0.5)
            before, spent = spent, sum(self.cpu().values())

    def stop_one(self, name: str) -> None:
        """End one process."""
        pid = self.pids.pop(name)
        process = next(one for one in self._processes if one.pid == pid)
        self._processes.remove(process)
        stop_process(process, grace=8)

    def stop(self) -> None:
        """End every process."""
        while self._processes:
            stop_process(self._processes.pop(), grace=8)
        self.pids.clear()

    def set_env(self, name: str, value: str) -> None:
        """Set a variable here and for every process from now on."""
        self.env[name] = os.environ[name] = value
        settings_module.get_settings.cache_clear()

    def log(self, name: str) -> Path:
        """Return where a process writes."""
        return self.directory / f"{name}.log"

    def cpu(self) -> dict[str, float]:
        """Return the processor seconds that each process has used, with its children."""
        return {name: cpu_seconds(pid) for name, pid in self.pids.items()}

    def says(self, name: str, marker: str) -> Callable[[], bool]:
        """Return a check that a process has written this."""
        return lambda: marker in self.log(name).read_text(errors="replace")


@contextmanager
def open_lab() -> Iterator[Lab]:
    """Start PostgreSQL and Valkey in a directory that is removed afterwards, and bind this process to them."""
    with tempfile.TemporaryDirectory(prefix="usher-bench-") as name, ExitStack() as stack:
        directory = Path(name)
        postgres = start_postgres(directory)
        stack.callback(postgres.stop)
        valkey = start_valkey(directory)
        stack.callback(valkey.stop)
        lab = Lab(directory, _environment(directory, postgres.url, valkey.url))
        stack.callback(get_engine.cache_clear)
        stack.callback(lab.stop)
        upgrade(get_engine())
        lab.pids["postgres"] = postgres.process.pid
        yield lab


def _environment(directory: Path, database_url: str, broker_url: str) -> dict[str, str]:
    """Put a complete environment in the place of the user's, whose database must not be touched; return it."""
    for name in [name for name in os.environ if name.lower() in settings_module.Settings.model_fields]:
        del os.environ[name]
    os.environ |= {
        "DATABASE_URL": database_url,
        "BROKER_URL": broker_url,
        "USHER_DATA_DIR": str(directory),
        "STRIPE_WEBHOOK_SECRET": STRIPE_SECRET,
        "AUTH_SECRET": "bench-auth-secret-0123456789abcdef",
        "SMTP_URL": "smtp://127.0.0.1:1",
        "SANDBOX_API_KEY": SANDBOX_KEY,
        "PYTHONPATH": str(ROOT),
    }
    settings_module.get_settings.cache_clear()
    get_engine.cache_clear()
    return dict(os.environ)


def answers(url: str) -> Callable[[], bool]:
    """Return a check that the address answers 200."""

    def check() -> bool:
        try:
            return requests.get(url, timeout=1).status_code == 200
        except requests.RequestException:
            return False

    return check


def cpu_seconds(pid: int) -> float:
    """Return the processor seconds of a process and its children, those that ended included."""
    total = 0.0
    root = psutil.Process(pid)
    for process in [root, *root.children(recursive=True)]:
        try:
            total += sum(process.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue
    return total
