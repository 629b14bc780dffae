"""Real processes for end-to-end tests: sandbox, mail sink, api, relays, workers, beat, each started when asked for."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import requests
from sqlalchemy import text

from db.session import transaction
from tests.conftest import SANDBOX_KEY, STRIPE_SECRET
from workers.services import kill_group, spawn, stop_process, tail

ROOT = Path(__file__).parents[1]
PYTHON = sys.executable
BIN = Path(sys.executable).parent


class Stack:
    """Processes that share one environment; `stop` ends all of them."""

    def __init__(self, env: dict[str, str], directory: Path) -> None:
        self.env = {**os.environ, **env, "PYTHONPATH": str(ROOT), "LOG_LEVEL": "INFO", "LOG_FORMAT": "json"}
        self.directory = directory
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.unready: dict[str, Callable[[], bool]] = {}
        self.starters: dict[str, Callable[[], object]] = {}
        self.ports: dict[str, int] = {}
        self.sandbox_url = self.sink_url = self.api_url = ""
        directory.mkdir(parents=True, exist_ok=True)

    # Starting and stopping

    def start(
        self,
        name: str,
        command: list[str],
        ready: Callable[[], bool] | None = None,
        *,
        wait: bool = True,
        env: Mapping[str, str] | None = None,
        tree: Path = ROOT,
        **options: Any,
    ) -> subprocess.Popen[bytes]:
        """Start a process and, unless told otherwise, wait until it is ready. `tree` is the code that it runs."""
        with self.log(name).open("ab") as output:
            process = spawn(
                command,
                output,
                env={**self.env, "PYTHONPATH": str(tree), **(env or {})},
                cwd=str(tree),
                **options,
            )
        self.processes[name] = process
        if ready is not None:
            self.unready[name] = ready
        if wait:
            self.wait_until_ready()
        return process

    def wait_until_ready(self) -> None:
        """Wait for every process that was started and is not ready yet."""
        for name, ready in list(self.unready.items()):
            process = self.processes[name]
            wait_until(lambda: process.poll() is not None or ready(), 30, lambda: tail(self.log(name)))  # noqa: B023
            assert process.poll() is None, tail(self.log(name))
            del self.unready[name]

    def restart(self, name: str, *, wait: bool = True) -> None:
        """Start a process again, as it was started, on the same port."""
        self.starters[name]()
        if wait:
            self.wait_until_ready()

    def start_chain(self, *, relays: int = 1, workers: int = 1) -> None:
        """Start everything between a payment and a seat, side by side."""
        self.start_sandbox(wait=False)
        self.start_mail_sink(wait=False)
        self.start_api(wait=False)
        for number in range(relays):
            self.start_relay(f"relay{number}", wait=False)
        for number in range(workers):
            self.start_worker(f"worker{number}", wait=False)
        self.wait_until_ready()

    def start_sandbox(self, *, wait: bool = True) -> str:
        port = self.port("sandbox")
        self.starters["sandbox"] = lambda: self.start_sandbox(wait=False)
        self.sandbox_url = f"http://127.0.0.1:{port}"
        self.env |= {"SANDBOX_URL": self.sandbox_url, "SANDBOX_API_KEY": SANDBOX_KEY}
        command = [PYTHON, "-m", "partners.sandbox", "--port", str(port)]
        command += ["--state", str(self.directory / "sandbox.journal")]
        self.start("sandbox", command, lambda: answers(f"{self.sandbox_url}/_health"), wait=wait)
        return self.sandbox_url

    def start_mail_sink(self, *, wait: bool = True) -> str:
        smtp, http = self.port("smtp"), self.port("mail_sink")
        self.starters["mail_sink"] = lambda: self.start_mail_sink(wait=False)
        self.sink_url = f"http://127.0.0.1:{http}"
        self.env["SMTP_URL"] = f"smtp://127.0.0.1:{smtp}"
        command = [PYTHON, "-m", "workers.mail_sink", "--smtp-port", str(smtp), "--http-port", str(http)]
        command += ["--file", str(self.directory / "mail.jsonl")]
        self.start("mail_sink", command, lambda: answers(f"{self.sink_url}/count"), wait=wait)
        return self.sink_url

    def start_api(self, *, wait: bool = True) -> str:
        port = self.port("api")
        self.starters["api"] = lambda: self.start_api(wait=False)
        self.api_url = f"http://127.0.0.1:{port}"
        self.env["APP_URL"] = self.api_url
        command = [str(BIN / "gunicorn"), "api.app:create_app()", "--bind", f"127.0.0.1:{port}"]
        command += ["--worker-class", "api.server.Worker", "--workers", "1"]
        self.start("api", command, lambda: answers(f"{self.api_url}/healthz"), wait=wait)
        return self.api_url

    def start_relay(self, name: str = "relay", *, wait: bool = True) -> subprocess.Popen[bytes]:
        self.starters[name] = lambda: self.start_relay(name, wait=False)
        said = self.says(name, "relay started")
        return self.start(name, [PYTHON, "-m", "workers.relay"], said, wait=wait)

    def start_worker(
        self,
        name: str = "worker",
        *arguments: str,
        wait: bool = True,
        app: str = "workers",
        env: Mapping[str, str] | None = None,
        tree: Path = ROOT,
    ) -> subprocess.Popen[bytes]:
        self.starters[name] = lambda: self.start_worker(
            name, *arguments, wait=False, app=app, env=env, tree=tree
        )
        command = [str(BIN / "celery"), "-A", app, "worker", "--without-gossip", "--without-mingle"]
        command += ["--hostname", f"{name}@test", *arguments]
        return self.start(name, command, self.says(name, " ready."), wait=wait, env=env, tree=tree)

    def port(self, name: str) -> int:
        """Return the port of a process, the same at each start."""
        return self.ports.setdefault(name, steady_port())

    def says(self, name: str, words: str) -> Callable[[], bool]:
        """Return a check that a process has said these words since now."""
        start = self.log(name).stat().st_size if self.log(name).exists() else 0
        return lambda: words in self.log(name).read_text(errors="replace")[start:]

    def start_beat(self, name: str = "beat") -> subprocess.Popen[bytes]:
        self.starters[name] = lambda: self.start_beat(name)
        schedule = str(self.directory / f"{name}.schedule")
        return self.start(name, [str(BIN / "celery"), "-A", "workers", "beat", "--schedule", schedule])

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to a process of ours; SIGKILL also waits for its end, and for that of its children."""
        process = self.processes[name]
        process.send_signal(number)
        if number == signal.SIGKILL:
            self.unready.pop(name, None)
            process.wait(10)
            kill_group(process.pid)

    def stop(self) -> None:
        """Kill everything, which the system has to survive anyway."""
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
        for process in self.processes.values():
            stop_process(process)

    def log(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    # Driving it

    def post_event(
        self, body: bytes, *, secret: str = STRIPE_SECRET, timeout: float = 10
    ) -> requests.Response:
        headers = {"Stripe-Signature": sign(body, secret), "Content-Type": "application/json"}
        return requests.post(
            f"{self.api_url}/api/stripe/webhook", data=body, headers=headers, timeout=timeout
        )

    def sandbox_state(self, summary: bool = False) -> dict[str, Any]:
        state: dict[str, Any] = requests.get(
            f"{self.sandbox_url}/_state", params={"summary": 1} if summary else None, timeout=10
        ).json()
        return state

    def sandbox_calls(self) -> list[dict[str, Any]]:
        found = requests.get(f"{self.sandbox_url}/_calls", params={"limit": 100_000}, timeout=10).json()
        calls: list[dict[str, Any]] = found["data"] if isinstance(found, dict) else found
        return calls

    def fault(self, **fault: Any) -> None:
        """Tell the sandbox to misbehave."""
        assert requests.post(f"{self.sandbox_url}/_faults", json=fault, timeout=10).status_code == 201

    def mails(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = requests.get(f"{self.sink_url}/messages.json", timeout=10).json()
        return found

    def wait_for_statuses(self, expected: dict[str, int], seconds: float = 60) -> None:
        """Wait until the enrolments' statuses are exactly these."""
        wait_until(lambda: statuses() == expected, seconds, lambda: f"{statuses()} instead of {expected}")


def steady_port() -> int:
    """Return a free port below those that systems hand out to callers, which nobody takes between two starts."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def statuses() -> dict[str, int]:
    """Return how many enrolments are in each status."""
    return dict(rows("SELECT status, count(*) FROM partner_lms_enrollments GROUP BY status"))


def rows(sql: str, **values: Any) -> list[Any]:
    """Return the rows of a query as tuples."""
    with transaction() as session:
        return [tuple(row) for row in session.execute(text(sql), values)]


def scalar(sql: str, **values: Any) -> Any:
    """Return the one value of a query."""
    return rows(sql, **values)[0][0]


def wait_until(condition: Callable[[], Any], seconds: float, explain: Callable[[], str] = lambda: "") -> None:
    """Poll until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {explain()}"
        time.sleep(0.05)


def answers(url: str) -> bool:
    """Say whether an address answers 200."""
    try:
        return requests.get(url, timeout=1).status_code == 200
    except requests.RequestException:
        return False


def sign(body: bytes, secret: str = STRIPE_SECRET, timestamp: int | None = None) -> str:
    """Return the Stripe-Signature header of a body."""
    at = int(time.time()) if timestamp is None else timestamp
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def checkout_event(
    metadata: dict[str, str] | None,
    *,
    type: str = "checkout.session.completed",
    payment_status: str = "paid",
    event_id: str | None = None,
    session_id: str | None = None,
    payment_intent: str | None = None,
) -> bytes:
    """Return the body of a checkout event as Stripe sends it."""
    session = {
        "id": session_id or f"cs_test_{uuid.uuid4().hex}",
        "object": "checkout.session",
        "amount_total": 19900,
        "currency": "usd",
        "mode": "payment",
        "payment_intent": payment_intent or f"pi_{uuid.uuid4().hex[:24]}",
        "payment_status": payment_status,
        "status": "complete",
        "customer_details": {"email": "payer@example.com", "name": "Pat Payer"},
        "metadata": metadata,
    }
    event = {
        "id": event_id or f"evt_{uuid.uuid4().hex[:24]}",
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": int(time.time()),
        "livemode": False,
        "type": type,
        "data": {"object": session},
    }
    return json.dumps(event).encode()


def make_students(count: int, prefix: str = "student") -> list[str]:
    """Insert students and return their ids."""
    return [
        str(row[0])
        for row in rows(
            "INSERT INTO users (email, name) SELECT :prefix || '-' || n || '@example.com', 'Student ' || n"
            " FROM generate_series(1, :count) AS n RETURNING id",
            count=count,
            prefix=prefix,
        )
    ]


def make_course(
    provider_type: str = "sandbox", code: str = "COURSE-1", **provider_metadata: Any
) -> tuple[str, str]:
    """Insert a provider with one course; return (provider id, course id)."""
    provider = scalar(
        "INSERT INTO partner_lms_providers (provider_name, provider_type, metadata)"
        " VALUES (:name, :type, CAST(:metadata AS jsonb)) RETURNING id",
        name=f"Provider {provider_type}",
        type=provider_type,
        metadata=json.dumps(provider_metadata),
    )
    course = scalar(
        "INSERT INTO partner_courses (provider_id, course_name, course_code) VALUES (:p, :n, :c) RETURNING id",
        p=provider,
        n=f"Course {code}",
        c=code,
    )
    return str(provider), str(course)


def order(student: str, provider: str, course: str) -> dict[str, str]:
    """Return the metadata of a checkout."""
    return {"studentId": student, "partnerId": provider, "courseId": course}
