"""From signed payments to seats, with everything in processes of its own."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from db.jobs import Doorbell
from db.session import transaction
from domain import partner_health
from settings import get_settings
from tests.servers import Broker, start_broker
from tests.stack import (
    BIN,
    Stack,
    checkout_event,
    make_course,
    make_students,
    order,
    rows,
    scalar,
    statuses,
    wait_until,
)
from workers.queues import PAYMENTS
from workers.relay import Bell

pytestmark = pytest.mark.e2e


def test_200_payments_posted_twice_in_any_order_give_200_seats_and_mails(stack: Stack) -> None:
    stack.start_chain(relays=2, workers=2)
    provider, course = make_course()
    bodies = [checkout_event(order(student, provider, course)) for student in make_students(200)]
    posts = bodies * 2
    random.shuffle(posts)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda body: stack.post_event(body).status_code, posts))
    assert set(answers) == {200}
    stack.wait_for_statuses({"active": 200})
    wait_until(lambda: len(stack.mails()) >= 200, 30, lambda: f"{len(stack.mails())} mails")
    state = stack.sandbox_state()
    assert len(state["accounts"]) == 200
    assert len(state["enrollments"]) == 200
    time.sleep(1.0)
    assert len(stack.mails()) == 200
    assert (
        len({mail["to"] if isinstance(mail["to"], str) else mail["to"][0] for mail in stack.mails()}) == 200
    )
    assert scalar("SELECT count(*) FROM inbox_events") == 200
    assert rows("SELECT state, count(*) FROM jobs GROUP BY state") == [("done", 600)]


def test_the_timeline_shows_each_step_with_times_and_one_correlation_id(stack: Stack) -> None:
    stack.start_chain()
    provider, course = make_course()
    [student] = make_students(1)
    assert stack.post_event(checkout_event(order(student, provider, course))).status_code == 200
    stack.wait_for_statuses({"active": 1})
    wait_until(lambda: len(stack.mails()) == 1, 10)
    wait_until(lambda: rows("SELECT DISTINCT state FROM jobs") == [("done",)], 10)
    steps = rows(
        "SELECT j.kind, s.step, s.state, s.attempt, s.finished_at >= s.started_at, s.duration_ms >= 0"
        " FROM job_steps s JOIN jobs j ON j.id = s.job_id ORDER BY s.started_at"
    )
    assert steps == [
        ("enrollment.walk", "account", "done", 1, True, True),
        ("enrollment.walk", "seat", "done", 1, True, True),
        ("enrollment.walk", "launch_check", "done", 1, True, True),
        ("mail.send", "send", "done", 1, True, True),
    ]
    event_id = str(scalar("SELECT id FROM inbox_events"))
    assert rows("SELECT DISTINCT correlation_id FROM jobs") == [(event_id,)]
    logs = stack.log("worker0").read_text()
    assert "[autoEnrollPartnerCourse] enrolled" in logs
    assert event_id in logs
    assert len(stack.sandbox_state()["accounts"]) == 1
    assert len(stack.sandbox_state()["enrollments"]) == 1


def test_a_partner_that_answers_503_twice_then_429_is_retried_no_sooner_than_allowed(stack: Stack) -> None:
    stack.start_chain()
    provider, course = make_course()
    [student] = make_students(1)
    stack.fault(call="POST /enrollments", status=503, times=2)
    stack.fault(call="POST /enrollments", status=429, retry_after=2, times=1)
    stack.post_event(checkout_event(order(student, provider, course)))
    stack.wait_for_statuses({"active": 1}, 30)
    failures = rows(
        "SELECT step, error_code, retry_count, final, resolved_at IS NOT NULL"
        " FROM partner_lms_enrollment_failures ORDER BY created_at"
    )
    assert [row[2] for row in failures] == [0, 1, 2]
    assert {row[0] for row in failures} == {"seat"}
    assert failures[2][1] == "rate_limited"
    assert all(not final and resolved for *_, final, resolved in failures)
    calls = [call for call in stack.sandbox_calls() if call["call"].endswith("/enrollments")]
    limited = next(index for index, call in enumerate(calls) if call["status"] == 429)
    assert calls[limited + 1]["at"] - calls[limited]["at"] >= 2.0


def test_a_refusal_fails_at_once_with_one_readable_row(stack: Stack) -> None:
    stack.start_chain()
    provider, course = make_course()
    [student] = make_students(1)
    stack.fault(call="POST /enrollments", status=422, message="Course is full", times=None)
    stack.post_event(checkout_event(order(student, provider, course)))
    stack.wait_for_statuses({"failed": 1}, 30)
    [failure] = rows(
        "SELECT step, error_code, error_message, retry_count, final FROM partner_lms_enrollment_failures"
    )
    assert failure[:2] == ("seat", "refused")
    assert "Course is full" in failure[2]
    assert failure[3:] == (0, True)
    assert stack.mails() == []


def test_work_that_was_done_and_whose_answer_was_lost_is_not_done_twice(stack: Stack) -> None:
    stack.start_chain()
    provider, course = make_course()
    calls = ("POST /accounts", "POST /enrollments", "POST /enrollments/{id}/launch")
    for call in calls:
        stack.fault(call=call, lose_answer=True, times=5)
    for student in make_students(5):
        stack.post_event(checkout_event(order(student, provider, course)))
    stack.wait_for_statuses({"active": 5}, 40)
    state = stack.sandbox_state()
    assert len(state["accounts"]) == 5
    assert len(state["enrollments"]) == 5
    unknown = rows(
        "SELECT step, count(*) FROM partner_lms_enrollment_failures WHERE error_code = 'outcome_unknown'"
        " GROUP BY step ORDER BY step"
    )
    assert unknown == [("account", 5), ("launch_check", 5), ("seat", 5)]


def test_with_the_broker_down_payments_are_answered_and_all_arrive_when_it_is_back(
    request: pytest.FixtureRequest, stack: Stack, tmp_path: Path
) -> None:
    directory, kind = tmp_path / "broker", request.config.getoption("broker")
    broker = start_broker(kind, directory)
    stack.env["BROKER_URL"] = broker.url
    port = int(broker.url.rsplit(":", 1)[1].split("/")[0])
    try:
        stack.start_chain()
        provider, course = make_course()
        broker.stop()
        slowest = 0.0
        for student in make_students(50):
            started = time.monotonic()
            assert stack.post_event(checkout_event(order(student, provider, course))).status_code == 200
            slowest = max(slowest, time.monotonic() - started)
        assert slowest < 2.0
        assert scalar("SELECT count(*) FROM inbox_events") == 50
        broker = start_broker(kind, directory, port)
        stack.wait_for_statuses({"active": 50}, 60)
    finally:
        broker.stop()
    assert len(stack.sandbox_state()["enrollments"]) == 50
    assert stack.processes["worker0"].poll() is None
    assert stack.processes["relay0"].poll() is None


def test_drain_works_everything_off_without_broker_relay_or_worker(stack: Stack) -> None:
    stack.start_sandbox(wait=False)
    stack.start_mail_sink(wait=False)
    stack.start_api()
    provider, course = make_course()
    for student in make_students(3):
        assert stack.post_event(checkout_event(order(student, provider, course))).status_code == 200
    done = subprocess.run(
        [str(BIN / "usher"), "jobs", "drain"], env=stack.env, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "9 jobs worked.\n", done.stderr
    assert statuses() == {"active": 3}
    assert len(stack.mails()) == 3


def test_the_shared_rate_holds_across_four_worker_processes_as_the_partner_sees_it(stack: Stack) -> None:
    rate = 40
    provider, course = make_course()
    with transaction() as session:
        partner_health.set_limits(session, "sandbox", concurrency=None, rate_per_second=rate, burst=1)
    stack.start_chain(workers=4)
    for student in make_students(25):
        assert stack.post_event(checkout_event(order(student, provider, course))).status_code == 200
    stack.wait_for_statuses({"active": 25}, 60)
    at = [call["at"] for call in stack.sandbox_calls()]
    assert len(at) >= 75
    measured = (len(at) - 1) / (at[-1] - at[0])
    assert measured <= rate * 1.1, f"{measured:.1f} calls a second"
    busiest = max(sum(1 for other in at if start <= other < start + 1.0) for start in at)
    assert busiest <= rate * 1.25
    assert scalar("SELECT count(*) FROM partner_lms_enrollment_failures") == 0


def test_a_worker_goes_on_with_the_seat_by_itself_where_it_serves_that_queue(
    stack: Stack, message_broker: Broker
) -> None:
    """No relay runs: doorbells for the payments alone are rung by hand."""
    from workers.app import make_app

    stack.start_sandbox(wait=False)
    stack.start_mail_sink(wait=False)
    stack.start_api()
    settings = get_settings().model_copy(update={"broker_url": SecretStr(message_broker.url)})
    bell = Bell(make_app(settings))
    provider, course = make_course()

    def pay_and_ring(student: str) -> None:
        stack.post_event(checkout_event(order(student, provider, course)))
        [(id,)] = rows("SELECT id::text FROM jobs WHERE kind = 'payments.process' AND state = 'ready'")
        assert bell.ring([Doorbell(id, "payments.process", PAYMENTS)]) == []
        wait_until(
            lambda: not rows("SELECT 1 FROM jobs WHERE kind = 'payments.process' AND state <> 'done'"), 20
        )

    first, second = make_students(2)
    stack.start_worker("payments", "-Q", PAYMENTS)
    pay_and_ring(first)
    assert rows("SELECT state, claims FROM jobs WHERE kind = 'enrollment.walk'") == [("ready", 0)]
    stack.kill("payments", signal.SIGTERM)
    stack.start_worker("all")
    with transaction() as session:
        session.execute(
            text("DELETE FROM jobs WHERE kind = 'enrollment.walk'")
        )  # It waits, so nobody may pass it.
    pay_and_ring(second)
    stack.wait_for_statuses({"pending": 1, "active": 1}, 20)
    bell.close()
