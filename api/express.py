"""The express lane: an event of Stripe's that is in order is stored and answered before Flask looks at the request.

Flask's part, its router and the hooks around every view, took as much processor time as verifying and storing together.
Whatever is not in order goes on to the app with what was wrong, and the view answers it as it answers any request.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from io import BytesIO
from typing import TYPE_CHECKING, Any

from api import every_request, stripe_webhook
from workers import tracing

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

MAX_BODY_DIGITS = len(str(stripe_webhook.MAX_BODY))
HEADERS = [
    ("Content-Type", "application/json"),
    ("Content-Length", str(len(stripe_webhook.RECEIVED))),
    every_request.NO_SNIFFING,
    *every_request.HEADERS.items(),
]


class ExpressLane:
    """WSGI middleware in front of the app."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer an event that is in order; hand everything else on, its body still to be read."""
        length = _length_of_event(environ)
        if length is None:
            return self._app(environ, start_response)
        started = time.perf_counter()
        request_id = every_request.name_request(environ.get("HTTP_X_REQUEST_ID", ""))
        body = environ["wsgi.input"].read(length)
        try:
            event, values = stripe_webhook.store(body, environ.get("HTTP_STRIPE_SIGNATURE"))
        except Exception as error:  # noqa: BLE001 - the app knows what to answer to each
            environ["wsgi.input"] = BytesIO(body)
            environ["HTTP_X_REQUEST_ID"] = request_id
            environ[stripe_webhook.FAILED] = error
            return self._app(environ, start_response)
        every_request.say(
            event, values, method="POST", route=stripe_webhook.PATH, status=200, started=started
        )
        start_response("200 OK", [*HEADERS, ("X-Request-ID", request_id)])
        return [stripe_webhook.RECEIVED]


def _length_of_event(environ: dict[str, Any]) -> int | None:
    """Return the length of an event as Stripe posts it; None for a page of a browser's, what is too large or in pieces."""
    length: str = environ.get("CONTENT_LENGTH", "")
    if (
        environ["PATH_INFO"] != stripe_webhook.PATH
        or environ["REQUEST_METHOD"] != "POST"
        or "HTTP_ORIGIN" in environ
        or "HTTP_TRANSFER_ENCODING" in environ
        or len(length) > MAX_BODY_DIGITS
        or not length.isdecimal()
        or tracing.is_attached()
    ):
        return None
    return int(length) if int(length) <= stripe_webhook.MAX_BODY else None
