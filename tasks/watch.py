"""Looking for what staff have to hear about, and telling it to the address of ALERT_WEBHOOK_URL."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from urllib.parse import urlsplit

import structlog
from pydantic import SecretStr

from domain import notices
from partners.addresses import AddressRules
from partners.wire import Broken, Forbidden, Unreachable, Wire
from settings import Settings, get_settings
from workers import watch
from workers.job import JobRun, StepResult, job, periodic
from workers.verdict import GiveUp, Later

log = structlog.get_logger("tasks.watch")

# Seconds for connecting, and for one whole notice.
CONNECT_TIMEOUT, POST_TIMEOUT = 3.0, 10.0


@periodic("watch.look")
def look() -> None:
    """Look for what staff have to hear about; each relay looks too, since there may be no worker or no beat to do it."""
    watch.look()


@job("alerts.post")
def post(run: JobRun) -> None:
    """Tell one event of an alert to a program; without ALERT_WEBHOOK_URL there is none to tell."""
    settings = get_settings()
    if settings.alert_webhook_url is None:
        return
    alert_id, _, event = run.held.business_key.partition(":")
    notice = run.read(lambda session: notices.compose(session, alert_id, event))
    body = json.dumps(notice.body, separators=(",", ":")).encode()
    run.step("post", lambda: deliver(body, settings))
    log.info("alert told", kind=notice.body["kind"], told=notice.body["event"])


def deliver(body: bytes, settings: Settings) -> StepResult:
    """Post a signed body. Raises `Later` when it may work later, `GiveUp` when it never will. Follows no redirects."""
    parts = urlsplit(_plain(settings.alert_webhook_url))
    tls = parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    rules = AddressRules(private=settings.alert_webhook_private)
    wire = Wire(parts.hostname or "", port, tls=tls, connect_timeout=CONNECT_TIMEOUT, rules=rules)
    try:
        request = render(body, settings, int(time.time()))
        reply = wire.exchange("POST", request, time.monotonic() + POST_TIMEOUT, fresh=True)
    except Forbidden:
        raise GiveUp("it is at a private address; ALERT_WEBHOOK_PRIVATE=true allows that") from None
    except (Unreachable, Broken) as error:
        raise Later(f"the receiver of alerts does not answer: {error}") from None
    if 200 <= reply.status < 300:
        return {"status": reply.status}
    final = 300 <= reply.status < 500 and reply.status not in (408, 425, 429)
    raise (GiveUp if final else Later)(f"the receiver of alerts answered {reply.status}")


def render(body: bytes, settings: Settings, at: int) -> bytes:
    """Return the whole request. The signature is made as Stripe makes its own: HMAC-SHA256 over `{at}.{body}`."""
    parts = urlsplit(_plain(settings.alert_webhook_url))
    key = _plain(settings.alert_webhook_secret).encode()
    signature = hmac.new(key, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    head = (
        f"POST {target} HTTP/1.1\r\nHost: {parts.netloc.rpartition('@')[2]}\r\nUser-Agent: usher\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
        f"Usher-Signature: t={at},v1={signature}\r\n\r\n"
    )
    return head.encode() + body


def _plain(value: SecretStr | None) -> str:
    return "" if value is None else value.get_secret_value()
