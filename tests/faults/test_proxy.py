"""The proxy does what its modes say, seen from both sides."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.faults.proxy import Proxy

pytestmark = pytest.mark.short


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that says everything back; its port."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        try:
            while said := connection.recv(1024):
                connection.sendall(said)
        except OSError:
            pass
        connection.close()

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield server.getsockname()[1]
    server.close()


@pytest.fixture
def proxy(echo: int) -> Iterator[Proxy]:
    made = Proxy("127.0.0.1", echo)
    yield made
    made.close()


def dial(proxy: Proxy) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", proxy.port), timeout=1)
    connection.settimeout(0.5)
    return connection


def ask(connection: socket.socket) -> bytes:
    connection.sendall(b"anybody?")
    return connection.recv(100)


def test_everything_passes_later_with_latency(proxy: Proxy) -> None:
    with dial(proxy) as connection:
        assert ask(connection) == b"anybody?"
        proxy.latency(0.1)
        started = time.monotonic()
        assert ask(connection) == b"anybody?"
        assert time.monotonic() - started >= 0.2


def test_a_reset_reaches_old_and_new_connections(proxy: Proxy) -> None:
    with dial(proxy) as old:
        assert ask(old) == b"anybody?"
        proxy.reset()
        with pytest.raises(ConnectionError):
            ask(old)
    with pytest.raises(ConnectionError), dial(proxy) as new:
        ask(new)
    proxy.heal()
    with dial(proxy) as healed:
        assert ask(healed) == b"anybody?"


def test_a_black_hole_takes_everything_and_answers_nothing_until_it_is_healed(proxy: Proxy) -> None:
    with dial(proxy) as old:
        assert ask(old) == b"anybody?"
        proxy.blackhole()
        with dial(proxy) as new, pytest.raises(TimeoutError):
            ask(new)
        with pytest.raises(TimeoutError):
            ask(old)
        proxy.heal()
        with pytest.raises(ConnectionError):
            ask(old)
    with dial(proxy) as healed:
        assert ask(healed) == b"anybody?"


def test_a_half_open_connection_is_noticed_only_when_it_is_used(proxy: Proxy) -> None:
    with dial(proxy) as old:
        assert ask(old) == b"anybody?"
        proxy.half_open()
        with pytest.raises(TimeoutError):
            old.recv(1)
        with pytest.raises(ConnectionError):
            ask(old)
    with dial(proxy) as new:
        assert ask(new) == b"anybody?"


def test_a_cut_ends_what_is_open_and_lets_new_connections_pass(proxy: Proxy) -> None:
    with dial(proxy) as old:
        assert ask(old) == b"anybody?"
        proxy.cut_now()
        with pytest.raises(ConnectionError):
            ask(old)
    with dial(proxy) as new:
        assert ask(new) == b"anybody?"


def test_nobody_listens_while_it_refuses(proxy: Proxy) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        dial(proxy)
    proxy.heal()
    with dial(proxy) as connection:
        assert ask(connection) == b"anybody?"
