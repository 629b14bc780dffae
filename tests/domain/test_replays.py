"""Bulk replay: grouped, said first, one canary, a capped rate, nothing twice, actor and reason kept; and retention."""

from __future__ import annotations

import pytest

import tasks.replays  # noqa: F401 - registers the kind
from db.session import transaction
from domain import enrollments, replays, retention
from domain.errors import NotFound, NotPossible
from tests.stack import make_course, make_students, rows, scalar
from workers.job import run_due

pytestmark = pytest.mark.usefixtures("database")

TYPES = ("sandbox",)


def sql(statement: str) -> None:
    with transaction() as session:
        session.execute(replays.text(statement))


def make_failures(count: int) -> str:
    """Give `count` students a refused seat; return the fingerprint."""
    provider, course = make_course()
    with transaction() as session:
        for student in make_students(count):
            seat = enrollments.open_enrollment(
                session,
                student_id=student,
                provider_id=provider,
                course_id=course,
                program_id=None,
                correlation_id=None,
            )
            loaded = enrollments.load(session, seat)
            enrollments.fail(
                session, loaded, step="seat", code="refused", message="course is full", retry_count=0
            )
        [group] = replays.groups(session)
    assert group["enrollments"] == count
    assert "full course" in group["likely_cause"]
    return str(group["fingerprint"])


def start(fingerprint: str, rate: int = 6000) -> str:
    with transaction() as session:
        planned = replays.plan(session, fingerprint, TYPES)
        return replays.start(
            session, planned, actor="ops@example.com", reason="seats were added", rate_per_minute=rate
        )


def turns() -> int:
    """Take turns until the batch waits or ends."""
    count = 0
    while run_due(["replay.run"]):
        count += 1
        sql("UPDATE jobs SET next_run_at = now() WHERE kind = 'replay.run' AND state = 'ready'")
        if count > 60 or rows("SELECT 1 FROM replay_batches WHERE state = 'canary'"):
            break
    return count


def test_a_dry_run_says_what_would_happen_and_does_nothing() -> None:
    fingerprint = make_failures(5)
    with transaction() as session:
        planned = replays.plan(session, fingerprint, TYPES)
    assert len(planned.enrollments) == 5
    assert rows("SELECT * FROM replay_batches") == []
    assert rows("SELECT DISTINCT status FROM partner_lms_enrollments") == [("failed",)]


def test_the_canary_goes_first_and_the_others_follow_when_it_is_active() -> None:
    make_failures(500)
    batch = start(str(scalar("SELECT left(md5('sandbox|seat|refused'), 10)")))
    turns()
    assert rows("SELECT count(*) FROM jobs WHERE kind = 'enrollment.walk'") == [(1,)]
    turns()
    assert rows("SELECT count(*) FROM jobs WHERE kind = 'enrollment.walk'") == [(1,)], (
        "it waits for the canary"
    )
    sql("UPDATE partner_lms_enrollments SET status = 'active' WHERE status = 'pending'")
    turns()
    turns()
    assert rows("SELECT state FROM replay_batches WHERE id = :b", b=batch) == [("done",)]
    assert rows("SELECT count(*) FROM jobs WHERE kind = 'enrollment.walk'") == [(500,)]
    assert rows("SELECT state, count(*) FROM replay_items GROUP BY state") == [("asked", 500)]
    assert rows("SELECT actor, action, reason FROM staff_actions") == [
        ("ops@example.com", "failures.replay", "seats were added")
    ]


def test_a_canary_that_fails_again_stops_the_batch() -> None:
    start(make_failures(20))
    turns()
    sql(
        "UPDATE partner_lms_enrollments SET status = 'failed', failure_reason = 'still full' WHERE status = 'pending'"
    )
    turns()
    assert rows("SELECT state, stopped_reason FROM replay_batches") == [
        ("stopped", "the canary failed again: still full")
    ]
    assert rows("SELECT count(*) FROM jobs WHERE kind = 'enrollment.walk'") == [(1,)]


def test_what_was_replayed_by_hand_meanwhile_is_skipped() -> None:
    start(make_failures(4))
    turns()
    sql(
        "UPDATE partner_lms_enrollments SET status = 'active' WHERE id = (SELECT max(id::text)::uuid FROM partner_lms_enrollments) OR status = 'pending'"
    )
    turns()
    turns()
    assert rows("SELECT state, count(*) FROM replay_items GROUP BY state ORDER BY state") == [
        ("asked", 3),
        ("skipped", 1),
    ]


def test_the_rate_is_kept() -> None:
    start(make_failures(30), rate=120)
    turns()
    sql("UPDATE partner_lms_enrollments SET status = 'active' WHERE status = 'pending'")
    run_due(["replay.run"])
    sql("UPDATE jobs SET next_run_at = now() WHERE kind = 'replay.run'")
    run_due(["replay.run"])
    assert rows("SELECT count(*) FROM replay_items WHERE state = 'asked'") == [(3,)]
    [(seconds,)] = rows("SELECT extract(epoch FROM next_run_at - now()) FROM jobs WHERE kind = 'replay.run'")
    assert 0.5 < seconds <= 1.0


def test_what_stands_in_the_way_is_named_and_left_out() -> None:
    fingerprint = make_failures(3)
    sql("UPDATE partner_courses SET active = false")
    with transaction() as session:
        planned = replays.plan(session, fingerprint, TYPES)
        assert set(planned.obstructed.values()) == {"course Course COURSE-1 (COURSE-1) is not active"}
        with pytest.raises(NotPossible):
            replays.start(session, planned, actor="a", reason="r", rate_per_minute=60)
        with pytest.raises(NotFound):
            replays.plan(session, "nonsense", TYPES)


def test_retention_forgets_what_is_over_and_keeps_what_a_refund_may_need() -> None:
    make_failures(2)
    sql("INSERT INTO scheduled_runs (job, slot) VALUES ('a', now() - interval '8 days'), ('b', now())")
    sql(
        "INSERT INTO inbox_events (source, external_id, type, payload, state, received_at) SELECT 's', n::text, 't', '', 'done', now() - n * interval '100 days' FROM generate_series(0, 3) n"
    )
    sql(
        "INSERT INTO inbox_events (source, external_id, type, payload, state, received_at) VALUES ('s', 'w', 't', '', 'waiting', now() - interval '3 years')"
    )
    sql(
        "INSERT INTO jobs (kind, business_key, queue, subject_id, state, updated_at) SELECT k, k, 'mail', gen_random_uuid(), 'done',"
        " now() - interval '200 days' FROM unnest(ARRAY['enrollment.walk', 'mail.send', 'payments.process']) k"
    )
    sql("UPDATE partner_lms_enrollment_failures SET created_at = now() - interval '2 years'")
    with transaction() as session:
        for rule in retention.rules(inbox=180, jobs=90, failures=365, partner_calls=30):
            retention.forget_batch(session, rule)
    assert rows("SELECT job FROM scheduled_runs") == [("b",)]
    assert rows("SELECT external_id FROM inbox_events ORDER BY 1") == [("0",), ("1",), ("w",)]
    assert rows("SELECT kind FROM jobs ORDER BY 1") == [("enrollment.walk",), ("mail.send",)]
    assert scalar("SELECT count(*) FROM partner_lms_enrollment_failures") == 2, (
        "open failures wait for a person"
    )
