"""A real mail sink for the whole run of these tests, the app, and the jobs that send."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import settings as settings_module
import tasks.mail  # noqa: F401 - registers the kinds
from tests.api.conftest import app, client, restored_logging
from tests.stack import Stack
from workers.job import run_due

__all__ = ["app", "client", "restored_logging"]

Sent = list[dict[str, Any]]


@pytest.fixture(scope="module")
def sink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The mail sink as a process."""
    stack = Stack({}, Path(tmp_path_factory.mktemp("sink")))
    stack.start_mail_sink()
    yield stack
    stack.stop()


@pytest.fixture
def deliver(sink: Stack, client: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Sent]:
    """Send what is due, as a worker does, and return what arrived by it."""
    for name, value in {
        "SMTP_URL": sink.env["SMTP_URL"],
        "APP_URL": "https://school.test",
        "MAIL_FROM": "Usher <no-reply@school.test>",
        "STAFF_EMAIL": "office@school.test",
        "SUPPORT_EMAIL": "help@school.test",
    }.items():
        monkeypatch.setenv(name, value)
    settings_module.get_settings.cache_clear()

    def work() -> Sent:
        before = len(sink.mails())
        while run_due(["mail.send", "mail.notice", "mail.staff"]):
            pass
        return sink.mails()[before:]

    return work
