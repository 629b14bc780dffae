"""Reads answers: expressions, ids, figures and times. What cannot be read is told, and never guessed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from partners.answers import ID_LENGTH, is_web_address
from partners.base import Certificate, Progress

TEXT_LENGTH = 2000


class Unreadable(Exception):
    """An answer does not hold what the configuration says; the message is for people and tells nothing of the content."""


class Expression:
    """A JMESPath expression."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._compiled = jmespath.compile(text)

    def find(self, value: Any) -> Any:
        """Return what it finds, None for nothing; raise `Unreadable` where it cannot be applied."""
        try:
            return self._compiled.search(value)
        except (JMESPathError, RecursionError):
            raise Unreadable(f"{self._text} cannot be applied to the answer") from None

    def holds(self, value: Any) -> bool:
        """Return whether it finds something that is not empty and not false. A 0 is something."""
        found = self.find(value)
        return found is not None and found is not False and found not in ("", [], {})


def compiled(mapping: Mapping[str, Any]) -> dict[str, Expression]:
    """Return the expressions of a result."""
    return {name: Expression(text) for name, text in mapping.items() if isinstance(text, str)}


def read_id(value: Any) -> str:
    """Return an id; raise `Unreadable` for what is none. Numbers mean their digits."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not text.strip() or len(text) > ID_LENGTH or not text.isprintable():
        raise Unreadable("the answer has no usable id")
    return text


def read_progress(
    item: Any, id: str, result: Mapping[str, Expression], *, full: float, times: str
) -> Progress:
    """Return the progress that an item tells of a seat."""
    completed = result["completed"].find(item)
    if not isinstance(completed, bool):
        raise Unreadable("completed is neither true nor false")
    percentage = Decimal(100 if completed else 0)
    if "percentage" in result:
        percentage = _percentage(result["percentage"].find(item), full)
    moments = [
        read_time(result[name].find(item), times) if name in result else None
        for name in ("updated_at", "completed_at")
    ]
    return Progress(id, percentage, completed, *moments)


def read_certificate(item: Any, result: Mapping[str, Expression], *, times: str) -> Certificate:
    """Return a certificate. Addresses that are none are left out."""
    found = {name: expression.find(item) for name, expression in result.items()}
    url, verification_url = (
        address if is_web_address(address := found.get(name)) else None
        for name in ("url", "verification_url")
    )
    issued_at, expires_at = (read_time(found.get(name), times) for name in ("issued_at", "expires_at"))
    raw = item if isinstance(item, dict) else {}
    return Certificate(read_id(found.get("number")), url, verification_url, issued_at, expires_at, raw)


def read_time(value: Any, times: str) -> datetime | None:
    """Return a time in UTC, None where there is none (null or an empty text)."""
    if value is None or value == "":
        return None
    try:
        if times.startswith("epoch"):
            seconds = float(value) / (1000 if times == "epoch_ms" else 1)
            return datetime.fromtimestamp(seconds, UTC)
        at = datetime.fromisoformat(value)
    except (TypeError, ValueError, OverflowError, OSError):
        raise Unreadable("a time cannot be read") from None
    if at.tzinfo is None and times == "iso_utc":
        return at.replace(tzinfo=UTC)
    if at.tzinfo is None:
        raise Unreadable("a time has no zone")
    return at.astimezone(UTC)


def _percentage(value: Any, full: float) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Unreadable("percentage is not a number")
    try:
        number = Decimal(str(value)) * 100 / Decimal(str(full))
    except (InvalidOperation, ValueError):
        raise Unreadable("percentage is not a number") from None
    if not number.is_finite() or not 0 <= number <= 100:
        raise Unreadable(f"percentage is not from 0 to {math.floor(full) if full >= 1 else full}")
    return number
