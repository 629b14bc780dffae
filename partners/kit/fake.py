"""A vendor's server for tests: a real HTTP server in a thread, which can be told to fail in every way that real ones do.

A subclass speaks the vendor's protocol in `handle`, which runs in several threads at once, as it does at the vendor.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Literal, NamedTuple

from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

Kind = Literal["lose", "throttle", "error", "unavailable", "garbage", "cut", "hang"]
On = Literal["read", "write", "any"]
RETRY_AFTER = 7  # seconds that the usual throttle asks for


class Call(NamedTuple):
    """A call that came in. `status` is 0 where no answer went out."""

    method: str
    path: str
    status: int


@dataclass
class Fault:
    """What happens to the next `times` calls of a kind.

    lose       the work is done, then the connection is cut without an answer
    throttle   429 with Retry-After, or as the vendor says it; nothing is done
    error      500 with `body`, nothing is done
    unavailable  503 with an HTML page, nothing is done
    garbage    200 with `body`, nothing is done
    cut        half an answer, then the connection is cut; the work is done
    hang       no answer for `seconds`, nothing is done
    """

    kind: Kind
    on: On = "any"
    times: int = 1
    body: bytes = b"<html><body>Something went wrong</body></html>"
    seconds: float = 30.0


class Fake:
    """A vendor. `calls` holds what came in; `skew` is how far its clock is ahead of ours."""

    def __init__(self) -> None:
        """Listen on a free port of the loopback at once."""
        self.lock = threading.RLock()
        self.calls: list[Call] = []
        self.faults: list[Fault] = []
        self.skew = timedelta(0)
        self._closing = threading.Event()
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_Quiet)
        self._server.daemon_threads = True  # type: ignore[attr-defined]
        self._server.clock = self.now  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self) -> Fake:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop listening; calls that hang are let go."""
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def handle(self, request: Request) -> Response:
        """Do what the vendor does with a request."""
        raise NotImplementedError

    def writes(self, request: Request) -> bool:
        """Return whether a request makes or changes something. Vendors that use POST for everything override this."""
        return request.method not in ("GET", "HEAD", "OPTIONS")

    def spared(self, request: Request) -> bool:
        """Return whether faults leave a request alone, as the vendor's token endpoint."""
        return False

    def throttled(self) -> Response:
        """Return how the vendor says that there were too many calls."""
        return Response("", 429, {"Retry-After": str(RETRY_AFTER)})

    def now(self) -> datetime:
        """Return the vendor's clock."""
        return datetime.now(UTC) + self.skew

    def fault(self, kind: Kind, on: On = "any", times: int = 1, **more: Any) -> None:
        """Have the next calls fail."""
        with self.lock:
            self.faults.append(Fault(kind, on, times, **more))

    def heal(self) -> None:
        """Take all faults back."""
        with self.lock:
            self.faults.clear()

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Any:
        request = Request(environ)
        request.get_data(cache=True)
        response = self._respond(request)
        status = 0 if response is None else response.status_code
        with self.lock:
            self.calls.append(Call(request.method, request.path, status))
        if response is None:
            with suppress(OSError):
                environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionResetError
        return response(environ, start_response)

    def _respond(self, request: Request) -> Response | None:
        fault = None if self.spared(request) else self._take_fault(request)
        if fault is None:
            return self.handle(request)
        if fault.kind == "throttle":
            return self.throttled()
        if fault.kind == "error":
            return Response(fault.body, 500, content_type="text/html")
        if fault.kind == "unavailable":
            return Response(fault.body, 503, content_type="text/html")
        if fault.kind == "garbage":
            return Response(fault.body, 200, content_type="application/json")
        if fault.kind == "hang":
            self._closing.wait(fault.seconds)
            return None
        response = self.handle(request)
        if fault.kind == "lose":
            return None
        # Less than was promised, then nothing: the client sees the connection close in the middle.
        body = response.get_data()
        response.set_data(body[: len(body) // 2])
        response.headers["Content-Length"] = str(len(body) + 1)
        response.headers["Connection"] = "close"
        return response

    def _take_fault(self, request: Request) -> Fault | None:
        wanted = ("any", "write" if self.writes(request) else "read")
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.on in wanted:
                    fault.times -= 1
                    return fault
        return None


class _Quiet(WSGIRequestHandler):
    """Keeps connections, as vendors do, and says nothing."""

    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        return

    def date_time_string(self, timestamp: float | None = None) -> str:
        return format_datetime(self.server.clock(), usegmt=True)  # type: ignore[attr-defined]

    def run_wsgi(self) -> None:
        with suppress(ConnectionError, BrokenPipeError):
            super().run_wsgi()

    def connection_dropped(self, error: BaseException, environ: Any = None) -> None:
        self.close_connection = True


def wait_for(condition: Any, seconds: float = 10.0) -> None:
    """Wait until a condition holds; raise `TimeoutError`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.01)
