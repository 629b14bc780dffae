"""The student's own page: courses, how far they are, and one link into each."""

from __future__ import annotations

from flask import Blueprint, Response, make_response, redirect, render_template, request
from flask.typing import ResponseReturnValue

from api.auth import current_user_id, public, requires_user
from api.errors import Problem
from db.session import transaction
from domain.student_view import InvalidCursor, list_enrollments

PAGE = 50
# Seconds between two looks while a place is being prepared.
REFRESH = 5

blueprint = Blueprint("dashboard", __name__)


@blueprint.get("/")
@public
def home() -> ResponseReturnValue:
    """Lead to the dashboard."""
    return redirect("/dashboard")


@blueprint.get("/dashboard")
@requires_user
def dashboard() -> Response:
    """Show the student's partner enrolments, newest first."""
    try:
        with transaction() as session:
            page = list_enrollments(session, current_user_id(), limit=PAGE, cursor=request.args.get("cursor"))
    except InvalidCursor:
        raise Problem("invalid_cursor") from None
    pending = any(item.status == "pending" for item in page.items)
    return make_response(render_template("dashboard.html", page=page, refresh=REFRESH if pending else None))
