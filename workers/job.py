"""How every task lives and dies: claim, step, fence, retry, give up, park.

A task body reads, calls and writes; it never retries and never touches the broker. What it raises is judged in one
place (`workers.verdict`) and becomes a due time on the job's row.

    due -> claimed (token raised, lease) -> steps, each committed under the token -> done
                                         -> an error is judged -> ready again later | failed | parked
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import structlog
from sqlalchemy.orm import Session

from db import jobs
from db.group_commit import GroupCommit
from db.session import transaction
from domain import partner_health
from domain.errors import NoLongerWanted
from partners import hooks
from settings import Settings, get_settings
from workers import flower, outcome, tracing
from workers.audit import Calls
from workers.commits import Commit, Together, Write, commit, is_away
from workers.crashes import crash_point
from workers.crew import CREW, PLACES
from workers.limits import SharedLimits
from workers.outcome import Hook
from workers.windows import windows

log = structlog.get_logger("workers.job")

T = TypeVar("T")
StepResult = dict[str, Any]

# Seconds for which others of its queue may have been due while a job is kept by the worker that made it.
KEEP_PATIENCE = 0.25
# Threads of this process that keep a job at the same moment at most. Nobody sees another's, so each leaves half of a
# window free: there is room for those of as many processes.
KEEPERS = 2

Load = Callable[[Session, list[str]], Mapping[str, Any]]
# Gets the claim and the subject.
Opening = Callable[[jobs.Claim, Any], str | None]


@dataclass(frozen=True)
class JobKind:
    """A kind of job: the function that does it, what else is written when an attempt fails, and what it is about."""

    name: str
    handler: Callable[[JobRun], None]
    on_failure: Hook | None
    # Reads the subjects of several jobs as they are claimed, by their ids.
    load: Load | None = None
    # Names the step with which the first attempt at a subject begins, so that it begins with the claim; None: none yet.
    opening: Opening | None = None
    # The kind of the job that this one makes when it ends well, and that this process may go on with at once.
    keeps: str | None = None


KINDS: dict[str, JobKind] = {}
# Every call that a job makes to a partner keeps to the shared rate limits.
LIMITS = SharedLimits()
_KEEPERS = threading.Semaphore(KEEPERS)


class JobRun:
    """One claimed attempt at a job, handed to its function."""

    def __init__(
        self,
        held: jobs.Claim,
        steps: dict[str, jobs.StepRecord],
        settings: Settings,
        subject: Any = None,
        opened: str | None = None,
    ) -> None:
        self.held = held
        self.subject_id = held.subject_id
        # What the kind's `load` found for the subject when the job was claimed; None where there is nothing.
        self.subject = subject
        self.current_step: str | None = None
        self.calls = Calls(held)
        self._steps = steps
        self._settings = settings
        # The step that was begun with the claim.
        self._opened = opened
        self._done: list[jobs.Done] = []
        self._writes: list[Write] = []
        self._last: Write | None = None
        self._next_turn: float | None = None

    def read(self, query: Callable[[Session], T]) -> T:
        """Run a query in a short transaction of its own."""
        with transaction() as session:
            return query(session)

    @property
    def has_begun(self) -> bool:
        """Whether any step was ever started, so that there may be an effect outside."""
        return bool(self._steps)

    def is_first(self, step: str) -> bool:
        """Return whether nobody ever began this step of this job, so that it cannot have had an effect."""
        return step not in self._steps

    def step(
        self,
        name: str,
        call: Callable[[], StepResult],
        save: Callable[[StepResult], Write] | None = None,
        *,
        wanted: Together | None = None,
        leaves_nothing: bool = False,
    ) -> StepResult:
        """Do one step with an effect outside, once: return its result, stored where it was done before.

        "Started" is committed before `call` runs without any transaction; the result, and the write that `save` makes
        of it, are committed under the fencing token before the next step begins. Raises `jobs.LeaseLost` when another
        worker has taken over, and `NoLongerWanted` when `wanted` says so right before the step begins. `call` must look
        up before it creates wherever an earlier attempt may have done the work.

        A call that `leaves_nothing` at the partner, and costs nothing when it is made again, is made without a commit
        before it: what was learned by then is committed with its result, or with its failure.
        """
        known = self._steps.get(name)
        if known is not None and known.state == "done":
            return known.result or {}
        self.current_step = name
        crash_point(f"before begin {name}")
        if name != self._opened and not leaves_nothing and not self._commit(begin=name, wanted=wanted):
            raise NoLongerWanted(f"stopped before step {name}")
        self._opened = None
        crash_point(f"before call {name}")
        started = time.monotonic()
        with tracing.span(f"step {name}"):
            result = call()
        crash_point(f"after call {name}")
        self._done.append(jobs.Done(name, result, int((time.monotonic() - started) * 1000)))
        if save is not None:
            self._writes.append(save(result))
        return result

    def checkpoint(self, write: Callable[[Session], T]) -> T:
        """Renew the lease and write under it in one transaction; for loops over many rows."""
        answers: list[T] = []
        self._commit(lambda session: answers.append(write(session)))
        return answers[0]

    def save(self) -> None:
        """Commit what was learned and not committed yet; for an attempt that goes no further."""
        if self._done or self._writes:
            self._commit()

    def finally_write(self, write: Write) -> None:
        """Have this written in the transaction that marks the job done."""
        self._last = write

    def come_back(self, seconds: float) -> None:
        """Have the job be due again in some seconds instead of done: it takes turns, and this one went well."""
        self._next_turn = seconds

    def complete(self) -> Taken | None:
        """Write what is left and mark the job done; that its partner answered closes the partner's circuit.

        Returns the job that this one made, where it is to be gone on with here and now.
        """
        writes = [] if self._last is None else [self._last]
        state = "done" if self._next_turn is None else "ready"
        ending = jobs.Ending(self.held, state, delay=self._next_turn)
        kept: list[Taken | None] = [None]
        with ExitStack() as until_written:
            last: Callable[[Session], object] | None = None
            if (kind := KINDS[self.held.kind].keeps) is not None and not _is_suspect(self.held):
                last = lambda session: kept.append(_keep(session, kind, until_written))  # noqa: E731
            self._commit(*writes, ending=ending, last=last)
        outcome.forgive(self.held.partner)
        return kept[-1]

    def _commit(
        self,
        *writes: Write,
        begin: str | None = None,
        wanted: Together | None = None,
        ending: jobs.Ending | None = None,
        last: Callable[[Session], object] | None = None,
    ) -> bool:
        """Commit what was learned, and these writes; return whether the job may go on."""
        calls, done = self.calls.noted(), self._done.copy()
        well = ending is not None or (bool(done) and outcome.is_troubled(self.held.partner))
        writes = (*self._writes, *writes)
        goes_on = commit(Commit(self.held, calls, done, writes, wanted, begin, ending, well, last))
        if done:
            outcome.forgive(self.held.partner)
        self._done, self._writes = [], []
        self.calls.forget(calls)
        return goes_on


def job(
    name: str,
    *,
    on_failure: Hook | None = None,
    load: Load | None = None,
    opening: Opening | None = None,
    keeps: str | None = None,
) -> Callable[[Callable[[JobRun], None]], Callable[..., None]]:
    """Make a function the one that does jobs of this kind, and the Celery task `tasks.{name}` that a doorbell calls."""
    from celery import shared_task

    def decorate(handler: Callable[[JobRun], None]) -> Callable[..., None]:
        KINDS[name] = JobKind(name, handler, on_failure, load, opening, keeps)

        def answer(*job_ids: str) -> None:
            with heard(name):
                run_jobs(job_ids)

        answer.__doc__ = handler.__doc__
        task: Callable[..., None] = shared_task(name=f"tasks.{name}", ignore_result=True)(answer)
        return task

    return decorate


def periodic(name: str) -> Callable[[Callable[[], None]], Callable[..., None]]:
    """Make a function the Celery task `tasks.{name}` that beat asks for; of several askers, one gets the turn."""
    from celery import shared_task

    def decorate(handler: Callable[[], None]) -> Callable[..., None]:
        def take_turn() -> None:
            if claim_turn(name):
                with heard(name):
                    handler()

        take_turn.__doc__ = handler.__doc__
        task: Callable[..., None] = shared_task(name=f"tasks.{name}", ignore_result=True)(take_turn)
        return task

    return decorate


def heard(name: str) -> AbstractContextManager[None]:
    """Have what follows continue the trace of the message that this Celery task came by."""
    from celery import current_task

    asked = getattr(current_task.request, "traceparent", None) if current_task else None
    return tracing.entry(f"task {name}", asked, role="CONSUMER")


def claim_turn(name: str) -> bool:
    """Claim the current turn of a periodic task; False when another beat's message got there first."""
    from beat_schedule import BEAT_SCHEDULE

    every = next(entry["schedule"] for entry in BEAT_SCHEDULE.values() if entry["task"] == f"tasks.{name}")
    with transaction() as session:
        return jobs.claim_slot(session, name, float(every))


