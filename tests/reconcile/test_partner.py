"""A partner's roster against ours: a seat that leaked is given back, seats unknown or missing are for a person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import settings as settings_module
import tasks.reconcile as reconcile_module
from db.session import transaction
from domain import enrollments, reconciliation
from partners.base import Capability, ProgressPage
from partners.errors import RetryLater
from partners.registry import get_partner
from tests.conftest import Database
from tests.partners.conftest import API_KEY, RunningSandbox
from tests.reconcile.conftest import Report
from tests.stack import make_course, make_students, rows, scalar
from workers.job import run_due

KINDS = ["partner.reconcile", "enrollment.walk"]


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    made = RunningSandbox()
    yield made
    made.stop()


@pytest.fixture
def sandbox(
    running: RunningSandbox, database: Database, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RunningSandbox]:
    """An empty sandbox, which our settings name."""
    running.request("POST", "/_reset")
    monkeypatch.setenv("SANDBOX_URL", running.url)
    monkeypatch.setenv("SANDBOX_API_KEY", API_KEY)
    settings_module.get_settings.cache_clear()
    get_partner.cache_clear()
    yield running
    get_partner.cache_clear()


@pytest.fixture
def active(sandbox: RunningSandbox) -> list[str]:
    """Four students with an active seat each; their enrolments' ids."""
    provider, course = make_course()
    ids = []
    for student in make_students(4):
        with transaction() as session:
            ids.append(
                enrollments.open_enrollment(
                    session,
                    student_id=student,
                    provider_id=provider,
                    course_id=course,
                    program_id=None,
                    correlation_id=None,
                )
            )
            enrollments.start_walk(session, enrollments.load(session, ids[-1]))
    work()
    return ids


def work() -> None:
    while run_due(KINDS):
        pass


def compare() -> Report:
    """Compare with the sandbox, and walk what followed from it."""
    with transaction() as session:
        run = reconciliation.ask_partner(session, "sandbox")
    work()
    assert rows("SELECT state, last_error FROM jobs WHERE id = :id", id=run.job_id) == [("done", None)]
    return Report(run.id)


def revoke(enrollment_id: str) -> None:
    with transaction() as session:
        enrollments.revoke(session, enrollments.lock(session, enrollment_id))
    work()


def call(sandbox: RunningSandbox, method: str, path: str, **body: Any) -> Any:
    """Do something at the partner behind our back."""
    answer = sandbox.request(method, path, body)
    assert answer.ok, answer.text
    return answer.json() if answer.content else None


def take_late(sandbox: RunningSandbox, enrollment_id: str) -> str:
    """Take the seat as a frozen worker does that wakes up after it was given back."""
    with transaction() as session:
        seat = enrollments.load(session, enrollment_id)
    [account] = sandbox.request("GET", f"/accounts?reference={seat.account_reference}").json()["data"]
    body = {"account_id": account["id"], "course_code": seat.course_code, "reference": seat.seat_reference}
    return str(call(sandbox, "POST", "/enrollments", **body)["id"])


def seats(sandbox: RunningSandbox) -> int:
    return int(sandbox.state()["counts"]["enrollments"])


def test_where_both_agree_nothing_is_found(sandbox: RunningSandbox, active: list[str]) -> None:
    revoke(active[0])
    found = compare()
    assert (found.repaired, found.open) == ({}, {})
    assert found.whole["looked_at"] == seats(sandbox) == 3
    assert rows("SELECT count(*) FROM reconciliation_pages") == [(0,)]


@pytest.mark.parametrize("knew_another", [True, False])
def test_a_seat_that_was_taken_after_it_was_given_back_is_given_back_again(
    sandbox: RunningSandbox, active: list[str], knew_another: bool
) -> None:
    revoke(active[0])
    if not knew_another:
        with transaction() as session:
            session.execute(
                enrollments.text(
                    "UPDATE partner_lms_enrollments SET external_enrollment_id = NULL WHERE id = :id"
                ),
                {"id": active[0]},
            )
    take_late(sandbox, active[0])
    assert seats(sandbox) == 4
    found = compare()
    assert (found.repaired, found.open) == ({"seat_leaked": 1}, {})
    assert seats(sandbox) == 3
    assert rows(
        "SELECT status, released_at IS NOT NULL FROM partner_lms_enrollments WHERE id = :id", id=active[0]
    ) == [("revoked", True)]
    again = compare()
    assert (again.repaired, again.open) == ({}, {})


