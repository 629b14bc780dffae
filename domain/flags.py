"""Feature flags: parts of Usher that can be switched off one by one while everything else goes on.

A flag closes the edge (the API answers `feature_off`); what was earned before stays, and comes back with the flag.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.orm import Session

from domain import staff
from domain.errors import NotFound

# Name -> what is off without it. All are on until somebody switches them off.
FLAGS = {
    "streaks": "Learning streaks and their freezes",
    "achievements": "Achievements",
    "quizzes": "Quizzes and attempts at them",
    "assignments": "Assignments and their submissions",
    "certificates": "Certificates of our own courses",
}
# Seconds for which a process goes by what it read: a switch reaches every process within that time.
CACHED = 3.0

READ = text("SELECT name, enabled, updated_at FROM feature_flags")
SWITCH = text(
    """
    INSERT INTO feature_flags AS f (name, enabled) VALUES (:name, :enabled)
    ON CONFLICT (name) DO UPDATE SET enabled = excluded.enabled, updated_at = now()
    WHERE f.enabled <> excluded.enabled
    RETURNING 1
    """
)

_off: WeakKeyDictionary[Engine, tuple[float, frozenset[str]]] = WeakKeyDictionary()
_lock = Lock()


@dataclass(frozen=True)
class Flag:
    """A flag as it stands. `changed_at` is None for one that was never switched."""

    name: str
    enabled: bool
    changed_at: datetime | None
    about: str


def enabled(session: Session, name: str) -> bool:
    """Say whether a feature is on, as it was at most `CACHED` seconds ago; raise `NotFound` for a name that is none."""
    check(name)
    engine, now = _engine(session), time.monotonic()
    with _lock:
        known = _off.get(engine)
    if known is None or now - known[0] > CACHED:
        known = now, frozenset(row.name for row in session.execute(READ) if not row.enabled)
        with _lock:
            _off[engine] = known
    return name not in known[1]


def list_flags(session: Session) -> list[Flag]:
    """Return every flag as it stands now."""
    rows = {row.name: row for row in session.execute(READ)}
    return [
        Flag(
            name,
            name not in rows or rows[name].enabled,
            rows[name].updated_at if name in rows else None,
            about,
        )
        for name, about in FLAGS.items()
    ]


def switch(session: Session, name: str, *, on: bool, actor: str, reason: str | None = None) -> bool:
    """Switch a feature on or off and leave an audit row; False where it stood like that. Raises `NotFound`."""
    check(name)
    was_on = all(row.enabled for row in session.execute(READ) if row.name == name)
    if on == was_on:
        return False
    session.execute(SWITCH, {"name": name, "enabled": on})
    action = "flag.on" if on else "flag.off"
    staff.record(session, actor=actor, action=action, subject=("feature_flag", name), reason=reason)
    event.listen(session, "after_commit", lambda ended: forget(ended), once=True)
    return True


def check(name: str) -> None:
    """Raise `NotFound` unless there is a flag of this name."""
    if name not in FLAGS:
        raise NotFound(f"there is no feature flag {name!r}; there are {', '.join(FLAGS)}")


def forget(session: Session) -> None:
    """Have this process read the flags anew."""
    with _lock:
        _off.pop(_engine(session), None)


def _engine(session: Session) -> Engine:
    bound = session.get_bind()
    return bound.engine if isinstance(bound, Connection) else bound