@dataclass(frozen=True)
class Taken:
    """A claimed job with what was read along with the claim."""

    held: jobs.Claim
    steps: dict[str, jobs.StepRecord]
    subject: Any
    opened: str | None


def run_job(job_id: str) -> bool:
    """Claim one job and do it; False when there was nothing to do (another worker has it, or it is not due)."""
    return run_jobs([job_id]) == 1


def run_jobs(job_ids: Sequence[str]) -> int:
    """Claim these jobs and do them, several side by side; return how many there were to do.

    No more are claimed at once than this process has places for, so that no lease runs out while a job waits.
    """
    left, claimed, under_way = list(job_ids), list[Taken](), list[Future[None]]()
    with CREW.together():
        try:
            while left:
                room = PLACES.take(len(left))
                asked, left = left[:room], left[room:]
                taken = _claim_into(room, asked)
                claimed += taken
                beside = [partial(work, one) for one in taken if not _is_suspect(one.held)]
                if len(job_ids) == 1:
                    for one in beside:
                        PLACES.work(one)
                else:
                    under_way += map(PLACES.start, beside)
        finally:
            wait(under_way)
    for suspect in claimed:
        if _is_suspect(suspect.held):
            _work_alone(suspect)
    return len(claimed)


def _claim_into(room: int, job_ids: list[str]) -> list[Taken]:
    """Claim jobs for places that were taken, and give back those that no job needs: suspects work outside of them."""
    taken: list[Taken] = []
    try:
        taken = _CLAIMS(job_ids)
        return taken
    finally:
        PLACES.free(room - sum(not _is_suspect(one.held) for one in taken))


