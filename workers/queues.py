"""The names of the queues: one per kind of work, and per partner where a partner is called.

Separate queues instead of priorities: a slow partner fills only its own, and Redis and RabbitMQ order priorities
oppositely.
"""

from __future__ import annotations

from partners.registry import provider_types

PAYMENTS = "payments"
MAIL = "mail"
XP = "xp"
CONTROL = "control"


def enroll(provider_type: str) -> str:
    """Return the queue of enrolments at this kind of partner."""
    return f"enroll.{provider_type}"


def sync(provider_type: str) -> str:
    """Return the queue of progress and certificates of this kind of partner."""
    return f"sync.{provider_type}"


def all_queues() -> list[str]:
    """Return every queue that exists; a name that is not here is refused by Celery."""
    per_partner = [name(kind) for kind in provider_types() for name in (enroll, sync)]
    return [PAYMENTS, MAIL, XP, CONTROL, *per_partner]
