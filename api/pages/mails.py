"""Ending mails by the link in them, with no sign-in (RFC 8058), and in development a look at each mail."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, redirect, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

import api.mail_problems  # noqa: F401 - registers the codes
from api.auth import public
from api.errors import Problem
from api.pages.viewer import render
from db.session import transaction
from domain import mail_consent, mail_languages, mail_words, mails
from settings import get_settings

blueprint = Blueprint("mails", __name__)

# Styles stand in the mail itself, since mail programs load none. Nothing else may run, load or be sent.
MAIL_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
# What RFC 8058 has a mail program send.
ONE_CLICK = ("List-Unsubscribe", "One-Click")
SAMPLE = {
    "name": "Ana Silva",
    "course": "Workplace Safety: the whole of it",
    "provider": "Partner Sandbox",
    "reference": "0b44ec04",
    "certificate_number": "SBX-2026-0001",
    "days": 12,
    "freezes": 1,
}


@blueprint.get("/mail/unsubscribe/<token>")
@public
def ask(token: str) -> Response:
    """Ask whether to end the mails that a link names. Opening it changes nothing: programs open links to look at them."""
    _user_id, topic = _open(token)
    return render("mail_unsubscribe.html", topic=topic, done="done" in request.args)


@blueprint.post("/mail/unsubscribe/<token>")
@public
def stop(token: str) -> ResponseReturnValue:
    """End the mails. A mail program's one click is answered without a redirect, as RFC 8058 wants it."""
    user_id, topic = _open(token)
    with transaction() as session:
        mail_consent.stop(session, user_id, topic)
    if request.form.get(ONE_CLICK[0]) == ONE_CLICK[1]:
        return render("mail_unsubscribe.html", topic=topic, done=True)
    return redirect(f"{request.path}?done", 303)


@blueprint.get("/dev/mails")
@public
def list_mails() -> Response:
    """Show every mail in every language as text, with a link to its HTML, where DEV_SIGN_IN is on."""
    _check_development()
    shown = [_preview(kind, name) for kind in mail_words.LETTERS for name in mail_languages.LANGUAGES]
    return render("dev_mails.html", mails=shown)


@blueprint.get("/dev/mails/<kind>/<language>")
@public
def show_mail(kind: str, language: str) -> Response:
    """Show one mail's HTML as it is sent."""
    _check_development()
    if kind not in mail_words.LETTERS or language not in mail_languages.LANGUAGES:
        raise Problem("not_found")
    response = Response(_preview(kind, language)["mail"].html)
    response.headers["Content-Security-Policy"] = MAIL_POLICY
    return response


def _preview(kind: str, language: str) -> dict[str, Any]:
    """Return a mail about somebody who does not exist."""
    url = get_settings().app_url
    addresses = {
        "dashboard_url": f"{url}/dashboard",
        "launch_url": f"{url}/api/partner-launch/{SAMPLE['reference']}",
        "pdf_url": f"{url}/api/certificates/{SAMPLE['reference']}/pdf",
        "verify_url": f"{url}/verify/ABCD-EFGH-JKLM",
        "certificate_url": f"{url}/verify/ABCD-EFGH-JKLM",
        "support_email": get_settings().support_email or "help@example.com",
    }
    stop_url = f"{url}/mail/unsubscribe/example" if kind in mail_consent.TOPICS else None
    made = mails.render(kind, language, "ana@example.com", {**SAMPLE, **addresses}, stop_url=stop_url)
    return {"kind": kind, "language": language, "mail": made}


def _open(token: str) -> tuple[str, str]:
    found = mail_consent.open_token(token)
    if found is None:
        raise Problem("mail_link_invalid", _("The address was cut off or changed, so nothing was ended."))
    return found


def _check_development() -> None:
    if not get_settings().dev_sign_in:
        raise Problem("not_found")
