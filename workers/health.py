"""`python -m workers.health relay|worker|beat`: is this process doing its work? For container health checks.

Relay and worker are well while they give signs of life, beat while its turns are taken. The broker is not asked: a
worker that waits for it is well, and would not be mended by being restarted.
Exit code 0 when well, 1 with a sentence when not.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from db.session import transaction
from domain.gauges import WORKER_GONE
from settings import ConfigurationError
from workers.relay import HEARTBEAT_NAME

# Seconds without a sign of life; the relay gives one every 20 s, the schedule's most frequent turn comes every 15 s.
TURN_TOLERANCE = 120.0

LAST_TURN = text(
    "SELECT extract(epoch FROM now() - max(ran_at)) FROM scheduled_runs WHERE (job = :relay) = :of_relay"
)
LAST_SIGN = text("SELECT extract(epoch FROM now() - seen_at) FROM worker_nodes WHERE node = :node")


def check_relay() -> str | None:
    """Return None while some relay gives signs of life, else what is wrong."""
    return _silence(of_relay=True)


def check_beat() -> str | None:
    """Return None while turns of the schedule are taken, else what is wrong."""
    return _silence(of_relay=False)


def _silence(*, of_relay: bool) -> str | None:
    with transaction() as session:
        ago = session.execute(LAST_TURN, {"relay": HEARTBEAT_NAME, "of_relay": of_relay}).scalar_one()
    if ago is not None and ago <= TURN_TOLERANCE:
        return None
    what = "no relay gave a sign of life" if of_relay else "no turn of the schedule was taken"
    return f"{what} for {TURN_TOLERANCE:.0f} s"


def check_worker() -> str | None:
    """Return None while this host's worker gives signs of life, else what is wrong. `USHER_NODE` names another node."""
    node = os.environ.get("USHER_NODE") or f"celery@{socket.gethostname()}"
    with transaction() as session:
        ago = session.execute(LAST_SIGN, {"node": node}).scalar()
    if ago is not None and ago <= WORKER_GONE:
        return None
    return f"{node} gave no sign of life for {WORKER_GONE:.0f} s"


CHECKS: dict[str, Callable[[], str | None]] = {
    "relay": check_relay,
    "beat": check_beat,
    "worker": check_worker,
}


def main(arguments: list[str]) -> int:
    """Run the check that is named; print what is wrong."""
    if len(arguments) != 1 or arguments[0] not in CHECKS:
        print(f"usage: python -m workers.health {'|'.join(CHECKS)}", file=sys.stderr)
        return 2
    try:
        trouble = CHECKS[arguments[0]]()
    except (DBAPIError, ConfigurationError, OSError) as error:
        trouble = f"{type(error).__name__}: {error}".splitlines()[0]
    if trouble is not None:
        print(trouble, file=sys.stderr)
    return 0 if trouble is None else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
