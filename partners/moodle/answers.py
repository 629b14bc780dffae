"""Reads what Moodle answers: progress, badges, certificates. What cannot be read is told, never guessed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from partners.base import Certificate, Progress
from partners.errors import NotFound, RetryLater

LONG_AGO = datetime.min.replace(tzinfo=UTC)


def split_seat(seat_id: str) -> tuple[int, int]:
    """Return the numbers of user and course; raise `NotFound` for what no seat's id looks like."""
    user_id, _, course_id = seat_id.partition(":")
    if not (user_id.isdecimal() and course_id.isdecimal()):
        raise NotFound("the id of the seat is not of the form user:course")
    return int(user_id), int(course_id)


def read_list(call: str, value: Any) -> list[dict[str, Any]]:
    """Return a list of objects; raise `RetryLater` for anything else."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise RetryLater(f"{call}: answered no list")
    return value


def read_rows(call: str, value: Any) -> list[dict[str, Any]]:
    """Return a list of objects that all have a number as their `id`; raise `RetryLater` for anything else."""
    rows = read_list(call, value)
    if not all(type(item.get("id")) is int for item in rows):
        raise RetryLater(f"{call}: answered something without an id")
    return rows


def read_field(call: str, value: Any, name: str) -> Any:
    """Return a field of an object, None where it lacks it; raise `RetryLater` for what is no object."""
    if not isinstance(value, dict):
        raise RetryLater(f"{call}: answered no object")
    return value.get(name)


def read_progress(seat_id: str, course: dict[str, Any]) -> Progress:
    """Return the progress in a row of `core_enrol_get_users_courses`; raise `RetryLater` for nonsense.

    A course without completion tracking tells null for both and counts as 0. A completed one counts as 100: it may be
    completed by a grade while activities are still open.
    """
    told, completed = course.get("progress"), course.get("completed")
    if isinstance(told, bool) or not isinstance(told, int | float | None) or not 0 <= (told or 0) <= 100:
        raise RetryLater("core_enrol_get_users_courses: progress is not from 0 to 100")
    if not isinstance(completed, bool | None):
        raise RetryLater("core_enrol_get_users_courses: completed is neither true nor false")
    percentage = Decimal(100) if completed else Decimal(str(told or 0))
    return Progress(seat_id, percentage, bool(completed), updated_at=None, completed_at=None)


def read_badges(call: str, badges: Any, name: str, root: str) -> Certificate | None:
    """Return the badge that was issued last, of those whose name holds `name`; None without one."""
    wanted = [item for item in read_list(call, badges) if name in str(item.get("name"))]
    return _newest(
        Certificate(
            number := _number(call, item.get("uniquehash")),
            None,
            f"{root}/badges/badge.php?hash={number}",
            _time(item.get("dateissued")),
            _time(item.get("dateexpire")),
        )
        for item in wanted
    )


def read_issues(
    call: str, listed: Any, user_id: int, instances: Iterable[Any], root: str
) -> Certificate | None:
    """Return the certificate of mod_customcert that was issued last to a user by one of these instances."""
    ours = [
        item["issue"]
        for item in read_list(call, listed)
        if isinstance(item.get("issue"), dict)
        and isinstance(item.get("user"), dict)
        and str(item["user"].get("id")) == str(user_id)
    ]
    return _newest(
        Certificate(
            number := _number(call, item.get("code")),
            None,
            f"{root}/mod/customcert/verify_certificate.php?code={number}",
            _time(item.get("timecreated")),
            None,
        )
        for item in ours
        if str(item.get("customcertid")) in map(str, instances)
    )


def _newest(found: Iterable[Certificate]) -> Certificate | None:
    return max(found, key=lambda item: item.issued_at or LONG_AGO, default=None)


def _number(call: str, value: Any) -> str:
    if not isinstance(value, str) or not value.isalnum():
        raise RetryLater(f"{call}: answered something without a number")
    return value


def _time(value: Any) -> datetime | None:
    """Return a Unix time of Moodle's; 0 and null stand for none."""
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    if type(number) is not int or not 0 < number < 1 << 34:
        return None
    return datetime.fromtimestamp(number, UTC)
