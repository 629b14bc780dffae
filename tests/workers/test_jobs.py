"""The jobs table and the one place where tasks live and die, on a real database, without a broker."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from db import jobs
from db.session import transaction
from domain.errors import NoLongerWanted
from partners import errors
from partners.hooks import CallRecord, tell_witness
from tests.stack import rows, scalar
from workers import commits, outcome
from workers import job as job_module
from workers.job import JobRun, run_due, run_job
from workers.outcome import Failure
from workers.verdict import GiveUp, Later

pytestmark = pytest.mark.usefixtures("database")

Handler = Callable[[JobRun], None]


@pytest.fixture
def kind() -> Iterator[Callable[..., str]]:
    """Register a kind of job for one test."""
    names: list[str] = []

    def register(handler: Handler, on_failure: outcome.Hook | None = None) -> str:
        name = f"test.{uuid.uuid4().hex}"
        job_module.KINDS[name] = job_module.JobKind(name, handler, on_failure)
        names.append(name)
        return name

    yield register
    for name in names:
        del job_module.KINDS[name]


def enqueue(
    kind: str, key: str = "k", *, delay: float = 0, once: bool = False, queue: str = "control"
) -> str | None:
    with transaction() as session:
        job = jobs.Enqueue(kind, key, queue=queue, subject_id=str(uuid.uuid4()), delay=delay)
        return jobs.enqueue(session, job, once=once)


def make_due() -> None:
    with transaction() as session:
        session.execute(jobs.text("UPDATE jobs SET next_run_at = now() - interval '1 second'"))


def state_of(job_id: str | None) -> str:
    return str(scalar("SELECT state FROM jobs WHERE id = :id", id=job_id))


def test_a_job_is_done_once_however_many_doorbells_ring(kind: Callable[..., str]) -> None:
    done: list[str] = []
    job_id = enqueue(kind(lambda run: done.append(run.held.id)))
    assert job_id
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: run_job(job_id), range(20)))
    assert answers.count(True) == 1
    assert done == [job_id]
    assert state_of(job_id) == "done"


def test_asking_twice_makes_one_job_and_asking_again_later_reopens_it(kind: Callable[..., str]) -> None:
    name = kind(lambda run: None)
    first = enqueue(name)
    assert enqueue(name) == first
    assert enqueue(name, once=True) is None
    assert run_due([name])
    assert state_of(first) == "done"
    assert enqueue(name, once=True) is None
    assert state_of(first) == "done"
    enqueue(name)
    assert state_of(first) == "ready"


def test_a_job_that_is_asked_for_while_it_runs_runs_once_more(kind: Callable[..., str]) -> None:
    runs: list[int] = []

    def handler(run: JobRun) -> None:
        runs.append(1)
        if len(runs) == 1:
            enqueue(name)

    name = kind(handler)
    job_id = enqueue(name)
    assert run_due([name])
    assert state_of(job_id) == "ready"
    assert run_due([name])
    assert state_of(job_id) == "done"
    assert len(runs) == 2


def test_a_job_is_not_taken_before_it_is_due(kind: Callable[..., str]) -> None:
    job_id = enqueue(kind(lambda run: None), delay=60)
    assert job_id
    assert not run_job(job_id)


def test_a_worker_that_lost_its_lease_writes_nothing(kind: Callable[..., str]) -> None:
    """A frozen worker wakes up after another one took over: its step result and its end must not count."""
    order: list[str] = []

    def handler(run: JobRun) -> None:
        order.append(f"start {run.held.token}")
        if run.held.token == 1:
            run.step("s", lambda: _take_over(run.held.id) or {"by": "the frozen one"})
        else:
            run.step("s", lambda: {"by": "the successor"})

    def _take_over(job_id: str) -> None:
        make_due()
        assert run_job(job_id)

    name = kind(handler)
    job_id = enqueue(name)
    assert run_due([name])
    assert order == ["start 1", "start 2"]
    assert state_of(job_id) == "done"
    assert rows("SELECT state, result ->> 'by', token FROM job_steps") == [("done", "the successor", 2)]


def test_a_retry_starts_at_the_first_missing_step(kind: Callable[..., str]) -> None:
    calls: list[str] = []

    def second() -> dict[str, str]:
        calls.append("second")
        if len(calls) == 2:
            raise errors.OutcomeUnknown("POST /x: no answer")
        return {"id": "2"}

    def handler(run: JobRun) -> None:
        assert run.step("first", lambda: calls.append("first") or {"id": "1"}) == {"id": "1"}
        run.step("second", second)

    name = kind(handler)
    job_id = enqueue(name)
    run_due([name])
    assert state_of(job_id) == "ready"
    assert rows("SELECT step, state FROM job_steps ORDER BY step") == [
        ("first", "done"),
        ("second", "started"),
    ]
    make_due()
    run_due([name])
    assert state_of(job_id) == "done"
    assert calls == ["first", "second", "second"]
    assert rows("SELECT step, attempt FROM job_steps ORDER BY step") == [("first", 1), ("second", 2)]


CALL = CallRecord("hsi", "POST", "/enrollments", 201, 5.0, "ok")
STEPS = "SELECT step, state, attempt, duration_ms IS NOT NULL FROM job_steps ORDER BY step"


def test_before_a_step_that_leaves_nothing_outside_nothing_is_committed(kind: Callable[..., str]) -> None:
    seen: list[list[tuple[object, ...]]] = []
    saved: list[str] = []

    def save(result: job_module.StepResult) -> commits.Write:
        return lambda session: saved.append(result["id"])

    def handler(run: JobRun) -> None:
        run.step("effect", lambda: {"id": "1"}, save)
        assert run.step("look", lambda: seen.append(rows(STEPS)) or {"ok": True}, leaves_nothing=True) == {
            "ok": True
        }

    name = kind(handler)
    job_id = enqueue(name)
    run_due([name])
    assert seen == [[("effect", "started", 1, False)]]
    assert state_of(job_id) == "done"
    assert saved == ["1"]
    assert rows(STEPS) == [("effect", "done", 1, True), ("look", "done", 1, True)]
    assert scalar("SELECT bool_and(started_at <= finished_at) FROM job_steps")


def test_what_was_learned_before_it_is_kept_where_it_fails(kind: Callable[..., str]) -> None:
    calls: list[str] = []
    saved: list[str] = []

    def save(result: job_module.StepResult) -> commits.Write:
        return lambda session: saved.append(result["id"])

    def look() -> dict[str, str]:
        calls.append("look")
        if len(calls) == 2:
            raise errors.RetryLater("busy")
        return {}

    def handler(run: JobRun) -> None:
        run.step("effect", lambda: calls.append("effect") or {"id": "1"}, save)
        run.step("look", look, leaves_nothing=True)

    name = kind(handler)
    job_id = enqueue(name)
    run_due([name])
    assert state_of(job_id) == "ready"
    assert saved == ["1"]
    assert rows(STEPS) == [("effect", "done", 1, True)]
    make_due()
    run_due([name])
    assert state_of(job_id) == "done"
    assert calls == ["effect", "look", "look"]
    assert saved == ["1"]
    assert rows(STEPS) == [("effect", "done", 1, True), ("look", "done", 2, True)]


def test_what_was_learned_before_it_is_dropped_with_the_lease(kind: Callable[..., str]) -> None:
    def look() -> dict[str, str]:
        with transaction() as session:
            session.execute(jobs.text("UPDATE jobs SET token = token + 1"))
        raise errors.RetryLater("busy")

    def handler(run: JobRun) -> None:
        run.step("effect", lambda: {"id": "1"})
        run.step("look", look, leaves_nothing=True)

    name = kind(handler)
    job_id = enqueue(name)
    run_due([name])
    assert state_of(job_id) == "running"
    assert rows(STEPS) == [("effect", "started", 1, False)]


def test_what_was_learned_is_kept_where_it_is_not_wanted_any_more_at_the_end(
    kind: Callable[..., str],
) -> None:
    saved: list[str] = []

    def save(result: job_module.StepResult) -> commits.Write:
        return lambda session: saved.append(result["id"])

    def refuse(session: object) -> None:
        raise NoLongerWanted("refunded meanwhile")

    def handler(run: JobRun) -> None:
        run.step("effect", lambda: tell_witness(CALL) or {"id": "1"}, save)
        run.step("look", dict, leaves_nothing=True)
        run.finally_write(refuse)

    name = kind(handler)
    job_id = enqueue(name)
    run_due([name])
    assert state_of(job_id) == "done"
    assert saved == ["1", "1"], "once in the transaction that was given up"
    assert rows(STEPS) == [("effect", "done", 1, True), ("look", "done", 1, True)]
    assert rows("SELECT path_template, job_id::text FROM partner_calls") == [(CALL.path_template, job_id)]


def test_calls_are_written_once_also_where_the_commit_after_them_fails(kind: Callable[..., str]) -> None:
    def fail(session: object) -> None:
        raise ValueError("never")

    def handler(run: JobRun) -> None:
        run.step("first", lambda: tell_witness(CALL) or {})
        run.step("second", lambda: tell_witness(CALL) or {})
        run.finally_write(fail)

    name = kind(handler)
    enqueue(name)
    run_due([name])
    assert rows("SELECT state FROM jobs") == [("ready",)]
    assert scalar("SELECT count(*) FROM partner_calls") == 2


def test_a_step_that_is_done_anew_has_times_of_its_own(kind: Callable[..., str]) -> None:
    name = kind(lambda run: run.step("look", dict, leaves_nothing=True))
    job_id = enqueue(name)
    run_due([name])
    with transaction() as session:
        session.execute(
            jobs.text(
                "UPDATE job_steps SET state = 'started', attempt = 4, started_at = now() - interval '3 days'"
            )
        )
        session.execute(jobs.text("UPDATE jobs SET state = 'ready', next_run_at = now()"))
    assert run_job(job_id)
    assert rows("SELECT attempt, finished_at - started_at < interval '1 minute' FROM job_steps") == [
        (1, True)
    ]


def test_a_result_that_cannot_be_written_does_not_hide_why_the_attempt_failed(
    kind: Callable[..., str],
) -> None:
    def fail(session: object) -> None:
        raise ValueError("never")

    def look() -> dict[str, str]:
        raise errors.Refused("full")

    def handler(run: JobRun) -> None:
        run.step("effect", lambda: {"id": "1"}, lambda result: fail)
        run.step("look", look, leaves_nothing=True)

    name = kind(handler)
    enqueue(name)
    run_due([name])
    assert rows("SELECT state, last_error FROM jobs") == [("failed", "refused: full")]
    assert rows(STEPS) == [("effect", "started", 1, False)]


@pytest.mark.parametrize(
    ("error", "state", "attempts"),
    [
        (errors.RetryLater("busy"), "ready", 1),
        (errors.OutcomeUnknown("no answer"), "ready", 1),
        (errors.CredentialsWrong("no"), "ready", 0),
        (errors.Refused("full"), "failed", 1),
        (errors.Ambiguous("two"), "failed", 1),
        (errors.NotFound("gone"), "failed", 1),
        (Later("smtp"), "ready", 1),
        (GiveUp("inactive"), "failed", 1),
        (ZeroDivisionError("bug"), "ready", 1),
    ],
)
def test_each_error_has_its_verdict(
    kind: Callable[..., str], error: Exception, state: str, attempts: int
) -> None:
    failures: list[Failure] = []

    def handler(run: JobRun) -> None:
        raise error

    name = kind(handler, lambda session, held, failure: failures.append(failure))
    job_id = enqueue(name)
    run_due([name])
    assert rows("SELECT state, attempts FROM jobs WHERE id = :id", id=job_id) == [(state, attempts)]
    assert [(failure.retry_count, failure.final) for failure in failures] == [(0, state != "ready")]


def test_retry_after_is_honoured_by_the_database_clock(kind: Callable[..., str]) -> None:
    def handler(run: JobRun) -> None:
        raise errors.RateLimited("slow down", after=120)

    name = kind(handler)
    enqueue(name)
    run_due([name])
    assert 119 < scalar("SELECT extract(epoch FROM next_run_at - now()) FROM jobs") < 140


def test_retries_are_given_up_after_the_limit(
    kind: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOB_MAX_ATTEMPTS", "3")
    job_module.get_settings.cache_clear()

    def handler(run: JobRun) -> None:
        raise errors.RetryLater("down")

    seen: list[Failure] = []
    name = kind(handler, lambda session, held, failure: seen.append(failure))
    job_id = enqueue(name)
    for _ in range(3):
        make_due()
        assert run_due([name])
    assert state_of(job_id) == "failed"
    assert [(failure.retry_count, failure.final) for failure in seen] == [(0, False), (1, False), (2, True)]


def test_an_unforeseen_error_is_parked_with_its_traceback(kind: Callable[..., str]) -> None:
    def handler(run: JobRun) -> None:
        raise KeyError("whsec_canary0123456789abcdef canary@example.com")

    name = kind(handler)
    job_id = enqueue(name)
    for _ in range(8):
        make_due()
        run_due([name])
    [(state, error, trace)] = rows("SELECT state, last_error, traceback FROM jobs WHERE id = :id", id=job_id)
    assert state == "parked"
    assert "KeyError" in trace
    assert "canary@example.com" not in error + trace
    assert "whsec_canary" not in error + trace


def test_a_job_that_kills_its_worker_is_parked_after_a_bounded_number_of_claims(
    kind: Callable[..., str],
) -> None:
    name = kind(lambda run: pytest.fail("must not run"))
    job_id = enqueue(name)
    for _ in range(5):
        make_due()
        with transaction() as session:
            held = jobs.claim_due(session, [name], owner="doomed", lease=60)
            assert held
            jobs.advance(session, [jobs.Move(held, begin="account")], lease=60)
    make_due()
    run_due([name])
    [(state, error)] = rows("SELECT state, last_error FROM jobs WHERE id = :id", id=job_id)
    assert state == "parked"
    assert "account" in error


def test_a_recorded_outcome_starts_the_count_of_claims_anew(kind: Callable[..., str]) -> None:
    def handler(run: JobRun) -> None:
        raise errors.RetryLater("down")

    name = kind(handler)
    enqueue(name)
    for _ in range(7):
        make_due()
        run_due([name])
    assert rows("SELECT state, attempts, claims FROM jobs") == [("ready", 7, 0)]


def ring(window: int = 500, queues: tuple[str, ...] = ("control", "mail")) -> list[str]:
    with transaction() as session:
        ringing = jobs.ring_due(session, dict.fromkeys(queues, window), ring_timeout=15)
        return [bell.queue for bell in ringing.doorbells]


def test_the_relay_rings_once_until_the_doorbell_is_overdue() -> None:
    enqueue("x")
    assert ring() == ["control"]
    assert ring() == []
    with transaction() as session:
        session.execute(jobs.text("UPDATE jobs SET rung_at = now() - interval '20 seconds'"))
    assert ring() == ["control"]


def test_the_relay_rings_for_what_a_dead_worker_left() -> None:
    enqueue("x")
    ring()
    with transaction() as session:
        assert jobs.claim_due(session, ["x"], owner="dead", lease=60)
    assert ring() == []
    make_due()
    assert ring() == ["control"]


def test_a_full_queue_does_not_hide_the_due_work_of_another() -> None:
    for number in range(20):
        enqueue("x", f"{number}")
    assert ring(window=5) == ["control"] * 5
    enqueue("y", queue="mail")
    assert ring(window=5) == ["mail"]


def test_two_relays_never_ring_for_the_same_job() -> None:
    for number in range(200):
        enqueue("x", f"{number}")
    with ThreadPoolExecutor(4) as pool:
        rung = [bell for bells in pool.map(lambda _: ring(), range(8)) for bell in bells]
    assert len(rung) == 200
