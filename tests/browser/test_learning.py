"""A student learns in a browser: enrolling, a lesson, a quiz that ends by itself, an assignment; with scripts and without."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
import requests
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from db.session import transaction
from domain import achievement_seeds, demo
from tests.api.conftest import bearer, run
from tests.assignments.test_files import PDF
from tests.browser.conftest import AXE, School, Visitor
from tests.quizzes.conftest import COURSE, SINGLE, pass_time
from tests.stack import Stack, rows, scalar, wait_until

# However slow the machine: nothing here is about how long something takes.
expect.set_options(timeout=30_000)
ANA = "ana@example.com"
LESSON = demo.lesson_id("OWN-101", 1)
SHORT = {"type": "short_text", "question": "Name it", "correctAnswer": ["Recall"], "points": 1}
TEXT = "# Paths\n\nRecall *before* you read again.\n\n### Why\n\n| Way | Gain |\n|:--|--:|\n| recall | 60 |\n"


@pytest.fixture
def course(school: School) -> School:
    """A lesson with a text, and the usual achievements."""
    run(
        "UPDATE lessons SET body = :body, video_url = 'https://example.org/v' WHERE id = :id",
        body=TEXT,
        id=LESSON,
    )
    with transaction() as session:
        achievement_seeds.seed(session)
    return school


@pytest.fixture
def front(stack: Stack, browser: Browser) -> School:
    """The pages alone, where nothing is left to a worker."""
    with transaction() as session:
        demo.seed(session)
    stack.start_api()
    return School(stack, browser)


def ops(school: School, method: str, path: str, body: dict[str, Any], version: int | None = None) -> Any:
    headers = bearer("ops", "staff@example.com") | ({} if version is None else {"If-Match": f'"{version}"'})
    answer = requests.request(
        method, f"{school.address}/api/ops{path}", json=body, headers=headers, timeout=10
    )
    assert answer.ok, answer.text
    return answer.json()


def make_quiz(school: School, **fields: Any) -> str:
    body = {"courseId": COURSE, "title": "Check", "questions": [SINGLE, SHORT], **fields}
    made = ops(school, "POST", "/quizzes", body)["id"]
    ops(school, "POST", f"/quizzes/{made}/publish", {"reason": "ready"})
    return str(made)


def make_assignment(school: School) -> str:
    made = str(uuid.uuid4())
    body = {
        "courseId": COURSE,
        "title": "A plan",
        "isPublished": True,
        "dueDate": "2099-01-01T00:00:00Z",
        "reason": "new",
    }
    ops(school, "PUT", f"/assignments/{made}", body)
    return made


def press(page: Page, name: str) -> None:
    """Click a button twice, as people do."""
    page.get_by_role("button", name=name).first.dblclick(no_wait_after=True)


def enroll_and_learn(visitor: Visitor) -> None:
    page = visitor.open("/courses")
    press(page, "Enrol")
    expect(page.get_by_role("status").filter(has_text="You are enrolled.")).to_be_visible()
    page.get_by_role("link", name="Start").click()
    press(page, "Mark as completed")
    expect(page.get_by_text("+50 XP")).to_be_visible()
    assert rows("SELECT count(*) FROM enrollments") == [(1,)]
    assert rows("SELECT count(*), sum(amount) FROM xp_transactions WHERE source_type = 'LESSON'") == [(1, 50)]


def start(visitor: Visitor, quiz: str) -> str:
    """Begin an attempt; return its path."""
    page = visitor.open(f"/quizzes/{quiz}")
    press(page, "Start an attempt")
    page.wait_for_url(re.compile("/quiz-attempts/"))
    assert rows("SELECT count(*) FROM quiz_attempts WHERE quiz_id = :id", id=quiz) == [(1,)]
    return page.url.removeprefix(visitor.address)


def hand_in(visitor: Visitor, assignment: str) -> str:
    """Save a draft with a file, hand it in; return the submission's id."""
    page = visitor.open(f"/assignments/{assignment}")
    page.get_by_label("Text").fill("My plan")
    page.get_by_label("Add files").set_input_files(
        {"name": "plan.pdf", "mimeType": "application/pdf", "buffer": PDF}
    )
    press(page, "Save as a draft")
    expect(page.get_by_text("Your draft was saved.")).to_be_visible()
    expect(page.get_by_label("plan.pdf")).to_be_checked()
    press(page, "Hand in")
    expect(page.get_by_text("Your work was handed in.")).to_be_visible()
    assert rows("SELECT number, content, cardinality(file_urls) FROM assignment_submission_versions") == [
        (1, "My plan", 1)
    ]
    return str(scalar("SELECT id FROM assignment_submissions"))


def grade(school: School, submission: str) -> None:
    version = scalar("SELECT version FROM assignment_submissions WHERE id = :id", id=submission)
    ops(
        school, "POST", f"/submissions/{submission}/grade", {"score": 90, "feedback": "Well planned"}, version
    )


def see_what_it_gave(visitor: Visitor, assignment: str) -> None:
    """The grade on its page; XP and the achievement on the dashboard, once the worker has seen to them."""
    page = visitor.open(f"/assignments/{assignment}")
    expect(page.get_by_text("Well planned")).to_be_visible()
    expect(page.get_by_text("90 of 100 points")).to_be_visible()
    wait_until(lambda: rows("SELECT 1 FROM jobs WHERE state <> 'done'") == [], 60)
    total = scalar("SELECT total_xp FROM users WHERE email = :email", email=ANA)
    page = visitor.open("/dashboard")
    expect(page.locator("main")).to_contain_text("Achievement: Hands on")
    expect(page.locator("main")).to_contain_text("Assignment passed: A plan")
    expect(page.locator("main")).to_contain_text(re.compile(rf"\b{total}\b"))


