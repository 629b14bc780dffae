"""A TCP proxy to put between two processes, which then misbehaves as networks do."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.stack import steady_port

CHUNK = 64 * 1024
# SO_LINGER with zero seconds: closing the socket sends a reset instead of a polite end.
RESET = struct.pack("ii", 1, 0)
# Seconds until a caller's keepalive probe finds out that nobody is there. Between two hosts the kernels do that; here
# the proxy's own kernel answers the probes.
KEEPALIVE = 10.0


@dataclass(eq=False)
class Link:
    """A connection that passes through: the caller's side and the server's."""

    caller: asyncio.StreamWriter
    server: asyncio.StreamWriter
    # The server's side is gone and the caller was not told.
    forsaken: bool = False


class Proxy:
    """Passes connections on to `(host, port)` from a port of its own, until it is told to do something else.

    latency(seconds)  every chunk takes so much longer, each way
    reset()           every connection is reset at once, old and new
    blackhole()       whatever is said is swallowed, nothing is answered, nothing is closed
    half_open()       the servers' sides of all connections vanish; a caller notices when it next says something, or by
                      its keepalive
    cut_now()         every connection is reset, the next ones pass
    refuse()          nobody listens any more
    heal()            everything passes again; connections that lost something are reset
    """

    def __init__(self, host: str, port: int, *, listens_at: str = "127.0.0.1") -> None:
        self._target = (host, port)
        self._address = listens_at
        self.port = steady_port()
        self._mode = "pass"
        self._delay = 0.0
        self._links: set[Link] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._do(self._listen)

    def latency(self, seconds: float) -> None:
        """Pass everything on later."""
        self._delay = seconds

    def reset(self) -> None:
        """Reset every connection, and each new one."""
        self._set("reset", cut=True)

    def blackhole(self) -> None:
        """Swallow everything."""
        self._set("blackhole")

    def half_open(self) -> None:
        """Lose the servers' sides without telling the callers; new connections pass."""
        self._do(self._forsake)

    def cut_now(self) -> None:
        """Reset every connection; new ones pass."""
        self._set("pass", cut=True)

    def refuse(self) -> None:
        """Stop listening, and reset every connection."""
        self._set("refuse", cut=True)
        self._do(self._deafen)

    def heal(self) -> None:
        """Pass everything again. What was swallowed cannot be made up for, so those connections end."""
        lossy = self._mode == "blackhole"
        self._delay = 0.0
        self._set("pass", cut=lossy)
        self._do(self._listen)

    def close(self) -> None:
        """End everything."""
        self._set("refuse", cut=True)
        self._do(self._deafen)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _set(self, mode: str, *, cut: bool = False) -> None:
        self._mode = mode
        if cut:
            self._do(self._cut)

    def _do(self, action: Callable[[], Any]) -> None:
        asyncio.run_coroutine_threadsafe(action(), self._loop).result(5)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._carry, self._address, self.port, limit=CHUNK)

    async def _deafen(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _cut(self) -> None:
        for link in list(self._links):
            reset(link.caller)
            reset(link.server)

    async def _forsake(self) -> None:
        for link in list(self._links):
            if not link.forsaken:
                link.forsaken = True
                reset(link.server)
                self._loop.call_later(KEEPALIVE, reset, link.caller)

    async def _carry(self, reader: asyncio.StreamReader, caller: asyncio.StreamWriter) -> None:
        if self._mode == "reset":
            reset(caller)
            return
        try:
            answers, server = await asyncio.open_connection(*self._target, limit=CHUNK)
        except OSError:
            reset(caller)
            return
        link = Link(caller, server)
        self._links.add(link)
        try:
            await asyncio.gather(self._pump(link, reader, server), self._pump(link, answers, caller))
        finally:
            self._links.discard(link)
            for writer in (caller, server):
                writer.transport.abort()

    async def _pump(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one direction; an end is passed on as an end, a loss as a loss."""
        try:
            while (chunk := await reader.read(CHUNK)) and not link.forsaken:
                if self._mode == "blackhole":
                    continue
                if self._delay:
                    await asyncio.sleep(self._delay)
                writer.write(chunk)
                await writer.drain()
            if self._mode != "blackhole" and not link.forsaken:
                writer.write_eof()
        except (OSError, RuntimeError):
            if not link.forsaken:
                reset(writer)
        if link.forsaken and writer is link.server:
            reset(link.caller)


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection so that the other side sees a reset."""
    sock = writer.get_extra_info("socket")
    if sock is not None and not writer.transport.is_closing():
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
