"""Languages: which one a page is in, and dates and numbers as people there write them. English and Spanish so far.

Texts in templates and pages stand in `_()`; `make messages` gathers them (`api/messages.py`).
"""

from __future__ import annotations

from flask import Flask, g, request
from flask_babel import Babel
from werkzeug.wrappers import Response

from settings import get_settings

LOCALES = ("en", "es")
# Each in its own words.
NAMES = {"en": "English", "es": "Español"}
COOKIE = "usher_locale"
# Seconds for which a browser keeps the choice: a year.
COOKIE_MAX_AGE = 365 * 24 * 3600

babel = Babel()


def register(app: Flask) -> None:
    """Have the app speak the languages that there are."""
    app.config.update(BABEL_DEFAULT_LOCALE="en", BABEL_TRANSLATION_DIRECTORIES="translations")
    babel.init_app(app, locale_selector=pick_locale, timezone_selector=pick_time_zone)
    app.jinja_env.globals.update(locales=LOCALES, language_name=NAMES.__getitem__, page_locale=pick_locale)


def pick_locale() -> str:
    """Return the page's language: the signed-in person's, the cookie's, what the browser asks for, English."""
    for wanted in (g.get("locale"), request.cookies.get(COOKIE)):
        if wanted in LOCALES:
            return str(wanted)
    asked = (tag.partition("-")[0].lower() for tag in request.accept_languages.values())
    return next((language for language in asked if language in LOCALES), "en")


def pick_time_zone() -> str | None:
    """Return the zone in which times are shown: the signed-in person's, None for UTC."""
    zone: str | None = g.get("time_zone")
    return zone


def remember(response: Response, locale: str | None) -> Response:
    """Have the browser keep a language for the pages before anybody is signed in (None: forget it); return the answer."""
    secure = get_settings().app_url.startswith("https://")
    if locale is None:
        response.delete_cookie(COOKIE, httponly=True, samesite="Lax", secure=secure)
    else:
        response.set_cookie(
            COOKIE, locale, max_age=COOKIE_MAX_AGE, httponly=True, samesite="Lax", secure=secure
        )
    return response
