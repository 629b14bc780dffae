"""The mail server: sessions that are used again, and what its answers mean for a mail."""

from __future__ import annotations

import smtplib
import ssl
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from workers.verdict import GiveUp, Later

# Seconds for connecting and for each answer.
TIMEOUT = 10.0
# The port of message submission (RFC 6409), where the address names none.
SUBMISSION_PORT = 587
# Seconds after which a session that nobody uses is not used again, and mails after which it is ended: servers have limits.
IDLE = 5.0
MOST_MAILS = 50


@dataclass
class Session:
    """A session with the server at an address, signed in where the address says as whom."""

    url: str
    server: smtplib.SMTP
    mails: int = 0
    used_at: float = field(default_factory=time.monotonic)

    @property
    def is_spent(self) -> bool:
        """Whether the server may have ended it, or will soon."""
        return self.mails >= MOST_MAILS or time.monotonic() - self.used_at > IDLE

    def answers(self) -> bool:
        """Ask the server whether the next mail may come, so that no mail is lost on a dead connection."""
        with suppress(OSError, smtplib.SMTPException):
            return self.server.rset()[0] == 250
        return False


class Sessions:
    """Sessions that nobody is using just now: as many as there were mails at the same moment in the last seconds.

    They end by themselves, since servers count them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: deque[Session] = deque()
        self._sweeper: threading.Timer | None = None

    def __len__(self) -> int:
        return len(self._idle)

    def take(self, url: str) -> Session:
        """Return one that is used again, or a new one."""
        while (found := self._pop()) is not None:
            if found.url == url and not found.is_spent:
                if found.answers():
                    return found
                self.end()  # The others are dead as well, most likely, and asking each may take long.
            found.server.close()
        return Session(url, connect(url))

    def give(self, used: Session) -> None:
        """Keep one for the next mail."""
        with self._lock:
            self._idle.append(used)
            self._plan()

    def end(self) -> None:
        """End all of them."""
        while (found := self._pop()) is not None:
            found.server.close()

    def _pop(self) -> Session | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _plan(self) -> None:
        if self._sweeper is None:
            self._sweeper = threading.Timer(IDLE, self._sweep)
            self._sweeper.daemon = True
            self._sweeper.start()

    def _sweep(self) -> None:
        with self._lock:
            self._sweeper = None
            while self._idle and self._idle[0].is_spent:
                self._idle.popleft().server.close()
            if self._idle:
                self._plan()


SESSIONS = Sessions()


def deliver(message: EmailMessage, url: str) -> None:
    """Hand a message to the mail server. Raises `Later` when it may work later, `GiveUp` when it never will."""
    try:
        with session(url) as server:
            server.send_message(message)
    except smtplib.SMTPRecipientsRefused as error:
        code = min(code for code, _ in error.recipients.values())
        raise (GiveUp if code >= 500 else Later)(f"the mail server refused the recipient ({code})") from None
    except smtplib.SMTPAuthenticationError as error:
        raise Later(f"the mail server refused our credentials ({error.smtp_code})", after=60.0) from None
    except smtplib.SMTPResponseException as error:
        raise (GiveUp if error.smtp_code in (552, 554) else Later)(
            f"the mail server answered {error.smtp_code}"
        ) from None
    except (OSError, smtplib.SMTPException) as error:
        raise Later(f"the mail server cannot be reached ({type(error).__name__})") from None


@contextmanager
def session(url: str) -> Iterator[smtplib.SMTP]:
    """Give a session for one mail. One whose mail failed is not used again."""
    used = SESSIONS.take(url)
    try:
        yield used.server
    except BaseException:
        used.server.close()
        raise
    used.mails, used.used_at = used.mails + 1, time.monotonic()
    SESSIONS.give(used)


def connect(url: str) -> smtplib.SMTP:
    """Open a session with the mail server: TLS from the start for smtps, STARTTLS where it is offered."""
    parts = urlsplit(url)
    host = parts.hostname or "localhost"
    server: smtplib.SMTP
    if parts.scheme == "smtps":
        server = smtplib.SMTP_SSL(host, parts.port or 465, timeout=TIMEOUT, context=tls_context())
    else:
        server = smtplib.SMTP(host, parts.port or SUBMISSION_PORT, timeout=TIMEOUT)
        server.ehlo()
        if server.has_extn("starttls"):
            server.starttls(context=tls_context())
            server.ehlo()
    if parts.username:
        server.login(unquote(parts.username), unquote(parts.password or ""))
    return server


@lru_cache(maxsize=1)
def tls_context() -> ssl.SSLContext:
    """Return what mail servers' certificates are checked with; reading the system's takes longer than a whole mail."""
    return ssl.create_default_context()
