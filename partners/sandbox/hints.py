"""Events that the sandbox sends to addresses that were registered with it, signed, when progress moves.

They are hints: only which seats moved, never how far. Each is tried three times and then dropped, as many partners do.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from dataclasses import dataclass
from typing import Any

import aiohttp

from partners.sandbox.signature import HEADER, sign

# Seconds for one delivery, and the pauses between its tries.
TIMEOUT = 5.0
PAUSES = (0.0, 0.5, 2.0)
# Seats that one event names at most.
SEATS_MAX = 100


@dataclass
class Address:
    """Where events are sent, and how that went so far."""

    url: str
    secret: str
    delivered: int = 0
    failed: int = 0
    last_status: int | None = None

    def told(self) -> dict[str, Any]:
        """Return what may be told of it."""
        return {name: value for name, value in vars(self).items() if name != "secret"}


class Hints:
    """The registered addresses, and the deliveries that are under way."""

    def __init__(self) -> None:
        self.addresses: list[Address] = []
        self._under_way: set[asyncio.Task[None]] = set()

    def send(self, enrollment_ids: list[str]) -> None:
        """Have every address told that these seats moved; returns at once. Needs a running loop."""
        for start in range(0, len(enrollment_ids) if self.addresses else 0, SEATS_MAX):
            body = _event(enrollment_ids[start : start + SEATS_MAX])
            for address in self.addresses:
                task = asyncio.get_running_loop().create_task(_deliver(address, body))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)


async def _deliver(address: Address, body: bytes) -> None:
    for pause in PAUSES:
        await asyncio.sleep(pause)
        if await _try(address, body):
            address.delivered += 1
            return
    address.failed += 1


async def _try(address: Address, body: bytes) -> bool:
    headers = {"Content-Type": "application/json", HEADER: sign(body, address.secret, int(time.time()))}
    timeout = aiohttp.ClientTimeout(total=TIMEOUT)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(address.url, data=body, headers=headers, allow_redirects=False) as answer,
        ):
            address.last_status = answer.status
            return answer.ok
    except (aiohttp.ClientError, TimeoutError):
        return False


def _event(enrollment_ids: list[str]) -> bytes:
    event = {
        "id": f"evt_{secrets.token_hex(8)}",
        "type": "progress.moved",
        "created": int(time.time()),
        "enrollment_ids": enrollment_ids,
    }
    return json.dumps(event, separators=(",", ":")).encode()
