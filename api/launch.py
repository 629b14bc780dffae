"""One click into the partner's course: the launch is minted at the click, because launch links live for seconds.

Read in one short transaction, call the partner with none open. The address is a key: it is never stored or logged.
"""

from __future__ import annotations

import math
import re
import uuid

import structlog
from flask import Blueprint, Response, g, make_response, render_template
from werkzeug.urls import iri_to_uri

from api.auth import current_user_id, requires_user
from api.errors import Problem
from api.manual_launch import hand_out
from db.session import transaction
from domain.student_view import LAUNCHABLE, LaunchSeat, failure_reference, find_seat
from partners.base import Click, FormPost, Launch, Redirect, Student
from partners.errors import PartnerError, RetryLater
from partners.registry import get_partner
from settings import get_settings

# Seconds until the next try where the partner named none, and the longest that a person is told to wait.
RETRY_AFTER, RETRY_AFTER_MAX = 30, 3600
# Seconds until a place that is being prepared is usually there.
PENDING = {"Retry-After": "10"}
# A web address whose origin can stand in a Content-Security-Policy: nothing in it ends or extends the directive.
ADDRESS = re.compile(r"(https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?)(?:[/?#]|$)")

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)
blueprint = Blueprint("launch", __name__)


@blueprint.get("/api/partner-launch/<enrollment_id>")
@requires_user
def partner_launch(enrollment_id: str) -> Response:
    """Send the signed-in student into the course: a redirect, or one button where the partner wants a form."""
    with transaction() as session:
        seat = find_seat(session, enrollment_id)
    if seat is None:
        raise Problem("enrollment_not_found")
    external_id = _check(seat, current_user_id())
    response = hand_out(seat) or answer_launch(_mint(seat, external_id))
    log.info("[PartnerLaunch] launched", enrollment_id=seat.id, partner=seat.provider_type)
    return response


def answer_launch(launch: Launch) -> Response:
    """Return the answer that carries a launch, which nobody may keep or pass on."""
    response = _redirect(launch) if isinstance(launch, Redirect) else _form(launch)
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    return response


def _check(seat: LaunchSeat, user_id: str) -> str:
    """Return the partner's id of the seat; raise the problem that says why this student cannot launch it now."""
    if seat.student_id != user_id:
        raise Problem("not_your_enrollment")
    if seat.status == "failed":
        raise Problem("enrollment_failed", hint=_reference(seat.id))
    if seat.manual_setup is not None:
        said = f"The payment arrived, and a person is setting your place up. This usually takes up to {seat.manual_setup.usually}."
        raise Problem("enrollment_pending", said, hint="You get a mail when the course is open.")
    if seat.status not in LAUNCHABLE:
        raise Problem(f"enrollment_{seat.status}", headers=PENDING if seat.status == "pending" else None)
    if seat.external_enrollment_id is None:
        raise Problem("enrollment_pending")
    return seat.external_enrollment_id


def _mint(seat: LaunchSeat, external_id: str) -> Launch:
    return_url = f"{get_settings().app_url}/dashboard"
    try:
        click = Click(
            seat.id,
            Student(seat.account_reference, seat.email, seat.name or seat.email),
            seat.course_code,
            return_url,
            str(uuid.uuid4()),
        )
        return get_partner(seat.provider_type).launch(external_id, click)
    except PartnerError as error:
        log.warning(
            "[PartnerLaunch] failed",
            enrollment_id=seat.id,
            partner=seat.provider_type,
            error=error.code,
            status=error.status,
        )
        raise Problem("partner_unavailable", headers=_retry_after(error)) from None


def _redirect(launch: Redirect) -> Response:
    _origin(launch.url)
    return Response(status=302, headers={"Location": iri_to_uri(launch.url)})


def _form(launch: FormPost) -> Response:
    """Return a page with one button; the policy lets its form go to the partner's host and nowhere else."""
    g.form_action = _origin(launch.action)
    return make_response(render_template("launch.html", launch=launch))


def _origin(url: str) -> str:
    found = ADDRESS.match(url)
    if found is None:
        log.warning("[PartnerLaunch] failed", error="not a web address")
        raise Problem("partner_unavailable")
    return found[1]


def _retry_after(error: PartnerError) -> dict[str, str]:
    if not isinstance(error, RetryLater):
        return {}
    wait = RETRY_AFTER if error.after is None else min(max(math.ceil(error.after), 1), RETRY_AFTER_MAX)
    return {"Retry-After": str(wait)}


def _reference(enrollment_id: str) -> str:
    email = get_settings().support_email
    contact = f" if you write to {email}" if email else " if you write to support"
    return f"You need not pay again. Name the reference {failure_reference(enrollment_id)}{contact}."
