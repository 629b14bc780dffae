"""The React example in a real browser, from the sign-in to the seat, against real processes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from db.session import transaction
from domain import demo, partner_health, tokens
from tests.stack import Stack, checkout_event, order, rows, scalar, statuses
from workers.services import kill_group

pytestmark = pytest.mark.e2e

COURSE, LESSONS = next((own.title, own.lessons) for own in demo.OWN_COURSES if own.code == "OWN-101")
EMAIL = "ana@example.com"
STUDENT = demo.fixed_id("student", EMAIL)


@pytest.fixture
def chromium() -> str:
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("chromium is not installed")
    return found


@pytest.fixture
def example(stack: Stack) -> str:
    """The chain as processes, with an API that knows the example's origin and a paused partner; returns its port."""
    with transaction() as session:
        demo.seed(session)
        partner_health.pause(session, "sandbox", by="test", reason="the page shows a pending seat")
    port = str(stack.port("example"))
    stack.env |= {"CORS_ORIGINS": f"http://127.0.0.1:{port}", "LIVE_POLL": "0.2"}
    stack.start_chain()
    return port


@pytest.fixture
def browser(
    react: Path, chromium: str, stack: Stack, example: str, tmp_path: Path
) -> Iterator[subprocess.Popen[str]]:
    """The driver of the browser: it says where it is, and goes on when it is told to."""
    link = tokens.make_dev_link("student", EMAIL, STUDENT).replace("http://testserver", stack.api_url)
    env = {
        "USHER_URL": stack.api_url,
        "EXAMPLE_PORT": example,
        "EXAMPLE_OUT": str(tmp_path / "example"),
        "CHROMIUM": chromium,
        "SIGN_IN_LINK": link,
        "COURSE": COURSE,
        "LESSONS": ",".join(LESSONS),
        "PARTNER_COURSE": "Working Safely",
    }
    with (tmp_path / "browser.log").open("w") as log:
        process = subprocess.Popen(
            ["node", "e2e/browser.mjs"],
            cwd=react,
            env={**os.environ, **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        yield process
        kill_group(process.pid)
        process.communicate()


def pay(stack: Stack) -> None:
    metadata = order(STUDENT, demo.provider_id("sandbox"), demo.course_id("SBX-101"))
    assert stack.post_event(checkout_event(metadata)).status_code == 200


def let_the_partner_go_on() -> None:
    assert statuses() == {"pending": 1}
    with transaction() as session:
        partner_health.resume(session, "sandbox")


def learn_on_another_device(stack: Stack) -> None:
    """Complete the last lesson, and the course with it, without the page."""
    with transaction() as session:
        plain, _ = tokens.mint(session, "student", EMAIL, 1)
    body = {
        "userId": EMAIL,
        "courseId": demo.course_id("OWN-101"),
        "lessonId": demo.lesson_id("OWN-101", 3),
        "xpAmount": 50,
    }
    headers = {"Authorization": f"Bearer {plain}"}
    answer = requests.post(f"{stack.api_url}/api/xp/award", json=body, headers=headers, timeout=10)
    assert answer.json()["totalXp"] == 350


def test_a_student_enrols_learns_and_gets_a_partners_seat(
    browser: subprocess.Popen[str], stack: Stack, tmp_path: Path
) -> None:
    parts: dict[str, Callable[[], object]] = {
        "submitted": lambda: pay(stack),
        "pending": let_the_partner_go_on,
        "active": lambda: learn_on_another_device(stack),
    }
    assert browser.stdin is not None
    assert browser.stdout is not None
    reached = []
    for word in map(str.strip, browser.stdout):
        reached.append(word)
        parts.get(word, lambda: None)()
        print(file=browser.stdin, flush=True)
    told = (tmp_path / "browser.log").read_text()
    expected = ["signed-out", "signed-in", "enrolled", "submitted", "pending", "active", "done"]
    assert reached == expected, told
    assert browser.wait(30) == 0, told

    # A double click, a lost answer and a second try later: everything is there once.
    assert scalar("SELECT count(*) FROM enrollments") == 1
    assert rows(
        "SELECT source_type, amount FROM xp_transactions WHERE user_id = :id ORDER BY seq", id=STUDENT
    ) == [
        ("LESSON", 50),
        ("LESSON", 50),
        ("LESSON", 50),
        ("COURSE", 200),
    ]
    assert statuses() == {"active": 1}
    assert len(stack.sandbox_state()["enrollments"]) == 1
