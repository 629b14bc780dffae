"""Reads what Open edX answers: accounts, enrolments, results of bulk_enroll, grades, certificates."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any
from urllib.parse import urljoin

from partners.answers import is_web_address, read_time_or_none
from partners.base import Certificate, Progress
from partners.errors import Ambiguous, CredentialsWrong, NotFound, Refused, RetryLater

# The last part of a certificate's address.
CERTIFICATE_ID = re.compile(r"/([0-9a-f]{32})/?$")


def split_seat(seat_id: str) -> tuple[str, str]:
    """Return username and course id; raise `NotFound` for what no seat's id looks like."""
    username, _, course = seat_id.partition(",")
    if not username.strip() or not course.strip():
        raise NotFound("the id of the seat is not of the form username,course")
    return username, course


def read_username(call: str, listed: Any, field: str, value: str) -> str | None:
    """Return the username of the only account with exactly this value, None without one."""
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise RetryLater(f"{call}: answered no list")
    names = [item.get("username") for item in listed]
    if not all(isinstance(name, str) and name and "," not in name for name in names):
        raise RetryLater(f"{call}: answered an account without a username")
    if any(not isinstance(item.get(field), str) for item in listed):
        raise CredentialsWrong(f"{call}: our application's user is no staff, and may not see {field}")
    found = [item["username"] for item in listed if item[field].lower() == value.lower()]
    if len(found) > 1:
        raise Ambiguous(f"{call}: {len(found)} accounts with one {field}")
    return found[0] if found else None


def is_enrolled(call: str, body: Any, username: str, course: str) -> bool:
    """Return whether an enrolment is active; no body means that there is none."""
    if body is None:
        return False
    match body:
        case {"user": str(user), "is_active": bool(active), "course_details": {"course_id": str(id)}}:
            if (user.lower(), id) == (username.lower(), course):
                return active
    raise RetryLater(f"{call}: answered something that is not this enrolment")


def read_bulk_result(call: str, body: Any, username: str, course: str) -> bool:
    """Return whether one learner is enrolled after a bulk_enroll, which answers 200 also for those it refused.

    Raises `NotFound` for a learner whom the site does not know, `Refused` for an error, `LookupError` without a result.
    """
    match body:
        case {"courses": dict(courses)}:
            result = courses.get(course)
        case _:
            raise LookupError
    items = result.get("results") if isinstance(result, dict) else None
    for item in items if isinstance(items, list) else []:
        if not isinstance(item, dict) or str(item.get("identifier")).lower() != username.lower():
            continue
        if item.get("invalidIdentifier"):
            raise NotFound(f"{call}: the site has no such account")
        if item.get("error"):
            raise Refused(f"{call}: the site could not do it for this learner; its log says why")
        after = item.get("after")
        if isinstance(after, dict) and isinstance(after.get("enrollment"), bool):
            return bool(after["enrollment"])
    raise LookupError


def read_grade(call: str, body: Any, seat_id: str, username: str) -> Progress:
    """Return the progress that a grade tells: `percent` is 0 to 1; who passed has completed the course."""
    match body:
        case [{"username": str(name), "percent": int() | float() as percent, "passed": bool(passed)}]:
            if name.lower() == username.lower() and not isinstance(percent, bool) and percent >= 0:
                # Extra credit may lead beyond 1.
                percentage = Decimal(100) if passed else min(Decimal(str(percent)) * 100, Decimal(100))
                return Progress(seat_id, percentage, passed, updated_at=None, completed_at=None)
    raise RetryLater(f"{call}: answered no grade of this learner")


def read_certificate(call: str, body: Any, seat_id: str, root: str) -> Certificate | None:
    """Return a certificate that can be downloaded, None for one that is not there yet or was withdrawn."""
    if not isinstance(body, dict) or not isinstance(body.get("status"), str):
        raise RetryLater(f"{call}: answered no certificate")
    if body["status"] != "downloadable":
        return None
    told = body.get("download_url")
    url = urljoin(f"{root}/", told) if isinstance(told, str) and told else None
    if not is_web_address(url):
        return Certificate(seat_id, None, None, read_time_or_none(body.get("created_date")), None)
    id = CERTIFICATE_ID.search(url)
    number, page = (id[1], url) if id else (seat_id, None)
    return Certificate(number, url, page, read_time_or_none(body.get("created_date")), None)
