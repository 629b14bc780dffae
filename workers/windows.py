"""How many jobs of each queue may be under way at once: the relay rings for no more, and no worker keeps more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from domain.partner_health import Health
from partners.registry import declared_limits
from settings import Settings
from workers.queues import MAIL

# Of a partner's concurrency, what its progress syncs may take.
SYNC_SHARE = 2


def windows(queues: Sequence[str], known: Mapping[str, Health], settings: Settings) -> dict[str, int]:
    """Return how many jobs of each queue may be under way at once.

    Mails have a limit of their own. A partner's enrolments share its concurrency with its syncs, a paused partner or
    one with an open circuit gets nothing, and one whose circuit was open gets a single probe.
    """
    found = {}
    for queue in queues:
        kind, _, partner = queue.partition(".")
        health = known.get(partner)
        room = settings.relay_window
        if queue == MAIL:
            room = min(room, settings.mail_concurrency)
        if partner:
            staffs = health.concurrency if health else None
            limit = staffs or declared_limits(partner).concurrency or settings.partner_concurrency
            room = min(SYNC_SHARE, limit) if kind == "sync" else max(1, limit - SYNC_SHARE)
        if health is not None and (health.blocked or health.probing):
            room = 0 if health.blocked or kind == "sync" else 1
        found[queue] = room
    return found
