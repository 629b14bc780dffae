"""Languages: which one a page is in, and dates and numbers as people there write them. English and Spanish so far.

Texts in templates and pages stand in `_()`; `usher dev messages` gathers them into `api/translations/*/messages.po`.
"""

from __future__ import annotations

from flask import Flask, g, request
from flask_babel import Babel

LOCALES = ("en", "es")
COOKIE = "usher_locale"

babel = Babel()


def register(app: Flask) -> None:
    """Have the app speak the languages that there are."""
    app.config.update(BABEL_DEFAULT_LOCALE="en", BABEL_TRANSLATION_DIRECTORIES="translations")
    babel.init_app(app, locale_selector=pick_locale, timezone_selector=pick_time_zone)
    app.jinja_env.globals.update(locales=LOCALES, page_locale=pick_locale)


def pick_locale() -> str:
    """Return the page's language: the signed-in person's, the cookie's, what the browser asks for, English."""
    for wanted in (g.get("locale"), request.cookies.get(COOKIE)):
        if wanted in LOCALES:
            return str(wanted)
    return request.accept_languages.best_match(LOCALES) or "en"


def pick_time_zone() -> str | None:
    """Return the zone in which times are shown: the signed-in person's, None for UTC."""
    zone: str | None = g.get("time_zone")
    return zone
