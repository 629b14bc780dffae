"""Posts prepared requests over kept-alive connections, one after the other on each, and takes the times.

It shares the cores with what it measures, so it does as little as possible: plain sockets, one write and one read a request.
`Tally.cpu` says what it took.
"""

from __future__ import annotations

import re
import selectors
import socket
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

HEAD_END = b"\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
# Seconds after the last request in which what is still under way has to be answered.
PATIENCE = 30.0


@dataclass
class Tally:
    """What came of a run: seconds per answered request, answers by status, how long it all took, processor seconds."""

    times: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    lost: int = 0
    seconds: float = 0.0
    cpu: float = 0.0

    @property
    def accepted(self) -> int:
        """Return the number of 2xx answers."""
        return sum(count for status, count in self.statuses.items() if 200 <= status < 300)


class Connection:
    """One connection: sends a request, waits for its whole answer, sends the next."""

    def __init__(self, port: int, tally: Tally) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._tally, self._answer, self._sent_at = tally, b"", 0.0

    def send(self, request: bytes) -> None:
        """Send a request."""
        self._sent_at = time.perf_counter()
        self.socket.sendall(request)

    def is_answered(self) -> bool:
        """Read what came; say whether the answer is complete. Raises `ConnectionError` where the peer hung up."""
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionResetError
        answer = self._answer = self._answer + data
        head_end = answer.find(HEAD_END)
        if head_end < 0 or len(answer) < head_end + len(HEAD_END) + _length(answer, head_end):
            return False
        self._tally.times.append(time.perf_counter() - self._sent_at)
        self._tally.statuses[int(answer[9:12])] += 1
        self._answer = b""
        return True


def post_for(seconds: float, port: int, requests: Iterator[bytes], connections: int) -> Tally:
    """Keep this many connections to a loopback port busy for so long, or until the requests run out."""
    tally, spent = Tally(), time.process_time()
    started = time.perf_counter()
    deadline = started + seconds
    with selectors.DefaultSelector() as selector:
        for _ in range(connections):
            made = Connection(port, tally)
            selector.register(made.socket, selectors.EVENT_READ, made)
            _send_next(selector, made, requests, deadline)
        while selector.get_map():
            ready = selector.select(PATIENCE)
            if not ready:
                break
            for key, _ in ready:
                _go_on(selector, key.data, requests, deadline)
        tally.lost += len(selector.get_map())
    tally.seconds, tally.cpu = time.perf_counter() - started, time.process_time() - spent
    return tally


def _go_on(
    selector: selectors.BaseSelector, one: Connection, requests: Iterator[bytes], deadline: float
) -> None:
    try:
        if one.is_answered():
            _send_next(selector, one, requests, deadline)
    except ConnectionError:
        one._tally.lost += 1
        _close(selector, one)


def _send_next(
    selector: selectors.BaseSelector, one: Connection, requests: Iterator[bytes], deadline: float
) -> None:
    request = next(requests, None) if time.perf_counter() < deadline else None
    if request is None:
        _close(selector, one)
    else:
        one.send(request)


def _close(selector: selectors.BaseSelector, one: Connection) -> None:
    selector.unregister(one.socket)
    one.socket.close()


def _length(answer: bytes, head_end: int) -> int:
    found = LENGTH.search(answer, 0, head_end)
    return 0 if found is None else int(found[1])
