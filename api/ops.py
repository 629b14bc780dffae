"""The staff's first page: what waits for a person, and the command that moves it on."""

from __future__ import annotations

from flask import Blueprint, Response, make_response, render_template

from api.auth import requires
from db.session import transaction
from domain import ops_view

# Rows of each list; what is beyond them is a matter for the command line.
LIMIT = 20

blueprint = Blueprint("ops", __name__)


@blueprint.get("/ops")
@requires("ops")
def ops() -> Response:
    """Show counts, waiting events, failures and jobs."""
    with transaction() as session:
        page = ops_view.overview(session, LIMIT)
    return make_response(render_template("ops.html", **page, limit=LIMIT))
