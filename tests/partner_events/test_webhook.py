"""Events of partners: who may send them, what is stored, and that nothing in them is believed."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from flask import Flask
from sqlalchemy import text

import settings as settings_module
from api.partner_webhook import MAX_BODY, REFUSED
from db.session import transaction
from domain import demo, events, partner_events, progress, retention
from partners.redaction import MARK
from partners.sandbox import signature
from tests.api.conftest import Logs, make_enrollment, run
from tests.partner_events.conftest import SECRET, Hints, hint
from tests.stack import rows, scalar


def test_a_hint_has_its_seats_read_again(hints: Hints) -> None:
    hints.sandbox.move(hints.seat, 100)
    answer = hints.post(body := hint(hints.seat))
    assert (answer.status_code, answer.get_json()) == (200, {"received": True})
    assert rows("SELECT source, type, state, subjects, payload FROM inbox_events")[0][:4] == (
        f"partner:{hints.provider}", partner_events.TYPE, "received", [hints.seat],
    )  # fmt: skip
    assert bytes(scalar("SELECT payload FROM inbox_events")) == body
    assert hints.standing() == ("active", 0.0)
    assert (hints.process(), hints.look()) == (1, 1)
    assert hints.standing() == ("completed", 100.0)
    assert rows("SELECT state, reason FROM inbox_events") == [("done", None)]


def test_what_a_signed_event_claims_changes_nothing(hints: Hints) -> None:
    claim = {"status": "completed", "percentage": 100, "completed_at": "2026-11-21T12:00:00Z"}
    assert hints.post(hint(hints.seat, **claim, data={hints.seat: claim})).status_code == 200
    assert (hints.process(), hints.look()) == (1, 1)
    assert hints.looks_at_partner() == 1
    assert hints.standing() == ("active", 0.0)
    assert scalar("SELECT count(*) FROM partner_certificates") == 0


def _sign(body: bytes, secret: str, age: float) -> str:
    return signature.sign(body, secret, int(time.time() - age))


FORGERIES: dict[str, Callable[[bytes], str | None]] = {
    "no signature": lambda body: None,
    "an empty one": lambda body: "",
    "an unreadable one": lambda body: "v1=abc",
    "not ASCII": lambda body: "t=1,v1=é",
    "another secret": lambda body: _sign(body, "somebody-else", 0),
    "another body": lambda body: _sign(body + b" ", SECRET, 0),
    "another time": lambda body: _sign(body, SECRET, 0).replace("t=1", "t=2"),
    "two times": lambda body: f"t=1,{_sign(body, SECRET, 0)}",
    "five minutes ago": lambda body: _sign(body, SECRET, 310),
    "in five minutes": lambda body: _sign(body, SECRET, -310),
}


def test_what_is_not_the_partners_is_refused_and_counted(hints: Hints, logs: Logs) -> None:
    before = REFUSED.labels("sandbox")._value.get()
    for forged, make in FORGERIES.items():
        header = make(body := hint(hints.seat))
        answer = hints.send(body, {} if header is None else {signature.HEADER: header})
        assert (answer.status_code, answer.get_json()["code"]) == (400, "partner_event_invalid"), forged
    assert (hints.stored(), scalar("SELECT count(*) FROM jobs")) == (0, 0)
    assert REFUSED.labels("sandbox")._value.get() == before + len(FORGERIES)
    assert "usher_partner_events_refused_total" in hints.client.get("/metrics").text
    assert len(logs.named("[PartnerWebhook] refused")) == len(FORGERIES)
    assert SECRET not in logs.text


def test_clocks_may_differ_in_either_direction(hints: Hints) -> None:
    for age in (280, -280):
        assert hints.post(hint(hints.seat, age=age), age=age).status_code == 200
    assert hints.stored() == 2


UNREADABLE = [
    b"",
    b"[]",
    b"{",
    b"\xff",
    b"{}",
    b"[" * 100_000,
    b'{"enrollment_ids": "x"}',
    b'{"enrollment_ids": [{}]}',
    hint(""),
]


def test_a_signed_event_that_cannot_be_read_is_refused(hints: Hints) -> None:
    for body in UNREADABLE:
        assert hints.post(body).get_json()["code"] == "partner_event_invalid", body[:50]
    assert hints.stored() == 0


def test_a_repeat_inserts_nothing_and_gets_the_same_answer(hints: Hints) -> None:
    first = hints.post(body := hint(hints.seat))
    again = hints.post(body, age=60)
    assert (again.status_code, again.data) == (first.status_code, first.data)
    assert (hints.stored(), scalar("SELECT count(*) FROM jobs")) == (1, 1)
    # Some partners sign neither an id nor a time: months later the same bytes may mean something new.
    assert (hints.process(), hints.look(), hints.process()) == (1, 1, 0)
    hints.sandbox.move(hints.seat, 40)
    assert hints.post(body).status_code == 200
    run("UPDATE jobs SET next_run_at = now() WHERE state = 'ready'")
    assert (hints.process(), hints.look()) == (1, 1)
    assert (hints.stored(), hints.standing()) == (1, ("active", 40.0))


def test_a_thousand_hints_end_in_few_looks(hints: Hints) -> None:
    """A tenth of them through HTTP, the others where HTTP hands them on; every tenth in words of its own."""
    same = hint(hints.seat)
    for number in range(1000):
        body = hint(hints.seat, number=number) if number % 10 == 0 else same
        if number % 10 == 1:
            assert hints.post(body).status_code == 200
        else:
            with transaction() as session:
                partner_events.store(session, hints.provider, "sandbox", payload=body, seats=[hints.seat])
        if number % 250 == 0:
            hints.process()
    hints.process()
    assert hints.stored() == 101
    assert scalar("SELECT count(*) FROM jobs WHERE kind = 'progress.sync_one'") == 1
    assert hints.looks_at_partner() == 0
    assert (hints.look(), hints.looks_at_partner()) == (1, 1)


def test_a_hint_does_not_hurry_a_look_that_waits_for_the_partner(hints: Hints) -> None:
    hints.post(hint(hints.seat))
    hints.process()
    run(
        "UPDATE jobs SET next_run_at = now() + interval '10 minutes', attempts = 3, last_error = 'rate_limited: x'"
        " WHERE kind = 'progress.sync_one'"
    )
    hints.post(hint(hints.seat, id="evt_2"))
    assert hints.process() == 1
    [(attempts, waits)] = rows(
        "SELECT attempts, next_run_at > now() + interval '9 minutes' FROM jobs WHERE kind = 'progress.sync_one'"
    )
    assert (attempts, waits) == (3, True)


def test_seats_that_are_not_ours_are_ignored_and_noted(hints: Hints) -> None:
    other = make_enrollment(
        external_enrollment_id="seat-elsewhere",
        provider_id=demo.provider_id("hsi"),
        course=_course_of("hsi"),
    )
    assert hints.post(hint("no\0body", hints.seat, "\ud800", "seat-elsewhere")).status_code == 200
    assert hints.process() == 1
    assert rows("SELECT state, reason FROM inbox_events") == [
        ("done", "3 of 4 seats are not ours: no?body, ?, seat-elsewhere")
    ]
    assert rows("SELECT business_key FROM jobs WHERE kind = 'progress.sync_one'") == [(hints.enrollment,)]
    assert other != hints.enrollment


def _course_of(provider_type: str) -> str:
    return str(
        scalar(
            "SELECT course_code FROM partner_courses WHERE provider_id = :id LIMIT 1",
            id=demo.provider_id(provider_type),
        )
    )


def test_seats_that_are_not_active_are_left_alone(hints: Hints) -> None:
    for status in ("completed", "revoked", "suspended"):
        run("UPDATE partner_lms_enrollments SET status = :status", status=status)
        hints.post(hint(hints.seat, status=status))
        assert hints.process() == 1
    assert scalar("SELECT count(*) FROM jobs WHERE kind = 'progress.sync_one'") == 0


def test_a_credential_in_an_event_is_not_stored(hints: Hints, environment: pytest.MonkeyPatch) -> None:
    """Some partners sign by a password in the body, as SCORM Cloud's forms do."""
    from partners.registry import get_partner

    secret = 'pass "word" & more/2'
    environment.setenv("SANDBOX_WEBHOOK_SECRET", secret)
    settings_module.get_settings.cache_clear()
    get_partner.cache_clear()
    forms = [quote(secret), quote_plus(secret), quote(secret, safe="")]
    assert hints.post(hint(hints.seat, password=secret, forms=forms), secret=secret).status_code == 200
    kept = json.loads(bytes(scalar("SELECT payload FROM inbox_events")))
    assert (kept["password"], kept["forms"]) == (MARK, [MARK] * 3)
    assert (hints.process(), hints.look()) == (1, 1)


