"""A real sandbox server for the run, emptied before each test, and raw sockets for what no proper server would do."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import requests

from partners.sandbox.adapter import SandboxPartner
from partners.sandbox.server import Sandbox, start

API_KEY = "sandbox-key-0123456789"


class RunningSandbox:
    """The sandbox in a thread of this process, and how a test steers it."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        self._session = requests.Session()

    def _serve(self) -> None:
        self.sandbox = Sandbox(API_KEY)
        runner, port = self._loop.run_until_complete(start(self.sandbox, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{port}"
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def request(self, method: str, path: str, json: Any = None, **options: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {API_KEY}"} | options.pop("headers", {})
        return self._session.request(
            method, f"{self.url}{path}", json=json, headers=headers, timeout=10, **options
        )

    def fault(self, call: str, **fault: Any) -> None:
        assert self.request("POST", "/_faults", {"call": call, **fault}).status_code == 201

    def move(self, enrollment_id: str, percentage: float, **more: Any) -> None:
        item = {"enrollment_id": enrollment_id, "percentage": percentage, **more}
        assert self.request("POST", "/_progress", item).status_code == 200

    def state(self) -> Any:
        return self.request("GET", "/_state").json()

    def calls(self) -> list[Any]:
        return self.request("GET", "/_calls").json()["data"]  # type: ignore[no-any-return]

    def partner(self, *, api_key: str = API_KEY, timeout: float = 5.0) -> SandboxPartner:
        return SandboxPartner(self.url, api_key, connect_timeout=1.0, timeout=timeout)


@pytest.fixture(scope="session")
def running_sandbox() -> Iterator[RunningSandbox]:
    running = RunningSandbox()
    yield running
    running.stop()


@pytest.fixture
def sandbox(running_sandbox: RunningSandbox) -> RunningSandbox:
    """An empty sandbox without faults."""
    running_sandbox.request("POST", "/_reset")
    return running_sandbox


@pytest.fixture
def partner(sandbox: RunningSandbox) -> SandboxPartner:
    return sandbox.partner()


Script = Callable[[socket.socket, bytes], None]


class RawServer:
    """Answers each request with what a script does to the socket; `requests` are the heads and bodies received."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests: list[bytes] = []
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            while request := connection.recv(65536):
                self.requests.append(request)
                self._script(connection, request)

    def stop(self) -> None:
        # Closing alone would leave the thread waiting, and the port open.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def serve() -> Iterator[Callable[[Script], RawServer]]:
    """Start a raw server with a script; it ends with the test."""
    servers: list[RawServer] = []

    def start_one(script: Script) -> RawServer:
        servers.append(RawServer(script))
        return servers[-1]

    yield start_one
    for server in servers:
        server.stop()


def answer(status: str, body: bytes = b"", *headers: str) -> Script:
    """Return a script that sends one well-formed answer."""
    head = "".join(f"{line}\r\n" for line in (*headers, f"Content-Length: {len(body)}"))
    raw = f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body
    return lambda connection, _: connection.sendall(raw)
