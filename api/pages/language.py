"""The language switch at the foot of every page, for strangers too."""

from __future__ import annotations

from flask import Blueprint, redirect, request
from flask.typing import ResponseReturnValue

from api import i18n
from api.auth import find_identity, public
from api.errors import Problem
from api.i18n import LOCALES
from db.session import transaction
from domain import profile

blueprint = Blueprint("language", __name__)


@blueprint.post("/language")
@public
def switch() -> ResponseReturnValue:
    """Keep the wanted language in a cookie, and with whoever is signed in; lead back to the page."""
    wanted = request.form.get("locale", "")
    if wanted not in LOCALES:
        raise Problem("not_found")
    identity = find_identity()
    if identity is not None and identity.user_id is not None:
        with transaction() as session:
            profile.save_locale(session, identity.user_id, wanted)
    return i18n.remember(redirect(_back(request.form.get("next", "")), 303), wanted)


def _back(path: str) -> str:
    """Return where to go: a path of ours, else the start."""
    ours = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if ours else "/"
