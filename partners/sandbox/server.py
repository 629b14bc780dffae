"""The sandbox partner over HTTP: a partner that really keeps accounts and seats, and misbehaves when told to.

It speaks the protocol that a partner without an API of its own can implement. aiohttp's low-level server is used
because its router and middleware would take most of the time of so small a call.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import socket
import struct
import time
from typing import Any
from urllib.parse import parse_qsl, unquote

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage

from partners.sandbox.control import Control
from partners.sandbox.faults import Fault
from partners.sandbox.pages import certificate_page, launch_page
from partners.sandbox.protocol import Call, Json, Problem, Protocol
from partners.sandbox.state import State

JSON = {"Content-Type": "application/json"}
HTML = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}
GARBAGE = b"<html><body><h1>We will be back soon</h1></body></html>"
# SO_LINGER with zero seconds: closing the socket sends a reset instead of a polite end.
RESET = struct.pack("ii", 1, 0)

_encode = json.JSONEncoder(separators=(",", ":")).encode


class Sandbox:
    """The partner: state, protocol and control behind one request handler."""

    def __init__(self, api_key: str, state: State | None = None) -> None:
        self.state = state or State()
        self.protocol = Protocol(self.state)
        self.control = Control(self.state, self.protocol)
        self._authorization = f"Bearer {api_key}".encode()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer any request."""
        arrived = time.time()
        path, _, query = request.raw_path.partition("?")
        parts = [unquote(part) for part in path.split("/")[1:]]
        try:
            body = await _json_body(request)
            parameters = dict(parse_qsl(query, keep_blank_values=True)) if query else {}
            if (name := self.protocol.name(request.method, parts)) is None:
                return self._answer_other(request, path, parts, parameters, body)
            call = Call(name, path, query=parameters, base=f"{request.scheme}://{request.host}", at=arrived)
            call.id = parts[1] if len(parts) > 1 else ""
            call.body = body if isinstance(body, dict) else {}
            call.key = request.headers.get("Idempotency-Key")
        except Problem as problem:
            return _refuse(problem)
        self.control.note(call)
        fault = self.control.fault_for(call)
        answer = self._do(request, call) if fault is None else await self._misbehave(request, call, fault)
        if answer is None:
            return _drop(request, reset=fault is not None and fault.reset)
        call.status = answer.status
        return answer

    async def _misbehave(self, request: web.BaseRequest, call: Call, fault: Fault) -> web.Response | None:
        """Return the answer that a fault leaves of a call, None where the connection is to be dropped."""
        epoch = self.state.epoch
        await asyncio.sleep(fault.latency or 0)
        if epoch != self.state.epoch:
            return None  # Everything was reset meanwhile: late work must not fall into what comes after.
        if fault.lose_answer:
            self._do(request, call)
        if fault.hang:
            await asyncio.sleep(fault.hang)
        if fault.hang or fault.reset:
            return None
        if fault.status is not None:
            return _faulty_answer(fault, fault.status)
        if fault.garbage:
            return web.Response(body=GARBAGE, headers=HTML)
        return None if fault.lose_answer else self._do(request, call)

    def _do(self, request: web.BaseRequest, call: Call) -> web.Response:
        given = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        if not hmac.compare_digest(given, self._authorization):
            return _answer(401, {"message": "the API key is missing or wrong"})
        try:
            return _answer(*self.protocol.answer(call))
        except Problem as problem:
            return _refuse(problem)

    def _answer_other(
        self, request: web.BaseRequest, path: str, parts: list[str], query: dict[str, str], body: Any
    ) -> web.Response:
        if parts[0].startswith("_"):
            if request.remote not in ("127.0.0.1", "::1"):
                raise Problem(403, "only from this machine")
            return _answer(*self.control.answer(request.method, path, query, body))
        match request.method, parts:
            case "GET", ["launch", token]:
                status, page = launch_page(self.protocol.launches.get(token), time.time())
            case "GET", ["certificates", number]:
                status, page = certificate_page(
                    self.state.enrollments.get(f"enr_{number.removeprefix('SBX-')}")
                )
            case _:
                raise Problem(404, "no such call")
        return web.Response(status=status, body=page.encode(), headers=HTML)


async def start(sandbox: Sandbox, host: str, port: int) -> tuple[web.ServerRunner, int]:
    """Listen, and return the runner (stop it with `await runner.cleanup()`) and the port, which 0 leaves to the system."""

    loop = asyncio.get_running_loop()

    def without_size_limit(
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=0)

    server = web.Server(sandbox.handle, request_factory=without_size_limit, access_log=None)
    runner = web.ServerRunner(server, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, host, port, backlog=1024)
    await site.start()
    return runner, int(runner.addresses[0][1])


async def _json_body(request: web.BaseRequest) -> Any:
    raw = await request.read()
    if not raw:
        return {}
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        raise Problem(422, "the body is not JSON") from None


def _answer(status: int, body: Json | None) -> web.Response:
    if body is None:
        return web.Response(status=status)
    return web.Response(status=status, body=_encode(body).encode(), headers=JSON)


def _refuse(problem: Problem) -> web.Response:
    return _answer(problem.status, {"message": str(problem)})


def _faulty_answer(fault: Fault, status: int) -> web.Response:
    response = _answer(status, {"message": fault.message or f"told to answer {status}"})
    if fault.retry_after is not None:
        response.headers["Retry-After"] = str(fault.retry_after)
    return response


def _drop(request: web.BaseRequest, *, reset: bool) -> web.Response:
    """End the connection without an answer. What is returned has nowhere to go."""
    if request.transport is not None:
        if reset and (sock := request.transport.get_extra_info("socket")) is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        request.transport.abort()
    return web.Response(status=500)
