"""Canvas's paged lists: the way to the next page, and the places in a reading of all courses."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from email.message import Message
from typing import Any
from urllib.parse import parse_qs, urlsplit

# Seconds within which courses that were all read are not read once more.
REST = 60.0

_NEXT = re.compile(r'<([^<>]*)>\s*;[^,<]*\brel="?next"?(?![\w-])')


def next_page(headers: Message) -> str | None:
    """Return the query of the next page, None on the last one.

    Of the address that Canvas gives only the query is used: where we call is not for an answer to say.
    """
    found = _NEXT.search(headers.get("Link") or "")
    return None if found is None else urlsplit(found[1]).query or None


def params_of(query: str) -> dict[str, Any]:
    """Return a query as parameters."""
    return parse_qs(query, keep_blank_values=True)


@dataclass(frozen=True)
class Place:
    """A place in the reading of all courses.

    `courses` are still to be read, the first of them from the page `users` on (`plain`: its list of enrolments,
    because it tells no progress); `more` is the next page of courses. `done` is when all were read, in Unix seconds.
    """

    courses: tuple[str, ...] = ()
    more: str | None = None
    users: str | None = None
    plain: bool = False
    done: float | None = None

    @classmethod
    def read(cls, cursor: str | None) -> Place:
        """Return the place of a cursor; the beginning where there is none, or none of ours."""
        try:
            place = cls(**json.loads(cursor)) if cursor else cls()
            return cls(tuple(map(str, place.courses)), place.more, place.users, place.plain, place.done)
        except (ValueError, TypeError):
            return cls()

    def cursor(self) -> str:
        """Return the place as text."""
        return json.dumps({name: value for name, value in asdict(self).items() if value})

    def rests(self, now: float) -> bool:
        """Return whether all courses were read just now. Canvas cannot be asked for what changed since."""
        return self.done is not None and abs(now - self.done) < REST

    def following(self, users: str | None, *, plain: bool, now: float) -> Place:
        """Return the place after a page of the first course, whose next page is `users`."""
        if users is not None:
            return Place(self.courses, self.more, users, plain)
        left = self.courses[1:]
        return Place(left, self.more) if left or self.more else Place(done=now)
