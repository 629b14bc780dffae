"""A worker goes on with the job that its job made: only where nobody is passed over and no limit is passed."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import psycopg2
import pytest

from db import jobs
from db.session import get_engine, transaction
from settings import get_settings
from tests.stack import rows, scalar
from workers import crew, flower, windows
from workers import job as job_module
from workers.job import KEEPERS, JobRun, run_jobs

pytestmark = pytest.mark.usefixtures("database")

FIRST, SECOND = "test.first", "test.second"
QUEUE = "enroll.hsi"


@pytest.fixture
def done() -> Iterator[list[str]]:
    """What the second jobs saw of the state of the first; each first job makes one, in whose queue this process works."""
    seen: list[str] = []

    def first(run: JobRun) -> None:
        wanted = jobs.Enqueue(SECOND, run.held.business_key, QUEUE, run.subject_id, partner="hsi")
        run.finally_write(lambda session: jobs.enqueue(session, wanted))

    def second(run: JobRun) -> None:
        seen.append(
            scalar(
                "SELECT state FROM jobs WHERE kind = :kind AND subject_id = :id",
                kind=FIRST,
                id=run.subject_id,
            )
        )
        run.step("call", dict)

    job_module.KINDS[FIRST] = job_module.JobKind(FIRST, first, None, keeps=SECOND)
    job_module.KINDS[SECOND] = job_module.JobKind(SECOND, second, None, opening=lambda claim, subject: "call")
    crew.PLACES.serves = lambda queue: queue == QUEUE
    yield seen
    crew.PLACES.serves = lambda _queue: False
    del job_module.KINDS[FIRST], job_module.KINDS[SECOND]


@pytest.fixture
def notices() -> Iterator[Callable[[], int]]:
    """Return how often relays were told since the last time."""
    listening = psycopg2.connect(get_settings().direct_url())
    listening.autocommit = True
    listening.cursor().execute(f"LISTEN {jobs.CHANNEL}")

    def count() -> int:
        listening.cursor().execute("SELECT 1")
        listening.poll()
        found = len(listening.notifies)
        listening.notifies.clear()
        return found

    yield count
    listening.close()


def make_first(count: int = 1) -> list[str]:
    with transaction() as session:
        asked = [jobs.Enqueue(FIRST, str(number), "control", str(uuid.uuid4())) for number in range(count)]
        return [jobs.enqueue(session, one) or "" for one in asked]


def seconds_of_jobs() -> list[Any]:
    return rows("SELECT state, token, claims FROM jobs WHERE kind = :kind", kind=SECOND)


def add_job(**columns: Any) -> None:
    """Insert another job of the same queue."""
    with transaction() as session:
        id = jobs.enqueue(session, jobs.Enqueue("test.other", str(uuid.uuid4()), QUEUE, str(uuid.uuid4())))
        for name, value in columns.items():
            session.execute(jobs.text(f"UPDATE jobs SET {name} = {value} WHERE id = :id"), {"id": id})


def test_it_goes_on_at_once_and_tells_no_relay(done: list[str], notices: Callable[[], int]) -> None:
    ids = make_first()
    notices()
    assert run_jobs(ids) == 1
    assert done == ["done"], "the first is committed before the second begins"
    assert seconds_of_jobs() == [("done", 1, 0)]
    assert rows("SELECT step, state FROM job_steps") == [("call", "done")]
    assert notices() == 0


def refuse(done: list[str], notices: Callable[[], int]) -> None:
    """Do a job whose second is not kept: it waits for the relay, which is told."""
    ids = make_first()
    notices()
    run_jobs(ids)
    assert done == []
    assert seconds_of_jobs() == [("ready", 0, 0)]
    assert notices() == 1
    with transaction() as session:
        windows = {QUEUE: 64}
        rung = jobs.ring_due(session, windows, ring_timeout=15).doorbells
    assert SECOND in {bell.kind for bell in rung}


def test_not_where_this_process_does_other_work(done: list[str], notices: Callable[[], int]) -> None:
    crew.PLACES.serves = lambda queue: queue == "control"
    refuse(done, notices)


def test_not_where_half_of_the_room_is_taken(done: list[str], notices: Callable[[], int]) -> None:
    room = (get_settings().partner_concurrency - windows.SYNC_SHARE) // 2
    for number in range(room):
        # Some are rung, some at work.
        running = {"state": "'running'", "next_run_at": "now() + interval '1 minute'"}
        add_job(**({"rung_at": "now()"} if number % 2 else running))
    refuse(done, notices)


def test_with_one_less_there_is_room(done: list[str]) -> None:
    for _ in range((get_settings().partner_concurrency - windows.SYNC_SHARE) // 2 - 1):
        add_job(rung_at="now()")
    run_jobs(make_first())
    assert done == ["done"]


def test_not_where_somebody_waits_already(done: list[str], notices: Callable[[], int]) -> None:
    add_job(next_run_at="now() - interval '1 second'")
    refuse(done, notices)


@pytest.mark.parametrize("state", ["'ready'", "'running'"])
def test_who_waits_is_also_who_was_left_by_a_worker_or_not_heard(
    state: str, done: list[str], notices: Callable[[], int]
) -> None:
    add_job(state=state, next_run_at="now() - interval '1 second'", rung_at="now() - interval '1 minute'")
    refuse(done, notices)


def test_who_is_rung_for_does_not_wait(done: list[str]) -> None:
    add_job(next_run_at="now() - interval '1 second'", rung_at="now()")
    run_jobs(make_first())
    assert done == ["done"]


@pytest.mark.parametrize(
    "trouble", ["paused_at = now()", "open_until = now() + interval '1 minute'", "opened = 1"]
)
def test_not_where_the_partner_is_left_alone(
    trouble: str, done: list[str], notices: Callable[[], int]
) -> None:
    with transaction() as session:
        session.execute(jobs.text("INSERT INTO partner_states (partner) VALUES ('hsi')"))
        session.execute(jobs.text(f"UPDATE partner_states SET {trouble}"))
    refuse(done, notices)


def test_not_while_a_relay_counts(done: list[str], notices: Callable[[], int]) -> None:
    ids = make_first()
    notices()
    with get_engine().begin() as relay:
        relay.execute(jobs.text("SELECT pg_advisory_xact_lock(:key)"), {"key": jobs.RING_LOCK})
        run_jobs(ids)
    assert done == []
    assert notices() == 1


def test_a_relay_waits_for_what_is_being_kept_and_counts_it(
    done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise both would fill the same room."""
    kept, go_on, finish = threading.Event(), threading.Event(), threading.Event()
    keep, second = job_module.jobs.keep, job_module.KINDS[SECOND]

    def waits(run: JobRun) -> None:
        second.handler(run)
        finish.wait(10)

    job_module.KINDS[SECOND] = replace(second, handler=waits)

    def slowly(*args: Any, **kwargs: Any) -> Any:
        held = keep(*args, **kwargs)
        kept.set()
        go_on.wait(10)
        return held

    monkeypatch.setattr(job_module.jobs, "keep", slowly)
    ids = make_first()
    working = threading.Thread(target=run_jobs, args=(ids,))
    working.start()
    assert kept.wait(10)
    add_job()
    add_job()
    rung: list[int] = []

    def ring() -> None:
        with transaction() as session:
            rung.append(len(jobs.ring_due(session, {QUEUE: 2}, ring_timeout=15).doorbells))

    relay = threading.Thread(target=ring)
    relay.start()
    time.sleep(0.3)
    assert rung == [], "it waits"
    go_on.set()
    relay.join(10)
    assert rung == [1], "the kept job is still at work, so there is room for one of the two"
    finish.set()
    working.join(10)
    assert done == ["done"]


