"""What the sandbox can be told to do wrong, per call: `POST /_faults` makes one of these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

NUMBER = (int, float)
MATCHABLE = {"reference", "course_code", "enrollment_id", "account_id"}


@dataclass
class Fault:
    """One thing to do wrong.

    Without `lose_answer` the call does nothing at the partner. With it the work is done first, and then the rest of
    the fault (status, garbage, hang) stands in for the answer; where there is no rest, the connection is dropped.
    """

    call: str  # as in the protocol, "GET /enrollments/{id}/progress", or "*" for every call of it
    times: int | None = None  # None: until it is cleared
    after: int = 0  # matches that are let through first
    status: int | None = None
    retry_after: float | str | None = None  # seconds, or an HTTP date; without a status it makes it 429
    message: str | None = None
    hang: float | None = None  # seconds without an answer, then the connection is dropped
    latency: float | None = (
        None  # seconds before the work starts; it is done even if the caller has left by then
    )
    lose_answer: bool = False
    reset: bool = False
    garbage: bool = False  # 200 with HTML
    match: dict[str, str] = field(default_factory=dict)
    id: int = 0

    def takes(self, call: str, facts: Mapping[str, Any]) -> bool:
        """Return whether this fault strikes here, and count it."""
        if self.times == 0 or self.call not in ("*", call):
            return False
        if any(facts.get(name) != wanted for name, wanted in self.match.items()):
            return False
        if self.after:
            self.after -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True


def read_fault(data: Any, calls: set[str]) -> Fault:
    """Return the fault that a request body describes; raise `ValueError` naming what is wrong with it."""
    if not isinstance(data, dict):
        raise ValueError("a fault is a JSON object")
    known = {item.name for item in fields(Fault)} - {"id"}
    if unknown := sorted(data.keys() - known):
        raise ValueError(f"unknown fields: {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    given = {name: value for name, value in data.items() if value is not None}
    if wrong := [name for name, value in given.items() if not _fits(name, value, calls)]:
        raise ValueError(f"wrong value for {', '.join(wrong)}; call is one of *, {', '.join(sorted(calls))}")
    if not given.get("call"):
        raise ValueError("call is missing")
    if not given.keys() - {"call", "times", "after", "message", "match"}:
        raise ValueError("the fault does nothing wrong")
    fault = Fault(**given)
    if fault.retry_after is not None and fault.status is None:
        fault.status = 429
    return fault


def _fits(name: str, value: Any, calls: set[str]) -> bool:
    if name == "call":
        return isinstance(value, str) and (value == "*" or value in calls)
    if name == "match":
        return isinstance(value, dict) and value.keys() <= MATCHABLE
    if name in ("lose_answer", "reset", "garbage"):
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    if name == "message" or (name == "retry_after" and isinstance(value, str)):
        return isinstance(value, str)
    if name == "status":
        return isinstance(value, int) and 200 <= value <= 599
    return isinstance(value, int if name in ("times", "after") else NUMBER) and value >= 0
