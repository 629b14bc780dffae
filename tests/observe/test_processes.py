"""With real processes: silent while all is well; without any worker or beat, the relay notices and tells."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from domain import notices
from tests.observe.conftest import Shop, alerts, firing, needs_promtool, samples, told
from tests.observe.test_causes import refuse, sql
from tests.partners.conftest import RawServer, answer
from tests.stack import Stack, checkout_event, make_course, make_students, order, rows, scalar, wait_until
from workers import watch

SECRET = "alert-secret-0123456789"


@pytest.fixture
def receiver() -> Iterator[RawServer]:
    """A program that is told of alerts."""
    server = RawServer(answer("200 OK"))
    yield server
    server.stop()


def notices_of(receiver: RawServer) -> list[dict[str, object]]:
    """Return the bodies that came, each with a signature that fits and a target that is the configured one."""
    found = []
    for request in receiver.requests:
        head, _, body = request.partition(b"\r\n\r\n")
        assert head.startswith(b"POST /hook?x=1 HTTP/1.1\r\n")
        signed = re.search(rb"Usher-Signature: t=(\d+),v1=([0-9a-f]{64})", head)
        assert signed
        expected = hmac.new(SECRET.encode(), signed[1] + b"." + body, hashlib.sha256).hexdigest()
        assert signed[2].decode() == expected
        found.append(json.loads(body))
    return found


@pytest.mark.e2e
@needs_promtool
@pytest.mark.full
def test_the_relay_tells_of_dead_workers_and_a_dead_beat(
    stack: Stack, receiver: RawServer, tmp_path: Path
) -> None:
    stack.env |= {
        "ALERT_WEBHOOK_URL": f"{receiver.url}/hook?x=1",
        "ALERT_WEBHOOK_SECRET": SECRET,
        "ALERT_WEBHOOK_PRIVATE": "true",
        "STAFF_EMAIL": "staff@example.com",
        "WATCH_INTERVAL": "0.5",
    }
    stack.start_beat()
    stack.start_chain()
    provider, course = make_course()
    first, second = make_students(2)
    assert stack.post_event(checkout_event(order(first, provider, course))).status_code == 200
    stack.wait_for_statuses({"active": 1})

    def scrape() -> str:
        return requests.get(f"{stack.api_url}/metrics", timeout=10).text

    def known() -> bool:
        """Say whether beat, relay, worker and broker are all seen."""
        page = dict(samples(scrape()))
        return (
            page["usher_beat_age_seconds"] < 60
            and page["usher_relay_age_seconds"] < 60
            and page.get('usher_queue_consumers{queue="payments"}') == 1
            and page.get('usher_queue_depth{queue="payments"}') == 0
        )

    wait_until(known, 60, scrape)
    assert firing(scrape(), tmp_path) == set()
    # For who looks twice a second, what has not begun yet is silent; that is over by now.
    wait_until(lambda: alerts() == set(), 60, lambda: str(alerts()))
    assert {notice["kind"] for notice in notices_of(receiver)} <= {"beat_silent", "relay_silent"}

    for name in ("worker0", "beat", "relay0"):
        stack.kill(name)
    # Time passes.
    sql(
        "UPDATE scheduled_runs SET slot = slot - interval '1 hour', ran_at = ran_at - interval '1 hour' WHERE job <> 'relay'"
    )
    stack.env |= {"PAYMENT_DEADLINE": "2", "QUEUE_DEADLINE": "2"}
    assert stack.post_event(checkout_event(order(second, provider, course))).status_code == 200
    stack.start_relay("relay1")
    expected = {("payment_not_ready", ""), ("queue_unclaimed", "payments"), ("beat_silent", "")}
    wait_until(lambda: alerts() >= expected, 60, lambda: str(alerts()))
    wait_until(lambda: {n["kind"] for n in notices_of(receiver)} >= {kind for kind, _ in expected}, 60)
    wait_until(lambda: sum("staff@example.com" in str(mail) for mail in stack.mails()) >= 3, 60)
    # The first one that is stuck is told of within its deadline and a minute.
    late = scalar(
        "SELECT extract(epoch FROM a.opened_at - i.received_at) FROM alerts a, inbox_events i"
        " WHERE a.kind = 'payment_not_ready' AND i.state = 'received'"
    )
    assert 2 <= late <= 62
    assert {"beat_silent", "queue_unclaimed"} <= {kind for kind, _ in alerts()}

    stack.start_worker("worker1")
    stack.wait_for_statuses({"active": 2})
    over = {("payment_not_ready", ""), ("queue_unclaimed", "payments")}
    wait_until(lambda: not alerts() & over, 60, lambda: str(alerts()))
    # Others may be over too: what is silent at the start, where that takes long.
    gone = {kind for kind, _ in over}
    wait_until(lambda: {n["kind"] for n in notices_of(receiver) if n["event"] == "resolved"} >= gone, 60)
    bodies = notices_of(receiver)
    assert max(Counter(str(body["id"]) for body in bodies).values()) == 1
    for kind in gone:
        assert [body["event"] for body in bodies if body["kind"] == kind] == ["opened", "resolved"]
    everything = json.dumps(bodies) + "".join(mail["text"] for mail in stack.mails() if "staff@" in str(mail))
    assert "student-" not in everything
    assert str(second) not in everything


def test_however_many_look_it_is_opened_and_told_once(shop: Shop) -> None:
    refuse(shop)
    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(watch.look) for _ in range(12)]:
            done.result()
    assert rows("SELECT kind, count(*) FROM alerts WHERE kind = 'payment_not_ready' GROUP BY 1") == [
        ("payment_not_ready", 1)
    ]
    assert told("payment_not_ready") == ["opened"]
    assert (
        scalar(
            "SELECT count(*) FROM jobs WHERE kind = 'mail.staff' AND business_key LIKE :key",
            key="alert:%:opened",
        )
        >= 1
    )


def test_a_receiver_that_fails_is_told_again_with_the_same_id(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(["503 Service Unavailable", "200 OK"])
    server = RawServer(lambda connection, request: answer(next(answers, "200 OK"))(connection, request))
    use(monkeypatch, server.url)
    refuse(shop)
    watch.look()
    wait_until(lambda: bool(server.requests), 20)
    sql("UPDATE jobs SET next_run_at = now() WHERE kind = 'alerts.post' AND state = 'ready'")
    watch.look()
    payment = [body for body in notices_of(server) if body["kind"] == "payment_not_ready"]
    ids = {str(body["id"]) for body in notices_of(server)}
    assert len(server.requests) == len(ids) + 1
    assert payment[0]["runbook"] == f"{notices.RUNBOOK}#usherpaymentnotready"
    assert scalar("SELECT count(*) FROM jobs WHERE kind = 'alerts.post' AND state <> 'done'") == 0
    server.stop()


@pytest.mark.parametrize(
    ("reply", "private", "said"),
    [("302 Found", "true", "answered 302"), ("200 OK", "", "private address")],
)
def test_no_redirect_is_followed_and_no_private_address_is_called(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, reply: str, private: str, said: str
) -> None:
    server = RawServer(answer(reply))
    use(monkeypatch, server.url)
    if not private:
        from settings import get_settings

        # What a name leads to is known once it stands, so the settings could not refuse it.
        monkeypatch.setattr(get_settings(), "alert_webhook_private", False)
    refuse(shop)
    watch.look()
    errors = [
        row[0] for row in rows("SELECT last_error FROM jobs WHERE kind = 'alerts.post' AND state = 'failed'")
    ]
    assert errors
    assert all(said in error for error in errors)
    assert bool(server.requests) == bool(private)
    server.stop()


def use(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Have this process tell this address."""
    import settings

    monkeypatch.setenv("ALERT_WEBHOOK_URL", f"{url}/hook?x=1")
    monkeypatch.setenv("ALERT_WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("ALERT_WEBHOOK_PRIVATE", "true")
    settings.get_settings.cache_clear()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"ALERT_WEBHOOK_URL": "http://example.com/x", "ALERT_WEBHOOK_SECRET": SECRET},
            "must start with https",
        ),
        (
            {"ALERT_WEBHOOK_URL": "https://me:pw@example.com/x", "ALERT_WEBHOOK_SECRET": SECRET},
            "hold no user",
        ),
        ({"ALERT_WEBHOOK_URL": "https://example.com/x"}, "ALERT_WEBHOOK_URL needs it"),
    ],
)
def test_wrong_settings_are_named(
    usher_env: dict[str, str], monkeypatch: pytest.MonkeyPatch, values: dict[str, str], said: str
) -> None:
    from settings import ConfigurationError, load_settings

    for name, value in values.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=said):
        load_settings()