def test_a_seat_that_the_partner_says_it_took_back_and_still_lists_is_given_back_again(
    sandbox: RunningSandbox, active: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the steps of its walk were tidied away."""
    with monkeypatch.context() as patched:
        patched.setattr(get_partner("sandbox"), "unenroll", lambda seat_id: None)
        revoke(active[0])
    with transaction() as session:
        session.execute(enrollments.text("DELETE FROM jobs"))
    assert seats(sandbox) == 4
    assert compare().repaired == {"seat_leaked": 1}
    assert seats(sandbox) == 3
    assert compare().repaired == {}


def test_seats_that_only_one_side_has_are_for_a_person_until_they_agree(
    sandbox: RunningSandbox, active: list[str]
) -> None:
    [account] = [call(sandbox, "POST", "/accounts", reference="theirs", email="a@b.example", name="A")["id"]]
    stranger = call(
        sandbox, "POST", "/enrollments", account_id=account, course_code="COURSE-1", reference="theirs"
    )["id"]
    lost = str(
        scalar("SELECT external_enrollment_id FROM partner_lms_enrollments WHERE id = :id", id=active[1])
    )
    call(sandbox, "DELETE", f"/enrollments/{lost}")
    revoke(active[0])
    found = compare()
    assert (found.repaired, found.open) == ({}, {"seat_unknown": 1, "seat_missing": 1})
    subjects = {one["kind"]: one["subject_id"] for one in found.whole["needs_person"]}
    assert subjects == {"seat_unknown": stranger, "seat_missing": active[1]}
    again = compare()
    assert (again.repaired, again.open) == ({}, found.open)
    assert seats(sandbox) == 3
    call(sandbox, "DELETE", f"/enrollments/{stranger}")
    revoke(active[1])
    assert compare().open == {}


def test_a_partner_that_stops_answering_is_asked_on_from_there(
    sandbox: RunningSandbox, active: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile_module, "ROSTER_PAGE", 1)
    partner = get_partner("sandbox")
    real, asked = partner.progress_page, []

    def stops(since: str | None, limit: int) -> ProgressPage:
        asked.append(since)
        if len(asked) == 3:
            raise RetryLater("gone")
        return real(since, limit)

    monkeypatch.setattr(partner, "progress_page", stops)
    take_late_after_revoke = active[0]
    revoke(take_late_after_revoke)
    take_late(sandbox, take_late_after_revoke)
    with transaction() as session:
        run = reconciliation.ask_partner(session, "sandbox")
    assert run_due(["partner.reconcile"])
    assert rows("SELECT state FROM jobs WHERE id = :id", id=run.job_id) == [("ready",)]
    assert rows("SELECT count(*) FROM reconciliation_findings") == [(0,)]
    with transaction() as session:
        session.execute(enrollments.text("UPDATE jobs SET next_run_at = now() WHERE state = 'ready'"))
    work()
    assert asked[:2] == [None, asked[1]]
    assert asked[2] == asked[3]
    assert len(asked) == 5
    assert Report(run.id).repaired == {"seat_leaked": 1}
    assert seats(sandbox) == 3


def test_a_partner_that_cannot_list_its_seats_is_left_alone(
    sandbox: RunningSandbox, active: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.fault("GET /progress", status=405, times=None)
    found = compare()
    assert (found.repaired, found.open, found.whole["looked_at"]) == ({}, {}, 0)
    partner = get_partner("sandbox")
    monkeypatch.setattr(partner, "capabilities", partner.capabilities - {Capability.BULK_PROGRESS})
    assert compare().open == {}
    assert sandbox.state()["calls"]["GET /progress"] == 1
