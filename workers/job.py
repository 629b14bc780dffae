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
import traceback as traceback_module
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from db import jobs
from db.session import transaction
from domain import alerts, partner_health
from domain.errors import NoLongerWanted
from partners import hooks
from partners.errors import (
    CredentialsWrong,
    NotReadyYet,
    OutcomeUnknown,
    PartnerError,
    RateLimited,
    RetryLater,
    Throttled,
)
from partners.redaction import redact
from settings import Settings, get_settings
from workers import sentry, tracing
from workers.audit import Calls
from workers.crashes import crash_point
from workers.crew import Crew
from workers.limits import SharedLimits
from workers.verdict import GiveUp, Later, Verdict, judge

log = structlog.get_logger("workers.job")

# Endings of an attempt that are nobody's failure and leave no row in the list of failures.
UNREMARKABLE = frozenset({NotReadyYet.code, Throttled.code})

T = TypeVar("T")
StepResult = dict[str, Any]

# Seconds between two tries to record how a job ended while the database is away; then the lease decides.
SETTLE_PAUSES = (0.2, 0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Failure:
    """A failed attempt as the hooks of a kind see it. `retry_count` is how often it had been retried before."""

    step: str | None
    code: str
    message: str
    retry_count: int
    final: bool


Hook = Callable[[Session, jobs.Claim, Failure], None]


@dataclass(frozen=True)
class JobKind:
    """A kind of job: the function that does it, and what else is written when an attempt fails."""

    name: str
    handler: Callable[[JobRun], None]
    on_failure: Hook | None


KINDS: dict[str, JobKind] = {}
# Partners of which this process has seen a failure since their last success: for these, each step that works is a
# sign of health worth writing down, not only each job.
_troubled: set[str] = set()

# Claims without an outcome after which a job works alone: it may have ended the worker that it shared with others.
SUSPECT_CLAIMS = 2
CREW = Crew()

# Every call that a job makes to a partner keeps to the shared rate limits.
LIMITS = SharedLimits()


class JobRun:
    """One claimed attempt at a job, handed to its function."""

    def __init__(self, held: jobs.Claim, steps: dict[str, jobs.StepRecord], settings: Settings) -> None:
        self.held = held
        self.subject_id = held.subject_id
        self.current_step: str | None = None
        self.calls = Calls(held)
        self._steps = steps
        self._settings = settings
        self._unsaved: tuple[str, StepResult, int, Callable[[Session, StepResult], None] | None] | None = None
        self._last: Callable[[Session], None] | None = None
        self._next_turn: float | None = None

    def read(self, query: Callable[[Session], T]) -> T:
        """Run a query in a short transaction of its own."""
        with transaction() as session:
            return query(session)

    @property
    def has_begun(self) -> bool:
        """Whether any step was ever started, so that there may be an effect outside."""
        return bool(self._steps)

    def step(
        self,
        name: str,
        call: Callable[[], StepResult],
        save: Callable[[Session, StepResult], None] | None = None,
        *,
        wanted: Callable[[Session], bool] | None = None,
    ) -> StepResult:
        """Do one step with an effect outside, once: return its result, stored where it was done before.

        "Started" is committed before `call` runs without any transaction; the result, and what `save` writes, are
        committed under the fencing token before the next step begins. Raises `jobs.LeaseLost` when another worker has
        taken over, and `NoLongerWanted` when `wanted` says so right before the step begins. `call` must look up before
        it creates, since an earlier attempt may have done the work.
        """
        known = self._steps.get(name)
        if known is not None and known.state == "done":
            return known.result or {}
        self.current_step = name
        crash_point(f"before begin {name}")
        with transaction() as session:
            go_on = wanted is None or wanted(session)
            self._advance(session, begin=name if go_on else None)
        if not go_on:
            raise NoLongerWanted(f"stopped before step {name}")
        crash_point(f"before call {name}")
        started = time.monotonic()
        with tracing.span(f"step {name}"):
            result = call()
        crash_point(f"after call {name}")
        self._unsaved = (name, result, int((time.monotonic() - started) * 1000), save)
        return result

    def checkpoint(self, write: Callable[[Session], T]) -> T:
        """Renew the lease and write under it in one transaction; for loops over many rows."""
        with transaction() as session:
            self._advance(session)
            return write(session)

    def finally_write(self, write: Callable[[Session], None]) -> None:
        """Have `write` run in the transaction that marks the job done."""
        self._last = write

    def come_back(self, seconds: float) -> None:
        """Have the job be due again in some seconds instead of done: it takes turns, and this one went well."""
        self._next_turn = seconds

    def complete(self, session: Session) -> None:
        """Write what is left and mark the job done; that its partner answered closes the partner's circuit."""
        self._advance(session)
        if self._last is not None:
            self._last(session)
        state = "done" if self._next_turn is None else "ready"
        jobs.release(session, self.held, state, delay=self._next_turn, attempts=0)
        if self.held.partner is not None:
            _note_success(session, self.held.partner)

    def _advance(self, session: Session, begin: str | None = None) -> None:
        lease = self._settings.job_lease
        self.calls.write(session)
        if self._unsaved is None:
            jobs.advance(session, self.held, lease=lease, begin=begin)
            return
        if self.held.partner is not None and self.held.partner in _troubled:
            _note_success(session, self.held.partner)
        name, result, duration_ms, save = self._unsaved
        jobs.advance(
            session, self.held, lease=lease, done=name, result=result, duration_ms=duration_ms, begin=begin
        )
        if save is not None:
            save(session, result)
        self._unsaved = None


def job(
    name: str, *, on_failure: Hook | None = None
) -> Callable[[Callable[[JobRun], None]], Callable[..., None]]:
    """Make a function the one that does jobs of this kind, and the Celery task `tasks.{name}` that a doorbell calls."""
    from celery import shared_task

    def decorate(handler: Callable[[JobRun], None]) -> Callable[..., None]:
        KINDS[name] = JobKind(name, handler, on_failure)

        def answer(*job_ids: str) -> None:
            with heard(name):
                for job_id in job_ids:
                    run_job(job_id)

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


def run_job(job_id: str) -> bool:
    """Claim one job and do it; False when there was nothing to do (another worker has it, or it is not due)."""
    lease = get_settings().job_lease
    return _claim_and_work(lambda session: jobs.claim(session, job_id, owner=owner_name(), lease=lease))


def run_due(kinds: list[str] | None = None) -> bool:
    """Claim the job that has been due the longest and do it, without any broker; False when nothing is due."""
    lease, wanted = get_settings().job_lease, kinds or list(KINDS)
    return _claim_and_work(lambda session: jobs.claim_due(session, wanted, owner=owner_name(), lease=lease))


def _claim_and_work(claim: Callable[[Session], jobs.Claim | None]) -> bool:
    """Claim a job and do it beside the others of this process, or alone where it may have ended a worker."""
    with CREW.together():
        with transaction() as session:
            held = claim(session)
            steps = {} if held is None else jobs.load_steps(session, held.id)
        if held is None:
            return False
        if held.claims <= SUSPECT_CLAIMS:
            work(held, steps)
            return True
    _work_alone(held, steps)
    return True


def _work_alone(held: jobs.Claim, steps: dict[str, jobs.StepRecord]) -> None:
    lease = get_settings().job_lease

    def renew() -> None:
        with transaction() as session:
            jobs.advance(session, held, lease=lease)

    try:
        with CREW.alone(renew, every=lease / 4):
            work(held, steps)
    except jobs.LeaseLost:
        log.warning("lease lost", job_id=held.id)


def work(held: jobs.Claim, steps: dict[str, jobs.StepRecord]) -> None:
    """Do a claimed job and record how it ended. Raises nothing: this is where failures become due times."""
    settings = get_settings()
    run = JobRun(held, steps, settings)
    names = {"job_id": held.id, "kind": held.kind, "correlation_id": held.correlation_id}
    with (
        structlog.contextvars.bound_contextvars(**names, attempt=held.attempts + 1),
        hooks.attached(LIMITS, run.calls.note),
        tracing.job(f"job {held.kind}", held.traceparent, **names),
    ):
        try:
            if held.claims > settings.job_max_claims:
                _park_poison(held, steps)
                return
            crash_point("after claim")
            KINDS[held.kind].handler(run)
            crash_point("before complete")
            with transaction() as session:
                run.complete(session)
            crash_point("after complete")
        except jobs.LeaseLost:
            log.warning("lease lost", step=run.current_step)
        except NoLongerWanted as reason:
            log.info("no longer wanted", step=run.current_step, reason=str(reason))
            _drop(run)
        except Exception as error:  # noqa: BLE001 - the one place that turns failures into retries
            _settle(run, error)


def owner_name() -> str:
    """Return who holds a lease: host, process and thread."""
    return f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident() % 100_000}"


