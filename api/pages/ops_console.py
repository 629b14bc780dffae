"""What the console's pages have in common: places in lists, actions with a reason, notices, durations in words."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from flask import request
from flask_babel import gettext, lazy_gettext
from pydantic import BaseModel, BeforeValidator, Field
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from api.auth import current_identity
from api.courses import path_id
from api.errors import Problem
from api.pages import forms
from domain.errors import NotFound, NotPossible
from domain.ops_enrollment import Stale, Who
from domain.student_view import InvalidCursor, decode_cursor, encode_moment

# Rows of a page of a list.
PAGE = 50
REASON_MAX = 500

# A field of a filter that was left empty is not there.
Blank = BeforeValidator(lambda value: (value.strip() or None) if isinstance(value, str) else value)
Text = Annotated[Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f]+$")] | None, Blank]

NOTICES = {
    "paused": lazy_gettext("The partner is paused. Its work waits and uses up no attempts."),
    "resumed": lazy_gettext("The partner goes on. Waiting work comes back within seconds."),
    "limited": lazy_gettext("The limits are saved. Workers follow within seconds."),
    "checked": lazy_gettext("The partner was called. What it answered is below."),
    "event-replayed": lazy_gettext(
        "The event will be looked at again. What it did already is not done twice."
    ),
    "replayed": lazy_gettext("The enrolment is on its way again. Steps that are done are not done again."),
    "skipped": lazy_gettext("The step counts as done, and the enrolment goes on after it."),
    "revoked": lazy_gettext("The seat is taken away, and the student is told."),
    "restored": lazy_gettext("The seat is being opened anew."),
    "bulk": lazy_gettext("The replay has begun: one enrolment first, the others when it got through."),
    "job-revived": lazy_gettext("The job is due again."),
}


class PageQuery(BaseModel):
    """Which page of a list."""

    cursor: str | None = None


@dataclass(frozen=True)
class Listed:
    """A page of a list. `older` is the address of the next one, None on the last."""

    rows: Sequence[Mapping[str, Any]]
    older: str | None


def notice() -> str | None:
    """Return the sentence about what was just done, None where nothing was."""
    said = NOTICES.get(request.args.get("done", ""))
    return None if said is None else str(said)


def place_of(cursor: str | None) -> dict[str, Any]:
    """Return where a list by time and id begins, as `at` and `last`; raise the 400 for a cursor that is not ours."""
    try:
        at, last = (None, None) if cursor is None else decode_cursor(cursor)
    except InvalidCursor:
        raise Problem("invalid_cursor") from None
    return {"at": at, "last": last}


def cut(rows: Sequence[Mapping[str, Any]], moment: str = "created_at", size: int = PAGE) -> Listed:
    """Return the page of a list by time and id of which one row more than fits was read."""
    if len(rows) <= size:
        return Listed(rows, None)
    last = rows[size - 1]
    return Listed(rows[:size], address(cursor=encode_moment(last[moment], str(last["id"]))))


def seal(*parts: object) -> str:
    """Return an opaque cursor of a list in another order."""
    return base64.urlsafe_b64encode("|".join(map(str, parts)).encode()).decode().rstrip("=")


def unseal(cursor: str) -> list[str]:
    """Return the parts of such a cursor; raise the 400 for what is none."""
    try:
        return (
            base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), b"-_", validate=True)
            .decode()
            .split("|")
        )
    except ValueError:
        raise Problem("invalid_cursor") from None


def address(**changes: str) -> str:
    """Return this page's address with other parameters; what was just done is left behind."""
    kept = {name: value for name, value in request.args.items() if value and name != "done"}
    return f"{request.path}?{urlencode({**kept, **changes})}"


def own_id(raw: str) -> str:
    """Return an id of a path; raise the 404 for what is none."""
    return path_id(raw, "not_found")


def act(
    name: str, work: Callable[[Session, Who], str], page: Callable[[dict[str, str], int], Response]
) -> Response:
    """Do what a form asks for, once, with its reason and the version that it was shown with; lead to where `work` says.

    What is missing or refused comes back as the page with the mistake: 422 for the reason, 409 for what does not go.
    """
    reason = request.form.get("reason", "").strip()
    mistake = _mistake(reason)
    if mistake is not None:
        return page({f"{name}-reason": mistake}, 422)
    who = Who(current_identity().subject, reason, request.form.get("version", ""))
    try:
        return forms.go_once(lambda session: work(session, who))
    except Stale:
        words = gettext(
            "This has changed since you opened the page. Look at it as it is now, then decide again."
        )
        return page({f"{name}-reason": words}, 409)
    except NotFound:
        raise Problem("not_found") from None
    except NotPossible as refusal:
        return page({f"{name}-reason": f"{str(refusal).capitalize()}."}, 409)


def _mistake(reason: str) -> str | None:
    if not reason:
        return str(gettext("Say why; the reason is kept with your name."))
    if len(reason) > REASON_MAX or "\0" in reason:
        return str(gettext("The reason has to be text of at most %(most)s characters.", most=REASON_MAX))
    return None


def duration(seconds: float | None) -> str:
    """Return how long something is in words, in its two largest units at most; a dash for None."""
    if seconds is None:
        return "–"
    whole = max(0, round(seconds))
    if seconds < 10:
        return str(gettext("%(n)s s", n=f"{max(0.0, float(seconds)):.1f}"))
    if whole < 120:
        return str(gettext("%(n)s s", n=whole))
    if whole < 7200:
        return str(gettext("%(n)s min", n=whole // 60))
    if whole < 2 * 86_400:
        hours, minutes = whole // 3600, whole % 3600 // 60
        exact = gettext("%(hours)s h %(minutes)s min", hours=hours, minutes=minutes)
        return str(exact if minutes else gettext("%(hours)s h", hours=hours))
    days, hours = whole // 86_400, whole % 86_400 // 3600
    return str(gettext("%(days)s d %(hours)s h", days=days, hours=hours))
