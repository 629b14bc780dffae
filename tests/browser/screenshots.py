"""Pictures of the main pages for the documents: `make screenshots`. Not collected with the tests: it looks at nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from db.session import transaction
from domain import achievement_seeds, courses, demo, xp
from domain.levels import SQRT
from tests.api.conftest import STUDENT, make_enrollment, run
from tests.api.test_pages_ops import fail_seat
from tests.browser.conftest import School
from tests.e2e.conftest import stack
from tests.stack import ROOT, Stack, checkout_event, make_students, order

__all__ = ["stack"]

FOLDER = ROOT / "docs" / "screenshots"
WIDE, NARROW = 1280, 390
STUDENT_PAGES = {
    "dashboard": "/dashboard",
    "xp": "/dashboard/xp",
    "achievements": "/dashboard/achievements",
    "courses": "/courses",
    "course": f"/courses/{demo.course_id('OWN-101')}",
}
STAFF_PAGES = {
    "ops": "/ops",
    "ops-failures": "/ops/failures",
    "ops-enrollments": "/ops/enrollments",
    "ops-partners": "/ops/partners",
    "ops-students": "/ops/students?q=ana",
}


@pytest.fixture
def filled(stack: Stack, browser: Browser) -> School:
    """A school with something to see."""
    with transaction() as session:
        demo.seed(session)
        achievement_seeds.seed(session)
    stack.start_chain()
    for status, code, percentage in (
        ("active", "SBX-101", 40),
        ("completed", "SBX-201", 100),
        ("pending", "HSI-BBP", 0),
        ("failed", "HSI-CPR-AED", 0),
    ):
        make_enrollment(status, course=code, progress_percentage=percentage)
    own = demo.course_id("OWN-101")
    for number in (1, 2):
        with transaction() as session:
            if number == 1:
                courses.enroll(session, STUDENT, own)
            xp.complete_lesson(session, SQRT, xp.Completion(STUDENT, own, demo.lesson_id("OWN-101", number)))
    provider, course = demo.provider_id("sandbox"), demo.course_id("SBX-201")
    for student in make_students(12):
        assert stack.post_event(checkout_event(order(student, provider, course))).status_code == 200
    run("UPDATE users SET name = 'Ana Silva' WHERE id = :id", id=STUDENT)
    return School(stack, browser)


def test_pictures(filled: School) -> None:
    FOLDER.mkdir(exist_ok=True)
    fail_seat("MOS-EXCEL")
    with filled.visit() as ana:
        ana.sign_in("ana@example.com")
        for name, path in STUDENT_PAGES.items():
            take(ana.page, ana.address + path, FOLDER / name, phone=name in ("dashboard", "course"))
    with filled.visit() as staff:
        staff.sign_in("ops@example.com", "ops")
        for name, path in STAFF_PAGES.items():
            take(staff.page, staff.address + path, FOLDER / name, phone=name == "ops")


def take(page, address: str, file: Path, *, phone: bool) -> None:  # type: ignore[no-untyped-def]
    """Take a page in light, and in dark on a phone where asked for."""
    page.set_viewport_size({"width": WIDE, "height": 900})
    page.emulate_media(color_scheme="light")
    page.goto(address)
    page.screenshot(path=f"{file}.png")
    if phone:
        page.set_viewport_size({"width": NARROW, "height": 844})
        page.emulate_media(color_scheme="dark")
        page.goto(address)
        page.screenshot(path=f"{file}-phone-dark.png")
