"""A click into a course of a partner without an API: a page with the student's own code and what to do with it."""

from __future__ import annotations

from flask import Response, make_response, render_template

import api.manual_problems  # noqa: F401 - registers the codes
from api.errors import Problem
from db.session import transaction
from domain import manual_work, secrets
from domain.student_view import LaunchSeat
from partners.errors import PartnerError
from partners.manual.adapter import ManualPartner
from partners.registry import get_partner


def hand_out(seat: LaunchSeat) -> Response | None:
    """Return the page of the student whose seat it is; None where a redirect is all there is, as at other partners.

    The code counts as seen from now on. Nobody may keep or pass on the page.
    """
    try:
        partner = get_partner(seat.provider_type)
    except PartnerError:
        return None
    if not isinstance(partner, ManualPartner):
        return None
    options = partner.options
    try:
        with transaction() as session:
            given = manual_work.hand_out(session, seat.id, seat.student_id, options.expires_days)
    except (secrets.NoKeys, secrets.NotOurs):
        raise Problem("code_unreadable") from None
    if given is None and not options.instructions:
        return None
    url = options.website_url if given is None or given.access_url is None else given.access_url
    page = render_template("manual_launch.html", given=given, url=url, instructions=options.instructions)
    response = make_response(page)
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    return response
