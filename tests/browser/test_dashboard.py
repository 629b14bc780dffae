"""The student's own pages in a real browser: they move by themselves, say what happened, and work without scripts."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from db.session import transaction
from domain import achievement_seeds, courses, demo, xp
from domain.levels import SQRT
from tests.api.conftest import STUDENT, make_enrollment, run
from tests.browser.conftest import School, Visitor
from tests.stack import Stack, checkout_event, order, scalar

EMAIL = "ana@example.com"
OWN = demo.course_id("OWN-101")
BOUGHT = order(STUDENT, demo.provider_id("sandbox"), demo.course_id("SBX-101"))
# Milliseconds that the whole chain may take on a machine that has other work.
PATIENCE = 60_000


@pytest.fixture
def site(stack: Stack, browser: Browser) -> School:
    """The api alone, with the demo's rows: for pages on which nothing has to happen in the background."""
    with transaction() as session:
        demo.seed(session)
    stack.start_api()
    return School(stack, browser)


def test_a_bought_course_opens_by_itself_and_is_said_without_moving_the_focus(school: School) -> None:
    with school.visit() as ana:
        ana.sign_in(EMAIL)
        page = ana.open("/dashboard")
        expect(page.get_by_role("heading", name="No courses yet")).to_be_visible()
        link = page.get_by_role("link", name="Where your XP come from")
        link.focus()
        school.stack.fault(call="POST /enrollments", status=503, times=2)
        assert school.stack.post_event(checkout_event(BOUGHT)).status_code == 200
        expect(page.get_by_role("link", name="Start the course")).to_be_visible(timeout=PATIENCE)
        expect(link).to_be_focused()
        complete_a_lesson()
        said = page.locator("#said")
        expect(said).to_contain_text("+50 XP: Lesson: How memory works", timeout=PATIENCE)
        assert said.get_attribute("role") == "status"
        expect(page.get_by_text("50 XP", exact=True).first).to_be_visible()
        expect(link).to_be_focused()
        assert ana.troubles == []


def test_the_pages_stand_the_audit_with_everything_on_them_and_are_used_by_key(site: School) -> None:
    for status, code in zip(
        ("active", "completed", "pending", "failed", "suspended", "revoked"),
        ("SBX-101", "SBX-201", "HSI-BBP", "HSI-CPR-AED", "MOS-EXCEL", "ITS-PYTHON"),
        strict=True,
    ):
        make_enrollment(status, course=code, progress_percentage=100 if status == "completed" else 40)
    run("UPDATE partner_courses SET course_name = repeat('Verylongword', 20) WHERE course_code = 'SBX-201'")
    run(
        "UPDATE users SET name = 'عائشة بنت عبد الرحمن', time_zone = 'Pacific/Kiritimati' WHERE id = :id",
        id=STUDENT,
    )
    with transaction() as session:
        achievement_seeds.seed(session)
    complete_a_lesson()
    with site.visit() as ana:
        ana.sign_in(EMAIL)
        for path in ("/dashboard", "/dashboard/achievements"):
            ana.audit(path)
        page = ana.open("/dashboard/settings")
        refuse_a_long_name(page)
        assert page.evaluate("document.activeElement.className") == "mistakes"
        assert reached(ana) >= {"name", "locale", "time_zone", "wants_progress_mail", "wants_streak_mail"}
        page.get_by_label("Name").fill("Ana")
        page.get_by_label("Language", exact=True).select_option("es")
        page.get_by_role("button", name="Save").click()
        expect(page.locator("html")).to_have_attribute("lang", "es")
        assert ana.troubles == []


def test_everything_works_without_javascript(site: School) -> None:
    make_enrollment("pending")
    with site.visit(javascript=False) as ana:
        ana.sign_in(EMAIL)
        page = ana.open("/dashboard")
        assert page.locator("noscript meta[http-equiv=refresh]").count() == 1
        page.get_by_role("link", name="Settings").click()
        page.get_by_label("Name").fill("Ana of the North")
        page.get_by_label("Time zone").select_option("Europe/Vienna")
        page.get_by_label("My streak").check()
        page.get_by_role("button", name="Save").dblclick()
        expect(page.get_by_text("Your settings were saved.")).to_be_visible()
        stored = scalar(
            "SELECT name || ' ' || time_zone || ' ' || wants_streak_mail FROM users WHERE id = :i", i=STUDENT
        )
        assert stored == "Ana of the North Europe/Vienna true"
        refuse_a_long_name(page)
        ana.open("/dashboard/xp").get_by_role("button", name="Español").click()
        assert page.url.endswith("/dashboard/xp")
        expect(page.get_by_role("heading", level=1)).to_have_text("Tus XP")


def refuse_a_long_name(page: Page) -> None:
    """Send what the form does not take."""
    page.get_by_label("Name").fill("x" * 201)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("at most 200 characters")


def reached(ana: Visitor) -> set[str]:
    """Return the ids of what the Tab key comes to, once around."""
    found = set()
    for _ in range(20):
        ana.page.keyboard.press("Tab")
        found.add(str(ana.page.evaluate("document.activeElement.id")))
    return found


def complete_a_lesson() -> None:
    """Have Ana complete the first lesson of one of our own courses."""
    with transaction() as session:
        courses.enroll(session, STUDENT, OWN)
    with transaction() as session:
        xp.complete_lesson(session, SQRT, xp.Completion(STUDENT, OWN, demo.lesson_id("OWN-101", 1)))