def is_saved(attempt: str, text: str) -> bool:
    held = scalar("SELECT answers FROM quiz_attempts WHERE id = :id", id=attempt.rsplit("/", 1)[1])
    return text in held.values()


# It looks at six pages in two schemes and two widths, and waits for beat.
@pytest.mark.timeout(300)
def test_a_course_with_a_quiz_that_ends_while_nobody_looks(course: School) -> None:
    course.stack.start_beat()
    quiz, assignment = make_quiz(course, timeLimit=5), make_assignment(course)
    with course.visit() as ana:
        enroll_and_learn(ana.sign_in(ANA))
        attempt = start(ana, quiz)
        ana.page.get_by_label("A", exact=True).check()
        ana.page.get_by_label("Your answer").fill("recall")
        expect(ana.page.locator("#state")).to_contain_text("Saved at")
        wait_until(lambda: is_saved(attempt, "recall"), 30)
        ana.audit(attempt)
        ana.open("/dashboard")
        pass_time({"id": attempt.rsplit("/", 1)[1]}, 60)
        grade(course, hand_in(ana, assignment))
        wait_until(lambda: rows("SELECT 1 FROM quiz_attempts WHERE state = 'graded'"), 60)
        page = ana.open(attempt)
        expect(page.get_by_text("by itself, when the time was over")).to_be_visible()
        expect(page.get_by_text("+25 XP")).to_be_visible()
        see_what_it_gave(ana, assignment)
        for path in (
            f"/courses/{COURSE}",
            f"/courses/{COURSE}/lessons/{LESSON}",
            f"/quizzes/{quiz}",
            attempt,
            f"/assignments/{assignment}",
        ):
            ana.audit(path)


def test_the_same_way_without_scripts(course: School) -> None:
    quiz, assignment = make_quiz(course), make_assignment(course)
    with course.visit(javascript=False) as ana:
        enroll_and_learn(ana.sign_in(ANA))
        attempt = start(ana, quiz)
        page = ana.page
        page.get_by_label("A", exact=True).check()
        press(page, "Save")
        expect(page.get_by_text("Your answers were saved at")).to_be_visible()
        page.get_by_label("Your answer").fill("recall")
        press(page, "Hand in")
        expect(page.get_by_text("Passed", exact=True)).to_be_visible()
        assert page.url.endswith(attempt)
        assert rows("SELECT state, count(*) FROM quiz_attempts GROUP BY 1") == [("graded", 1)]
        grade(course, hand_in(ana, assignment))
        see_what_it_gave(ana, assignment)


def test_tabs_the_back_button_a_lost_session_and_the_clock(front: School) -> None:
    run(
        "INSERT INTO enrollments (user_id, course_id) SELECT id, :course FROM users WHERE email = :email",
        course=COURSE,
        email=ANA,
    )
    quiz, timed = make_quiz(front), make_quiz(front, timeLimit=6)
    with front.visit() as ana:
        attempt = start(ana.sign_in(ANA), quiz)
        one, two = ana.page, ana.context.new_page()
        two.goto(attempt)
        two.get_by_label("Your answer").fill("from the second tab")
        wait_until(lambda: is_saved(attempt, "from the second tab"), 30)
        one.get_by_label("A", exact=True).check()
        wait_until(lambda: is_saved(attempt, "a"), 30)
        assert is_saved(attempt, "from the second tab")

        kept = ana.context.cookies()
        ana.context.clear_cookies()
        two.get_by_label("Your answer").fill("while signed out")
        expect(two.locator("#state")).to_contain_text("You are signed out.")
        assert is_saved(attempt, "from the second tab")
        ana.context.add_cookies(kept)  # type: ignore[arg-type]
        wait_until(lambda: is_saved(attempt, "while signed out"), 30)

        press(two, "Hand in")
        expect(two.get_by_role("heading", name="Result")).to_be_visible()
        two.go_back()
        expect(two.get_by_role("heading", level=1)).to_be_visible()
        expect(two.get_by_role("button", name="Hand in")).to_have_count(0)
        one.get_by_label("B", exact=True).check()
        expect(one.get_by_role("heading", name="Result")).to_be_visible()
        assert is_saved(attempt, "a")

        late = start(ana, make_quiz(front, timeLimit=5))
        pass_time({"id": late.rsplit("/", 1)[1]}, 60)
        ana.open(late).evaluate(
            "for (let timer = setTimeout(() => {}); timer > 0; timer--) clearTimeout(timer)"
        )
        expect(one.get_by_role("heading", name="Time is over")).to_be_visible()
        assert Axe().run(one, options=AXE).violations_count == 0

        one.clock.install()
        path = start(ana, timed)
        one.get_by_label("Your answer").fill("recall")
        one.clock.run_for(61_000)
        expect(one.locator("#heard")).to_have_text("5 minutes left.")
        one.clock.run_for(240_000)
        expect(one.locator("#heard")).to_have_text("1 minute left.")
        one.clock.run_for(60_000)
        expect(one.get_by_role("heading", name="Result")).to_be_visible()
        assert is_saved(path, "recall")
        assert rows("SELECT state, count(*) FROM quiz_attempts GROUP BY 1 ORDER BY 1") == [
            ("graded", 2),
            ("open", 1),
        ]
        assert ana.troubles == []
