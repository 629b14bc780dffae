"""The console in a real browser: a failing partner from the overview to all active, and what every page has to stand."""

from __future__ import annotations

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from db.session import transaction
from domain import demo, ops_failures, partner_health, replays
from tests.api.conftest import run
from tests.api.test_pages_ops import add_event, fail_seat
from tests.browser.conftest import School, Visitor, visiting
from tests.stack import Stack, checkout_event, make_course, make_students, order, rows

pytestmark = pytest.mark.e2e

COUNT = 6
ACTOR = "ops@example.com"


def fail_all(stack: Stack, count: int = COUNT) -> None:
    """Let the partner refuse so many paid students."""
    provider, course = make_course()
    stack.fault(call="POST /enrollments", status=422, message="course is full", times=1000)
    for student in make_students(count):
        assert stack.post_event(checkout_event(order(student, provider, course))).status_code == 200
    stack.wait_for_statuses({"failed": count})


def test_a_failing_partner_from_the_overview_to_all_active(school: School) -> None:
    fail_all(school.stack)
    [(seat,)] = rows("SELECT id FROM partner_lms_enrollments LIMIT 1")
    [(told,)] = rows("SELECT id FROM inbox_events LIMIT 1")
    with school.visit(javascript=False) as plain:
        plain.sign_in(ACTOR, "ops")
        find_cause(plain.page, COUNT)
        # The server says what is missing, and keeps what was typed.
        send_replay(plain.page, "room", rate="none")
        expect(plain.page.get_by_role("alert")).to_contain_text("whole number")
        expect(plain.page.get_by_label("Reason")).to_have_value("room")
        assert requests.delete(f"{school.stack.sandbox_url}/_faults", timeout=10).ok
        try_others(plain, seat, told)
    school.stack.wait_for_statuses({"active": 1, "failed": COUNT - 1})
    with school.visit() as staff:
        staff.sign_in(ACTOR, "ops")
        page = staff.page
        find_cause(page, COUNT - 1)
        assert rows("SELECT 1 FROM replay_batches") == []
        send_replay(page, "they added seats")
        expect(page.locator(".notice")).to_contain_text("The replay has begun")
        school.stack.wait_for_statuses({"active": COUNT})
        # The page follows by itself.
        expect(page.locator("#replay")).to_contain_text("All asked for", timeout=30_000)
        expect(page.locator("#through-l + span")).to_have_text(f"{COUNT - 1} of {COUNT - 1}", timeout=30_000)
        staff.open("/ops")
        expect(page.get_by_text("0 on the way, 0 failed")).to_be_visible()
        assert staff.troubles == []
    found = rows(
        "SELECT action, reason FROM staff_actions WHERE actor = :actor AND action <> 'privacy.look_up' ORDER BY created_at",
        actor=ACTOR,
    )
    assert found == [
        ("failures.retry", "the partner has room"),
        ("events.replay", "again"),
        ("partner.check", "does it answer"),
        ("partner.pause", "they work on it"),
        ("partner.resume", "they are done"),
        ("failures.replay", "they added seats"),
    ]


@pytest.mark.full
@pytest.mark.parametrize("single", [False, True], ids=["lists", "single"])
def test_every_page_with_rows_stands_the_audit(stack: Stack, browser: Browser, single: bool) -> None:
    with transaction() as session:
        demo.seed(session)
    seats = [fail_seat(course) for course in ("SBX-101", "SBX-201")]
    event_id = add_event(
        {"data": {"object": {"id": "cs_1", "customer_email": "ana@example.com"}}}, state="waiting"
    )
    run(
        "INSERT INTO partner_calls (partner, method, path_template, status, outcome, duration_ms, attempt, subject_id)"
        " VALUES ('sandbox', 'POST', '/enrollments', 422, 'refused', 12, 1, :id)",
        id=seats[0],
    )
    run(
        "INSERT INTO jobs (kind, business_key, queue, subject_id, state, last_error)"
        " VALUES ('mail.send', 'a', 'mail', gen_random_uuid(), 'parked', 'ZeroDivisionError')"
    )
    with transaction() as session:
        cause = ops_failures.list_groups(session, count=None, last=None, limit=1)[0]["fingerprint"]
        planned = replays.plan(session, cause, ["sandbox"])
        batch = replays.start(session, planned, actor=ACTOR, reason="room", rate_per_minute=60)
        partner_health.pause(session, "sandbox", by=ACTOR, reason="they move house")
    stack.start_api()
    with visiting(browser, stack.api_url) as staff:
        staff.sign_in(ACTOR, "ops")
        lists = (
            "",
            "/inbox",
            "/failures",
            "/failures/jobs",
            "/failures/replays",
            "/enrollments",
            "/partners",
        )
        singles = (
            f"/inbox/{event_id}",
            f"/failures/{cause}",
            f"/failures/{cause}/replay",
            f"/failures/replays/{batch}",
            f"/enrollments/{seats[0]}",
            "/partners/sandbox",
        )
        for path in singles if single else lists:
            staff.audit(f"/ops{path}")


def find_cause(page: Page, count: int) -> None:
    """Go from the overview to the dry run, as a person who sees that somebody waits."""
    page.goto("/ops")
    expect(page.get_by_text(f"0 on the way, {count} failed")).to_be_visible()
    page.get_by_role("link", name="Failures", exact=True).click()
    expect(page.get_by_role("cell", name=str(count), exact=True)).to_be_visible()
    expect(page.get_by_text("full course")).to_be_visible()
    page.get_by_role("link", name="Dry run").click()
    expect(page.get_by_role("button", name=f"Replay {count} enrolments")).to_be_visible()


def send_replay(page: Page, reason: str, rate: str = "6000") -> None:
    page.get_by_label("Reason").fill(reason)
    page.get_by_label("Enrolments per minute").fill(rate)
    page.get_by_role("button", name="Replay").click()


def try_others(staff: Visitor, seat: str, told: str) -> None:
    """The other actions, without any script and with the keyboard: one enrolment, an event, a partner."""
    staff.open(f"/ops/enrollments/{seat}")
    act(staff, "replay", "the partner has room", "on its way again")
    staff.open(f"/ops/inbox/{told}")
    act(staff, "replay", "again", "will be looked at again")
    staff.open("/ops/partners/sandbox")
    act(staff, "check", "does it answer", "was called")
    act(staff, "pause", "they work on it", "is paused")
    act(staff, "resume", "they are done", "goes on")
    expect(staff.page.locator("main")).to_contain_text("answers")


def act(staff: Visitor, name: str, reason: str, said: str) -> None:
    """Open an action, say why, send it; the next page says what was done."""
    page = staff.page
    page.locator(f"details:has(#{name}-reason) > summary").press("Enter")
    page.locator(f"#{name}-reason").fill(reason)
    page.locator(f"#{name}-reason").press("Enter")
    expect(page.locator(".notice.good")).to_contain_text(said)
