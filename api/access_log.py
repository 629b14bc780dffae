"""The access log: what staff read of people is written down before they get it.

A GET of staff that is answered 200 is looked at: for ids in its route that belong to somebody, for users' ids in its
JSON, and for links to people in its page. What cannot be written down is not answered.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any

from flask import Flask, Response, g, request
from sqlalchemy.orm import Session

from db.session import transaction
from domain import privacy_access
from domain.tokens import Identity

# Under these names an answer says of whom it tells.
NAMES = frozenset({"userId", "studentId", "user_id", "student_id"})
LINK = re.compile(r"/ops/students/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")


def register(app: Flask) -> None:
    """Have every answer looked at."""
    app.after_request(note)


def note(response: Response) -> Response:
    """Write down whom staff looked up with this request."""
    identity: Identity | None = g.get("identity")
    if identity is None or identity.role == "student" or request.method != "GET":
        return response
    if response.status_code != 200 or request.url_rule is None:
        return response
    with transaction() as session:
        found = {*_in_route(session), *_in_answer(response)} - {identity.user_id}
        if found:
            place = f"{request.method} {request.url_rule.rule}"
            privacy_access.record(session, identity.subject, {str(id) for id in found}, place)
    return response


def _in_route(session: Session) -> Iterator[str]:
    for name, value in (request.view_args or {}).items():
        if name in privacy_access.OWNERS and (id := _as_uuid(value)) is not None:
            yield from privacy_access.owners_of(session, name, id)


def _in_answer(response: Response) -> Iterator[str]:
    if response.is_json:
        yield from _named(response.get_json(silent=True))
    elif response.mimetype == "text/html" and not response.direct_passthrough:
        yield from LINK.findall(response.get_data(as_text=True))


def _named(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, part in value.items():
            if name in NAMES and (id := _as_uuid(part)) is not None:
                yield id
            else:
                yield from _named(part)
    elif isinstance(value, list):
        for part in value:
            yield from _named(part)


def _as_uuid(value: Any) -> str | None:
    try:
        return str(uuid.UUID(value)) if isinstance(value, str) else None
    except ValueError:
        return None
