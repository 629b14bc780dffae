"""What was taken out of the way of each doorbell and each transaction, and what had to stay as it was."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import psycopg2
import pytest
from kombu import Connection, Consumer, Exchange, Queue

from db import session as db_session
from db.session import get_engine, transaction
from settings import get_settings
from tests.servers import Broker
from tests.stack import scalar
from workers import consumer
from workers.transport import Channel


class Hub:
    """A loop that runs nothing by itself."""

    def __init__(self) -> None:
        self.soon: list[tuple[Any, ...]] = []
        self.later: list[tuple[Any, ...]] = []

    def call_soon(self, *call: Any) -> None:
        self.soon.append(call)

    def call_later(self, *call: Any) -> None:
        self.later.append(call)


def test_events_gather_and_a_lost_plan_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    made = object.__new__(consumer.Consumer)
    made.hub, published = Hub(), []
    monkeypatch.setattr(consumer.Consumer, "_flush_events", lambda self: published.append(1))
    for _ in range(20):
        made.on_send_event_buffered()
    ((plan, *what),) = made.hub.soon
    plan(*what)
    ((seconds, publish),) = made.hub.later
    assert seconds == consumer.EVENTS_GATHER
    publish()
    assert published == [1]
    made.on_send_event_buffered()
    assert len(made.hub.soon) == 2
    # The connection went, and the plan with it: events must not be silent for ever.
    made._events_planned_at -= consumer.EVENTS_LOST + 1
    made.on_send_event_buffered()
    assert len(made.hub.soon) == 3


def test_a_channel_keeps_its_client_as_long_as_its_pool(
    message_broker: Broker, usher_env: dict[str, str]
) -> None:
    from workers.app import app

    if not message_broker.url.startswith("redis"):
        pytest.skip("concerns Redis and Valkey")
    assert app.main == "usher"  # What is imported says how `redis://` is spoken.
    with Connection(message_broker.url) as connection:
        channel = connection.default_channel
        assert isinstance(channel, Channel)
        first = channel._create_client()
        assert channel._create_client() is first
        assert first.ping()
        channel._disconnect_pools()
        again = channel._create_client()
        assert again is not first
        assert again.ping()


def test_the_broker_notes_nothing_of_doorbells_that_are_out_and_no_more_are_out_than_asked_for(
    message_broker: Broker, usher_env: dict[str, str]
) -> None:
    from workers.app import app

    if not message_broker.url.startswith("redis"):
        pytest.skip("concerns Redis and Valkey")
    heard: list[Any] = []
    queue = Queue("test.out", Exchange("test"), routing_key="test.out")
    options = {**app.conf.broker_transport_options, "global_keyprefix": "test-out:"}
    with Connection(message_broker.url, transport_options=options) as connection:
        with connection.Producer() as producer:
            for number in range(3):
                producer.publish({"number": number}, "test.out", exchange=queue.exchange, declare=[queue])
        channel = connection.channel()
        channel.basic_qos(0, 2, False)
        with Consumer(channel, [queue], on_message=heard.append), suppress(TimeoutError):
            while True:
                connection.drain_events(timeout=0.5)
        assert len(heard) == 2
        assert channel._create_client().keys("*unacked*") == []
        assert not channel.qos.can_consume()
        heard[0].ack()
        assert channel.qos.can_consume()
        channel.close()
        # What nobody began is given back.
        assert connection.default_channel._size("test.out") == 2


def test_a_worker_that_stops_without_its_broker_leaves_what_it_has_not_begun(
    message_broker: Broker, usher_env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not message_broker.url.startswith("redis"):
        pytest.skip("concerns Redis and Valkey")
    tries: list[Any] = []

    def away(message: Any) -> None:
        tries.append(message)
        raise OSError("nobody there")

    with Connection(message_broker.url, transport_options={"global_keyprefix": "test-away:"}) as connection:
        channel = connection.channel()
        for tag in range(3):
            channel.qos.append(object(), tag)
        channel.qos.ack(1)
        monkeypatch.setattr(channel, "_restore", away)
        assert channel.qos.restore_unacked() == []
        assert len(tries) == 1, "it does not wait for the broker once for each"
        assert channel.qos.can_consume()


@pytest.mark.usefixtures("database")
def test_a_connection_that_was_lost_while_it_lay_idle_is_replaced_unseen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert scalar("SELECT 1") == 1
    with transaction() as session:
        pid = session.connection().connection.driver_connection.info.backend_pid  # type: ignore[union-attr]
    killer = psycopg2.connect(get_settings().direct_url())
    with killer, killer.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", (pid,))
    killer.close()
    monkeypatch.setattr(db_session, "PING_AFTER", 0.0)
    assert scalar("SELECT 2") == 2
    assert get_engine().pool is not None


@pytest.mark.usefixtures("database")
def test_a_connection_that_was_used_a_moment_ago_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Cursor:
        def __enter__(self) -> Cursor:
            return self

        def __exit__(self, *_: object) -> None:
            return None

        def execute(self, statement: str) -> None:
            asked.append(statement)

    class Driver:
        def cursor(self) -> Cursor:
            return Cursor()

        def rollback(self) -> None:
            return None

    class Record:
        info: dict[str, float] = {}  # noqa: RUF012

    db_session._note_use(None, Record)
    db_session._ping_idle(Driver(), Record, None)
    assert asked == []
    Record.info["used_at"] -= db_session.PING_AFTER + 1
    db_session._ping_idle(Driver(), Record, None)
    assert asked == ["SELECT 1"]
