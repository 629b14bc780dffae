"""Enrolments walked to SCORM Cloud and Canvas by the real jobs: seat, progress, giving back, a seat taken too late."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

import settings as settings_module
import tasks.enrollment
import tasks.progress
import tasks.reconcile  # noqa: F401 -- registers its jobs, as the two above do
from db.session import transaction
from domain import enrollments, progress, reconciliation
from partners.base import Seat, Student
from partners.kit.conformance import FakeSubject
from partners.registry import get_partner
from tests.conformance.canvas import CanvasSubject
from tests.conformance.scorm_cloud import ScormCloudSubject
from tests.conftest import Database
from tests.fakes.canvas import TOKEN
from tests.fakes.scorm_cloud import APP_ID, BASE, SECRET_KEY
from tests.stack import make_course, make_students, rows
from workers.job import run_due

KINDS = ["enrollment.walk", "progress.sync", "partner.reconcile"]
SUBJECTS = {"scorm_cloud": ScormCloudSubject, "canvas": CanvasSubject}


@dataclass
class World:
    """One student's enrolment at a vendor, whose adapter the pipeline finds by its configuration."""

    subject: FakeSubject
    enrollment_id: str
    provider: str
    provider_type: str

    @property
    def seat(self) -> str:
        """The seat's id as it is stored."""
        [(id,)] = rows("SELECT external_enrollment_id FROM partner_lms_enrollments")
        return str(id)

    @property
    def status(self) -> str:
        """The enrolment's status."""
        return str(rows("SELECT status FROM partner_lms_enrollments")[0][0])

    def seats(self) -> int:
        """Return what the vendor has of the student."""
        return self.subject.seats(self.subject.student)


@pytest.fixture(params=SUBJECTS)
def world(
    request: pytest.FixtureRequest, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    subject: FakeSubject = SUBJECTS[request.param]()
    shipped = Path(__file__).parents[2] / f"partners/configurations/{request.param}.yaml"
    # The shipped file as it is, but for the address of the one product that has only one.
    text = shipped.read_text().replace("https://cloud.scorm.com/api/v2", f"{subject.fake.url}{BASE}")
    (tmp_path / f"{request.param}.yaml").write_text(text)
    for name, value in {
        "PARTNERS_DIR": str(tmp_path),
        "SCORM_CLOUD_APP_ID": APP_ID,
        "SCORM_CLOUD_SECRET_KEY": SECRET_KEY,
        "CANVAS_URL": subject.fake.url,
        "CANVAS_TOKEN": TOKEN,
    }.items():
        monkeypatch.setenv(name, value)
    settings_module.get_settings.cache_clear()
    get_partner.cache_clear()
    provider, course = make_course(request.param, subject.course_code)
    [student] = make_students(1)
    with transaction() as session:
        id = enrollments.open_enrollment(
            session,
            student_id=student,
            provider_id=provider,
            course_id=course,
            program_id=None,
            correlation_id=None,
        )
        opened = enrollments.load(session, id)
        enrollments.start_walk(session, opened)
    subject.student = Student(opened.account_reference, opened.email, opened.name or "")
    yield World(subject, id, provider, request.param)
    subject.close()
    get_partner.cache_clear()


def work() -> None:
    while run_due(KINDS):
        pass


def revoke(world: World) -> None:
    with transaction() as session:
        enrollments.revoke(session, enrollments.lock(session, world.enrollment_id))
    work()


def test_an_enrolment_becomes_active_learns_and_is_given_back(world: World) -> None:
    work()
    assert (world.status, world.seats()) == ("active", 1)

    world.subject.move(Seat(world.seat), 40)
    with transaction() as session:
        progress.ask_sync(session, world.provider, world.provider_type)
    work()
    assert rows("SELECT state, last_error FROM jobs WHERE kind = 'progress.sync'") == [("done", None)]
    assert rows("SELECT progress_percentage FROM partner_lms_enrollments") == [(Decimal(40),)]

    revoke(world)
    assert (world.status, world.seats()) == ("revoked", 0)


def test_a_lost_answer_ends_in_one_seat(world: World) -> None:
    """The answers to what makes the seat are lost, for Canvas that of the account as well."""
    world.subject.fault("lose", on="write", times=2 if world.provider_type == "canvas" else 1)
    for _ in range(5):
        work()
        rows("UPDATE jobs SET next_run_at = now() WHERE state = 'ready' RETURNING id")
    assert (world.status, world.seats()) == ("active", 1)


@pytest.mark.parametrize("knew_it", [True, False])
def test_a_seat_that_was_taken_after_it_was_given_back_is_given_back_again(
    world: World, knew_it: bool
) -> None:
    """A partner without accounts is asked by our reference, so that a seat whose id we never learned is found too."""
    work()
    revoke(world)
    if not knew_it:
        rows("UPDATE partner_lms_enrollments SET external_enrollment_id = NULL RETURNING id")
    partner, subject = get_partner(world.provider_type), world.subject
    account = subject.student.reference
    if world.provider_type == "canvas":
        found = partner.find_account(subject.student)
        assert found is not None
        account = found.id
    partner.enroll_in_course(
        account, subject.course_code, student=subject.student, reference="late", key="late"
    )
    assert world.seats() == 1
    with transaction() as session:
        run = reconciliation.ask_partner(session, world.provider_type)
    work()
    assert rows("SELECT state, last_error FROM jobs WHERE id = :id", id=run.job_id) == [("done", None)]
    assert world.seats() == 0
    assert partner.find_enrollment(account, subject.course_code) is None
