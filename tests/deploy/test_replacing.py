"""Every process is replaced by another one of its kind under load, and nobody notices."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import STRIPE_SECRET
from tests.faults.chaos import held_by, slow_partner
from tests.faults.conftest import Size
from tests.faults.invariants import check_invariants
from tests.faults.payments import Payments
from tests.servers import missing
from tests.stack import (
    BIN,
    PYTHON,
    ROOT,
    Stack,
    answers,
    checkout_event,
    make_course,
    make_students,
    order,
    rows,
    scalar,
    sign,
    wait_until,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400), pytest.mark.usefixtures("only_in_full")]

GUNICORN = ["--worker-class", "api.server.Worker", "--workers", "1", "--no-control-socket"]
# Starts a program as systemd does, with a socket as its first descriptor after the three that everybody has.
HAND_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
os.execv(sys.argv[2], sys.argv[2:])
"""
CALLERS = 4
# Seconds between two calls of each, so that what is replaced gets its turn on a small machine.
PAUSE = 0.05


class Front:
    """nginx with the configuration that comes with Usher, on a port of this test's and without TLS."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.directory = stack.directory / "nginx"
        self.directory.mkdir()
        self.port = stack.port("nginx")
        self.url = f"http://127.0.0.1:{self.port}"
        own = (ROOT / "deploy" / "nginx" / "usher.conf").read_text()
        for written, here in (
            ("listen 443 ssl", f"listen 127.0.0.1:{self.port}"),
            ("/etc/nginx/usher-upstreams.conf", str(self.directory / "upstreams.conf")),
        ):
            assert written in own
            own = own.replace(written, here)
        own = "\n".join(line for line in own.splitlines() if "ssl_certificate" not in line)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        paths = "".join(f"{kind}_temp_path {self.directory}/{kind};\n" for kind in kinds)
        (self.directory / "nginx.conf").write_text(
            f"{'user root;' if os.geteuid() == 0 else ''}\ndaemon off;\nworker_processes 1;\n"
            f"pid {self.directory}/pid;\nerror_log stderr;\nevents {{}}\n"
            f"http {{\naccess_log off;\n{paths}{own}\n}}\n"
        )

    def start(self, *servers: str) -> None:
        """Start it with these lines of upstreams."""
        self._write(servers)
        command = ["nginx", "-p", str(self.directory), "-c", str(self.directory / "nginx.conf")]
        self._stack.start("nginx", [*command, "-e", "stderr"], lambda: answers(f"{self.url}/healthz"))

    def lead_to(self, *servers: str) -> None:
        """Change the upstreams; return when no process of nginx has the former ones any more."""
        self._write(servers)
        before = self._workers()
        self._stack.processes["nginx"].send_signal(signal.SIGHUP)
        wait_until(lambda: self._workers() and not self._workers() & before, 20)

    def _write(self, servers: tuple[str, ...]) -> None:
        lines = "".join(f"server {server};\n" for server in servers)
        (self.directory / "upstreams.conf").write_text(lines)

    def _workers(self) -> set[str]:
        master = self._stack.processes["nginx"].pid
        return set(Path(f"/proc/{master}/task/{master}/children").read_text().split())


class Callers:
    """Some who call again and again, each time on a connection of its own: events to be stored, and pages."""

    def __init__(self, url: str) -> None:
        self._url, self._over = url, threading.Event()
        provider, course = make_course()
        self._orders = [order(student, provider, course) for student in make_students(CALLERS)]
        self.seen: Counter[Any] = Counter()
        self._threads = [threading.Thread(target=self._call, args=(wanted,)) for wanted in self._orders]

    def _call(self, wanted: dict[str, str]) -> None:
        while not self._over.wait(PAUSE):
            body = checkout_event(wanted)
            headers = {"Stripe-Signature": sign(body, STRIPE_SECRET), "Content-Type": "application/json"}
            self._note("POST", f"{self._url}/api/stripe/webhook", data=body, headers=headers)
            self._note("GET", f"{self._url}/readyz")

    def _note(self, method: str, url: str, **options: Any) -> None:
        try:
            answer: Any = requests.request(method, url, timeout=20, **options).status_code
        except requests.RequestException as error:
            answer = repr(error)
        self.seen[method, answer] += 1

    def more(self, count: int = 40) -> None:
        """Return when so many more calls were made."""
        wanted = self.seen.total() + count
        wait_until(lambda: self.seen.total() >= wanted, 60, lambda: str(self.seen))

    @contextmanager
    def calling(self) -> Iterator[Callers]:
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join(30)


@pytest.fixture
def front(stack: Stack) -> Front:
    if reason := missing("nginx"):
        pytest.skip(reason)
    return Front(stack)


def start_api(stack: Stack, name: str) -> str:
    """Start an api; return where it listens."""
    address = f"127.0.0.1:{stack.port(name)}"
    command = [str(BIN / "gunicorn"), "api.app:create_app()", "--bind", address, *GUNICORN]
    stack.start(name, command, lambda: answers(f"http://{address}/readyz"))
    return address


def end(stack: Stack, name: str) -> None:
    """Ask a process to end, and wait until it did, by itself and well."""
    stack.kill(name, signal.SIGTERM)
    assert stack.processes[name].wait(60) == 0


def assert_nobody_noticed(callers: Callers) -> None:
    """Every call was answered 200, and every event is stored."""
    assert set(callers.seen) == {("POST", 200), ("GET", 200)}
    assert scalar("SELECT count(*) FROM inbox_events") == callers.seen["POST", 200]


def test_an_api_is_replaced_by_another_behind_nginx(stack: Stack, front: Front) -> None:
    address = start_api(stack, "api0")
    front.start(address)
    callers = Callers(front.url)
    with callers.calling():
        callers.more()
        newer = start_api(stack, "api1")
        front.lead_to(f"{address} down", newer)
        end(stack, "api0")
        callers.more()
    assert_nobody_noticed(callers)


def test_an_api_on_a_socket_of_systemds_is_restarted(stack: Stack, front: Front) -> None:
    # What usher-api.socket does: the socket outlives the api, and who calls in between waits in its queue.
    with socket.create_server(("127.0.0.1", 0), backlog=512) as held:
        held.set_inheritable(True)
        address = f"127.0.0.1:{held.getsockname()[1]}"
        command = [PYTHON, "-c", HAND_OVER, str(held.fileno())]
        command += [str(BIN / "gunicorn"), "api.app:create_app()", *GUNICORN]

        def start() -> None:
            stack.start(
                "api",
                command,
                lambda: answers(f"http://{address}/readyz"),
                pass_fds=(held.fileno(),),
            )

        start()
        front.start(address)
        callers = Callers(front.url)
        with callers.calling():
            callers.more()
            end(stack, "api")
            start()
            callers.more()
    assert_nobody_noticed(callers)


def test_relay_workers_and_beat_are_replaced_under_load(stack: Stack, size: Size) -> None:
    stack.env["SYNC_INTERVAL"] = "1"
    stack.start_chain()
    stack.start_beat("beat0")
    slow_partner(stack, 0.2)
    payments = Payments(stack, size.payments, refunds=size.refunds, spread=size.outage).start()
    wait_until(lambda: held_by(stack, "worker0") >= 3, 30)
    turns = "SELECT count(*) FROM scheduled_runs WHERE job = 'progress.schedule'"
    wait_until(lambda: scalar(turns) > 0, 60)

    stack.start_relay("relay1")
    end(stack, "relay0")
    stack.start_worker("worker1")
    end(stack, "worker0")
    assert held_by(stack, "worker0") == 0
    stack.start_beat("beat1")
    wait_until(lambda: "beat: Starting" in stack.log("beat1").read_text(), 30)
    end(stack, "beat0")
    before = scalar(turns)
    wait_until(lambda: scalar(turns) > before, 60)

    gone = {"relay0", "worker0", "beat0"}
    outcome = check_invariants(stack, payments.finish(), within=size.within, dead=gone)
    assert set(payments.statuses) == {200}
    assert outcome.calls_again == 0
    # Two beats for a while, and every turn was taken once.
    assert rows("SELECT token FROM jobs WHERE kind = 'progress.sync'") == [(scalar(turns),)]
