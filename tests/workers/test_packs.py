"""Jobs that are rung for together: walked side by side, written in groups, each living and failing alone."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from sqlalchemy.orm import Session

from db import jobs
from db.jobs import Doorbell
from db.session import transaction
from partners import errors
from tests.stack import rows
from workers import commits, crew
from workers import job as job_module
from workers.commits import Together
from workers.job import JobRun, run_jobs
from workers.relay import PACK, pack

pytestmark = pytest.mark.usefixtures("database")

KIND = "test.pack"
COUNT = 12


@pytest.fixture
def handle() -> Iterator[Callable[..., None]]:
    """Say how a job of the kind is done, and what is read as it is claimed."""

    def register(handler: Callable[[JobRun], None], load: job_module.Load | None = None) -> None:
        job_module.KINDS[KIND] = job_module.JobKind(KIND, handler, None, load)

    yield register
    job_module.KINDS.pop(KIND, None)


@pytest.fixture
def places() -> Iterator[None]:
    """Have room for all of them."""
    crew.PLACES.resize(COUNT)
    yield
    crew.PLACES.resize(64)


def enqueue(count: int = COUNT) -> list[str]:
    with transaction() as session:
        asked = [
            jobs.Enqueue(KIND, f"{number:03}", "control", subject_id=str(uuid.uuid4()))
            for number in range(count)
        ]
        return [jobs.enqueue(session, one) or "" for one in asked]


def states() -> dict[str, str]:
    return dict(rows("SELECT business_key, state FROM jobs ORDER BY business_key"))


def number_of(run: JobRun) -> int:
    return int(run.held.business_key)


@pytest.mark.usefixtures("places")
def test_all_of_a_doorbell_are_done_side_by_side_and_written_in_groups(
    handle: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    meeting = threading.Barrier(COUNT, timeout=20)
    groups: list[int] = []
    write_all = commits.write_all

    def counted(asked: Sequence[commits.Commit]) -> list[bool]:
        groups.append(len(asked))
        return write_all(asked)

    monkeypatch.setattr(commits._GROUP, "_write", counted)
    monkeypatch.setattr(commits, "CROWD", 2)
    monkeypatch.setattr(commits, "CROWD_PATIENCE", 0.2)

    def handler(run: JobRun) -> None:
        # Nobody gets on before all are here: one after the other would wait for ever.
        run.step("meet", lambda: {"place": meeting.wait()})

    handle(handler)
    assert run_jobs(enqueue()) == COUNT
    assert set(states().values()) == {"done"}
    assert rows(
        "SELECT count(*), count(DISTINCT result ->> 'place') FROM job_steps WHERE state = 'done'"
    ) == [(COUNT, COUNT)]
    assert sum(groups) == 2 * COUNT
    assert max(groups) > 1


@pytest.mark.usefixtures("places")
def test_what_fails_in_a_group_fails_alone(
    handle: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, "CROWD", 2)
    monkeypatch.setattr(commits, "CROWD_PATIENCE", 0.1)

    def write(session: Session, numbers: Sequence[int]) -> None:
        session.execute(jobs.text("SELECT 1 / (:five - 5)"), {"five": 5 if 5 in numbers else 0})

    def handler(run: JobRun) -> None:
        number = number_of(run)
        run.step("call", lambda: _call(number), lambda result: Together(write, number))
        run.step("after", dict)

    def _call(number: int) -> dict[str, Any]:
        if number == 3:
            raise errors.Refused("full")
        return {"number": number}

    handle(handler)
    run_jobs(enqueue())
    found = states()
    # The partner refused the fourth; the sixth's own write fails, and its step is as if nothing was learned.
    assert (found.pop("003"), found.pop("005")) == ("failed", "ready")
    assert set(found.values()) == {"done"}
    steps = rows("SELECT business_key, step, job_steps.state FROM job_steps JOIN jobs ON jobs.id = job_id")
    assert {row for row in steps if row[2] == "started"} == {
        ("003", "call", "started"),
        ("005", "call", "started"),
    }
    assert len(steps) == 2 * (COUNT - 2) + 2


@pytest.mark.usefixtures("places")
def test_a_lost_lease_in_a_group_is_nobody_elses(
    handle: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, "CROWD", 2)
    monkeypatch.setattr(commits, "CROWD_PATIENCE", 0.1)

    def handler(run: JobRun) -> None:
        run.step("call", lambda: _take_away(run) or {"by": "us"})

    def _take_away(run: JobRun) -> None:
        if number_of(run) == 2:
            with transaction() as session:
                session.execute(
                    jobs.text("UPDATE jobs SET token = token + 1 WHERE id = :id"), {"id": run.held.id}
                )

    handle(handler)
    run_jobs(enqueue())
    found = states()
    assert found.pop("002") == "running"
    assert set(found.values()) == {"done"}
    assert rows("SELECT count(*) FROM job_steps WHERE state = 'started'") == [(1,)]


def test_no_more_are_claimed_than_there_are_places(handle: Callable[..., None]) -> None:
    crew.PLACES.resize(2)
    most: list[int] = []

    def handler(run: JobRun) -> None:
        most.extend(row[0] for row in rows("SELECT count(*) FROM jobs WHERE state = 'running'"))

    handle(handler)
    try:
        assert run_jobs(enqueue(7)) == 7
    finally:
        crew.PLACES.resize(64)
    assert max(most) <= 2
    assert crew.PLACES.taken == 0


def test_subjects_are_read_for_all_at_once(handle: Callable[..., None]) -> None:
    reads: list[int] = []
    seen: list[tuple[str, Any]] = []

    def load(session: Session, ids: list[str]) -> dict[str, str]:
        reads.append(len(ids))
        return {id: f"subject {id}" for id in ids[1:]}

    handle(lambda run: seen.append((run.subject_id, run.subject)), load)
    run_jobs(enqueue(4))
    assert reads == [4]
    assert sorted(subject is None for _, subject in seen) == [False, False, False, True]
    assert all(subject in (None, f"subject {id}") for id, subject in seen)


def test_one_that_may_have_ended_its_workers_works_alone(handle: Callable[..., None]) -> None:
    beside: list[tuple[int, int]] = []
    ids = enqueue(6)
    with transaction() as session:
        session.execute(jobs.text("UPDATE jobs SET claims = 3 WHERE business_key = '004'"))
    handle(lambda run: beside.append((number_of(run), crew.CREW._together)))
    assert run_jobs(ids) == 6
    assert beside[-1] == (4, 0)
    assert set(states().values()) == {"done"}


def test_a_doorbell_that_rings_twice_finds_each_job_once(handle: Callable[..., None]) -> None:
    done: list[int] = []
    handle(lambda run: done.append(number_of(run)))
    ids = enqueue(3)
    assert run_jobs([*ids, *ids]) == 3
    assert run_jobs(ids) == 0
    assert sorted(done) == [0, 1, 2]


def test_the_relay_packs_a_backlog_and_nothing_else() -> None:
    def bells(count: int, kind: str = "enrollment.walk", queue: str = "enroll.hsi") -> list[Doorbell]:
        return [Doorbell(f"{kind}-{queue}-{number}", kind, queue) for number in range(count)]

    assert [len(one) for one in pack(bells(1))] == [1]
    assert [len(one) for one in pack(bells(40))] == [PACK, 40 - PACK]
    assert max(len(one) for one in pack(bells(500))) == PACK
    mixed = [*bells(6), *bells(6, queue="enroll.moodle"), *bells(4, kind="mail.send", queue="mail")]
    packs = pack(mixed)
    assert all(len({(bell.kind, bell.queue) for bell in one}) == 1 for one in packs)
    assert sorted(bell.id for one in packs for bell in one) == sorted(bell.id for bell in mixed)


def test_those_that_will_work_alone_are_rung_for_alone() -> None:
    bells = [Doorbell(str(number), KIND, "control", claims=number % 4) for number in range(8)]
    assert sorted(len(one) for one in pack(bells)) == [1, 1, 1, 1, 4]
    assert all(bell.claims < 2 for one in pack(bells) if len(one) > 1 for bell in one)


def test_the_relay_learns_how_often_a_job_was_claimed_in_vain(handle: Callable[..., None]) -> None:
    handle(lambda run: None)
    [id] = enqueue(1)
    windows = {"control": 10}
    for claims in range(3):
        with transaction() as session:
            [bell] = jobs.ring_due(session, windows, ring_timeout=0.0).doorbells
            assert (bell.id, bell.claims) == (id, claims)
            jobs.claim(session, [id], owner="somebody who dies", lease=-1.0)
