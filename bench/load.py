"""Posts prepared requests over kept-alive connections, one after the other on each, and takes the times.

Raw sockets on one event loop cost some 50 microseconds a request, so the server is the bottleneck and not this.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length:"


@dataclass
class Tally:
    """What came of a run: seconds per answered request, answers by status, and how long it all took."""

    times: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    lost: int = 0
    seconds: float = 0.0

    @property
    def accepted(self) -> int:
        """Return the number of 2xx answers."""
        return sum(count for status, count in self.statuses.items() if 200 <= status < 300)


class Connection(asyncio.Protocol):
    """One connection: sends a request, waits for its whole answer, sends the next."""

    def __init__(self, requests: Iterator[bytes], deadline: float, tally: Tally) -> None:
        self._requests, self._deadline, self._tally = requests, deadline, tally
        self._transport: asyncio.Transport | None = None
        self._sent_at: float | None = None
        self._answer = b""
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send_next()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head_end = self._answer.find(HEAD_END)
        if head_end < 0 or len(self._answer) < head_end + len(HEAD_END) + _length(self._answer[:head_end]):
            return
        assert self._sent_at is not None
        self._tally.times.append(time.perf_counter() - self._sent_at)
        self._tally.statuses[int(self._answer[9:12])] += 1
        self._sent_at, self._answer = None, b""
        self._send_next()

    def connection_lost(self, error: Exception | None) -> None:
        if self._sent_at is not None:
            self._tally.lost += 1
        self.closed.set_result(None)

    def _send_next(self) -> None:
        assert self._transport is not None
        request = next(self._requests, None) if time.perf_counter() < self._deadline else None
        if request is None:
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)


def post_for(seconds: float, port: int, requests: Iterator[bytes], connections: int) -> Tally:
    """Keep this many connections to a loopback port busy for so long, or until the requests run out."""
    return asyncio.run(_post_for(seconds, port, requests, connections))


async def _post_for(seconds: float, port: int, requests: Iterator[bytes], connections: int) -> Tally:
    tally, loop, started = Tally(), asyncio.get_running_loop(), time.perf_counter()
    deadline = started + seconds
    opened = [
        loop.create_connection(lambda: Connection(requests, deadline, tally), "127.0.0.1", port)
        for _ in range(connections)
    ]
    protocols = [protocol for _, protocol in await asyncio.gather(*opened)]
    await asyncio.gather(*(protocol.closed for protocol in protocols))
    tally.seconds = time.perf_counter() - started
    return tally


def _length(head: bytes) -> int:
    lowered = head.lower()
    start = lowered.find(LENGTH)
    return 0 if start < 0 else int(lowered[start + len(LENGTH) :].split(b"\r\n", 1)[0])
