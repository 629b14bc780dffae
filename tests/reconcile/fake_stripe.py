"""A Stripe that lists what tests put into it: newest first, by time, type and cursor, and nothing older than it should."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.stack import checkout_event

KEY = "sk_test_reconcile_0123456789"
DAY = 86_400
# Stripe lists events of the last 30 days.
EVENTS_KEPT = 30 * DAY
LISTS = {
    "/v1/events": "events",
    "/v1/checkout/sessions": "sessions",
    "/v1/refunds": "refunds",
    "/v1/disputes": "disputes",
}

Object = dict[str, Any]


class FakeStripe:
    """The objects, newest first as Stripe lists them, and how the server is to misbehave."""

    def __init__(self) -> None:
        self.events: list[Object] = []
        self.sessions: list[Object] = []
        self.refunds: list[Object] = []
        self.disputes: list[Object] = []
        self.calls: Counter[str] = Counter()
        # Statuses to answer with, by list; after `healthy` good answers of it where that is given.
        self.trouble: dict[str, int] = {}
        self.healthy: dict[str, int] = {}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _make_handler(self))
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    # What happens at Stripe

    def sell(self, metadata: dict[str, str] | None, *, days_ago: float = 0, delivered: bool = False) -> bytes:
        """Have a checkout session completed and paid; return its event as the webhook would get it."""
        event = json.loads(checkout_event(metadata))
        self.sessions.append({**event["data"]["object"], "created": _at(days_ago)})
        return self._happened(event["type"], self.sessions[-1], days_ago, delivered)

    def refund(self, session: Object, *, days_ago: float = 0, told: bool = True) -> Object:
        """Pay a session back; where it is not `told`, no event can be listed for it."""
        refund = {
            "id": f"re_{uuid.uuid4().hex}",
            "object": "refund",
            "payment_intent": session["payment_intent"],
            "amount": session["amount_total"],
            "status": "succeeded",
            "metadata": {},
            "created": _at(days_ago),
        }
        self.refunds.append(refund)
        if told:
            self._happened("refund.created", refund, days_ago, False)
        return refund

    def dispute(self, session: Object, status: str, *, days_ago: float = 0) -> Object:
        """Dispute a session's payment, without any event."""
        dispute = {
            "id": f"dp_{uuid.uuid4().hex}",
            "object": "dispute",
            "payment_intent": session["payment_intent"],
            "status": status,
            "created": _at(days_ago),
        }
        self.disputes.append(dispute)
        return dispute

    def _happened(self, type: str, found: Object, days_ago: float, delivered: bool) -> bytes:
        event = {
            "id": f"evt_{uuid.uuid4().hex[:24]}",
            "object": "event",
            "api_version": "2026-10-28.endive",
            "created": _at(days_ago),
            "livemode": False,
            "pending_webhooks": 0 if delivered else 1,
            "type": type,
            "data": {"object": found},
        }
        self.events.append(event)
        return json.dumps(event).encode()

    # What it answers

    def answer(self, path: str, query: dict[str, list[str]], key: str | None) -> tuple[int, Object]:
        self.calls[path] += 1
        name = LISTS.get(path)
        if key != f"Bearer {KEY}":
            return 401, _error("Invalid API Key provided")
        if name is None:
            return 404, _error(f"Unrecognized request URL (GET: {path})")
        if name in self.trouble and self.calls[path] > self.healthy.get(name, 0):
            return self.trouble[name], _error("told to")
        return 200, self._list(path, name, query)

    def _list(self, path: str, name: str, query: dict[str, list[str]]) -> Object:
        found = sorted(getattr(self, name), key=lambda item: -item["created"])
        if name == "events":
            found = [item for item in found if item["created"] > time.time() - EVENTS_KEPT]
        types = [value[0] for key, value in query.items() if key.startswith("types[")]
        assert len(types) <= 20
        found = [item for item in found if not types or item["type"] in types]
        found = [item for item in found if query.get("status", [item.get("status")])[0] == item.get("status")]
        lowest, limit = int(query.get("created[gte]", ["0"])[0]), int(query.get("limit", ["10"])[0])
        below = int(query.get("created[lt]", [str(2**40)])[0])
        found = [item for item in found if lowest <= item["created"] < below]
        if "starting_after" in query:
            ids = [item["id"] for item in found]
            found = found[ids.index(query["starting_after"][0]) + 1 :]
        if "ending_before" in query:
            ids = [item["id"] for item in found]
            found = found[: ids.index(query["ending_before"][0])]
            return {"object": "list", "url": path, "has_more": len(found) > limit, "data": found[-limit:]}
        assert 1 <= limit <= 100
        return {"object": "list", "url": path, "has_more": len(found) > limit, "data": found[:limit]}


def _at(days_ago: float) -> int:
    return int(time.time() - days_ago * DAY)


def _error(message: str) -> Object:
    return {"error": {"type": "invalid_request_error", "message": message}}


def _make_handler(fake: FakeStripe) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            status, body = fake.answer(parts.path, parse_qs(parts.query), self.headers.get("Authorization"))
            raw = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
