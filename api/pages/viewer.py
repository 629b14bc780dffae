"""Who looks at a page: their language, their time zone, and what the layout shows of them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from flask import Response, g, make_response, render_template
from flask_babel import refresh
from sqlalchemy import text
from sqlalchemy.orm import Session

from api.auth import current_identity
from domain import flags

FIND = text("SELECT name, email, locale, time_zone FROM users WHERE id = :id")


@dataclass(frozen=True)
class Viewer:
    """A signed-in person. Staff who are no students have no `user_id`."""

    user_id: str | None
    name: str
    role: str


def load_viewer(session: Session) -> Viewer:
    """Return who is signed in; from here on the page is in their language and their time zone.

    Templates find them as `g.viewer`, and in `g.features` which features are switched on.
    """
    identity = current_identity()
    row = None
    if identity.user_id is not None:
        row = session.execute(FIND, {"id": identity.user_id}).one_or_none()
    if row is not None:
        g.locale, g.time_zone = row.locale, row.time_zone
        refresh()
    name = row.name or row.email if row is not None else identity.subject
    viewer = Viewer(identity.user_id, name, identity.role)
    g.viewer = viewer
    g.features = {name: flags.enabled(session, name) for name in flags.FLAGS}
    return viewer


def render(template: str, status: int = 200, **values: Any) -> Response:
    """Return a page; the layout finds the viewer in `g`. `form_key` is for the forms' hidden `key` (macro `key_field`)."""
    values.setdefault("form_key", str(uuid.uuid4()))
    return make_response(render_template(template, **values), status)