def test_one_partner_may_send_only_so_many(hints: Hints, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("PARTNER_EVENT_RATE", "3")
    settings_module.get_settings.cache_clear()
    for _ in range(5):
        assert hints.post(hint(hints.seat), secret="somebody-else").status_code == 400
    answers = [hints.post(hint(hints.seat, number=number)) for number in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[3].get_json()["code"] == "rate_limited"
    assert int(answers[3].headers["Retry-After"]) > 0
    assert hints.stored() == 3


def test_a_partner_that_is_not_served_takes_none(hints: Hints) -> None:
    for provider in ("nonsense", str(uuid.uuid4())):
        answer = hints.post(hint(hints.seat), provider=provider)
        assert (answer.status_code, answer.get_json()["code"]) == (404, "partner_events_not_taken")
    for change in ("active = false", "active = true, provider_type = 'nobody'"):
        run(f"UPDATE partner_lms_providers SET {change} WHERE id = :id", id=hints.provider)
        assert hints.post(hint(hints.seat)).get_json()["code"] == "partner_events_not_taken"
    assert hints.stored() == 0


def test_without_a_secret_none_are_taken(hints: Hints, environment: pytest.MonkeyPatch) -> None:
    from partners.registry import get_partner

    environment.delenv("SANDBOX_WEBHOOK_SECRET")
    settings_module.get_settings.cache_clear()
    get_partner.cache_clear()
    assert hints.post(hint(hints.seat), secret="").get_json()["code"] == "partner_events_not_taken"
    assert hints.stored() == 0


def test_two_secrets_count_while_one_is_rotated(hints: Hints, environment: pytest.MonkeyPatch) -> None:
    from partners.registry import get_partner

    environment.setenv("SANDBOX_WEBHOOK_SECRET", f"new-secret-0002, {SECRET}")
    settings_module.get_settings.cache_clear()
    get_partner.cache_clear()
    assert hints.post(hint(hints.seat)).status_code == 200
    assert hints.post(hint(hints.seat, n=2), secret="new-secret-0002").status_code == 200


def test_too_large_an_event_is_refused(hints: Hints) -> None:
    assert hints.post(b" " * (MAX_BODY + 1)).get_json()["code"] == "too_large"


def test_without_the_database_the_partner_is_asked_to_come_again(
    app_without_database: Flask, usher_env: dict[str, str]
) -> None:
    answer = app_without_database.test_client().post(f"/api/partners/{uuid.uuid4()}/webhook", data=b"{}")
    assert (answer.status_code, answer.get_json()["code"]) == (503, "database_unavailable")


def test_staff_can_have_an_event_looked_at_again(hints: Hints) -> None:
    hints.post(hint(hints.seat))
    assert (hints.process(), hints.look()) == (1, 1)
    with transaction() as session:
        event_id = events.replay(session, str(scalar("SELECT id FROM inbox_events")))
    assert scalar("SELECT state FROM inbox_events WHERE id = :id", id=event_id) == "received"
    assert (hints.process(), hints.look()) == (1, 1)


def test_events_are_forgotten_like_others(hints: Hints) -> None:
    hints.post(hint(hints.seat))
    hints.process()
    run("UPDATE inbox_events SET received_at = now() - interval '200 days'")
    [rule] = [
        rule
        for rule in retention.rules(inbox=180, jobs=90, failures=365, partner_calls=30)
        if rule.table == "inbox_events"
    ]
    with transaction() as session:
        assert retention.forget_batch(session, rule) == 1


def test_the_sandbox_tells_signed_which_seats_moved(hints: Hints) -> None:
    """What it sends is what the api takes: the deliveries are caught and handed on as they are."""
    from tests.partners.conftest import RawServer, answer

    server = RawServer(answer("200 OK"))
    try:
        registered = hints.sandbox.request("POST", "/_webhooks", {"url": f"{server.url}/x", "secret": SECRET})
        assert registered.status_code == 201
        hints.sandbox.move(hints.seat, 55)
        told = _wait_for_delivery(hints)
    finally:
        server.stop()
    assert told["delivered"] == 1
    assert SECRET not in json.dumps(told)
    head, _, body = b"".join(server.requests).partition(b"\r\n\r\n")
    [header] = [line for line in head.decode().split("\r\n") if line.lower().startswith("sandbox-signature")]
    assert json.loads(body)["enrollment_ids"] == [hints.seat]
    assert json.loads(body).keys() == {"id", "type", "created", "enrollment_ids"}
    assert hints.send(body, {signature.HEADER: header.partition(": ")[2]}).status_code == 200
    assert (hints.process(), hints.look()) == (1, 1)
    assert hints.standing() == ("active", 55.0)


def _wait_for_delivery(hints: Hints) -> dict[str, object]:
    deadline = time.monotonic() + 20
    while True:
        [told] = hints.sandbox.request("GET", "/_webhooks").json()["data"]
        if told["delivered"] or told["failed"]:
            return dict(told)
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_sandbox_refuses_a_webhook_that_is_none(hints: Hints) -> None:
    for body in ([], {}, {"url": "ftp://x", "secret": "s"}, {"url": "http://x"}):
        assert hints.sandbox.request("POST", "/_webhooks", body).status_code == 422
    assert hints.sandbox.request("GET", "/_webhooks").json() == {"data": []}


def test_the_pause_between_hint_and_look_is_kept(hints: Hints) -> None:
    hints.post(hint(hints.seat))
    hints.process()
    with transaction() as session:
        seconds = session.execute(
            text("SELECT extract(epoch FROM next_run_at - updated_at) FROM jobs WHERE kind = :kind"),
            {"kind": progress.SYNC_ONE},
        ).scalar_one()
    assert float(seconds) == pytest.approx(partner_events.DELAY, abs=0.5)
