"""Kombu's transport for Redis and Valkey, with one client for each channel.

Kombu makes a client for every acknowledgement and every message that it notes, two for each doorbell. The client only
holds the channel's pool of connections; making it took a sixth of a busy worker's time.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import redis


class Channel(redis.Channel):  # type: ignore[misc]
    """A channel that keeps its client as long as its pool."""

    _kept: Any = None

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
