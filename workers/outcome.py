"""How an attempt ends that did not go well: its error becomes a due time, or the end of its job.

What is written then: what the attempt learned, the job's new state, the audit of its calls, the partner's health, and
what its kind adds.
"""

from __future__ import annotations

import time
import traceback as traceback_module
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from db import jobs
from db.session import transaction
from domain import alerts, partner_health
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
from workers import audit, sentry, tracing
from workers.audit import Calls
from workers.commits import is_away
from workers.verdict import GiveUp, Later, Verdict, judge

log = structlog.get_logger("workers.outcome")

# Endings of an attempt that are nobody's failure and leave no row in the list of failures.
UNREMARKABLE = frozenset({NotReadyYet.code, Throttled.code})
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

# Partners of which this process has seen a failure since their last success: for these, each step that works is a
# sign of health worth writing down, not only each job.
_troubled: set[str] = set()


class Attempt(Protocol):
    """What has to be known of an attempt: what it holds, how far it came, what it asked, and how to keep what it learned."""

    held: jobs.Claim
    current_step: str | None
    calls: Calls

    def save(self) -> None:
        """Commit what was learned and not committed yet."""


def is_troubled(partner: str | None) -> bool:
    """Return whether this process has seen a failure of this partner since its last success."""
    return partner in _troubled


def forgive(partner: str | None) -> None:
    """Take a partner that worked for one that does: its failures are closed with the commit that said so."""
    if partner is not None:
        _troubled.discard(partner)


def drop(run: Attempt) -> None:
    """End a job whose work is not wanted any more, once what it has learned is kept."""
    try:
        _save_what_can_be(run)
        with transaction() as session:
            audit.write(session, run.calls.noted())
            jobs.release(session, [jobs.Ending(run.held, "done")])
    except jobs.LeaseLost:
        log.warning("lease lost", step=run.current_step)
    except (DBAPIError, PoolTimeout) as trouble:
        log.error("outcome not recorded, the lease will decide", error=type(trouble).__name__)


def settle(run: Attempt, error: Exception, hook: Hook | None) -> None:
    """Record a failed attempt, patiently, since the database itself may be what failed. `hook` is the kind's."""
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
            _save_what_can_be(run)
            with transaction() as session:
                verdict = _record(session, run, error, message, trace, hook)
            log.warning(
                "attempt failed", step=run.current_step, code=verdict.code, error=message, state=verdict.state
            )
            return
        except jobs.LeaseLost:
            log.warning("lease lost", step=run.current_step)
            return
        except (DBAPIError, PoolTimeout) as trouble:
            if pause is None:
                log.error("outcome not recorded, the lease will decide", error=type(trouble).__name__)
                return
            time.sleep(pause)


def park_poison(held: jobs.Claim, steps: dict[str, jobs.StepRecord], hook: Hook | None) -> None:
    """Set aside a job that ended its workers: nobody recorded an outcome for too many claims in a row."""
    at = next((name for name, record in steps.items() if record.state == "started"), None)
    done = ", ".join(sorted(steps)) or "nothing"
    seen = f"in or after step {at}" if at else f"after {done}"
    message = f"{held.claims - 1} workers took it and none reported back; last seen {seen}"
    failure = Failure(at, "poison", message, held.attempts, final=True)
    with transaction() as session:
        jobs.release(
            session, [jobs.Ending(held, "parked", attempts=held.attempts, error=f"poison: {message}")]
        )
        if hook is not None:
            hook(session, held, failure)
    log.error("job parked", step=at, error=message)


def _save_what_can_be(run: Attempt) -> None:
    """Keep what an attempt has learned before it failed. Where that itself is what fails, the next attempt looks it up."""
    try:
        run.save()
    except jobs.LeaseLost:
        raise
    except Exception as error:
        if is_away(error):
            raise
        log.warning("what was learned is looked up again", step=run.current_step, error=type(error).__name__)


def _record(
    session: Session, run: Attempt, error: Exception, message: str, trace: str | None, hook: Hook | None
) -> Verdict:
    """Write how an attempt failed: the job's new state, the partner's health, the audit, and what the kind adds."""
    held, settings = run.held, get_settings()
    verdict = judge(error, held.attempts, settings)
    if held.partner is not None:
        verdict = _consider_partner(session, held.partner, error, verdict, settings)
    ending = jobs.Ending(
        held,
        verdict.state,
        delay=verdict.delay,
        attempts=held.attempts + (1 if verdict.counts else 0),
        error=f"{verdict.code}: {message}",
        traceback=trace,
    )
    jobs.release(session, [ending])
    audit.write(session, run.calls.noted())
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


def _trace(error: Exception) -> str:
    return redact("".join(traceback_module.format_exception(error))[-8_000:])
