"""The mail sink: takes mail, shows it, keeps it, refuses it when told."""

from __future__ import annotations

import smtplib
import subprocess
import sys
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
import requests

from tests.stack import answers, wait_until
from workers.services import free_port, stop_process


class Sink:
    """A running mail sink."""

    def __init__(self, file: Path) -> None:
        self.smtp_port, self.http_port = free_port(), free_port()
        command = [sys.executable, "-m", "workers.mail_sink", "--smtp-port", str(self.smtp_port)]
        command += ["--http-port", str(self.http_port), "--file", str(file)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_until(lambda: answers(self.url("/count")), 15)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.http_port}{path}"

    def send(self, subject: str) -> None:
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = (
            "Usher <no-reply@localhost>",
            "ana@example.com",
            subject,
        )
        message["Message-ID"] = "<welcome-1@usher>"
        message.set_content("Grüße <script>")
        message.add_alternative("<p>Grüße</p>", subtype="html")
        with smtplib.SMTP("127.0.0.1", self.smtp_port, timeout=10) as server:
            server.send_message(message)

    def subjects(self) -> list[str]:
        return [message["subject"] for message in requests.get(self.url("/messages.json"), timeout=5).json()]


@pytest.fixture
def open_sink(tmp_path: Path) -> Iterator[Callable[[], Sink]]:
    """Return a function that starts a sink on the same file each time."""
    sinks: list[Sink] = []

    def make() -> Sink:
        sinks.append(Sink(tmp_path / "mail.jsonl"))
        return sinks[-1]

    yield make
    for sink in sinks:
        stop_process(sink.process)


def test_mail_is_shown_as_text_and_survives_a_restart(open_sink: Callable[[], Sink]) -> None:
    sink = open_sink()
    sink.send("Welcome, Zoë")
    (message,) = requests.get(sink.url("/messages.json"), timeout=5).json()
    assert message["to"] == ["ana@example.com"]
    assert (message["subject"], message["message_id"]) == ("Welcome, Zoë", "<welcome-1@usher>")
    assert "Grüße" in message["text"]
    assert "<p>Grüße</p>" in message["html"]
    page = requests.get(sink.url("/"), timeout=5)
    assert "&lt;script&gt;" in page.text
    assert "<script>" not in page.text
    stop_process(sink.process)
    assert open_sink().subjects() == ["Welcome, Zoë"]


def test_it_refuses_as_often_as_it_was_told(open_sink: Callable[[], Sink]) -> None:
    sink = open_sink()
    assert requests.post(sink.url("/_faults"), json={"status": 451, "times": 2}, timeout=5).status_code == 200
    for _ in range(2):
        with pytest.raises(smtplib.SMTPDataError) as refused:
            sink.send("no")
        assert refused.value.smtp_code == 451
    sink.send("yes")
    assert sink.subjects() == ["yes"]
    assert requests.get(sink.url("/count"), timeout=5).json() == {"count": 1}


def test_a_fault_that_makes_no_sense_is_refused(open_sink: Callable[[], Sink]) -> None:
    sink = open_sink()
    for body in (b"", b"[]", b"{", b'{"status": 250}', b'{"status": 451, "times": "many"}'):
        assert requests.post(sink.url("/_faults"), data=body, timeout=5).status_code == 400
    assert requests.get(sink.url("/nothing"), timeout=5).status_code == 404