def run_due(kinds: list[str] | None = None) -> bool:
    """Claim the job that has been due the longest and do it, without any broker; False when nothing is due."""
    lease, wanted = get_settings().job_lease, kinds or list(KINDS)
    with CREW.together():
        with transaction() as session:
            held = jobs.claim_due(session, wanted, owner=owner_name(), lease=lease)
            taken = None if held is None else _read_along(session, [held])[0]
        if taken is not None and not _is_suspect(taken.held):
            work(taken)
    if taken is not None and _is_suspect(taken.held):
        _work_alone(taken)
    return taken is not None


def _claim(asked: Sequence[list[str]]) -> list[list[Taken]]:
    """Claim what several threads were rung for, each its own, and read what the jobs' functions will want to know."""
    wanted = list(dict.fromkeys(job_id for job_ids in asked for job_id in job_ids))
    with transaction() as session:
        held = jobs.claim(session, wanted, owner=owner_name(), lease=get_settings().job_lease)
        taken = {one.held.id: one for one in _read_along(session, held)}
    return [[taken.pop(job_id) for job_id in job_ids if job_id in taken] for job_ids in asked]


def _read_along(session: Session, held: Sequence[jobs.Claim]) -> list[Taken]:
    """Read the steps of claimed jobs, and their subjects where the kind says how; begin the steps that open new ones."""
    steps = jobs.load_steps(session, [claim.id for claim in held])
    subjects: dict[str, Mapping[str, Any]] = {}
    for kind in {claim.kind for claim in held}:
        load = KINDS[kind].load if kind in KINDS else None
        if load is not None:
            subjects[kind] = load(session, [claim.subject_id for claim in held if claim.kind == kind])
    taken = []
    for claim in held:
        subject = subjects.get(claim.kind, {}).get(claim.subject_id)
        opened = None if steps[claim.id] else _opening(claim, subject)
        taken.append(Taken(claim, steps[claim.id], subject, opened))
    begun = [jobs.Move(one.held, begin=one.opened) for one in taken if one.opened is not None]
    if begun:
        jobs.advance(session, begun, lease=get_settings().job_lease)
    return taken


