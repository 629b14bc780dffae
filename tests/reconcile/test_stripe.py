"""What we missed or lost is found at Stripe and repaired; what is not certain is listed; a second run changes nothing."""

from __future__ import annotations

import json
import time
from datetime import timedelta

import pytest

import tasks.reconcile as reconcile_module
from db.jobs import database_now
from db.session import transaction
from domain import reconciliation, stripe_repairs
from tests.reconcile.conftest import Report, Shop
from tests.reconcile.fake_stripe import DAY, FakeStripe
from tests.stack import make_course, order, rows, scalar
from workers.job import run_due


def write(sql: str, **values: object) -> None:
    with transaction() as session:
        session.execute(stripe_repairs.text(sql), values)


def assert_nothing_changes(shop: Shop, before: Report) -> None:
    """Compare once more: nothing is repaired, and the same is open."""
    events, seats = shop.events(), shop.seats()
    again = shop.reconcile()
    assert again.repaired == {}
    assert again.open == before.open
    assert (shop.events(), shop.seats()) == (events, seats)


def test_an_endpoint_that_was_dead_for_four_days_loses_nothing(shop: Shop, fake: FakeStripe) -> None:
    for days_ago in (5, 4.5, 0.3, 0.2):
        shop.deliver(fake.sell(shop.order(), days_ago=days_ago, delivered=True))
    for hour in range(20):
        fake.sell(shop.order(), days_ago=4 - hour / 6)
    shop.work()
    found = shop.reconcile()
    assert found.repaired == {"event_missed": 20}
    assert found.open == {}
    assert shop.seats() == {"pending": 24}
    assert scalar("SELECT count(*) FROM payments WHERE state = 'paid'") == 24
    assert_nothing_changes(shop, found)


def test_an_event_that_was_acknowledged_and_then_lost_here_is_stored_again(
    shop: Shop, fake: FakeStripe
) -> None:
    before, after = fake.sell(shop.order(), delivered=True), fake.sell(shop.order(), delivered=True)
    shop.deliver(after)
    shop.work()
    shop.deliver(before)
    for body in (before, after):
        write(
            "DELETE FROM jobs WHERE subject_id IN (SELECT id FROM inbox_events WHERE external_id = :id)",
            id=json.loads(body)["id"],
        )
        write("DELETE FROM inbox_events WHERE external_id = :id", id=json.loads(body)["id"])
    found = shop.reconcile()
    assert found.repaired == {"event_lost": 2}
    assert "acknowledged and then lost here" in found.whole["repaired"][0]["message"]
    assert shop.seats() == {"pending": 2}
    assert scalar("SELECT count(*) FROM payments") == 2
    assert_nothing_changes(shop, found)


def test_a_stored_event_without_a_job_gets_one(shop: Shop, fake: FakeStripe) -> None:
    shop.deliver(fake.sell(shop.order(), delivered=True))
    write("DELETE FROM jobs WHERE kind = 'payments.process'")
    found = shop.reconcile()
    assert found.repaired == {"event_stuck": 1}
    assert shop.seats() == {"pending": 1}
    assert_nothing_changes(shop, found)


def test_an_event_that_was_given_up_is_for_a_person_until_it_is_done(shop: Shop, fake: FakeStripe) -> None:
    shop.deliver(fake.sell(shop.order(), delivered=True))
    write("UPDATE jobs SET state = 'parked', last_error = 'ValueError: odd' WHERE kind = 'payments.process'")
    found = shop.reconcile()
    assert (found.repaired, found.open) == ({}, {"event_given_up": 1})
    assert "odd" in found.whole["needs_person"][0]["message"]
    write("UPDATE jobs SET state = 'ready' WHERE kind = 'payments.process'")
    shop.work()
    assert shop.reconcile().open == {}


def test_a_sale_that_is_older_than_the_events_is_found_by_its_checkout_session(
    shop: Shop, fake: FakeStripe
) -> None:
    fake.sell(shop.order(), days_ago=40)
    fake.sell(shop.order(), days_ago=170)
    fake.sell({"cart": "of another product"}, days_ago=40)
    fake.sell(None, days_ago=40)
    unpaid = shop.order()
    fake.sell(unpaid, days_ago=40)
    fake.sessions[-1]["payment_status"] = "unpaid"
    found = shop.reconcile()
    assert found.repaired == {"sale_missed": 2}
    assert shop.seats() == {"pending": 2}
    [(external_id, payload)] = rows(
        "SELECT external_id, payload FROM inbox_events WHERE external_id = :id",
        id=f"usher_session_{fake.sessions[0]['id']}",
    )
    event = json.loads(bytes(payload))
    assert (event["id"], event["usher"]) == (external_id, {"made_by": "reconciliation"})
    assert_nothing_changes(shop, found)


