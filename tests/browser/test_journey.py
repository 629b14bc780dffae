"""A student's whole way in one browser: paid, launched, completed, certified; and the mails that went with it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import requests
from playwright.sync_api import expect

from domain import demo
from tests.api.conftest import STUDENT
from tests.browser.conftest import School
from tests.stack import ROOT, Stack, checkout_event, order, scalar, wait_until

pytestmark = pytest.mark.e2e

EMAIL = "ana@example.com"
BOUGHT = order(STUDENT, demo.provider_id("sandbox"), demo.course_id("SBX-101"))
# Milliseconds that the whole chain may take on a machine that has other work.
PATIENCE = 60_000


def sync(stack: Stack) -> None:
    """Ask for a sync now, as staff do."""
    command = [sys.executable, "-m", "cli.main", "sync", "run"]
    subprocess.run(command, cwd=ROOT, env=stack.env, check=True, capture_output=True)


def test_from_the_payment_to_the_certificate(school: School) -> None:
    stack = school.stack
    with school.visit() as ana:
        ana.sign_in(EMAIL)
        page = ana.open("/dashboard")
        assert stack.post_event(checkout_event(BOUGHT)).status_code == 200
        start = page.get_by_role("link", name="Start the course")
        expect(start).to_be_visible(timeout=PATIENCE)
        assert ana.troubles == []

        start.click()
        page.wait_for_url(f"{stack.sandbox_url}/**")
        expect(page.locator("body")).to_contain_text("Ana Silva")
        ana.open("/dashboard")
        ana.troubles.clear()  # The partner's page was somebody else's, as it should be.

        [seat] = stack.sandbox_state()["enrollments"]
        moved = {"enrollment_id": seat["id"], "percentage": 60}
        assert requests.post(f"{stack.sandbox_url}/_progress", json=moved, timeout=10).ok
        sync(stack)
        wait_until(lambda: scalar("SELECT progress_percentage FROM partner_lms_enrollments") == 60, 60)
        expect(ana.open("/dashboard").get_by_text("60 %").first).to_be_visible()

        assert requests.post(
            f"{stack.sandbox_url}/_progress", json={**moved, "percentage": 100}, timeout=10
        ).ok
        sync(stack)
        stack.wait_for_statuses({"completed": 1})
        wait_until(lambda: scalar("SELECT count(*) FROM partner_certificates") == 1, 60)
        number = scalar("SELECT certificate_number FROM partner_certificates")
        page = ana.open("/dashboard")
        expect(page.get_by_role("link", name=number)).to_be_visible()
        expect(page.get_by_text("Completed").first).to_be_visible()
        assert ana.troubles == []
    wait_until(lambda: len(stack.mails()) >= 2, 60, lambda: f"{len(stack.mails())} mails")
    assert scalar("SELECT count(*) FROM xp_transactions WHERE kind = 'award' AND amount > 0") >= 1
