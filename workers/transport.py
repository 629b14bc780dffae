"""Kombu's transport for Redis and Valkey, without what doorbells do not need.

* No acknowledgements. Kombu notes each message in the broker and strikes it off again, two transactions for each, so that
  it comes back when its worker dies. A doorbell is rung again by its job's row, sooner than that, and a turn that beat
  asked for is made up for by the next. It took a fifth of a busy worker's time.
* One client for each channel, where kombu makes one for each use. It only holds the channel's pool of connections.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from kombu.transport import redis, virtual


class Delivered(virtual.QoS):  # type: ignore[misc]
    """What a channel has delivered and nobody has begun."""

    def restore_unacked(self) -> list[Any]:
        """Give it back to others when the channel is closed. Where the broker is away, that is left to the rows."""
        self._flush()
        with suppress(Exception):
            while self._delivered:
                self.channel._restore(self._delivered.popitem()[1])
        self._delivered.clear()
        return []


class Channel(redis.Channel):  # type: ignore[misc]
    """A channel that remembers what it has delivered by itself, and keeps its client as long as its pool."""

    ack_emulation = False
    _kept: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.QoS = Delivered

    def _create_client(self, asynchronous: bool = False) -> Any:
        if asynchronous:
            return super()._create_client(asynchronous)
        # A pool that was given up after trouble is replaced: its client goes with it.
        if self._kept is None or self._kept.connection_pool is not self.pool:
            self._kept = super()._create_client()
        return self._kept


class Transport(redis.Transport):  # type: ignore[misc]
    """What kombu's `redis://` means in Usher's processes."""

    Channel = Channel
