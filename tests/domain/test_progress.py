"""What is believed of what partners say about progress."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from db.session import transaction
from domain import progress
from domain.progress import Report
from tests.stack import make_course, make_students, rows, scalar

pytestmark = pytest.mark.usefixtures("database")

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def provider(database: object) -> str:
    """A provider with one active seat `seat-1` at 50 %, last told at noon."""
    provider, course = make_course()
    [student] = make_students(1)
    with transaction() as session:
        session.execute(
            progress.text(
                "INSERT INTO partner_lms_enrollments (provider_id, student_id, course_id, status, progress_percentage,"
                " external_enrollment_id, progress_updated_at) VALUES (:p, :s, :c, 'active', 50, 'seat-1', :at)"
            ),
            {"p": provider, "s": student, "c": course, "at": NOON},
        )
    return provider


def tell(provider: str, percentage: int, minutes: int | None, *, completed: bool = False) -> int:
    at = None if minutes is None else NOON + timedelta(minutes=minutes)
    report = Report("seat-1", Decimal(percentage), completed, at, at if completed else None)
    with transaction() as session:
        return progress.apply(session, provider, "sandbox", [report])


@pytest.mark.parametrize(
    ("percentage", "minutes", "changed", "after"),
    [
        (60, 5, 1, 60),  # news
        (40, 5, 1, 40),  # the partner took progress back, and its clock says that this is newer
        (40, -5, 0, 50),  # stale
        (60, -5, 0, 50),  # stale, even where it says more
        (60, 0, 1, 60),  # the same second, more progress
        (40, 0, 0, 50),  # the same second, less progress
        (50, 5, 0, 50),  # nothing new
        (60, None, 1, 60),  # a partner without a clock: progress grows
        (40, None, 0, 50),  # a partner without a clock: progress never shrinks
    ],
)
def test_an_answer_counts_only_when_it_is_not_stale(
    provider: str, percentage: int, minutes: int | None, changed: int, after: int
) -> None:
    assert tell(provider, percentage, minutes) == changed
    assert scalar("SELECT progress_percentage FROM partner_lms_enrollments") == after


def test_completion_is_final_and_asks_for_the_certificate_once(provider: str) -> None:
    assert tell(provider, 100, 5, completed=True) == 1
    assert tell(provider, 10, 10) == 0
    assert tell(provider, 100, 15, completed=True) == 0
    [(status, percentage, completed_at)] = rows(
        "SELECT status, progress_percentage, completed_at FROM partner_lms_enrollments"
    )
    assert (status, percentage, completed_at) == ("completed", 100, NOON + timedelta(minutes=5))
    assert rows("SELECT kind, queue FROM jobs ORDER BY kind") == [
        ("progress.certificate", "sync.sandbox"),
        ("xp.award", "xp"),
    ]


def test_a_seat_that_is_completed_again_is_awarded_anew_and_the_others_of_its_page_once(
    provider: str,
) -> None:
    [(course,)] = rows("SELECT id FROM partner_courses")
    with transaction() as session:
        for number, student in enumerate(make_students(3, prefix="more")):
            session.execute(
                progress.text(
                    "INSERT INTO partner_lms_enrollments (provider_id, student_id, course_id, status,"
                    " external_enrollment_id) VALUES (:p, :s, :c, 'active', :e)"
                ),
                {"p": provider, "s": student, "c": course, "e": f"more-{number}"},
            )
    assert tell(provider, 100, 5, completed=True) == 1
    with transaction() as session:
        session.execute(progress.text("UPDATE jobs SET state = 'done', finished_at = now()"))
        session.execute(progress.text("UPDATE partner_lms_enrollments SET status = 'active'"))
    reports = [
        Report(seat, Decimal(100), True, NOON + timedelta(minutes=9), None)
        for seat in ("seat-1", "more-0", "more-1", "more-2")
    ]
    with transaction() as session:
        assert progress.apply(session, provider, "sandbox", reports) == 4
    assert rows("SELECT kind, state, count(*) FROM jobs GROUP BY 1, 2 ORDER BY 1, 2") == [
        ("progress.certificate", "done", 1),
        ("progress.certificate", "ready", 3),
        ("xp.award", "ready", 4),
    ]


def test_a_pass_through_the_whole_feed_that_was_broken_off_goes_on_and_a_finished_one_is_not_repeated_for_a_day(
    provider: str,
) -> None:
    def begin() -> str | None:
        with transaction() as session:
            return progress.begin(session, provider).cursor

    def finish() -> None:
        with transaction() as session:
            progress.finish(session, provider)

    def read_until(cursor: str) -> None:
        with transaction() as session:
            progress.save_place(session, provider, cursor=cursor)

    assert begin() is None
    read_until("page-7")
    assert begin() == "page-7"
    finish()
    assert begin() == "page-7"
    finish()
    with transaction() as session:
        session.execute(progress.text("UPDATE partner_sync_states SET full_at = now() - interval '25 hours'"))
    assert begin() is None
    read_until("page-2")
    assert begin() == "page-2"
    assert scalar("SELECT full_at FROM partner_sync_states") is None
    finish()
    assert scalar("SELECT full_at > now() - interval '1 minute' FROM partner_sync_states")


def test_of_two_answers_in_one_page_the_newer_one_counts(provider: str) -> None:
    reports = [
        Report("seat-1", Decimal(p), False, NOON + timedelta(minutes=m), None) for p, m in ((80, 9), (70, 5))
    ]
    with transaction() as session:
        assert progress.apply(session, provider, "sandbox", reports) == 1
    assert scalar("SELECT progress_percentage FROM partner_lms_enrollments") == 80


@pytest.mark.parametrize("status", ["pending", "failed", "suspended", "revoked"])
def test_a_seat_that_is_not_active_is_left_alone(provider: str, status: str) -> None:
    with transaction() as session:
        session.execute(progress.text("UPDATE partner_lms_enrollments SET status = :s"), {"s": status})
    assert tell(provider, 100, 5, completed=True) == 0


def test_a_partner_is_due_once_an_interval(provider: str) -> None:
    def due() -> list[str]:
        with transaction() as session:
            return progress.schedule_due(session, interval=3600, partner_types=["sandbox"])

    assert due() == [provider]
    assert due() == []
    with transaction() as session:
        session.execute(progress.text("UPDATE partner_sync_states SET next_due_at = now()"))
    assert due() == [provider]
    assert scalar("SELECT count(*) FROM jobs WHERE kind = 'progress.sync'") == 1
    with transaction() as session:
        session.execute(progress.text("UPDATE partner_sync_states SET next_due_at = now()"))
        session.execute(progress.text("UPDATE partner_lms_enrollments SET status = 'completed'"))
    assert due() == []
