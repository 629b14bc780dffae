"""Sessions with the mail server are used again, and a mail is never lost or doubled for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from email.message import EmailMessage
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tasks import smtp
from tests.stack import wait_until
from workers.services import free_port
from workers.verdict import GiveUp, Later


class Handler:
    """Keeps the subjects' lines of what it is handed; answers what it is told to."""

    def __init__(self) -> None:
        self.mails: list[str] = []
        self.sessions: list[Session] = []
        self.answers: dict[str, str] = {}

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        self.sessions.append(session)
        return responses

    async def handle_RSET(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        return self.answers.get("RSET", "250 OK")

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.rcpt_tos.append(address)
        return self.answers.get("RCPT", "250 OK")

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if (answer := self.answers.get("DATA")) is not None:
            return answer
        assert isinstance(envelope.content, bytes)
        self.mails += [line for line in envelope.content.decode().splitlines() if line.startswith("Subject")]
        return "250 OK"


class Server:
    """A mail server that can be restarted on its port."""

    def __init__(self) -> None:
        self.port, self.handler = free_port(), Handler()
        self.url = f"smtp://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        self.controller: Any = Controller(self.handler, hostname="127.0.0.1", port=self.port)
        self.controller.start()

    def stop(self) -> None:
        if self.controller.loop.is_running():
            self.controller.stop(no_assert=True)

    @property
    def connections(self) -> int:
        return len(self.handler.sessions)


@pytest.fixture
def open_server() -> Iterator[Callable[[], Server]]:
    servers: list[Server] = []

    def make() -> Server:
        servers.append(Server())
        return servers[-1]

    smtp.SESSIONS.end()
    yield make
    smtp.SESSIONS.end()
    for server in servers:
        server.stop()


@pytest.fixture
def server(open_server: Callable[[], Server]) -> Server:
    return open_server()


def send(server: Server, *subjects: str) -> None:
    for subject in subjects:
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = "us@localhost", "ana@example.com", subject
        smtp.deliver(message, server.url)


def subjects(*names: str) -> list[str]:
    return [f"Subject: {name}" for name in names]


def test_mails_one_after_the_other_share_a_session(server: Server) -> None:
    send(server, "one", "two", "three")
    assert (server.handler.mails, server.connections) == (subjects("one", "two", "three"), 1)


def test_a_session_that_lay_idle_is_not_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    send(server, "one")
    monkeypatch.setattr(smtp, "IDLE", 0.0)
    send(server, "two")
    assert (server.handler.mails, server.connections) == (subjects("one", "two"), 2)


def test_sessions_that_nobody_uses_are_ended_by_themselves(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "SESSIONS", smtp.Sessions())
    monkeypatch.setattr(smtp, "IDLE", 0.2)
    send(server, "one")
    [idle] = smtp.SESSIONS._idle
    wait_until(lambda: not smtp.SESSIONS, 10)
    assert idle.server.sock is None


def test_a_session_ends_after_so_many_mails(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp, "MOST_MAILS", 2)
    send(server, "one", "two", "three", "four", "five")
    assert (len(server.handler.mails), server.connections) == (5, 3)


def test_a_server_that_was_restarted_gets_each_mail_once(server: Server) -> None:
    send(server, "one")
    server.stop()
    server.start()
    send(server, "two")
    assert server.handler.mails == subjects("one", "two")


def test_a_session_that_the_server_wants_to_end_is_not_used(server: Server) -> None:
    send(server, "one")
    server.handler.answers["RSET"] = "421 too many"
    send(server, "two")
    assert (server.handler.mails, server.connections) == (subjects("one", "two"), 2)


def test_another_server_gets_a_session_of_its_own(open_server: Callable[[], Server]) -> None:
    first, second = open_server(), open_server()
    send(first, "one")
    send(second, "two")
    assert (first.handler.mails, second.handler.mails) == (subjects("one"), subjects("two"))


@pytest.mark.parametrize(
    ("stage", "answer", "error"),
    [
        ("RCPT", "550 nobody", GiveUp),
        ("RCPT", "450 later", Later),
        ("DATA", "552 too large", GiveUp),
        ("DATA", "451 later", Later),
    ],
)
def test_a_session_whose_mail_was_refused_is_not_used_again(
    server: Server, stage: str, answer: str, error: type[Exception]
) -> None:
    send(server, "one")
    server.handler.answers[stage] = answer
    with pytest.raises(error, match=answer[:3]):
        send(server, "two")
    assert not smtp.SESSIONS
    del server.handler.answers[stage]
    send(server, "three")
    assert server.handler.mails == subjects("one", "three")


def test_a_server_that_is_away_is_asked_again_later(server: Server) -> None:
    send(server, "one")
    server.stop()
    with pytest.raises(Later, match="cannot be reached"):
        send(server, "two")
    assert not smtp.SESSIONS
