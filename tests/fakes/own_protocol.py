"""The sandbox's protocol as a fake in this process, for adapters other than its own."""

from __future__ import annotations

import json
from urllib.parse import unquote

from werkzeug.wrappers import Request, Response

from partners.kit.fake import Fake
from partners.sandbox.protocol import Call, Problem, Protocol
from partners.sandbox.state import State

API_KEY = "own-protocol-key-0123456789"


class OwnProtocol(Fake):
    """A partner that implements the protocol, with the sandbox's own rules behind it."""

    def __init__(self) -> None:
        self.state = State()
        self._protocol = Protocol(self.state)
        super().__init__()

    def handle(self, request: Request) -> Response:
        if request.headers.get("Authorization") != f"Bearer {API_KEY}":
            return _json({"message": "who are you?"}, 401)
        parts = [unquote(part) for part in request.path.split("/")[1:]]
        with self.lock:
            name = self._protocol.name(request.method, parts)
            if name is None:
                return _json({"message": "no such call"}, 404)
            call = Call(name, request.path, query=request.args, base=self.url, at=self.now().timestamp())
            call.id = parts[1] if len(parts) > 1 else ""
            call.body = request.get_json(silent=True) or {}
            call.key = request.headers.get("Idempotency-Key")
            try:
                status, body = self._protocol.answer(call)
            except Problem as problem:
                return _json({"message": str(problem)}, problem.status)
        return _json(body, status) if body is not None else Response(status=status)


def _json(body: object, status: int) -> Response:
    return Response(json.dumps(body), status, content_type="application/json")