def _drop(run: JobRun) -> None:
    """End a job whose work is not wanted any more."""
    with transaction() as session:
        jobs.release(session, run.held, "done", attempts=0)


def _settle(run: JobRun, error: Exception) -> None:
    """Record a failed attempt, patiently, since the database itself may be what failed."""
    verdict = judge(error, run.held.attempts, get_settings())
    message = redact(f"{error}" or type(error).__name__)
    log.warning(
        "attempt failed", step=run.current_step, code=verdict.code, error=message, state=verdict.state
    )
    trace = None if isinstance(error, PartnerError | Later | GiveUp) else _trace(error)
    tracing.note(outcome=verdict.code)
    if trace is not None:
        known = structlog.contextvars.get_contextvars()
        sentry.tell("attempt failed", error, {**known, "step": run.current_step, "code": verdict.code})
    for pause in (*SETTLE_PAUSES, None):
        try:
            with transaction() as session:
                verdict = _record(session, run, error, message, trace)
            log.warning(
                "attempt failed", step=run.current_step, code=verdict.code, error=message, state=verdict.state
            )
            return
        except jobs.LeaseLost:
            log.warning("lease lost", step=run.current_step)
            return
        except DBAPIError as trouble:
            if pause is None:
                log.error("outcome not recorded, the lease will decide", error=type(trouble).__name__)
                return
            time.sleep(pause)


