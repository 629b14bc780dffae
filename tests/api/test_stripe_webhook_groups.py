"""Events that come at the same moment are stored in one transaction, each answered as if it had come alone."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from flask import Flask
from sqlalchemy import text

import settings as settings_module
from db import inbox, lean
from tests.api.conftest import Logs, count, run, tap_logs
from tests.api.test_stripe_webhook import event, post
from tests.conftest import Database
from tests.stack import rows, scalar, wait_until
from workers.relay import Listener

BAD = "evt_bad"
REFUSE = f"""
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN IF NEW.external_id = '{BAD}' THEN RAISE 'not this one'; END IF; RETURN NEW; END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON inbox_events FOR EACH ROW EXECUTE FUNCTION refuse()
"""
WAITING = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
END = f"SELECT pg_terminate_backend(pid) FROM ({WAITING}) AS waiting"
END_OTHERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""

Post = Callable[[str], "Future[int]"]


@contextmanager
def held_up(app: Flask, database: Database) -> Iterator[Post]:
    """While this holds, what is posted cannot be stored; afterwards all of it is. Yields what posts an id."""
    with ThreadPoolExecutor(32) as pool:

        def send(id: str) -> Future[int]:
            return pool.submit(lambda: post(app.test_client(), json.dumps(event(id=id))).status_code)

        with database.engine.begin() as connection:
            connection.execute(text("LOCK TABLE inbox_events IN SHARE MODE"))
            yield send


def wait_for_writer() -> int:
    """Wait until a group is being written and held up; return which connection writes it."""
    return wait_for_another(None)


def wait_for_another(first: int | None) -> int:
    """Do the same for another connection than the first."""
    found: list[int] = []

    def look() -> bool:
        found[:] = [pid for (pid,) in rows(WAITING) if pid != first]
        return bool(found)

    wait_until(look, 20)
    return found[0]


def post_together(app: Flask, database: Database, ids: Sequence[str]) -> list[int]:
    """Post one event and, while it is held up, others, which make a group then; return the answers to those."""
    with held_up(app, database) as send:
        first = send("evt_first")
        wait_for_writer()
        answers = [send(id) for id in ids]
        wait_until(lambda: len(inbox.store_soon._queue) == len(ids), 20)
    assert first.result() == 200
    return [answer.result() for answer in answers]


def test_hundreds_of_posts_at_once_are_each_stored_once_and_answered_right(app: Flask, logs: Logs) -> None:
    ids = [f"evt_{number}" for number in range(40)] * 3
    random.Random(1).shuffle(ids)
    bodies = [json.dumps(event(id=id)) for id in ids]
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda body: post(app.test_client(), body).status_code, bodies))
    assert Counter(answers) == {200: 120}
    assert count("inbox_events") == count("jobs") == 40
    stored = [line["correlation_id"] for line in logs.named("[StripeWebhook] stored")]
    assert sorted(stored) == [row[0] for row in rows("SELECT id::text FROM inbox_events ORDER BY 1")]
    assert len(logs.named("[StripeWebhook] repeated")) == 80


def test_those_who_wait_are_written_in_one_transaction_and_a_repeat_among_them_once(
    app: Flask, database: Database
) -> None:
    logs = tap_logs()
    assert post_together(app, database, ["evt_2", "evt_1", "evt_2", "evt_3", "evt_first"]) == [200] * 5
    assert scalar("SELECT count(DISTINCT xmin::text) FROM inbox_events WHERE external_id <> 'evt_first'") == 1
    assert count("inbox_events") == count("jobs") == 4
    told = Counter(
        (line["event"], line["stripe_event_id"])
        for line in logs.events
        if "StripeWebhook" in line.get("event", "")
    )
    once = {("[StripeWebhook] stored", f"evt_{name}"): 1 for name in ("first", 1, 2, 3)}
    assert told == once | {
        ("[StripeWebhook] repeated", "evt_2"): 1,
        ("[StripeWebhook] repeated", "evt_first"): 1,
    }


def test_one_that_cannot_be_stored_fails_alone(app: Flask, database: Database) -> None:
    run(REFUSE)
    assert post_together(app, database, ["evt_1", BAD, "evt_2", "evt_3"]) == [200, 500, 200, 200]
    assert count("inbox_events") == count("jobs") == 4
    run("DROP TRIGGER refuse ON inbox_events")
    assert post(app.test_client(), json.dumps(event(id=BAD))).status_code == 200
    assert count("inbox_events") == count("jobs") == 5


def test_the_relays_are_told_once_it_is_stored(app: Flask, database: Database) -> None:
    listener = Listener(database.url)
    listener.wait(0)
    assert post(app.test_client(), json.dumps(event())).status_code == 200
    # It would wait for a minute, and the test with it, if nothing were heard.
    listener.wait(60)
    listener.close()


def test_a_connection_that_was_ended_between_two_events_is_not_noticed(
    app: Flask, database: Database
) -> None:
    assert post(app.test_client(), json.dumps(event(id="evt_1"))).status_code == 200
    with database.engine.begin() as connection:
        assert connection.execute(text(END_OTHERS)).all()
    assert post(app.test_client(), json.dumps(event(id="evt_2"))).status_code == 200
    assert count("inbox_events") == count("jobs") == 2


def test_a_connection_that_is_ended_while_it_writes_is_replaced_and_then_reported(
    app: Flask, database: Database
) -> None:
    with held_up(app, database) as send:
        lives = send("evt_lives")
        first = wait_for_writer()
        rows(END)
        wait_for_another(first)
    assert lives.result() == 200
    with held_up(app, database) as send:
        lost = [send("evt_lost")]
        first = wait_for_writer()
        lost += [send("evt_lost_too"), send("evt_lost")]
        rows(END)
        wait_for_another(first)
        rows(END)
        assert lost[0].result(20) == 503
    assert [one.result() for one in lost[1:]] == [200, 200]
    assert count("inbox_events") == count("jobs") == 3


def test_two_processes_that_get_the_same_events_in_another_order_do_not_wait_in_a_circle(
    database: Database,
) -> None:
    for turn in range(3):
        events = [
            inbox.Event("stripe", f"{turn}-{number}", "test", b"{}", None, "payments")
            for number in range(2000)
        ]
        ready = threading.Barrier(2)

        def store(given: list[inbox.Event], ready: threading.Barrier = ready) -> Sequence[object]:
            ready.wait()
            return inbox._store_group(given)

        with ThreadPoolExecutor(2) as pool:
            both = list(pool.map(store, (events, events[::-1])))
        assert sum(found is not None for group in both for found in group) == 2000


def test_behind_a_pooler_nothing_is_prepared_and_the_time_outs_hold(
    app: Flask, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_DIRECT_URL", database.url)
    settings_module.get_settings.cache_clear()
    monkeypatch.setattr(lean, "_free", [])
    assert post(app.test_client(), json.dumps(event())).status_code == 200
    assert count("inbox_events") == count("jobs") == 1
    shown = lean.Statement(
        "shown", "SELECT current_setting({name}), count(*) FROM pg_prepared_statements", name="text"
    )
    assert lean.run(shown, {"name": "lock_timeout"}) == [("5s", 0)]


def test_each_statement_is_prepared_once_for_each_connection(database: Database) -> None:
    if settings_module.get_settings().is_pooled():
        pytest.skip("behind a pooler nothing is prepared")
    prepared = lean.Statement(
        "prepared",
        "SELECT pg_sleep({seconds}), (SELECT count(*) FROM pg_prepared_statements), pg_backend_pid()",
        seconds="float8",
    )
    lean.run(prepared, {"seconds": 0})
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: lean.run(prepared, {"seconds": 0.2})[0], range(4)))
    assert {number for _, number, _ in found} == {1}
    assert len({pid for _, _, pid in found}) == 2
