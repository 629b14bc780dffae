"""Who looks at a page: their language, their time zone, and what the layout shows of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Response, g, make_response, render_template
from sqlalchemy import text
from sqlalchemy.orm import Session

from api.auth import current_identity

FIND = text("SELECT name, email, locale, time_zone FROM users WHERE id = :id")


@dataclass(frozen=True)
class Viewer:
    """A signed-in person. Staff who are no students have no `user_id`."""

    user_id: str | None
    name: str
    role: str


def load_viewer(session: Session) -> Viewer:
    """Return who is signed in; from here on the page is in their language and their time zone."""
    identity = current_identity()
    row = None
    if identity.user_id is not None:
        row = session.execute(FIND, {"id": identity.user_id}).one_or_none()
    if row is not None:
        g.locale, g.time_zone = row.locale, row.time_zone
    g.viewer = Viewer(identity.user_id, row.name or row.email if row else identity.subject, identity.role)
    return g.viewer


def render(template: str, status: int = 200, **values: Any) -> Response:
    """Return a page; the layout finds the viewer in `g`."""
    return make_response(render_template(template, **values), status)
