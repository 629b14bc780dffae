"""How often one caller may ask: a token bucket each, kept in this process.

Every api process counts for itself, so several of them together let several times the setting through. That is meant
against loops that ran away and against scraping, and needs no shared store in the path of every request.
"""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from flask import current_app, request

from api.errors import Problem
from domain.tokens import Identity
from settings import get_settings

# A server of the front end asks for many people.
MACHINE_FACTOR = 10
MACHINES = frozenset({"service", "ops"})
# Callers that are remembered; the one that asked longest ago is forgotten first.
CALLERS = 50_000
# Stripe must always be able to deliver, and whoever watches us to look.
EXEMPT = frozenset({"/api/stripe/webhook", "/healthz", "/readyz", "/metrics", "/static/<path:filename>"})
EXTENSION = "usher_limiter"
# An IPv6 customer has at least this many bits of addresses of their own.
IPV6_PREFIX = 64


class Bucket:
    """Holds up to `size` tokens and gains `rate` of them a second. Callers bring the time and their own lock."""

    __slots__ = ("_at", "_rate", "_size", "_tokens")

    def __init__(self, size: float, rate: float, now: float) -> None:
        self._size, self._rate, self._at, self._tokens = size, rate, now, size

    def take(self, now: float) -> float:
        """Take one token and return 0; return the seconds until there will be one where there is none."""
        self._tokens = min(self._size, self._tokens + max(now - self._at, 0.0) * self._rate)
        self._at = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self._rate


class Limiter:
    """A bucket for each caller."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, caller: str, per_minute: int) -> float:
        """Count one request and return 0, or the seconds after which the caller may ask again."""
        with self._lock:
            now = self._clock()
            bucket = self._buckets.get(caller)
            if bucket is None:
                bucket = self._buckets[caller] = Bucket(per_minute, per_minute / 60, now)
            self._buckets.move_to_end(caller)
            if len(self._buckets) > CALLERS:
                self._buckets.popitem(last=False)
            return bucket.take(now)


def charge(identity: Identity | None) -> None:
    """Count this request for its caller, by address where nobody is signed in; raise the 429 where it is one too many."""
    per_minute = get_settings().rate_limit
    if per_minute == 0 or (request.url_rule is not None and request.url_rule.rule in EXEMPT):
        return
    if identity is None:
        caller = f"address {caller_address()}"
    else:
        caller = f"{identity.role} {identity.user_id or identity.subject}"
        per_minute *= MACHINE_FACTOR if identity.role in MACHINES else 1
    wait = _limiter().take(caller, per_minute)
    if wait > 0:
        raise Problem("rate_limited", headers={"Retry-After": str(math.ceil(wait))})


def charge_address(what: str, per_minute: int) -> None:
    """Count one more of something that an address may do so often; raise the 429 where it is one too many."""
    charge_for(f"{what} {caller_address()}", per_minute)


def charge_for(whom: str, per_minute: int) -> None:
    """Count one more for somebody who may do it so often, 0 for no limit; raise the 429 where it is one too many."""
    if per_minute == 0:
        return
    wait = _limiter().take(whom, per_minute)
    if wait > 0:
        raise Problem("rate_limited", headers={"Retry-After": str(math.ceil(wait))})


def caller_address() -> str:
    """Return the address that this request came from, of IPv6 the network, as far as our own proxies can tell."""
    hops = get_settings().proxy_hops
    route = [part.strip() for part in ",".join(request.headers.getlist("X-Forwarded-For")).split(",")]
    told = route[-hops] if 0 < hops <= len(route) else (request.remote_addr or "")
    try:
        address = ipaddress.ip_address(told)
    except ValueError:
        return request.remote_addr or "unknown"
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False))


def _limiter() -> Limiter:
    """Return the app's limiter: tests and tools make several apps in one process."""
    limiter: Limiter = current_app.extensions.setdefault(EXTENSION, Limiter())
    return limiter
