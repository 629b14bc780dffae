"""The console's pages about people and the pages of mails in a browser: the audit, the keyboard, and without JavaScript."""

from __future__ import annotations

import json

import pytest

from db import inbox
from db.session import transaction
from domain import achievement_seeds, courses, demo, mail_consent, staff, xp
from domain.levels import SQRT
from tests.browser.conftest import School
from tests.stack import checkout_event, rows, scalar

STAFF = "ops@example.com"
ANA = demo.fixed_id("student", "ana@example.com")
OWN = demo.course_id("OWN-101")
ARABIC = "عائشة بنت عبد الرحمن بن محمد الأنصاري"
PERSON = f"/ops/students/{ANA}"


def fill() -> dict[str, str]:
    """Give Ana something of everything; return the pages that show it."""
    rows("UPDATE users SET name = :name WHERE id = :id RETURNING 1", name=ARABIC, id=ANA)
    with transaction() as session:
        achievement_seeds.seed(session)
        courses.enroll(session, ANA, OWN)
        lesson = str(scalar("SELECT id FROM lessons WHERE course_id = :c ORDER BY id LIMIT 1", c=OWN))
        xp.complete_lesson(session, SQRT, xp.Completion(ANA, OWN, lesson))
        staff.record(
            session,
            actor=STAFF,
            action="xp.adjust",
            subject=("user", ANA),
            reason="helped",
            detail={"amount": 5},
        )
        body = checkout_event({"studentId": "x" * 60})
        event = inbox.store(session, source="stripe", external_id=json.loads(body)["id"], type="checkout.session.completed", payload=body, kind=None, queue="payments")  # fmt: skip
    seat = scalar(
        "INSERT INTO partner_lms_enrollments (provider_id, student_id, course_id, status, progress_percentage,"
        " external_account_id, external_enrollment_id) VALUES (:p, :u, :c, 'active', 42.5, :long, :long) RETURNING id",
        p=demo.provider_id("sandbox"),
        u=ANA,
        c=demo.course_id("SBX-101"),
        long="account-" + "0123456789" * 5,
    )
    certificate = scalar(
        "INSERT INTO certificates (user_id, course_id, certificate_url, verification_code, name, course_title)"
        " VALUES (:u, :c, '/verify/AB', 'AB', 'Ana Silva', 'Learning to Learn') RETURNING id",
        u=ANA,
        c=OWN,
    )
    rows(
        "UPDATE inbox_events SET state = 'waiting', reason = 'metadata.studentId is not a uuid: expected the uuid of a"
        " row in users' WHERE id = :id RETURNING 1",
        id=event,
    )
    rows(
        "INSERT INTO jobs (kind, business_key, queue, subject_id, state) VALUES ('mail.notice', :k, 'mail', :u, 'done')"
        " RETURNING 1",
        k=f"streak:{ANA}:2026-11-20",
        u=ANA,
    )
    assignment = scalar(
        "INSERT INTO assignments (course_id, title, description, is_published) VALUES (:c, 'Essay', 'Write', true)"
        " RETURNING id",
        c=OWN,
    )
    work = scalar(
        "INSERT INTO assignment_submissions (user_id, assignment_id, state, number, content, submitted_at, late)"
        " VALUES (:u, :a, 'submitted', 1, :text, now(), true) RETURNING id",
        u=ANA,
        a=assignment,
        text="What I learned.\n" * 8,
    )
    item = scalar(
        "INSERT INTO manual_work_items (enrollment_id, generation, provider_id, course_id, kind, cause, usual_hours)"
        " SELECT id, 1, provider_id, course_id, 'set_up', 'by_hand', 48 FROM partner_lms_enrollments WHERE id = :e RETURNING id",
        e=seat,
    )
    entry = scalar("SELECT id FROM xp_transactions WHERE source_type = 'LESSON'")
    return {
        "search": "/ops/students?q=ana@",
        "nobody": "/ops/students?q=nobody@",
        "student": PERSON,
        "xp": f"{PERSON}/xp",
        "reversal": f"{PERSON}/xp/{entry}/reverse",
        "waiting": "/ops/waiting",
        "event": f"/ops/waiting/{event}",
        "grading": "/ops/grading",
        "work": f"/ops/grading/submissions/{work}",
        "manual": "/ops/manual",
        "item": f"/ops/manual/items/{item}",
        "files": "/ops/manual/files",
        "pools": "/ops/manual/pools",
        "pool": f"/ops/manual/pools/{demo.course_id('SBX-101')}",
        "audit": "/ops/audit",
        "certificate": str(certificate),
    }


@pytest.mark.full
def test_every_page_about_people_stands_the_audit(school: School) -> None:
    pages = fill()
    pages.pop("certificate")
    with school.visit() as visitor:
        visitor.sign_in(STAFF, "ops")
        for path in pages.values():
            visitor.audit(path)


@pytest.mark.full
def test_the_pages_of_mails_stand_the_audit_and_end_mails(school: School) -> None:
    link = f"/mail/unsubscribe/{mail_consent.make_token(ANA, 'progress')}"
    with school.visit() as visitor:
        for path in (
            link,
            f"{link}?done",
            "/dev/mails",
            *(f"/dev/mails/{kind}/es" for kind in ("completed", "streak")),
        ):
            visitor.audit(path)
    with school.visit(javascript=False) as visitor:
        page = visitor.open(link)
        page.get_by_role("button", name="End these mails").click()
        assert page.get_by_role("heading", name="These mails have ended").is_visible()
    assert scalar("SELECT wants_progress_mail FROM users WHERE id = :id", id=ANA) is False


def test_actions_work_without_javascript_and_say_what_is_wrong(school: School) -> None:
    pages = fill()
    with school.visit(javascript=False) as visitor:
        page = visitor.sign_in(STAFF, "ops").open(pages["xp"])
        page.get_by_text("Adjust by hand").click()
        page.get_by_label("XP", exact=True).fill("25")
        page.get_by_label("Reason").fill(" ")
        page.get_by_role("button", name="Adjust").click()
        alert = page.get_by_role("alert")
        assert "Say why" in alert.inner_text()
        assert page.evaluate("document.activeElement.getAttribute('role')") == "alert", (
            "the summary has the focus"
        )
        assert page.get_by_label("XP", exact=True).input_value() == "25"
        page.get_by_label("Reason").fill("helped others")
        page.get_by_role("button", name="Adjust").click()
        assert "The adjustment is in the ledger." in page.get_by_role("status").all_inner_texts()[0]
        page = visitor.open(pages["work"])
        page.get_by_label("Points").fill("90")
        page.keyboard.press("Tab")
        page.keyboard.type("Well done")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.get_by_text("The grade is saved. Nothing else waits.").wait_for()
    assert rows("SELECT score, feedback FROM assignment_submissions") == [(90, "Well done")]
    assert (
        scalar("SELECT count(*) FROM staff_actions WHERE action = 'xp.adjust' AND reason = 'helped others'")
        == 1
    )
