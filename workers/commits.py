"""What jobs write on their way, each under its fencing token; jobs that want to write at the same moment do so together.

A commit holds what a job has learned since its last one. Those whose writes can be made for many jobs at once
(`Together`) are made by one statement each in one transaction. A group that fails falls apart: each fails alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from db import jobs
from db.group_commit import GroupCommit
from db.session import transaction
from domain import partner_health
from settings import get_settings
from workers import audit
from workers.crew import PLACES

# Jobs that write in one transaction at most.
MOST = 50
# From so many jobs at once in this process on, whoever is to write waits so many seconds for others.
CROWD = 16
CROWD_PATIENCE = 0.004


@dataclass(frozen=True)
class Together:
    """A write, or a question, of one job that is made for many at once: `of_all` gets all their items.

    It concerns rows of this job alone. It raises where one of them fails; then each is made by itself.
    """

    of_all: Callable[[Session, Sequence[Any]], Any]
    item: Any


Write = Together | Callable[[Session], object]


@dataclass(frozen=True)
class Commit:
    """What one job writes: what it asked of partners, steps that got done, and what follows from them.

    Then either the job ends, or goes on: with the step `begin`, unless `wanted` answers False.
    """

    held: jobs.Claim
    calls: list[audit.Row]
    done: Sequence[jobs.Done] = ()
    writes: Sequence[Write] = ()
    wanted: Together | None = None
    begin: str | None = None
    ending: jobs.Ending | None = None
    # Its partner works: closes the partner's circuit, if that was open.
    well: bool = False
    # Comes last of all.
    last: Callable[[Session], object] | None = None


def commit(one: Commit) -> bool:
    """Write it; return whether the job may go on. Raises `jobs.LeaseLost` when its claim no longer holds."""
    if one.last is None and all(isinstance(write, Together) for write in one.writes):
        return _GROUP(one)
    return write_all([one])[0]


def write_all(commits: Sequence[Commit]) -> list[bool]:
    """Write these in one transaction, all or nothing, and return for each whether its job may go on.

    The jobs' own rows come last: whoever else locks rows of an enrolment and its job does so in this order.
    """
    with transaction() as session:
        wanted = _ask(session, commits)
        # Before the writes: those that forget a person have to find the calls about them.
        audit.write(session, [row for one in commits for row in one.calls])
        _write(session, [write for one in commits for write in one.writes])
        moves = [
            jobs.Move(one.held, one.done, one.begin if goes_on else None)
            for one, goes_on in zip(commits, wanted, strict=True)
            if one.ending is None
        ]
        if moves:
            jobs.advance(session, moves, lease=get_settings().job_lease)
        endings = [replace(one.ending, done=one.done) for one in commits if one.ending is not None]
        if endings:
            jobs.release(session, endings)
        for partner in sorted({one.held.partner for one in commits if one.well and one.held.partner}):
            partner_health.note_success(session, partner)
        for one in commits:
            if one.last is not None:
                one.last(session)
    return wanted


def _ask(session: Session, commits: Sequence[Commit]) -> list[bool]:
    """Return for each whether its next step is still wanted."""
    answers = [True] * len(commits)
    asked: dict[Callable[..., Any], list[int]] = defaultdict(list)
    for position, one in enumerate(commits):
        if one.wanted is not None:
            asked[one.wanted.of_all].append(position)
    for of_all, positions in asked.items():
        items = [wanted.item for position in positions if (wanted := commits[position].wanted)]
        for position, answer in zip(positions, of_all(session, items), strict=True):
            answers[position] = answer
    return answers


def _write(session: Session, writes: Sequence[Write]) -> None:
    shared: dict[Callable[..., Any], list[Any]] = defaultdict(list)
    for write in writes:
        if isinstance(write, Together):
            shared[write.of_all].append(write.item)
        else:
            write(session)
    for of_all, items in shared.items():
        of_all(session, items)


def is_away(error: Exception) -> bool:
    """Return whether the database itself is in trouble, which every job of a group would only find once more."""
    return isinstance(error, PoolTimeout) or (isinstance(error, DBAPIError) and error.connection_invalidated)


def _patience() -> float:
    """Return for how long to wait for more: a crowd gathers in that time, and the fewer transactions it costs."""
    return CROWD_PATIENCE if PLACES.taken >= CROWD else 0.0


_GROUP = GroupCommit(write_all, most=MOST, concerns_all=is_away, patience=_patience)
