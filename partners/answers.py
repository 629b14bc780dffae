"""Reading what partners answer: ids, addresses and times, disbelieved until they are some."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeGuard
from urllib.parse import urlsplit

ID_LENGTH = 255


def read_id(value: Any) -> str:
    """Return an id; raise `ValueError` for what is none. Numbers are common and mean their digits."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not text.strip() or len(text) > ID_LENGTH:
        raise ValueError("the answer has no usable id")
    return text


def read_time(value: Any, *, naive_is_utc: bool = False) -> datetime | None:
    """Return an ISO 8601 time in UTC, None for null; raise `ValueError` for what is none.

    A time without an offset is one only with `naive_is_utc`.
    """
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value)
        if at.tzinfo is None and naive_is_utc:
            return at.replace(tzinfo=UTC)
        if at.tzinfo is not None:
            return at.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("a time is not ISO 8601") from None
    raise ValueError("a time has no offset from UTC")


def read_time_or_none(value: Any) -> datetime | None:
    """Return a time, None also for what is none."""
    try:
        return read_time(value)
    except ValueError:
        return None


def is_web_address(url: Any) -> TypeGuard[str]:
    """Return whether a browser may be sent there: http or https, with a host, nothing smuggled in."""
    if not isinstance(url, str) or not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False