def _keep(session: Session, kind: str, until_written: ExitStack) -> Taken | None:
    """Claim the job of this kind that the transaction has made, where this process does such jobs and there is room."""
    made = next((one for one in jobs.made_in(session) if one.kind == kind and PLACES.serves(one.queue)), None)
    if made is None or not _KEEPERS.acquire(blocking=False):
        return None
    until_written.callback(_KEEPERS.release)
    settings = get_settings()
    room = windows([made.queue], partner_health.health_of_all(session), settings)
    held = jobs.keep(
        session,
        made,
        window=room[made.queue] // 2,
        patience=KEEP_PATIENCE,
        owner=owner_name(),
        lease=settings.job_lease,
        ring_timeout=settings.relay_ring_timeout,
    )
    return None if held is None else _read_along(session, [held])[0]


def _opening(claim: jobs.Claim, subject: Any) -> str | None:
    """Return the step that a job which has taken none begins with, where its kind knows it beforehand."""
    opening = KINDS[claim.kind].opening if claim.kind in KINDS else None
    return None if opening is None or subject is None else opening(claim, subject)


def _is_suspect(held: jobs.Claim) -> bool:
    """Return whether a job may have ended the worker that it shared with others: then it works alone."""
    return held.claims > jobs.SUSPECT_CLAIMS


def _work_alone(taken: Taken) -> None:
    lease = get_settings().job_lease

    def renew() -> None:
        with transaction() as session:
            jobs.advance(session, [jobs.Move(taken.held)], lease=lease)

    try:
        with CREW.alone(renew, every=lease / 4):
            work(taken)
    except jobs.LeaseLost:
        log.warning("lease lost", job_id=taken.held.id)


def work(taken: Taken) -> None:
    """Do a claimed job and record how it ended, and go on with the job that it made, where that was kept.

    Raises nothing: this is where failures become due times.
    """
    kept = _attempt(taken)
    while kept is not None:
        with flower.shown(kept.held.kind, kept.held.id):
            kept = _attempt(kept)


def _attempt(taken: Taken) -> Taken | None:
    settings, held = get_settings(), taken.held
    run = JobRun(held, taken.steps, settings, taken.subject, taken.opened)
    names = {"job_id": held.id, "kind": held.kind, "correlation_id": held.correlation_id}
    with (
        structlog.contextvars.bound_contextvars(**names, attempt=held.attempts + 1),
        hooks.attached(LIMITS, run.calls.note),
        tracing.job(f"job {held.kind}", held.traceparent, **names),
    ):
        try:
            if held.claims > settings.job_max_claims:
                outcome.park_poison(held, taken.steps, _hook(held.kind))
                return None
            crash_point("after claim")
            KINDS[held.kind].handler(run)
            crash_point("before complete")
            kept = run.complete()
            crash_point("after complete")
            return kept
        except jobs.LeaseLost:
            log.warning("lease lost", step=run.current_step)
        except NoLongerWanted as reason:
            log.info("no longer wanted", step=run.current_step, reason=str(reason))
            outcome.drop(run)
        except Exception as error:  # noqa: BLE001 - the one place that turns failures into retries
            outcome.settle(run, error, _hook(held.kind))
    return None


def _hook(kind: str) -> Hook | None:
    return KINDS[kind].on_failure if kind in KINDS else None


def owner_name() -> str:
    """Return who holds a lease: host and process."""
    return f"{socket.gethostname()}:{os.getpid()}"


_CLAIMS = GroupCommit(_claim, concerns_all=is_away)
