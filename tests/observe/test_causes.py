"""Each alert from a real cause: what tasks, sandbox and database made of it, as /metrics tells it and promtool judges it.

Where a cause is that time passes, the row's own time is moved back. Causes that are processes are in test_processes.py.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from db import jobs
from db.session import transaction
from domain import enrollments, manual_work, retention, vouchers, xp
from domain.vouchers import Code
from tasks import progress as progress_tasks
from tasks import xp as xp_tasks
from tests.observe.conftest import (
    PAY,
    SYNC,
    WALK,
    Shop,
    alerts,
    firing,
    firing_after,
    look_again,
    needs_promtool,
    told,
)
from tests.recover.clock import pass_time
from tests.stack import make_course, rows, scalar
from tests.xp.conftest import complete, make_school
from tests.xp.test_drift_mail import drift
from workers import relay as relay_module
from workers import watch

Cause = Callable[[Shop], None]
# Hours between two looks at figures that stand for a day.
EVERY = 3


def sql(statement: str, **values: object) -> None:
    with transaction() as session:
        session.execute(xp.text(statement), values)


def refuse(shop: Shop) -> None:
    shop.sandbox.fault("POST /enrollments", status=422, message="Course is full")
    shop.buy()
    shop.work_off()


def leave_unprocessed(shop: Shop) -> None:
    shop.buy()
    sql("UPDATE inbox_events SET received_at = now() - interval '5 minutes'")


def leave_unrung(shop: Shop) -> None:
    shop.buy()
    sql("UPDATE jobs SET next_run_at = now() - interval '5 minutes'")


def name_nobody(shop: Shop) -> None:
    shop.buy({"studentId": str(uuid.uuid4())})
    shop.work_off()


def refuse_credentials(shop: Shop) -> None:
    shop.sandbox.fault("*", status=401)
    shop.buy()
    shop.work_off()


def break_the_partner(shop: Shop) -> None:
    shop.sandbox.fault("*", status=503)
    for _ in range(6):
        shop.buy()
    for _ in range(3):
        shop.work_off()
        sql("UPDATE jobs SET next_run_at = now() WHERE state = 'ready'")
        sql("UPDATE partner_states SET open_until = now() - interval '1 second'")
    shop.work_off()


def earn_and_drift(shop: Shop) -> None:
    school = make_school()
    complete(school)
    drift(school.students)
    xp_tasks.verify()


def let_the_sync_grow_old(shop: Shop) -> None:
    shop.buy()
    shop.work_off()
    progress_tasks.schedule()
    shop.work_off(*SYNC)
    assert shop.values()['usher_sync_age_seconds{partner="sandbox"}'] < 60
    sql(
        "UPDATE partner_sync_states SET finished_at = now() - interval '4 hours', started_at = now() - interval '4 hours'"
    )


def empty_a_pool(shop: Shop) -> None:
    _, course = make_course("careersafe", "SAFE-1")
    with transaction() as session:
        manual_work.stock(session, course, [Code("ONE-1")], actor="tests", reason=None)
    shop.buy()
    shop.work_off()
    seat = str(scalar("SELECT id FROM partner_lms_enrollments"))
    with transaction() as session:
        assert vouchers.take(session, course, seat)


def let_beat_and_relay_fall_silent(shop: Shop) -> None:
    with transaction() as session:
        assert jobs.claim_slot(session, relay_module.HEARTBEAT_NAME, relay_module.HEARTBEAT)
    progress_tasks.schedule()
    sql("UPDATE scheduled_runs SET slot = slot - interval '1 hour', ran_at = ran_at - interval '1 hour'")


def leave_a_queue(shop: Shop) -> None:
    """Nobody listens, and the first in line stays where it is."""
    shop.buy()
    watch.look()
    sql("UPDATE queue_states SET head_since = head_since - interval '10 minutes'")


CAUSES: dict[str, tuple[Cause, set[str], set[tuple[str, str]]]] = {
    "refused": (
        refuse,
        {"UsherPaymentNotReady", "UsherSuccessRateLow", "UsherJobsGivenUp"},
        {("payment_not_ready", "")},
    ),
    "unprocessed": (
        leave_unprocessed,
        {"UsherPaymentNotReady", "UsherWebhookLag"},
        {("payment_not_ready", "")},
    ),
    "unrung": (leave_unrung, {"UsherPaymentNotReady", "UsherRelayLag"}, {("payment_not_ready", "")}),
    "nobody": (name_nobody, {"UsherPaymentNotReady", "UsherEventsWaiting"}, {("payment_not_ready", "")}),
    "credentials": (
        refuse_credentials,
        {"UsherPaymentNotReady", "UsherPartnerPaused"},
        {("payment_not_ready", ""), ("partner_paused", "sandbox")},
    ),
    "broken": (
        break_the_partner,
        {"UsherPaymentNotReady", "UsherPartnerCircuitOpen", "UsherPartnerErrors"},
        {("payment_not_ready", ""), ("partner_circuit_open", "sandbox")},
    ),
    "drift": (earn_and_drift, {"UsherXpDrift"}, {("xp_drift", "")}),
    "old sync": (let_the_sync_grow_old, {"UsherSyncStale"}, set()),
    "empty pool": (empty_a_pool, {"UsherVouchersEmpty"}, set()),
    "silence": (
        let_beat_and_relay_fall_silent,
        {"UsherBeatSilent", "UsherRelaySilent"},
        {("beat_silent", ""), ("relay_silent", "")},
    ),
    "left queue": (
        leave_a_queue,
        {"UsherPaymentNotReady", "UsherQueueUnclaimed", "UsherQueueWithoutWorker", "UsherWebhookLag"},
        {("payment_not_ready", ""), ("queue_unclaimed", "payments")},
    ),
}
# Of a process that runs for this test alone nobody else gives signs of life.
SILENCES = {("beat_silent", ""), ("relay_silent", "")}


@needs_promtool
@pytest.mark.parametrize("name", CAUSES)
def test_an_alert_fires_because_of_its_cause_and_of_nothing_else(
    shop: Shop, tmp_path: Path, name: str
) -> None:
    cause, expected, own = CAUSES[name]
    before = shop.scrape()
    assert firing(before, tmp_path) == set()
    cause(shop)
    if name == "left queue":
        sql("UPDATE inbox_events SET received_at = now() - interval '10 minutes'")
    assert firing(shop.scrape(), tmp_path, before) == expected
    look_again()
    assert alerts() - SILENCES == own - SILENCES
    if own & SILENCES:
        assert own <= alerts()


@needs_promtool
def test_a_healthy_purchase_and_its_certificate_raise_nothing(shop: Shop, tmp_path: Path) -> None:
    before = shop.scrape()
    shop.buy()
    shop.work_off()
    complete_course(shop)
    shop.work_off(*SYNC)
    values = shop.values()
    assert values['usher_certificate_retrieval_ratio{partner="sandbox"}'] == 1
    assert values['usher_enrollment_success_ratio{partner="sandbox",window="1h"}'] == 1
    assert firing(shop.scrape(), tmp_path, before) == set()
    look_again()
    assert alerts() <= SILENCES


@needs_promtool
@pytest.mark.parametrize(
    ("given_after", "expected"), [(None, {"UsherCertificatesMissing"}), (12, set()), (0, set())]
)
def test_a_certificate_that_the_partner_does_not_give_for_a_day_is_missing(
    shop: Shop, tmp_path: Path, given_after: int | None, expected: set[str]
) -> None:
    """The partner is asked again and again; hours pass in the database, and Prometheus has what each of them told."""
    shop.sandbox.fault("GET /enrollments/{id}/certificate", status=404)
    shop.buy()
    shop.work_off()
    complete_course(shop)
    pages = []
    for hour in range(0, 30, EVERY):
        if given_after is not None and hour >= given_after:
            shop.sandbox.request("DELETE", "/_faults")
        progress_tasks.schedule()
        shop.work_off(*SYNC)
        # What else was asked for, such as mails, nobody does here, which would be another alert.
        sql("DELETE FROM jobs WHERE NOT kind = ANY(:kinds)", kinds=SYNC)
        pages.append(shop.scrape())
        given = given_after is not None and hour >= given_after
        assert shop.values()['usher_certificate_retrieval_ratio{partner="sandbox"}'] == given
        pass_time(hours=EVERY)
    assert firing_after(pages, tmp_path, minutes=60 * EVERY) == expected


def complete_course(shop: Shop) -> None:
    """Have the student complete the course at the partner, and the sync learn of it."""
    shop.sandbox.move(str(scalar("SELECT external_enrollment_id FROM partner_lms_enrollments")), 100)
    progress_tasks.schedule()
    shop.work_off("progress.sync")


def test_a_stuck_payment_is_told_once_again_with_more_and_when_it_is_over(shop: Shop) -> None:
    refuse(shop)
    sql("UPDATE partner_lms_enrollments SET created_at = created_at - interval '1 hour'")
    for _ in range(3):
        look_again()
    assert told("payment_not_ready") == ["opened"]
    shop.buy()
    shop.work_off()
    look_again()
    assert told("payment_not_ready") == ["opened"], "more of them within 15 minutes wait for the next notice"
    sql("UPDATE alerts SET told_at = told_at - interval '16 minutes'")
    sql("UPDATE partner_lms_enrollments SET created_at = created_at - interval '1 minute'")
    for _ in range(2):
        look_again()
    assert told("payment_not_ready") == ["opened", "again"]
    shop.sandbox.request("DELETE", "/_faults")
    for (seat,) in rows("SELECT id FROM partner_lms_enrollments"):
        with transaction() as session:
            enrollments.replay(session, str(seat), partner_types=["sandbox"])
    shop.work_off(WALK)
    for _ in range(2):
        look_again()
    assert told("payment_not_ready") == ["opened", "again", "resolved"]
    assert ("payment_not_ready", "") not in alerts()


def test_what_was_silent_while_nothing_ran_is_no_news_but_stays_news(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_beat_and_relay_fall_silent(shop)
    with monkeypatch.context() as just_started:
        just_started.setattr(watch, "_STARTED", watch.time.monotonic())
        look_again()
        assert alerts() == set()
    look_again()
    assert alerts() == SILENCES
    with monkeypatch.context() as just_started:
        just_started.setattr(watch, "_STARTED", watch.time.monotonic())
        look_again()
        assert alerts() == SILENCES


def test_a_queue_that_moves_slowly_is_not_left(shop: Shop) -> None:
    for _ in range(3):
        shop.buy()
    for _ in range(3):
        watch.look()
        sql("UPDATE queue_states SET head_since = head_since - interval '10 minutes'")
        with transaction() as session:
            claimed = jobs.claim_due(session, [PAY], owner="tests", lease=60)
        assert claimed is not None
        assert shop.values()['usher_queue_unclaimed_seconds{queue="payments"}'] == 0
        watch.look()
        assert ("queue_unclaimed", "payments") not in alerts()


def test_calls_are_counted_once_also_when_their_audit_is_forgotten(shop: Shop) -> None:
    shop.buy()
    shop.work_off()
    name = 'usher_partner_calls_total{outcome="ok",partner="sandbox"}'
    calls = scalar("SELECT count(*) FROM partner_calls WHERE outcome = 'ok'")
    assert shop.values()[name] == calls > 0
    sql("UPDATE partner_calls SET at = at - interval '20 hours' WHERE id % 2 = 0")
    sql("UPDATE partner_calls SET at = at - interval '40 days' WHERE id % 2 = 1")
    watch.look()
    assert shop.values()[name] == calls
    assert scalar("SELECT sum(calls) FROM partner_call_counts") == calls
    with transaction() as session:
        for rule in retention.rules(inbox=180, jobs=90, failures=365, partner_calls=30):
            if rule.table == "partner_calls":
                assert retention.forget_batch(session, rule) > 0
    watch.look()
    assert shop.values()[name] == calls
