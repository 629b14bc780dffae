"""`python -m workers.mail_sink`: where mail goes in development. Takes every message and shows it, sends nothing on.

SMTP on one loopback port; on another `GET /`, `/messages.json`, `/count`, and `POST /_faults {"status": 451, "times": 2}`
to have it refuse. Messages are kept as JSON lines in `--file`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import email
import email.policy
import json
import signal
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

LOOPBACK = "127.0.0.1"
MAX_MESSAGE = 10_000_000
MAX_BODY = 10_000


@dataclass
class Mailbox:
    """The messages so far, and how many of the next ones are to be refused."""

    file: Path
    messages: list[dict[str, Any]] = field(default_factory=list)
    refuse_status: int = 0
    refuse_times: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def load(self) -> None:
        """Read what earlier runs kept; a last line that was cut off is dropped."""
        if not self.file.exists():
            return
        for line in self.file.read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                self.messages.append(json.loads(line))

    def take(self, message: dict[str, Any]) -> None:
        """Keep a message."""
        with self.lock, self.file.open("a") as file:
            self.messages.append(message)
            file.write(json.dumps(message) + "\n")

    def refusal(self) -> int | None:
        """Return the status to refuse the next message with, None to take it."""
        with self.lock:
            if self.refuse_times <= 0:
                return None
            self.refuse_times -= 1
            return self.refuse_status

    def plan_refusals(self, status: int, times: int) -> None:
        """Refuse the next `times` messages with an SMTP status."""
        with self.lock:
            self.refuse_status, self.refuse_times = status, times


class SmtpHandler:
    """What aiosmtpd calls for each message."""

    def __init__(self, mailbox: Mailbox) -> None:
        self.mailbox = mailbox

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Keep the message, or refuse it as told."""
        status = self.mailbox.refusal()
        if status is not None:
            return f"{status} refused, as the mail sink was told"
        content = envelope.content or b""
        body = content if isinstance(content, bytes) else content.encode()
        self.mailbox.take(read_message(body, envelope.rcpt_tos, datetime.now(UTC)))
        return "250 kept"


def read_message(content: bytes, recipients: list[str], at: datetime) -> dict[str, Any]:
    """Return what people and tests want to know of a message."""
    message = email.message_from_bytes(content, policy=email.policy.default)
    return {
        "to": recipients,
        "from": str(message["From"] or ""),
        "subject": str(message["Subject"] or ""),
        "message_id": str(message["Message-ID"] or ""),
        "at": at.isoformat(),
        "text": _part(message, "plain"),
        "html": _part(message, "html"),
        "headers": {name.lower(): str(value) for name, value in message.items()},
    }


def _part(message: EmailMessage, kind: str) -> str | None:
    part = message.get_body(preferencelist=(kind,))
    return None if part is None else str(part.get_content())


def make_http_handler(mailbox: Mailbox) -> type[BaseHTTPRequestHandler]:
    """Return the request handler of the view on this mailbox."""

    class View(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/":
                self._answer(200, "text/html; charset=utf-8", render(mailbox.messages))
            elif self.path == "/messages.json":
                self._answer(200, "application/json", json.dumps(mailbox.messages))
            elif self.path == "/count":
                self._answer(200, "application/json", json.dumps({"count": len(mailbox.messages)}))
            else:
                self._answer(404, "application/json", '{"error": "not found"}')

        def do_POST(self) -> None:
            if self.path != "/_faults":
                return self._answer(404, "application/json", '{"error": "not found"}')
            try:
                length = min(int(self.headers.get("Content-Length") or 0), MAX_BODY)
                status, times = read_refusals(self.rfile.read(length))
            except ValueError as error:
                return self._answer(400, "application/json", json.dumps({"error": str(error)}))
            mailbox.plan_refusals(status, times)
            return self._answer(200, "application/json", json.dumps({"status": status, "times": times}))

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing of each request."""

        def _answer(self, status: int, kind: str, body: str) -> None:
            data = body.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            # Mails are shown as text; nothing in them may load or run anything.
            self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
            self.end_headers()
            self.wfile.write(data)

    return View


def read_refusals(body: bytes) -> tuple[int, int]:
    """Return (status, times) of a request to refuse mail; raise `ValueError` where it makes no sense."""
    data = json.loads(body or b"{}")
    status, times = (data.get("status"), data.get("times", 1)) if isinstance(data, dict) else (None, None)
    if not isinstance(status, int) or not isinstance(times, int) or not 400 <= status <= 599:
        raise ValueError("give status (400 to 599) and times (a number)")
    return status, times


def render(messages: list[dict[str, Any]]) -> str:
    """Return a page with the messages, the newest first."""
    blocks = [
        f"<article><h2>{escape(item['subject'])}</h2><p>to {escape(', '.join(item['to']))}, {escape(item['at'])}</p>"
        f"<pre>{escape(item['text'] or '')}</pre></article>"
        for item in reversed(messages[-200:])
    ]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Mail sink</title>'
        "<style>body{font:16px/1.5 system-ui;max-width:50rem;margin:2rem auto;padding:0 1rem}pre{white-space:pre-wrap}"
        f"</style><h1>Mail sink</h1><p>{len(messages)} messages; nothing was sent on.</p>{''.join(blocks)}</html>"
    )


async def serve(mailbox: Mailbox, smtp_port: int, http_port: int, host: str = LOOPBACK) -> None:
    """Serve until SIGINT or SIGTERM."""
    web = ThreadingHTTPServer((host, http_port), make_http_handler(mailbox))
    web.daemon_threads = True
    threading.Thread(target=web.serve_forever, daemon=True).start()
    loop = asyncio.get_running_loop()
    handler = SmtpHandler(mailbox)
    server = await loop.create_server(
        lambda: SMTP(handler, data_size_limit=MAX_MESSAGE, enable_SMTPUTF8=True, hostname="mail-sink"),
        host,
        smtp_port,
    )
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    print(f"mail sink: smtp://{host}:{smtp_port}, http://{host}:{http_port}", flush=True)
    await stop.wait()
    server.close()
    web.shutdown()


def main(arguments: list[str] | None = None) -> None:
    """Read the options and serve."""
    parser = argparse.ArgumentParser(prog="python -m workers.mail_sink", description=__doc__)
    parser.add_argument("--smtp-port", type=int, required=True)
    parser.add_argument("--http-port", type=int, required=True)
    parser.add_argument("--file", type=Path, required=True)
    # Inside a container network loopback reaches nobody; everywhere else it is all that is wanted.
    parser.add_argument("--host", default=LOOPBACK)
    options = parser.parse_args(arguments)
    mailbox = Mailbox(options.file)
    mailbox.load()
    asyncio.run(serve(mailbox, options.smtp_port, options.http_port, options.host))


if __name__ == "__main__":
    main()
