"""One partner's trouble stays its own: circuit, pause, concurrency, shared rate, and the audit of calls."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from db import jobs
from db.session import transaction
from domain import partner_health
from domain.partner_health import health_of_all
from partners import errors
from partners.hooks import CallRecord, pass_gate, tell_witness
from settings import get_settings
from tests.stack import rows, scalar
from workers import job as job_module
from workers.job import JobRun, run_due
from workers.limits import PATIENCE, take_turn
from workers.windows import windows

pytestmark = pytest.mark.usefixtures("database")

KIND = "test.partner"


@pytest.fixture
def answers() -> Iterator[list[Exception | None]]:
    """What the partner answers to each attempt, in order; None is a success. At the end it goes on working."""
    script: list[Exception | None] = []

    def handler(run: JobRun) -> None:
        told = script.pop(0) if script else None
        if told is not None:
            raise told

    job_module.KINDS[KIND] = job_module.JobKind(KIND, handler, None)
    yield script
    del job_module.KINDS[KIND]


def enqueue(count: int, partner: str = "hsi") -> None:
    with transaction() as session:
        for number in range(count):
            wanted = jobs.Enqueue(
                KIND, f"{partner}-{number}", f"enroll.{partner}", str(uuid.uuid4()), partner=partner
            )
            jobs.enqueue(session, wanted)


def work() -> int:
    done = 0
    while run_due([KIND]):
        done += 1
    return done


def sql(statement: str) -> None:
    with transaction() as session:
        session.execute(jobs.text(statement))


def make_due() -> None:
    sql("UPDATE jobs SET next_run_at = now() WHERE state = 'ready'")


def test_after_failures_in_a_row_a_partner_is_left_alone_and_attempts_do_not_count(
    answers: list[Exception | None],
) -> None:
    answers += [errors.RetryLater("down")] * 10
    enqueue(30)
    assert work() == 10, "the other twenty are not asked"
    [(failures, opened, left_alone)] = rows("SELECT failures, opened, open_until > now() FROM partner_states")
    assert (failures, opened, left_alone) == (10, 1, True)
    assert rows("SELECT attempts, count(*) FROM jobs GROUP BY attempts ORDER BY attempts") == [
        (0, 21),
        (1, 9),
    ]
    make_due()
    assert work() == 0
    enqueue(1, partner="milady")
    assert work() == 1, "another partner goes on"


def test_a_probe_that_fails_opens_the_circuit_for_longer_and_one_that_works_brings_all_back(
    answers: list[Exception | None],
) -> None:
    answers += [errors.RetryLater("down")] * 11
    enqueue(30)
    work()
    sql("UPDATE partner_states SET open_until = now()")
    make_due()
    assert work() == 1
    [(opened, seconds)] = rows("SELECT opened, extract(epoch FROM open_until - now()) FROM partner_states")
    assert opened == 2
    assert 8 < seconds <= 10
    sql("UPDATE partner_states SET open_until = now()")
    sql(
        "UPDATE jobs SET next_run_at = now() + interval '1 hour' WHERE last_error IS NOT NULL AND state = 'ready'"
    )
    assert run_due([KIND]), "the probe, which works"
    assert rows("SELECT failures, opened, open_until FROM partner_states") == [(0, 0, None)]
    assert scalar("SELECT max(next_run_at) - now() < interval '11 seconds' FROM jobs WHERE state = 'ready'")
    make_due()
    work()
    assert rows("SELECT state, count(*) FROM jobs GROUP BY state") == [("done", 30)]


def test_what_the_partner_asked_to_wait_for_is_not_hurried(answers: list[Exception | None]) -> None:
    answers += [errors.RateLimited("slow", after=600)] + [errors.RetryLater("down")] * 10
    enqueue(30)
    work()
    sql("UPDATE partner_states SET open_until = now()")
    work()
    assert rows("SELECT count(*) FROM jobs WHERE next_run_at > now() + interval '9 minutes'") == [(1,)]


@pytest.mark.parametrize(
    "error",
    [errors.Refused("full"), errors.RateLimited("slow", after=0), errors.NotReadyYet("soon", after=0)],
)
def test_refusals_and_requests_to_wait_are_no_sign_of_a_sick_partner(
    answers: list[Exception | None], error: Exception
) -> None:
    answers += [error] * 20
    enqueue(20)
    work()
    assert scalar("SELECT count(*) FROM partner_states WHERE open_until IS NOT NULL") == 0


def test_refused_credentials_pause_the_partner_and_tell_staff_once(answers: list[Exception | None]) -> None:
    answers += [errors.CredentialsWrong("GET /accounts: 401")] * 2
    enqueue(10)
    assert work() == 1
    [(reason, by)] = rows("SELECT paused_reason, paused_by FROM partner_states WHERE paused_at IS NOT NULL")
    assert reason == "credentials: GET /accounts: 401"
    assert by == "usher"
    assert rows("SELECT count(*) FROM jobs WHERE kind = 'mail.staff'") == [(1,)]
    assert rows("SELECT max(attempts) FROM jobs") == [(0,)]
    make_due()
    assert work() == 0
    answers.clear()
    with transaction() as session:
        assert partner_health.paused_for_credentials(session) == ["hsi"]
        assert partner_health.resume(session, "hsi")
        assert not partner_health.resume(session, "hsi")
    make_due()
    work()
    assert rows("SELECT state, count(*) FROM jobs WHERE kind = :k GROUP BY state", k=KIND) == [("done", 10)]


def test_a_pause_by_staff_is_not_lifted_by_the_probe(answers: list[Exception | None]) -> None:
    with transaction() as session:
        assert partner_health.pause(session, "hsi", by="ops@example.com", reason="their maintenance")
        assert not partner_health.pause(session, "hsi", by="ops@example.com", reason="again")
        assert partner_health.paused_for_credentials(session) == []
    enqueue(1)
    assert work() == 0


def room(queue: str) -> int:
    with transaction() as session:
        return windows([queue], health_of_all(session), get_settings())[queue]


def test_the_relay_gives_each_partner_its_concurrency_a_sick_one_nothing_and_a_probing_one_a_single_job() -> (
    None
):
    assert room("payments") == 500
    assert room("mail") == 16
    assert (room("enroll.hsi"), room("sync.hsi")) == (30, 2)
    with transaction() as session:
        partner_health.set_limits(session, "hsi", concurrency=4, rate_per_second=None, burst=1)
    assert (room("enroll.hsi"), room("sync.hsi")) == (2, 2)
    sql("UPDATE partner_states SET opened = 1, open_until = now() + interval '1 minute'")
    assert (room("enroll.hsi"), room("sync.hsi")) == (0, 0)
    sql("UPDATE partner_states SET open_until = now()")
    assert (room("enroll.hsi"), room("sync.hsi")) == (1, 0)
    assert room("enroll.milady") == 30


def test_jobs_that_run_take_room_from_those_that_would_be_rung() -> None:
    enqueue(10)
    with transaction() as session:
        for _ in range(3):
            assert jobs.claim_due(session, [KIND], owner="w", lease=60)
        first = jobs.ring_due(session, {"enroll.hsi": 5}, ring_timeout=15)
        second = jobs.ring_due(session, {"enroll.hsi": 5}, ring_timeout=15)
    assert (len(first.doorbells), first.is_full) == (2, True)
    assert (len(second.doorbells), second.is_full) == (0, True)


def test_the_shared_rate_holds_over_threads_and_tells_those_who_come_too_often_when_to_come_again() -> None:
    with ThreadPoolExecutor(8) as pool:
        started = time.monotonic()
        waits = list(pool.map(lambda _: take_turn("hsi:key", 20.0, 5), range(40)))
        took = time.monotonic() - started
    granted = [wait for wait in waits if wait <= PATIENCE]
    refused = [wait for wait in waits if wait > PATIENCE]
    assert 5 <= len(granted) <= 5 + (PATIENCE + took) * 20 + 2
    assert refused or took > 1.0
    assert sum(1 for wait in granted if wait <= 0) >= 1


def test_a_throttled_job_goes_back_without_an_attempt_or_a_failure(answers: list[Exception | None]) -> None:
    answers += [errors.Throttled("ours", after=30)]
    enqueue(1)
    work()
    assert rows("SELECT state, attempts FROM jobs") == [("ready", 0)]
    assert scalar("SELECT next_run_at > now() + interval '25 seconds' FROM jobs")
    assert rows("SELECT * FROM partner_states") == []


def test_calls_are_written_down_with_the_next_commit_and_only_allowed_fields_of_them() -> None:
    def handler(run: JobRun) -> None:
        run.step("one", lambda: tell_witness(record) or {"id": "1"})
        tell_witness(record._replace(outcome="refused", status=422))
        raise errors.Refused("no")

    record = CallRecord(
        "hsi", "POST", "/accounts", 201, 12.4, "ok", {"reference": "usher-1"}, {"id": "acc_1"}
    )
    job_module.KINDS[KIND] = job_module.JobKind(KIND, handler, None)
    try:
        enqueue(1)
        work()
    finally:
        del job_module.KINDS[KIND]
    found = rows(
        "SELECT method, path_template, status, outcome, duration_ms, request, answer FROM partner_calls ORDER BY id"
    )
    assert found == [
        ("POST", "/accounts", 201, "ok", 12, {"reference": "usher-1"}, {"id": "acc_1"}),
        ("POST", "/accounts", 422, "refused", 12, {"reference": "usher-1"}, {"id": "acc_1"}),
    ]
    pass_gate("hsi", "nobody is asked outside of a job")
