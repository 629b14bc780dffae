"""What becomes of a job after an error: the one place that decides between later, a person, and giving up."""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError

from partners.errors import (
    CredentialsWrong,
    NeedsPerson,
    NotReadyYet,
    PartnerError,
    RateLimited,
    RetryLater,
    Throttled,
)
from settings import Settings

# Failed attempts after which an error that nobody foresaw is taken for a bug and parked for a person.
UNFORESEEN_ATTEMPTS = 8
# Looks at something that is not there yet (a certificate) before we stop asking.
NOT_READY_ATTEMPTS = 200


class Later(Exception):
    """It did not work and nothing is wrong with it: try again, in `after` seconds where that is known."""

    code = "later"

    def __init__(self, message: str, after: float | None = None) -> None:
        self.after = after
        super().__init__(message)


class GiveUp(Exception):
    """Trying again cannot help: a person has to look. The message says why."""

    code = "gave_up"


@dataclass(frozen=True)
class Verdict:
    """What becomes of a job after an error: its state, when it is due again, and whether the attempt counts."""

    state: str
    code: str
    delay: float | None = None
    counts: bool = True

    @property
    def final(self) -> bool:
        return self.state != "ready"


def judge(error: Exception, attempts: int, settings: Settings) -> Verdict:
    """Say what becomes of a job whose attempt ended in `error`, after `attempts` counted failures before this one."""
    code = str(getattr(error, "code", None) or type(error).__name__)
    if isinstance(error, DBAPIError):
        code = "database"
    if isinstance(error, NeedsPerson | GiveUp):
        return Verdict("failed", code)
    pause = backoff(attempts, settings)
    if isinstance(error, CredentialsWrong):
        # Due at once: it is the pause of the partner that holds it back.
        return Verdict("ready", code, delay=0.0, counts=False)
    if isinstance(error, Throttled):
        return Verdict("ready", code, delay=error.after, counts=False)
    if isinstance(error, RateLimited):
        # Being asked to wait, however often, is no reason to give up.
        limit = sys.maxsize
    elif isinstance(error, NotReadyYet):
        limit = NOT_READY_ATTEMPTS
    elif isinstance(error, PartnerError | Later | DBAPIError):
        limit = settings.job_max_attempts
    else:
        limit = min(UNFORESEEN_ATTEMPTS, settings.job_max_attempts)
    if attempts + 1 >= limit:
        known = isinstance(error, PartnerError | Later)
        return Verdict("failed" if known else "parked", code)
    if isinstance(error, RetryLater | Later) and error.after is not None:
        # Never sooner than asked; a little later, so that a crowd that was sent away does not come back as one.
        pause = error.after + random.uniform(0.05, 0.05 + 0.1 * error.after)  # noqa: S311
    return Verdict("ready", code, delay=pause)


def backoff(attempts: int, settings: Settings) -> float:
    """Return the pause in seconds before retry number `attempts + 1`: doubling, capped, with a quarter of jitter."""
    pause = min(settings.job_backoff_cap, settings.job_backoff_base * 2.0 ** min(attempts, 40))
    return pause * random.uniform(0.75, 1.25)  # noqa: S311
