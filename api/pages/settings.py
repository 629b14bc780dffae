"""What a student may change about themselves: name, time zone, language, which mails, and who may see them.

A change sets every value to what the form says, so sending it twice changes nothing the second time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from flask import Blueprint, Response, make_response, redirect, request
from flask_babel import format_datetime, gettext

from api import i18n
from api.auth import current_user_id, requires_user
from api.errors import Problem
from api.i18n import LOCALES
from api.pages.viewer import load_viewer, render
from db.session import transaction
from domain import profile
from domain.errors import NotFound
from domain.profile import Preferences
from domain.users import NAME_MAX, check_time_zone, clean_name, time_zones

PATH = "/dashboard/settings"
blueprint = Blueprint("settings", __name__)
_ = gettext


@dataclass
class Form:
    """What stands in the form. `locale` is empty for the browser's own."""

    name: str
    time_zone: str
    locale: str
    preferences: Preferences

    @classmethod
    def sent(cls) -> Form:
        """Return what was sent; a box that is not ticked is not sent."""
        given = request.form
        boxes = {box: box in given for box in Preferences.__dataclass_fields__}
        return cls(
            given.get("name", ""), given.get("time_zone", ""), given.get("locale", ""), Preferences(**boxes)
        )

    def mistakes(self) -> dict[str, str]:
        """Return what is wrong, by field."""
        found = {}
        try:
            self.name = clean_name(self.name)
        except ValueError:
            found["name"] = _("The name must be one line of at most %(most)s characters.", most=NAME_MAX)
        try:
            check_time_zone(self.time_zone)
        except ValueError:
            found["time_zone"] = _("Choose a time zone from the list.")
        if self.locale not in ("", *LOCALES):
            found["locale"] = _("Choose a language from the list.")
        return found


@blueprint.get(PATH)
@requires_user
def show() -> Response:
    """Show the form with what is stored."""
    try:
        with transaction() as session:
            load_viewer(session)
            stored = profile.read_settings(session, current_user_id())
    except NotFound:
        raise Problem("no_student") from None
    boxes = {box: stored[box] for box in Preferences.__dataclass_fields__}
    form = Form(stored["name"], stored["time_zone"], stored["locale"] or "", Preferences(**boxes))
    return _page(form, stored["email"], {}, 200)


@blueprint.post(PATH)
@requires_user
def save() -> Response:
    """Save all of it, or show the form again with what is wrong and save nothing."""
    form, user_id = Form.sent(), current_user_id()
    try:
        with transaction() as session:
            load_viewer(session)
            stored = profile.read_settings(session, user_id)
            mistakes = form.mistakes()
            if not mistakes:
                profile.update_profile(session, user_id, name=form.name, time_zone=form.time_zone)
                profile.save_preferences(session, user_id, form.preferences)
                profile.save_locale(session, user_id, form.locale or None)
    except NotFound:
        raise Problem("no_student") from None
    if mistakes:
        return _page(form, stored["email"], mistakes, 422)
    response = make_response(redirect(f"{PATH}?saved=1", 303))
    i18n.remember(response, form.locale or None)
    return response


def _page(form: Form, email: str, mistakes: dict[str, str], status: int) -> Response:
    zones = sorted(time_zones())
    now = datetime.now(UTC)
    there = now.astimezone(ZoneInfo(form.time_zone)) if form.time_zone in time_zones() else now
    return render(
        "student/settings.html",
        status,
        form=form,
        email=email,
        mistakes=mistakes,
        zones=zones,
        there=format_datetime(there, "EEEE, HH:mm", rebase=False),
        saved=request.args.get("saved") == "1",
    )