def test_how_far_back_it_looks_is_what_was_asked(shop: Shop, fake: FakeStripe) -> None:
    fake.sell(shop.order(), days_ago=40)
    with transaction() as session:
        now = database_now(session)
    assert shop.reconcile(since=now - timedelta(days=35)).repaired == {}
    assert shop.reconcile(since=now - timedelta(days=60)).repaired == {"sale_missed": 1}


def test_a_payment_that_succeeded_long_ago_and_still_waits_here_is_paid(shop: Shop, fake: FakeStripe) -> None:
    fake.sell(shop.order(), days_ago=40)
    unpaid = json.loads(json.dumps(fake.events[-1]))
    unpaid["data"]["object"]["payment_status"] = "unpaid"
    shop.deliver(json.dumps(unpaid).encode())
    shop.work()
    assert rows("SELECT state FROM payments") == [("awaiting",)]
    found = shop.reconcile()
    assert found.repaired == {"sale_missed": 1}
    assert rows("SELECT state FROM payments") == [("paid",)]
    assert_nothing_changes(shop, found)


def test_refunds_and_disputes_that_we_were_never_told_of_settle_the_seats(
    shop: Shop, fake: FakeStripe
) -> None:
    for days_ago in (60, 60, 60, 60, 2):
        shop.deliver(fake.sell(shop.order(), days_ago=days_ago, delivered=True))
    shop.work()
    first, second, third, _, fifth = fake.sessions
    fake.refund(first, days_ago=35, told=False)
    fake.dispute(second, "needs_response", days_ago=35)
    lost = fake.dispute(third, "needs_response", days_ago=50)
    lost["status"] = "lost"
    fake.refund(fifth, days_ago=1)
    fake.refund({"payment_intent": "pi_other", "amount_total": 5}, days_ago=35, told=False)
    found = shop.reconcile()
    assert found.repaired == {"refund_missed": 1, "dispute_missed": 2, "event_missed": 1}
    assert shop.seats() == {"pending": 1, "revoked": 3, "suspended": 1}
    assert_nothing_changes(shop, found)
    fake.disputes[0]["status"] = "won"
    assert shop.reconcile().repaired == {"dispute_missed": 1}
    assert shop.seats() == {"pending": 2, "revoked": 3}


def test_a_seat_that_nobody_paid_for_is_listed_and_never_taken_away(shop: Shop, fake: FakeStripe) -> None:
    shop.deliver(fake.sell(shop.order(), delivered=True))
    shop.work()
    ghost = shop.order()
    write(
        "INSERT INTO partner_lms_enrollments (student_id, provider_id, course_id, status)"
        " VALUES (:studentId, :partnerId, :courseId, 'active')",
        **ghost,
    )
    found = shop.reconcile()
    assert (found.repaired, found.open) == ({}, {"seat_unpaid": 1})
    assert shop.seats() == {"active": 1, "pending": 1}
    first_seen = found.whole["needs_person"][0]["first_seen_at"]
    assert_nothing_changes(shop, found)
    shop.deliver(fake.sell(ghost, delivered=True))
    shop.work()
    assert shop.reconcile().open == {}
    [(resolved, seen)] = rows("SELECT resolved_at IS NOT NULL, first_seen_at FROM reconciliation_findings")
    assert (resolved, seen) == (True, first_seen)


def test_a_second_payment_for_a_seat_is_listed_until_it_is_refunded(shop: Shop, fake: FakeStripe) -> None:
    metadata = shop.order()
    for _ in range(2):
        shop.deliver(fake.sell(metadata, delivered=True))
    shop.work()
    found = shop.reconcile()
    assert (found.repaired, found.open) == ({}, {"paid_twice": 1})
    assert all(one["id"] in found.whole["needs_person"][0]["message"] for one in fake.sessions)
    assert_nothing_changes(shop, found)
    fake.refund(fake.sessions[1])
    assert shop.reconcile().repaired == {"event_missed": 1}
    assert shop.reconcile().open == {}
    assert shop.seats() == {"pending": 1}


def test_a_payment_that_bought_nothing_is_listed_unless_its_event_waits(shop: Shop, fake: FakeStripe) -> None:
    shop.deliver(fake.sell({"studentId": "nobody"}, delivered=True))
    shop.deliver(fake.sell(shop.order(), delivered=True))
    shop.work()
    write("DELETE FROM payment_lines")
    write("DELETE FROM partner_lms_enrollments")
    found = shop.reconcile()
    assert (found.repaired, found.open) == ({}, {"payment_without_seat": 1})
    assert fake.sessions[1]["id"] in found.whole["needs_person"][0]["message"]
    assert_nothing_changes(shop, found)


