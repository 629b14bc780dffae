"""How Canvas is called: its ways to refuse, its budget per token, its lists."""

from __future__ import annotations

import time
from collections.abc import Collection
from functools import partial
from typing import Any

from partners.canvas.answers import read_number, tells_nothing
from partners.connection import Connection
from partners.errors import CredentialsWrong, RateLimited, Refused, RetryLater, Throttled
from partners.http import Answer

ENROLLMENTS = "/courses/{course}/enrollments"
PAGE_MAX = 100
# Canvas counts a budget per token (600 units, 10 more each second). Below LOW, progress waits for it to fill, so that
# purchases and clicks still get through.
LOW, REFILL = 100.0, 10.0


class CanvasApi:
    """Canvas's REST API, by a token. What it remembers of the budget is this process's own."""

    def __init__(self, connection: Connection) -> None:
        """Call nobody yet; raise `CredentialsWrong` for what the connection lacks."""
        self._door = connection.door(
            headers={"Authorization": f"Bearer {connection.secret('token')}"},
            base_url=f"{connection.url()}/api/v1",
        )
        self._full_at = 0.0

    def call(
        self, method: str, path: str, *, idempotent: bool, accept: Collection[int] = (), **more: Any
    ) -> Answer:
        """Call Canvas as `HttpDoor.call` does. A 400 in `accept` is one that says there is no progress to tell."""
        judge = partial(self._judge, method, path)
        return self._door.call(
            method, path, idempotent=idempotent, accept={401, 403, *accept}, judge=judge, **more
        )

    def _judge(self, method: str, path: str, answer: Answer) -> None:
        """Watch the budget, and tell the meanings of 401 and 403 apart."""
        left = _number(answer.headers.get("X-Rate-Limit-Remaining"))
        pause = max(0.0, LOW - left) / REFILL
        if pause:
            self._full_at = time.monotonic() + pause
        if answer.status == 400 and not tells_nothing(answer.json):
            raise Refused(f"{method} {path}: 400", status=400)
        if answer.status not in (401, 403):
            return
        call, status = f"{method} {path}: {answer.status}", answer.status
        if status == 403 and b"rate limit exceeded" in answer.body.lower():
            raise RateLimited(f"{call}, rate limit exceeded", status=status, after=pause or None)
        # Canvas says 401 of a token that is none, with this header, and of one that may not do this, without it.
        if "WWW-Authenticate" in answer.headers or not path.startswith("/courses/"):
            raise CredentialsWrong(f"{call}, the token is not accepted", status=status)
        raise Refused(f"{call}, the token may not do this in this course", status=status)

    def leave_room(self) -> None:
        """Raise `Throttled` while the budget is low."""
        left = self._full_at - time.monotonic()
        if left > 0:
            raise Throttled("Canvas's budget for the token is low: progress waits", after=left)

    def enrollments(self, course: str, user: str, states: Collection[str]) -> list[dict[str, str]]:
        """Return id, course and state of a user's enrolments as a student of a course, in some states."""
        params = {
            "user_id": user,
            "type[]": "StudentEnrollment",
            "state[]": list(states),
            "per_page": PAGE_MAX,
        }
        answer = self.call("GET", ENROLLMENTS, path_args={"course": course}, params=params, idempotent=True)
        found = []
        for item in read_list(answer, ENROLLMENTS):
            try:
                id, its_course, whose = (read_number(item, name) for name in ("id", "course_id", "user_id"))
            except ValueError as error:
                raise RetryLater(f"GET {ENROLLMENTS}: {error}", status=answer.status) from None
            # Canvas leaves parameters aside that it does not know: nobody may get a stranger's seat by that.
            state = item.get("enrollment_state")
            if whose == user and item.get("type") == "StudentEnrollment" and state in states:
                found.append({"id": id, "course": its_course, "state": state})
        return found


def read_list(answer: Answer, path: str) -> list[Any]:
    """Return the list that was answered; raise `RetryLater` where it is none."""
    if not isinstance(answer.json, list):
        raise RetryLater(f"GET {path}: answered no list", status=answer.status)
    return answer.json


def _number(text: str | None) -> float:
    """Return what is left of the budget; where nothing usable is told, it is not limited."""
    try:
        return max(0.0, float(text)) if text else LOW
    except ValueError:
        return LOW
