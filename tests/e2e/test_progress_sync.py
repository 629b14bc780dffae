"""Progress of 10,000 seats pulled from a sandbox that is a process of its own."""

from __future__ import annotations

import json
import tracemalloc
import uuid
from collections.abc import Iterator

import pytest
import requests

import settings as settings_module
from db.session import transaction
from domain import progress
from partners.registry import get_partner
from tests.stack import Stack, make_course, rows, scalar
from workers.job import run_due

pytestmark = pytest.mark.e2e

SEATS = 10_000
# Bytes of Python objects that a sync may hold at its peak, whatever the number of seats.
PEAK = 12_000_000


@pytest.fixture
def synced(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """10,000 active seats in the database and, by its journal, in the sandbox."""
    import tasks.progress  # noqa: F401 - registers the kinds

    provider, course = make_course()
    with transaction() as session:
        session.execute(
            progress.text(
                """
                WITH people AS (
                    INSERT INTO users (email) SELECT n || '@example.com' FROM generate_series(1, :seats) n RETURNING id
                )
                INSERT INTO partner_lms_enrollments (provider_id, student_id, course_id, status, external_enrollment_id,
                    external_account_id, enrolled_at)
                SELECT :provider, id, :course, 'active', 'enr_' || id, 'acc_' || id, now() FROM people
                """
            ),
            {"seats": SEATS, "provider": provider, "course": course},
        )
    write_journal(
        stack, [str(row[0]) for row in rows("SELECT student_id FROM partner_lms_enrollments ORDER BY id")]
    )
    stack.start_sandbox()
    for name in ("SANDBOX_URL", "SANDBOX_API_KEY"):
        monkeypatch.setenv(name, stack.env[name])
    monkeypatch.setenv("PARTNER_READ_TIMEOUT", "3")
    settings_module.get_settings.cache_clear()
    get_partner.cache_clear()
    yield stack
    get_partner.cache_clear()


def write_journal(stack: Stack, people: list[str]) -> None:
    lines = [json.dumps({"op": "born", "epoch": "test"})]
    for person in people:
        lines.append(
            json.dumps(
                {
                    "op": "account",
                    "id": f"acc_{person}",
                    "reference": f"r-{person}",
                    "email": "a@b.example",
                    "name": "A",
                }
            )
        )
        lines.append(
            json.dumps(
                {
                    "op": "enrollment",
                    "id": f"enr_{person}",
                    "account_id": f"acc_{person}",
                    "course_code": "COURSE-1",
                    "reference": f"s-{person}",
                    "at": 1_700_000_000.0,
                }
            )
        )
    (stack.directory / "sandbox.journal").write_text("\n".join(lines) + "\n")


def move(stack: Stack, count: int, percentage: int, offset: int = 0) -> None:
    """Move `count` seats at the partner."""
    ids = rows(
        "SELECT external_enrollment_id FROM partner_lms_enrollments ORDER BY id OFFSET :o LIMIT :n",
        o=offset,
        n=count,
    )
    body = [{"enrollment_id": row[0], "percentage": percentage} for row in ids]
    assert requests.post(f"{stack.sandbox_url}/_progress", json=body, timeout=10).status_code == 200


def sync() -> dict[str, int]:
    """Sync the one provider now; return its last run's figures."""
    with transaction() as session:
        progress.ask_sync(session, str(scalar("SELECT id FROM partner_lms_providers")), "sandbox")
    while run_due(["progress.sync"]):
        pass
    assert rows("SELECT state, last_error FROM jobs WHERE kind = 'progress.sync'") == [("done", None)]
    [figures] = rows("SELECT last_calls, last_changed, last_failed FROM partner_sync_states")
    return dict(zip(("calls", "changed", "failed"), figures, strict=True))


def written() -> int:
    """Return how many enrolments were written since the last look."""
    count = int(scalar("SELECT count(*) FROM partner_lms_enrollments WHERE updated_at > '2020-01-01'"))
    with transaction() as session:
        session.execute(
            progress.text(
                "UPDATE partner_lms_enrollments SET updated_at = '2000-01-01' WHERE updated_at > '2020-01-01'"
            )
        )
    return count


def test_the_bulk_call_reads_10000_seats_in_20_calls_and_writes_only_what_changed(synced: Stack) -> None:
    move(synced, 300, 40)
    written()
    get_partner("sandbox")  # What is imported and read for it is not the sync's.
    tracemalloc.start()
    assert sync() == {"calls": 20, "changed": 300, "failed": 0}
    assert tracemalloc.get_traced_memory()[1] < PEAK
    tracemalloc.stop()
    assert written() == 300
    assert sync()["changed"] == 0
    assert written() == 0
    move(synced, 7, 60)
    again = sync()
    assert again["changed"] == 7
    assert again["calls"] <= 2
    assert written() == 7


def test_without_it_each_seat_is_asked_once_and_a_poisoned_and_a_hanging_one_stop_nobody(
    synced: Stack,
) -> None:
    with transaction() as session:
        session.execute(
            progress.text("UPDATE partner_lms_providers SET metadata = '{\"bulk_progress\": false}'")
        )
    move(synced, 300, 40)
    poisoned, hanging = (
        row[0]
        for row in rows(
            "SELECT external_enrollment_id FROM partner_lms_enrollments ORDER BY id OFFSET 500 LIMIT 2"
        )
    )
    synced.fault(
        call="GET /enrollments/{id}/progress", garbage=True, times=None, match={"enrollment_id": poisoned}
    )
    synced.fault(call="GET /enrollments/{id}/progress", hang=60, times=None, match={"enrollment_id": hanging})
    written()
    assert sync() == {"calls": SEATS, "changed": 300, "failed": 2}
    assert written() == 300
    assert synced.sandbox_state(summary=True)["calls"]["GET /enrollments/{id}/progress"] >= SEATS - 1
    assert rows("SELECT state FROM jobs WHERE kind = 'progress.sync_one'") == [("ready",), ("ready",)]


def test_a_completed_seat_gets_its_certificate_once_the_partner_has_made_it(synced: Stack) -> None:
    synced.fault(call="GET /enrollments/{id}/certificate", status=404, times=1)
    move(synced, 3, 100)
    assert sync()["changed"] == 3
    assert (
        scalar(
            "SELECT count(*) FROM partner_lms_enrollments WHERE status = 'completed' AND completed_at IS NOT NULL"
        )
        == 3
    )
    while run_due(["progress.certificate"]):
        pass
    assert scalar("SELECT count(*) FROM partner_certificates") == 2
    with transaction() as session:
        session.execute(progress.text("UPDATE jobs SET next_run_at = now() WHERE state = 'ready'"))
    while run_due(["progress.certificate"]):
        pass
    assert scalar("SELECT count(*) FROM partner_certificates WHERE certificate_number <> ''") == 3
    assert scalar("SELECT count(*) FROM partner_lms_enrollment_failures") == 0


def test_a_sync_that_was_killed_goes_on_where_it_stopped(synced: Stack) -> None:
    with transaction() as session:
        session.execute(
            progress.text("UPDATE partner_lms_providers SET metadata = '{\"bulk_progress\": false}'")
        )
    synced.fault(call="GET /enrollments/{id}/progress", status=429, retry_after=1, after=500, times=200)
    with transaction() as session:
        progress.ask_sync(session, str(scalar("SELECT id FROM partner_lms_providers")), "sandbox")
    assert run_due(["progress.sync"])
    assert rows("SELECT state FROM jobs WHERE kind = 'progress.sync'") == [("ready",)]
    position = scalar("SELECT position FROM partner_sync_states")
    assert uuid.UUID(str(position))
    assert requests.delete(f"{synced.sandbox_url}/_faults", timeout=5).ok
    with transaction() as session:
        session.execute(progress.text("UPDATE jobs SET next_run_at = now()"))
        session.execute(
            progress.text("UPDATE partner_lms_enrollments SET status = 'suspended' WHERE id > :p"),
            {"p": position},
        )
    assert run_due(["progress.sync"])
    assert scalar("SELECT last_calls FROM partner_sync_states") == 0


def test_a_bulk_sync_that_was_broken_off_goes_on_at_its_page_and_one_whose_place_is_unknown_begins_anew(
    synced: Stack,
) -> None:
    def sync_until(state: str) -> int:
        with transaction() as session:
            session.execute(progress.text("UPDATE jobs SET next_run_at = now()"))
        assert run_due(["progress.sync"])
        assert rows("SELECT state FROM jobs WHERE kind = 'progress.sync'") == [(state,)]
        return int(scalar("SELECT last_calls FROM partner_sync_states"))

    with transaction() as session:
        progress.ask_sync(session, str(scalar("SELECT id FROM partner_lms_providers")), "sandbox")
    synced.fault(call="GET /progress", status=429, retry_after=1, after=12, times=1)
    assert sync_until("ready") == 12
    assert scalar("SELECT full_at FROM partner_sync_states") is None
    # The last page that was read is read again: a place is the cursor that its page was asked with.
    assert sync_until("done") == 20 - 12 + 1
    assert scalar("SELECT full_at FROM partner_sync_states") is not None
    synced.fault(call="GET /progress", status=422, times=1)
    with transaction() as session:
        progress.ask_sync(session, str(scalar("SELECT id FROM partner_lms_providers")), "sandbox")
    assert sync_until("failed") == 0
    assert sync()["calls"] == 20
