"""What SCORM Cloud tells of a registration, and the places in its list of them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any

from partners.answers import read_id, read_time
from partners.base import Progress
from partners.errors import Refused

# Registrations may become visible a little after the time that they are stamped with.
OVERLAP = timedelta(seconds=60)
# Seconds within which a list that was read through is not asked for again.
REST = 60.0
COMPLETION = ("UNKNOWN", "COMPLETED", "INCOMPLETE")
SUCCESS = ("UNKNOWN", "PASSED", "FAILED")


def registration_id(reference: str, course_code: str) -> str:
    """Return the id of a student's registration for a course: always the same, whatever signs the code has.

    Raises `Refused` without a reference: students would share one registration.
    """
    if not reference:
        raise Refused("a registration needs the student's reference")
    return f"{reference}-{sha256(course_code.encode()).hexdigest()[:24]}"


def read_registration(item: Any) -> Progress:
    """Return the progress that a registration tells; raise `ValueError` with the reason to disbelieve it.

    Completed is what SCORM Cloud calls COMPLETED, unless the learner FAILED. Its amount goes from 0 to 1.
    """
    if not isinstance(item, dict):
        raise ValueError("not an object")
    completion, success = item.get("registrationCompletion"), item.get("registrationSuccess", "UNKNOWN")
    if completion not in COMPLETION or success not in SUCCESS:
        raise ValueError("registrationCompletion or registrationSuccess is none of the words")
    completed = completion == "COMPLETED" and success != "FAILED"
    percentage = Decimal(100) if completed else _percentage(item.get("registrationCompletionAmount"))
    updated_at, completed_at = (
        read_time(item.get("updated"), naive_is_utc=True),
        read_time(item.get("completedDate"), naive_is_utc=True),
    )
    return Progress(
        read_id(item.get("id")), percentage, completed, updated_at, completed_at if completed else None
    )


@dataclass(frozen=True)
class Place:
    """A place in the list: what changed `since` then, by their clock, or all of it.

    `more` is the token of a further page of a list that was `began` then, by their clock. Where a list was read through,
    `at` says when, in Unix seconds of ours.
    """

    since: str | None = None
    more: str | None = None
    began: str | None = None
    at: float | None = None

    @classmethod
    def read(cls, cursor: str | None) -> Place:
        """Return the place of a cursor; the beginning where there is none, or none of ours."""
        try:
            place = cls(**json.loads(cursor)) if cursor else cls()
            for moment in (place.since, place.began):
                read_time(moment, naive_is_utc=True)
        except (ValueError, TypeError):
            return cls()
        return place

    def cursor(self) -> str:
        """Return the place as text."""
        return json.dumps({name: value for name, value in asdict(self).items() if value is not None})

    def params(self) -> dict[str, str]:
        """Return what is asked for: with a token, nothing else may be."""
        if self.more is not None:
            return {"more": self.more}
        since = read_time(self.since, naive_is_utc=True)
        return {} if since is None else {"since": (since - OVERLAP).isoformat().replace("+00:00", "Z")}

    def rests(self, now: float) -> bool:
        """Return whether the list was read through just now, so that nothing new is to be expected."""
        return self.at is not None and abs(now - self.at) < REST

    def following(self, more: str | None, *, theirs: datetime, ours: float) -> Place:
        """Return the next place, by both clocks.

        The last one is always a time, and so one from which a later sync can go on: a token would be none.
        """
        began = self.began or theirs.isoformat()
        return Place(began, at=ours) if more is None else Place(self.since, more, began)


def _percentage(amount: Any) -> Decimal:
    if amount is None:
        return Decimal(0)
    if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 <= amount <= 1:
        raise ValueError("registrationCompletionAmount is not from 0 to 1")
    return (Decimal(str(amount)) * 100).quantize(Decimal("0.01"))
