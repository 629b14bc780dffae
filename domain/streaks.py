"""Streaks: a pure function of the facts. Civil dates only: a day is a date of the student's own calendar, not 24 hours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

# Freezes at the start and at most (seed D), and after how many days of a run there is one more.
FREEZES = 3
MILESTONE = 30
# How many days late what happened may be told.
BACKFILL_DAYS = 7
# A date of which less than this was lived, because the zone changed, need not be active.
LEAST_LIVED = timedelta(hours=12)
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Zone:
    """An IANA time zone in which somebody lived until `until`, an instant; None for the one they live in."""

    name: str
    until: datetime | None = None


@dataclass(frozen=True)
class Rest:
    """Dates from `first` to `last` (None: for good) need not be active; with `weekday` (1: Monday) only that day."""

    first: date
    last: date | None = None
    weekday: int | None = None

    def holds(self, day: date) -> bool:
        """Say whether this date is one of them."""
        inside = self.first <= day and (self.last is None or day <= self.last)
        return inside and self.weekday in (None, day.isoweekday())


@dataclass(frozen=True)
class Facts:
    """All that a streak follows from. `zones` are in order, the last one without an end; `grants` are given freezes."""

    days: frozenset[date]
    zones: Sequence[Zone] = (Zone("UTC"),)
    grants: Sequence[date] = ()
    rest: Sequence[Rest] = ()

    def excuses(self, day: date) -> bool:
        """Say whether a date without activity neither breaks a run nor costs a freeze."""
        return any(rest.holds(day) for rest in self.rest) or lived(self.zones, day) < LEAST_LIVED


@dataclass(frozen=True)
class State:
    """Where a streak stands. `current` counts active days of the run; `covered` are the dates that freezes bridged.

    `at_risk`: the run ends with today unless the student becomes active or a freeze covers it.
    """

    current: int
    longest: int
    last_active: date | None
    freezes_available: int
    covered: tuple[date, ...]
    active_today: bool
    at_risk: bool


class _Walk:
    """The run and the freezes as they stand after each date, in order."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.grants = sorted(facts.grants)
        self.current = self.longest = 0
        self.available = FREEZES
        self.covered: list[date] = []
        self.last: date | None = None

    def miss_until(self, end: date) -> None:
        """Go through the dates without activity before `end`; the first that nothing covers breaks the run."""
        for day in _between(self.last, end):
            if self.current == 0:
                return
            self.grant_until(day)
            if self.facts.excuses(day):
                continue
            if self.available == 0:
                self.current = 0
            else:
                self.available -= 1
                self.covered.append(day)

    def be_active(self, day: date) -> None:
        self.grant_until(day)
        self.current += 1
        self.longest = max(self.longest, self.current)
        self.last = day
        if self.current % MILESTONE == 0:
            self.available = min(FREEZES, self.available + 1)

    def grant_until(self, day: date) -> None:
        while self.grants and self.grants[0] <= day:
            self.available = min(FREEZES, self.available + 1)
            del self.grants[0]


def evaluate(facts: Facts, today: date) -> State:
    """Return where a streak stands on a date of the student's calendar. The order in which facts came in is no matter.

    Each missed date, in order, consumes one freeze granted on or before it; spent freezes stay spent. Today is not
    over: without activity it puts the run at risk and no more.
    """
    walk = _Walk(facts)
    for day in sorted(facts.days):
        walk.miss_until(day)
        walk.be_active(day)
    walk.miss_until(today)
    walk.grant_until(today)
    return State(
        current=walk.current,
        longest=walk.longest,
        last_active=walk.last,
        freezes_available=walk.available,
        covered=tuple(walk.covered),
        active_today=today in facts.days,
        at_risk=walk.current > 0 and today not in facts.days and not facts.excuses(today),
    )


def lived(zones: Sequence[Zone], day: date) -> timedelta:
    """Return how long a date lasted for somebody who lived in these zones one after the other; nothing if skipped."""
    total, since = timedelta(0), None
    for zone in zones:
        begin, end = start_of(zone.name, day), start_of(zone.name, day + DAY)
        if since is not None:
            begin = max(begin, since)
        if zone.until is not None:
            end = min(end, zone.until)
        total += max(end - begin, timedelta(0))
        since = zone.until
    return total


def start_of(zone: str, day: date) -> datetime:
    """Return the instant at which a date begins in a zone, or would have begun where the zone skipped it."""
    return datetime(day.year, day.month, day.day, tzinfo=find_zone(zone)).astimezone(UTC)


def local_date(zone: str, at: datetime) -> date:
    """Return the date that the calendar of a zone shows at an instant."""
    return at.astimezone(find_zone(zone)).date()


def accepts(zone: str, at: datetime, now: datetime) -> bool:
    """Say whether an activity may still be stamped: at most `BACKFILL_DAYS` dates back, and no date ahead."""
    late = local_date(zone, now) - local_date(zone, at)
    return timedelta(0) <= late <= BACKFILL_DAYS * DAY


@lru_cache(maxsize=1024)
def find_zone(name: str) -> ZoneInfo:
    """Return an IANA zone; UTC for a name that is none, such as one that an import brought in."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return ZoneInfo("UTC")


def _between(last: date | None, end: date) -> Iterator[date]:
    """Yield the dates after `last` and before `end`."""
    day = end if last is None else last + DAY
    while day < end:
        yield day
        day += DAY
