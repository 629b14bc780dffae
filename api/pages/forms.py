"""What the forms of pages send. Each has a hidden `key`: a double click or a reload does it once.

The same form again waits for the first one and is answered as that was. With other values it is another request.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence

from flask import Response, current_app, redirect, request
from sqlalchemy.orm import Session

from api import idempotency

FIELD = "key"
# Characters of a key that are looked at.
KEY_MAX = 64


def allow(size: int, fields: int) -> None:
    """Take a form of up to `size` bytes, `fields` of them in fields that are no files; more is a 413."""
    request.max_content_length, request.max_form_memory_size = size, fields


def go_once(work: Callable[[Session], str], *more: str) -> Response:
    """Do what the form asks for in one transaction, and lead to the address that `work` returns (303).

    Sent again, it leads there again and nothing is done. `more` is what tells it from another besides its fields. What
    `work` raises is not kept: the form may be sent again.
    """

    def answer(session: Session) -> Response:
        return current_app.make_response(redirect(work(session), 303))

    return idempotency.do_once(_name(more), answer)


def answer_once(work: Callable[[Session], Response], *more: str) -> Response:
    """Do what the form asks for in one transaction and answer what `work` returns, as `go_once` does for addresses."""
    return idempotency.do_once(_name(more), work)


def _name(more: Sequence[str]) -> str | None:
    """Return a name for this form with these values, None where it has no key."""
    key = request.form.get(FIELD, "")[:KEY_MAX]
    if not key:
        return None
    asked = [request.path, key, sorted(request.form.items(multi=True)), *more]
    return f"form:{hashlib.sha256(json.dumps(asked).encode()).hexdigest()}"
