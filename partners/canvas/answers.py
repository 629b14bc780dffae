"""What Canvas tells of users, enrolments and progress."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from partners.answers import read_time
from partners.base import Progress
from partners.errors import NotFound

NO_PROGRESS = "the course has no modules with requirements: Canvas tells no progress of it"


def seat_id(course: str, user: str) -> str:
    """Return the id of a seat. A student has one in a course, however many sections they are enrolled in."""
    return f"{course}:{user}"


def split_seat(id: str) -> tuple[str, str]:
    """Return the course and the user of a seat; raise `NotFound` for what is no id of a seat."""
    course, _, user = id.partition(":")
    if not (_is_number(course) and _is_number(user)):
        raise NotFound("the seat's id is none of Canvas: it is made of the numbers of a course and a user")
    return course, user


def read_number(item: Any, name: str) -> str:
    """Return an id of Canvas, which are numbers; raise `ValueError` where there is none."""
    value = item.get(name) if isinstance(item, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | str) or not _is_number(str(value)):
        raise ValueError(f"the answer has no usable {name}")
    return str(value)


def tells_nothing(body: Any) -> bool:
    """Return whether Canvas answers that it has no progress to tell: an error object, with 200 or 400."""
    return isinstance(body, dict) and isinstance(body.get("error"), dict)


def read_progress(item: Any, seat: str) -> Progress:
    """Return the progress that counts of requirements tell; raise `ValueError` with the reason to disbelieve them."""
    if tells_nothing(item):
        raise ValueError(NO_PROGRESS)
    if not isinstance(item, dict):
        raise ValueError("not an object")
    required, done = (item.get(name) for name in ("requirement_count", "requirement_completed_count"))
    if type(required) is not int or type(done) is not int or required < 0 or done < 0:
        raise ValueError("the requirements are not counted")
    if not required:
        raise ValueError(NO_PROGRESS)
    completed = done >= required
    percentage = Decimal(100) if completed else (Decimal(done) * 100 / required).quantize(Decimal("0.01"))
    return Progress(
        seat, percentage, completed, None, read_time(item.get("completed_at")) if completed else None
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
