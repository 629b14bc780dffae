"""The shared rate limit: before each call to a partner, all workers together keep to its rate.

The limit lives in PostgreSQL (GCRA, one row for each credential), so it holds whatever the broker is, and survives it.
What staff set counts, else what a declarative partner's configuration declares. Partners without a limit cost nothing.
"""

from __future__ import annotations

import random
import threading
import time

from sqlalchemy import text

from db.session import transaction
from domain import partner_health
from partners.errors import Throttled
from partners.registry import declared_limits

# Seconds for which a worker believes the limits that it read.
BELIEVED = 5.0
# Seconds that a call waits for its turn in place; for longer the job goes back and frees its thread.
PATIENCE = 0.5

# Takes the next turn where it is near enough. Answers the seconds until that turn: not positive means now.
TAKE = text(
    """
    INSERT INTO rate_limits AS r (key, tat) VALUES (:key, now() + :interval * interval '1 second')
    ON CONFLICT (key) DO UPDATE SET tat = greatest(r.tat, now()) + :interval * interval '1 second'
        WHERE r.tat <= now() + (:patience + :interval * (:burst - 1)) * interval '1 second'
    RETURNING extract(epoch FROM tat - now()) - :interval * :burst
    """
)
LOOK = text(
    "SELECT extract(epoch FROM tat - now()) - :interval * (:burst - 1) FROM rate_limits WHERE key = :key"
)


class SharedLimits:
    """The gate of this process; attach it with `partners.hooks.attach`."""

    def __init__(self) -> None:
        self._rates: dict[str, tuple[float, int]] = {}
        self._read_at = -BELIEVED
        self._lock = threading.Lock()

    def __call__(self, partner: str, credential: str) -> None:
        """Return when the call may go out. Raises `Throttled` with the seconds after which it is worth trying again."""
        rate = self._rate_of(partner)
        if rate is None:
            return
        wait = take_turn(f"{partner}:{credential}", *rate)
        if wait > PATIENCE:
            raise Throttled("our own rate limit is used up", after=wait * random.uniform(1.0, 1.5))  # noqa: S311
        if wait > 0:
            time.sleep(wait)

    def _rate_of(self, partner: str) -> tuple[float, int] | None:
        with self._lock:
            if time.monotonic() - self._read_at > BELIEVED:
                with transaction() as session:
                    self._rates = partner_health.rates(session)
                self._read_at = time.monotonic()
            staffs = self._rates.get(partner)
        if staffs is not None:
            return staffs
        declared = declared_limits(partner)
        return None if declared.rate_per_second is None else (declared.rate_per_second, declared.burst)


def take_turn(key: str, rate: float, burst: int) -> float:
    """Take the next turn at `rate` calls per second; return the seconds until it, not positive for now.

    A turn further away than `PATIENCE` is not taken.
    """
    values = {"key": key, "interval": 1.0 / rate, "burst": burst, "patience": PATIENCE}
    with transaction() as session:
        wait = session.execute(TAKE, values).scalar()
        if wait is None:
            wait = session.execute(LOOK, values).scalar_one()
            return max(float(wait), PATIENCE + 0.001)
    return float(wait)