def _record(session: Session, run: JobRun, error: Exception, message: str, trace: str | None) -> Verdict:
    """Write how an attempt failed: the job's new state, the partner's health, the audit, and what the kind adds."""
    held, settings = run.held, get_settings()
    verdict = judge(error, held.attempts, settings)
    if held.partner is not None:
        verdict = _consider_partner(session, held.partner, error, verdict, settings)
    jobs.release(
        session,
        held,
        verdict.state,
        delay=verdict.delay,
        attempts=held.attempts + (1 if verdict.counts else 0),
        error=f"{verdict.code}: {message}",
        traceback=trace,
    )
    run.calls.write(session)
    hook = KINDS[held.kind].on_failure
    if hook is not None and verdict.code not in UNREMARKABLE:
        hook(session, held, Failure(run.current_step, verdict.code, message, held.attempts, verdict.final))
    return verdict


def _consider_partner(
    session: Session, partner: str, error: Exception, verdict: Verdict, settings: Settings
) -> Verdict:
    """Note what an error says of the partner as a whole. While it is left alone, attempts do not count."""
    if isinstance(error, CredentialsWrong):
        reason = f"{partner_health.CREDENTIALS}: {redact(str(error), limit=300)}"
        if partner_health.pause(session, partner, by="usher", reason=reason):
            log.error("[PartnerPaused] credentials refused", partner=partner)
            alerts.tell_staff(session, f"partner_paused:{partner}")
        return verdict
    if not isinstance(error, RetryLater | OutcomeUnknown) or isinstance(error, RateLimited | NotReadyYet):
        return verdict
    breaker = partner_health.Breaker(settings.breaker_threshold, settings.breaker_base, settings.breaker_cap)
    _troubled.add(partner)
    closed_for = partner_health.note_failure(session, partner, breaker)
    if closed_for is None or verdict.final:
        return verdict
    log.warning("[PartnerCircuit] open", partner=partner, seconds=round(closed_for, 1))
    return replace(verdict, delay=closed_for, counts=False)


def _note_success(session: Session, partner: str) -> None:
    partner_health.note_success(session, partner)
    _troubled.discard(partner)


def _park_poison(held: jobs.Claim, steps: dict[str, jobs.StepRecord]) -> None:
    """Set aside a job that ended its workers: nobody recorded an outcome for too many claims in a row."""
    at = next((name for name, record in steps.items() if record.state == "started"), None)
    message = f"{held.claims - 1} workers took it and none reported back; last seen in step {at or '(before the first)'}"
    failure = Failure(at, "poison", message, held.attempts, final=True)
    with transaction() as session:
        jobs.release(session, held, "parked", error=f"poison: {message}")
        hook = KINDS[held.kind].on_failure
        if hook is not None:
            hook(session, held, failure)
    log.error("job parked", step=at, error=message)


def _trace(error: Exception) -> str:
    return redact("".join(traceback_module.format_exception(error))[-8_000:])
