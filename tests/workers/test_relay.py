"""The relay's turns: what it rings for, and what it lets gather."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import pytest

import settings as settings_module
from db import jobs
from db.jobs import Doorbell
from db.session import transaction
from workers.relay import MAIL_PAUSE, Relay

pytestmark = pytest.mark.usefixtures("database")


class Heard:
    """In the place of the broker: hears every doorbell."""

    def __init__(self) -> None:
        self.queues: list[str] = []

    def ring(self, doorbells: Sequence[Doorbell]) -> list[Doorbell]:
        self.queues += [bell.queue for bell in doorbells]
        return []

    def take(self) -> list[str]:
        """Return what was heard since the last time."""
        heard, self.queues = sorted(self.queues), []
        return heard


@pytest.fixture
def heard() -> Heard:
    return Heard()


def make_relay(heard: Heard) -> Relay:
    settings_module.get_settings.cache_clear()
    relay = Relay(None, settings_module.get_settings(), ["control", "mail"])
    relay._bell = heard  # type: ignore[assignment]
    return relay


def ask(*queues: str) -> None:
    with transaction() as session:
        for queue in queues:
            jobs.enqueue(session, jobs.Enqueue("test.relay", str(uuid.uuid4()), queue, str(uuid.uuid4())))


def test_a_mail_that_comes_alone_is_rung_for_at_once_and_those_after_it_gather(heard: Heard) -> None:
    relay = make_relay(heard)
    ask("mail")
    relay.turn()
    assert heard.take() == ["mail"]

    ask("mail", "control", "mail")
    relay.turn()
    assert heard.take() == ["control"]
    # Nothing notifies of them again, so it looks by itself.
    assert relay._time_to_wait() <= MAIL_PAUSE
    relay._mailed_at -= MAIL_PAUSE
    relay.turn()
    assert heard.take() == ["mail", "mail"]


def test_a_backlog_of_mails_does_not_wait(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL_CONCURRENCY", "2")
    relay = make_relay(heard)
    ask("mail", "mail", "mail")
    relay.turn()
    assert heard.take() == ["mail", "mail"]
    with transaction() as session:
        session.connection().exec_driver_sql("UPDATE jobs SET state = 'done' WHERE rung_at IS NOT NULL")
    relay.turn()
    assert heard.take() == ["mail"]