def test_what_a_repair_cannot_place_waits_like_any_other_payment(shop: Shop, fake: FakeStripe) -> None:
    provider, course = make_course(code="COURSE-9")
    fake.sell(order("00000000-0000-4000-8000-000000000000", provider, course), days_ago=3)
    found = shop.reconcile()
    assert (found.repaired, found.open) == ({"event_missed": 1}, {})
    assert "not in users" in str(scalar("SELECT reason FROM inbox_events WHERE state = 'waiting'"))
    assert_nothing_changes(shop, found)


def test_killed_in_the_middle_of_a_page_it_goes_on_there(
    shop: Shop, fake: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page that was being written is not half there; those before it are not read again."""
    for number in range(250):
        fake.sell({"other": "product"}, days_ago=20 - number / 20)
    fake.sell(shop.order(), days_ago=1)
    real, calls = stripe_repairs.findings.note_repaired, []

    def dies_in_the_middle(*args: object) -> None:
        real(*args)  # type: ignore[arg-type]
        calls.append(len(args[3]))  # type: ignore[arg-type]
        if sum(calls) - calls[-1] < 150 <= sum(calls):
            raise RuntimeError("killed")

    monkeypatch.setattr(stripe_repairs.findings, "note_repaired", dies_in_the_middle)
    with transaction() as session:
        run = reconciliation.ask_stripe(session)
    assert run_due(["stripe.reconcile"])
    assert rows("SELECT state FROM jobs WHERE id = :id", id=run.job_id) == [("ready",)]
    stored, [(phase, place)] = shop.events(), rows("SELECT phase, place FROM reconciliations")
    repaired = scalar("SELECT count(*) FROM reconciliation_findings WHERE repaired")
    assert (phase, stored) == ("events", repaired)
    assert 0 < stored < 251
    asked: list[int] = []
    monkeypatch.setattr(
        reconcile_module.StripeApi,
        "iter_events",
        lambda self, since, types: asked.append(since) or self._walk("/v1/events", since),
    )
    write("UPDATE jobs SET next_run_at = now() WHERE id = :id", id=run.job_id)
    assert run_due(["stripe.reconcile"])
    assert asked == [int(place)]
    assert rows("SELECT state FROM jobs WHERE id = :id", id=run.job_id) == [("done",)]
    assert shop.events() == 251
    assert Report(run.id).repaired == {"event_missed": 251}


@pytest.mark.parametrize("trouble", [500, 429])
def test_while_stripe_is_down_it_waits_and_nothing_is_half_done(
    shop: Shop, fake: FakeStripe, monkeypatch: pytest.MonkeyPatch, trouble: int
) -> None:
    monkeypatch.setattr("stripe.HTTPClient._sleep_time_seconds", lambda *_, **__: 0)
    fake.sell(shop.order(), days_ago=3)
    fake.sell(shop.order(), days_ago=40)
    fake.trouble["sessions"] = trouble
    with transaction() as session:
        run = reconciliation.ask_stripe(session)
    assert run_due(["stripe.reconcile"])
    [(state, error)] = rows("SELECT state, last_error FROM jobs WHERE id = :id", id=run.job_id)
    assert state == "ready"
    assert error.startswith("later: Stripe ")
    assert rows("SELECT phase, finished_at FROM reconciliations") == [("events", None)]
    assert shop.events() == 1
    fake.trouble.clear()
    write("UPDATE jobs SET next_run_at = now() WHERE id = :id", id=run.job_id)
    assert run_due(["stripe.reconcile"])
    assert Report(run.id).repaired == {"event_missed": 1, "sale_missed": 1}


def test_a_key_that_may_not_read_a_list_is_a_finding_and_the_rest_is_compared(
    shop: Shop, fake: FakeStripe
) -> None:
    fake.sell(shop.order(), days_ago=40)
    fake.trouble = {"events": 403, "disputes": 403}
    found = shop.reconcile()
    assert (found.repaired, found.open) == (
        {"sale_missed": 1},
        {"events_unreadable": 1, "disputes_unreadable": 1},
    )
    fake.trouble.clear()
    assert shop.reconcile().open == {}


def test_many_events_are_read_oldest_first_each_once_in_few_calls(fake: FakeStripe) -> None:
    for number in range(1500):
        # A quiet month, a busy hour, and one second in which 250 things happened.
        days_ago = 29 - number / 20 if number < 250 else (12 + number / 60_000 if number < 1250 else 3.0)
        fake._happened("refund.updated", {"id": f"re_{number}"}, days_ago, True)
    at = fake.events[-1]["created"]
    for event in fake.events[1250:]:
        event["created"] = at
    api = reconcile_module.connect()
    pages = list(api.iter_events(int(time.time()) - 30 * DAY, ["refund.updated"]))
    read = [event for page in pages for event in page.objects]
    assert sorted(event["id"] for event in read) == sorted(event["id"] for event in fake.events)
    assert [event["created"] for event in read] == sorted(event["created"] for event in fake.events)
    assert fake.calls["/v1/events"] < 30
    assert max(len(page.objects) for page in pages) <= 100
