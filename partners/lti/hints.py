"""What goes with a click to the tool and comes back: signed, so that nobody can make up or change a launch.

`login_hint` is a random positive integer, because Moodle's tool reads no other. `lti_message_hint` is signed, holds that
number, and says who launches what. It is good for `MAX_AGE` seconds, once.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from itsdangerous import BadData, URLSafeTimedSerializer

# Seconds between the click and the tool's return for it.
MAX_AGE = 300
# Seconds that staff may take to choose content.
CHOOSING = 4 * 3600
# JavaScript counts exactly so far, PHP further.
LARGEST = 2**53 - 1
SALT, CHOICE_SALT = "usher.lti.hint", "usher.lti.choice"


@dataclass(frozen=True)
class Hint:
    """One click. `enrollment_id` for a student's launch; `course_id` and `actor` where staff choose content."""

    number: str
    tool_id: str
    target: str
    return_url: str
    enrollment_id: str | None = None
    link_id: str | None = None
    course_id: str | None = None
    actor: str | None = None


@dataclass(frozen=True)
class Choice:
    """What a deep linking response has to echo: which request it answers, for which course, begun by whom."""

    launch_id: str
    tool_id: str
    course_id: str
    actor: str


def new_number() -> str:
    """Return a fresh `login_hint`."""
    return str(secrets.randbelow(LARGEST) + 1)


def seal_hint(hint: Hint, secret: str) -> str:
    """Return a hint as `lti_message_hint`."""
    return _dump(asdict(hint), secret, SALT)


def open_hint(sealed: str, secret: str) -> tuple[Hint, datetime] | None:
    """Return a hint and when it was made; None where it is not ours or too old."""
    found = _load(sealed, secret, SALT, MAX_AGE)
    return None if found is None else (Hint(**found[0]), found[1])


def seal_choice(choice: Choice, secret: str) -> str:
    """Return a choice as the claim `data` of a deep linking request."""
    return _dump(asdict(choice), secret, CHOICE_SALT)


def open_choice(sealed: str, secret: str) -> Choice | None:
    """Return a choice, None where it is not ours or too old."""
    found = _load(sealed, secret, CHOICE_SALT, CHOOSING)
    return None if found is None else Choice(**found[0])


def _dump(value: dict[str, str | None], secret: str, salt: str) -> str:
    given = {name: item for name, item in value.items() if item is not None}
    return str(_serializer(secret, salt).dumps(given))


def _load(sealed: str, secret: str, salt: str, max_age: int) -> tuple[dict[str, str], datetime] | None:
    try:
        found, made_at = _serializer(secret, salt).loads(sealed, max_age=max_age, return_timestamp=True)
    except BadData:
        return None
    return found, made_at.astimezone(UTC)


def _serializer(secret: str, salt: str) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(secret, salt=salt, signer_kwargs={"digest_method": hashlib.sha256})
