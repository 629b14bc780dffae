"""What a browser may do with a session cookie: changes from our own pages or listed front ends, answers for the latter.

A cookie goes with every request, whoever's page made it; a bearer token does not, so none of this concerns it.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Response, request

from api.errors import Problem
from settings import get_settings

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
REQUEST_HEADERS = (
    "Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, Prefer, X-Request-ID"
)
ANSWER_HEADERS = "ETag, Location, Preference-Applied, Retry-After, X-Request-ID"
# Seconds that a browser may remember the answer to its preflight.
PREFLIGHT_MAX_AGE = "600"


def check_same_site() -> None:
    """Raise the 403 for a change that another site's page made in the name of whoever holds the cookie."""
    if request.method not in SAFE_METHODS and not _is_ours():
        raise Problem("cross_site")


def answer_preflight() -> Response | None:
    """Return the answer to a listed front end's question whether it may ask, None for every other request."""
    asked = request.headers.get("Access-Control-Request-Method")
    if request.method != "OPTIONS" or asked is None or not _is_listed():
        return None
    response = Response(status=204)
    response.headers["Access-Control-Allow-Methods"] = METHODS
    response.headers["Access-Control-Allow-Headers"] = REQUEST_HEADERS
    response.headers["Access-Control-Max-Age"] = PREFLIGHT_MAX_AGE
    return response


def allow_origin(response: Response) -> None:
    """Let a listed front end's page read the answer. Caches are told that it depends on who asked."""
    if not get_settings().cors_origins:
        return
    response.vary.add("Origin")
    if _is_listed():
        response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
        response.headers["Access-Control-Allow-Credentials"] = "true"
        response.headers["Access-Control-Expose-Headers"] = ANSWER_HEADERS


def _is_listed() -> bool:
    return request.headers.get("Origin", "").lower() in get_settings().cors_origins


def _is_ours() -> bool:
    """Say whether the browser sent this from one of our own pages; without a word from the browser, it did not."""
    if _is_listed():
        return True
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    ours = {_origin(get_settings().app_url), _origin(request.host_url)}
    return request.headers.get("Origin", "").lower() in ours


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()