def test_one_that_freezes_while_it_keeps_holds_up_the_relays_for_two_seconds_only(done: list[str]) -> None:
    add_job()
    with get_engine().connect() as frozen:
        frozen.execute(jobs.TRY_RING_LOCK, {"key": jobs.RING_LOCK})
        with transaction() as session:
            assert len(jobs.ring_due(session, {QUEUE: 2}, ring_timeout=15).doorbells) == 1
        frozen.invalidate()


def test_one_that_may_have_ended_its_worker_keeps_nothing(
    done: list[str], notices: Callable[[], int]
) -> None:
    """It works alone, and the others wait for it."""
    ids = make_first()
    with transaction() as session:
        session.execute(jobs.text("UPDATE jobs SET claims = 2"))
    notices()
    run_jobs(ids)
    assert done == []
    assert seconds_of_jobs() == [("ready", 0, 0)]


def test_few_of_a_process_keep_at_the_same_moment(done: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """They do not see each other, so the room that is left for them has to do."""
    at_once, most, lock = 0, [0], threading.Lock()
    keep = job_module.jobs.keep

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal at_once
        with lock:
            at_once += 1
            most.append(at_once)
        time.sleep(0.1)
        try:
            return keep(*args, **kwargs)
        finally:
            with lock:
                at_once -= 1

    monkeypatch.setattr(job_module.jobs, "keep", counted)
    run_jobs(make_first(12))
    assert max(most) == KEEPERS
    assert 1 <= len(done) < 12
    assert scalar("SELECT count(*) FROM jobs WHERE kind = :kind AND state = 'done'", kind=SECOND) == len(done)
    run_jobs(rows_of_ready())
    assert len(done) == 12


def rows_of_ready() -> list[str]:
    return [
        id for (id,) in rows("SELECT id::text FROM jobs WHERE kind = :kind AND state = 'ready'", kind=SECOND)
    ]


def test_what_is_not_committed_is_not_kept(done: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    keep = job_module.jobs.keep

    def fails_after(*args: Any, **kwargs: Any) -> Any:
        keep(*args, **kwargs)
        raise RuntimeError("at the last moment")

    monkeypatch.setattr(job_module.jobs, "keep", fails_after)
    for _ in range(KEEPERS + 1):
        run_jobs(make_first())
        with transaction() as session:
            session.execute(jobs.text("UPDATE jobs SET next_run_at = now()"))
    assert done == []
    assert seconds_of_jobs() == []
    monkeypatch.setattr(job_module.jobs, "keep", keep)
    run_jobs(make_first())
    assert done == ["done"], "those that failed are not counted as keeping for ever"


def test_a_job_that_is_at_work_already_is_not_taken_away(done: list[str]) -> None:
    [first] = make_first()
    with transaction() as session:
        jobs.enqueue(session, jobs.Enqueue(SECOND, "0", QUEUE, str(uuid.uuid4()), partner="hsi"))
        session.execute(
            jobs.text(
                "UPDATE jobs SET state = 'running', next_run_at = now() + interval '1 minute', token = 7 WHERE kind = :k"
            ),
            {"k": SECOND},
        )
    run_jobs([first])
    assert done == []
    assert rows("SELECT state, token, rerun FROM jobs WHERE kind = :kind", kind=SECOND) == [
        ("running", 7, True)
    ]


def test_flower_shows_it_as_a_task_of_its_own(done: list[str]) -> None:
    class Events:
        enabled = True

        def __init__(self) -> None:
            self.sent: list[tuple[str, str, str | None]] = []

        def send(self, type: str, uuid: str, name: str | None = None, **_: Any) -> None:
            self.sent.append((type, uuid, name))

    events = Events()
    flower.attach(lambda: events)
    try:
        run_jobs(make_first())
        id = str(scalar("SELECT id FROM jobs WHERE kind = :kind", kind=SECOND))
        assert events.sent == [
            ("task-received", id, f"tasks.{SECOND}"),
            ("task-started", id, None),
            ("task-succeeded", id, None),
        ]
        events.enabled = False
        run_jobs(make_first(2)[1:])
        assert len(events.sent) == 3
        flower.attach(lambda: None)  # As between two connections to the broker.
        run_jobs(make_first(3)[2:])
    finally:
        flower.attach(None)
    assert len(done) == 3
