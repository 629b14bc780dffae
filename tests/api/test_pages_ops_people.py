"""The console's pages about people: what they show, what each action does, what it leaves in the audit, what it costs."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api.auth import access_of
from db import inbox
from db.session import transaction
from domain import achievement_seeds, achievements, courses, demo, grading_queue, xp
from domain.levels import SQRT
from tests.api.conftest import HTML, OTHER, STUDENT, bearer, count, make_enrollment, run
from tests.api.staff_pages import STAFF, get, post
from tests.api.test_student import counted_queries
from tests.assignments.test_assignments import put, submit
from tests.quizzes.conftest import ESSAY, SINGLE, Staff, Student
from tests.stack import checkout_event, rows, scalar

OWN = demo.course_id("OWN-101")
PERSON = f"/ops/students/{STUDENT}"
MINE = (
    "ops_students",
    "ops_xp_pages",
    "ops_waiting",
    "ops_grading",
    "ops_manual_pages",
    "ops_audit",
)


def actions(*columns: str) -> list[Any]:
    """Return what the audit has beside looks at people, oldest first."""
    names = ", ".join(columns or ("actor", "action", "reason"))
    return rows(
        f"SELECT {names} FROM staff_actions WHERE action <> 'privacy.look_up' ORDER BY created_at, id"
    )


def learn() -> None:
    """Have Ana complete a lesson of a course of ours."""
    with transaction() as session:
        courses.enroll(session, STUDENT, OWN)
        lesson = str(scalar("SELECT id FROM lessons WHERE course_id = :c ORDER BY id LIMIT 1", c=OWN))
        xp.complete_lesson(session, SQRT, xp.Completion(STUDENT, OWN, lesson))


def certify() -> str:
    """Give Ana a certificate of a course of ours."""
    return str(
        scalar(
            "INSERT INTO certificates (user_id, course_id, certificate_url, verification_code, name, course_title)"
            " VALUES (:u, :c, '/verify/ABCD', 'ABCD', 'Ana Silva', 'Learning to Learn') RETURNING id",
            u=STUDENT,
            c=OWN,
        )
    )


def wait_for(metadata: dict[str, str] | None) -> str:
    """Store a paid checkout that could not be placed; return the event's id."""
    body = checkout_event(metadata)
    with transaction() as session:
        made = inbox.store(
            session,
            source="stripe",
            external_id=json.loads(body)["id"],
            type="checkout.session.completed",
            payload=body,
            kind="payments.process",
            queue="payments",
        )
    run(
        "UPDATE inbox_events SET state = 'waiting', reason = 'metadata.studentId is missing' WHERE id = :id",
        id=made,
    )
    return str(made)


# -- finding people


@pytest.mark.parametrize(
    "wanted", ["ana@", "ANA@example.com", "cs_known", "pi_known", "cus_known", "account-9", "seat-9", "id"]
)
def test_a_student_is_found_by_what_people_have_in_hand(client: FlaskClient, wanted: str) -> None:
    seat = make_enrollment(external_account_id="account-9", external_enrollment_id="seat-9")
    event = wait_for(None)
    run(
        "UPDATE inbox_events SET payload = convert_to('{\"customer\": \"cus_known\"}', 'UTF8') WHERE id = :id",
        id=event,
    )
    payment = scalar(
        "INSERT INTO payments (checkout_session_id, payment_intent_id, state, event_id)"
        " VALUES ('cs_known', 'pi_known', 'paid', :event) RETURNING id",
        event=event,
    )
    run("INSERT INTO payment_lines (payment_id, enrollment_id) VALUES (:p, :e)", p=payment, e=seat)
    page = get(client, f"/ops/students?q={seat if wanted == 'id' else wanted}")
    assert re.findall(r'href="/ops/students/([0-9a-f-]{36})"', page) == [STUDENT]
    looked = rows("SELECT actor, subject_id FROM staff_actions WHERE action = 'privacy.look_up'")
    assert looked == [(STAFF, STUDENT)]
    assert "ana@" not in str(rows("SELECT * FROM staff_actions")), "what was typed is not kept"


def test_a_search_is_paged_by_address_and_says_when_nobody_fits(client: FlaskClient) -> None:
    run(
        "INSERT INTO users (email) SELECT 'zoe-' || lpad(n::text, 2, '0') || '@example.com' FROM generate_series(1, 60) n"
    )
    seen: list[str] = []
    path = "/ops/students?q=ZOE-"
    while path:
        page = get(client, path)
        seen += re.findall(r"zoe-\d\d(?=@example.com</td>)", page)
        older = re.search(r'href="(/ops/students\?q=[^"]+cursor=[^"]+)"', page)
        path = older.group(1) if older else ""
    assert seen == [f"zoe-{n:02}" for n in range(1, 61)]
    assert "Nobody found" in get(client, "/ops/students?q=nobody@")
    assert "Nobody found" in get(client, "/ops/students?q=zoe_")
    assert "Who is it about?" in get(client, "/ops/students?q=z")
    get(client, "/ops/students?q=zoe&cursor=%00", 400)


# -- one student


def test_a_student_is_shown_with_everything_and_the_look_is_written_down(client: FlaskClient) -> None:
    make_enrollment("completed", external_enrollment_id="seat-9", progress_percentage=100)
    learn()
    certify()
    run("INSERT INTO jobs (kind, business_key, queue, subject_id, state) VALUES ('mail.notice', :k, 'mail', :u, 'done')", k=f"streak:{STUDENT}:2026-11-20", u=STUDENT)  # fmt: skip
    page = get(client, PERSON)
    for words in ("ana@example.com", "seat-9", "Learning to Learn", "Streak at risk", "Not needed", "3 of 3"):
        assert words in page
    looked = rows("SELECT actor, subject_id FROM staff_actions WHERE action = 'privacy.look_up'")
    assert looked == [(STAFF, STUDENT)]
    get(client, f"/ops/students/{uuid.uuid4()}", 404)
    get(client, "/ops/students/not-an-id", 404)


def test_a_freeze_rest_days_and_more_time_are_given_with_a_reason(client: FlaskClient) -> None:
    assert "freezes" in html.unescape(
        post(client, f"{PERSON}/freeze", 409, reason="ill").get_data(as_text=True)
    )
    run("INSERT INTO user_activity_days (user_id, local_date, time_zone, active_at) SELECT :u, current_date - n, 'UTC', now() - n * interval '1 day' FROM unnest(ARRAY[3, 5]) n", u=STUDENT)  # fmt: skip
    assert post(client, f"{PERSON}/freeze", reason="ill").location == f"{PERSON}?done=freeze"
    first = (datetime.now(UTC) + timedelta(days=2)).date().isoformat()
    rest = {"weekday": "0", "first_date": first, "last_date": first, "reason": "surgery"}
    page = post(client, f"{PERSON}/rest", 422, **{**rest, "first_date": ""}).get_data(as_text=True)
    assert 'id="rest-first_date"' in page
    assert 'aria-describedby="rest-first_date-mistake"' in page
    assert 'value="surgery"' in page, "what was typed stays"
    post(client, f"{PERSON}/rest", **rest)
    which = scalar("SELECT id FROM streak_rest_days")
    post(client, f"{PERSON}/rest/{which}/end", reason="well again")
    assert count("streak_rest_days") == 0
    post(client, f"{PERSON}/accommodation", 422, quiz="x", time="50", attempts="0", reason="dyslexia")
    post(client, f"{PERSON}/accommodation", time="150", attempts="1", reason="dyslexia")
    assert rows("SELECT time_factor, extra_attempts FROM quiz_accommodations") == [(15000, 1)]
    assert actions() == [
        (STAFF, "streak.freeze", "ill"),
        (STAFF, "streak.rest", "surgery"),
        (STAFF, "streak.rest_end", "well again"),
        (STAFF, "quiz.accommodate", "dyslexia"),
    ]


def test_nobody_elses_rest_days_or_certificates_are_changed_from_a_page(client: FlaskClient) -> None:
    run("INSERT INTO streak_rest_days (first_date, last_date) VALUES (current_date + 2, current_date + 3)")
    theirs, certificate = scalar("SELECT id FROM streak_rest_days"), certify()
    post(client, f"{PERSON}/rest/{theirs}/end", 404, reason="x")
    post(client, f"/ops/students/{OTHER}/certificates/{certificate}/revoke", 404, reason="x")
    assert (count("streak_rest_days"), scalar("SELECT status FROM certificates"), actions()) == (
        1,
        "valid",
        [],
    )


def test_a_certificate_is_replaced_then_revoked(client: FlaskClient) -> None:
    first = certify()
    run("UPDATE users SET name = 'Ana Silva Reis' WHERE id = :id", id=STUDENT)
    assert "Say why" in post(client, f"{PERSON}/certificates/{first}/reissue", 422, reason=" ").get_data(
        as_text=True
    )
    post(client, f"{PERSON}/certificates/{first}/reissue", reason="new name")
    second = scalar("SELECT id FROM certificates WHERE status = 'valid'")
    post(client, f"{PERSON}/certificates/{second}/revoke", reason="cheated")
    post(client, f"{PERSON}/certificates/{second}/revoke", 409, reason="again")
    assert rows("SELECT name, status FROM certificates ORDER BY issued_at, status DESC") == [
        ("Ana Silva", "superseded"),
        ("Ana Silva Reis", "revoked"),
    ]
    assert actions() == [
        (STAFF, "certificate.reissue", "new name"),
        (STAFF, "certificate.revoke", "cheated"),
    ]


# -- XP


def test_an_adjustment_is_made_once_for_each_form(client: FlaskClient) -> None:
    key = str(uuid.uuid4())
    for _again in range(2):
        post(client, f"{PERSON}/xp/adjust", key=key, amount="150", reason="helped others")
    assert scalar("SELECT total_xp FROM users WHERE id = :id", id=STUDENT) == 150
    page = post(client, f"{PERSON}/xp/adjust", 409, amount="-200", reason="too much").get_data(as_text=True)
    assert "below 0" in page
    assert 'value="-200"' in page
    for wrong in ("0", "ten", "1.5", "99999999"):
        post(client, f"{PERSON}/xp/adjust", 422, amount=wrong, reason="x")
    assert actions() == [(STAFF, "xp.adjust", "helped others")]
    assert "Adjusted by our staff" in get(client, f"{PERSON}/xp")


def test_a_reversal_is_previewed_and_then_does_just_that(client: FlaskClient) -> None:
    with transaction() as session:
        achievement_seeds.seed(session)
    learn()
    with transaction() as session:
        achievements.settle(session, SQRT, STUDENT, xp_per_day=0)
    entry = scalar("SELECT id FROM xp_transactions WHERE source_type = 'LESSON'")
    before = rows("SELECT total_xp, level FROM users WHERE id = :id", id=STUDENT)
    percentage = scalar("SELECT completion_percentage FROM enrollments")
    kept = {
        table: count(table) for table in ("xp_transactions", "user_achievements", "jobs", "lesson_progress")
    }
    page = get(client, f"{PERSON}/xp/{entry}/reverse")
    assert kept == {table: count(table) for table in kept}, "looking changes nothing"
    assert rows("SELECT total_xp, level FROM users WHERE id = :id", id=STUDENT) == before
    told = re.findall(r'<td class="number"><strong>([^<]+)</strong>', page)
    lost = re.findall(r"<li>([^<]+)</li>", page.partition("Achievements taken back")[2].partition("</ul>")[0])
    held = {
        row[0]
        for row in rows(
            "SELECT a.name FROM user_achievements u JOIN achievements a ON a.id = u.achievement_id"
        )
    }
    post(client, f"{PERSON}/xp/{entry}/reverse", 422, reason="")
    post(client, f"{PERSON}/xp/{entry}/reverse", reason="copied")
    with transaction() as session:
        achievements.settle(session, SQRT, STUDENT, xp_per_day=0)
    total, level = rows("SELECT total_xp, level FROM users WHERE id = :id", id=STUDENT)[0]
    after = scalar("SELECT completion_percentage FROM enrollments")
    assert percentage > after == 0
    assert told == [str(total), str(level), f"{after}%"]
    left = {
        row[0]
        for row in rows(
            "SELECT a.name FROM user_achievements u JOIN achievements a ON a.id = u.achievement_id"
        )
    }
    assert set(lost) == held - left
    assert actions() == [(STAFF, "xp.reverse", "copied")]
    assert "taken back before" in get(client, f"{PERSON}/xp/{entry}/reverse")
    post(client, f"{PERSON}/xp/{entry}/reverse", 409, reason="again")
    get(client, f"/ops/students/{OTHER}/xp/{entry}/reverse", 404)


# -- waiting events


def test_a_waiting_event_is_completed_by_names_that_people_know(client: FlaskClient) -> None:
    event = wait_for({"note": "by hand"})
    assert "metadata.studentId is missing" in get(client, "/ops/waiting")
    page = get(client, f"/ops/waiting/{event}")
    assert "payer@example.com" in page
    assert "$199.00" in page
    given = {"student": "ana@example.com", "partner": demo.provider_id("sandbox"), "course": "SBX-101"}
    for name, wrong in (
        ("student", "nobody@example.com"),
        ("partner", str(uuid.uuid4())),
        ("course", "NONE-1"),
    ):
        answer = post(client, f"/ops/waiting/{event}/complete", 409, **{**given, name: wrong}, reason="asked")
        assert f'aria-describedby="complete-{name}' in answer.get_data(as_text=True)
    assert scalar("SELECT state FROM inbox_events WHERE id = :id", id=event) == "waiting"
    done = post(client, f"/ops/waiting/{event}/complete", **given, reason="asked the payer")
    assert done.location == "/ops/waiting?done=completed"
    [(state, completion, by)] = rows(
        "SELECT state, completion, completed_by FROM inbox_events WHERE id = :id", id=event
    )
    assert (state, by) == ("received", STAFF)
    assert completion == {
        "studentId": STUDENT,
        "partnerId": demo.provider_id("sandbox"),
        "courseId": demo.course_id("SBX-101"),
    }
    post(client, f"/ops/waiting/{event}/complete", 409, **given, reason="again")
    assert actions() == [(STAFF, "event.complete", "asked the payer")]


def test_a_waiting_event_is_dismissed_with_its_failure(client: FlaskClient) -> None:
    event = wait_for(None)
    run(
        "INSERT INTO partner_lms_enrollment_failures (event_id, error_message, final) VALUES (:e, 'no student', true)",
        e=event,
    )
    post(client, f"/ops/waiting/{event}/dismiss", 422, reason="")
    post(client, f"/ops/waiting/{event}/dismiss", reason="a test of Stripe's")
    assert scalar("SELECT state FROM inbox_events WHERE id = :id", id=event) == "ignored"
    assert scalar("SELECT count(*) FROM partner_lms_enrollment_failures WHERE resolved_at IS NULL") == 0
    assert "Nothing waits" in get(client, "/ops/waiting")
    post(client, f"/ops/waiting/{event}/dismiss", 409, reason="again")
    assert actions() == [(STAFF, "event.dismiss", "a test of Stripe's")]


# -- grading


def test_work_and_essays_are_graded_in_the_order_in_which_they_came(client: FlaskClient) -> None:
    staff, ana = Staff(client, bearer("ops", "maker@example.com")), Student(client, bearer())
    with transaction() as session:
        courses.enroll(session, STUDENT, OWN)
    assert put(client).status_code == 201
    quiz = staff.make(SINGLE, ESSAY)
    attempt = ana.take(quiz, "a", "Because of <b>it</b>")
    submission = submit(client, "My <i>work</i>").get_json()
    run("UPDATE assignment_submissions SET submitted_at = now() - interval '2 days'")
    run("UPDATE quiz_attempts SET submitted_at = now() - interval '1 day'")
    page = get(client, "/ops/grading")
    first, second = f"/ops/grading/submissions/{submission['id']}", f"/ops/grading/essays/{attempt['id']}"
    assert page.index(f'href="{first}">') < page.index(f'href="{second}">')
    raw = client.get(first, headers={**bearer("ops", STAFF), **HTML}).get_data(as_text=True)
    assert "My &lt;i&gt;work&lt;/i&gt;" in raw
    version = re.search(r'name="version" value="(\d+)"', raw).group(1)  # type: ignore[union-attr]
    for wrong in ("81", "-1", "1.234", "NaN", "many"):
        post(client, first, 409 if wrong == "81" else 422, version=version, score=wrong, feedback="")
    stale = post(client, first, 409, version="0", score="60", feedback="kept words").get_data(as_text=True)
    assert "Somebody changed this" in stale
    assert "kept words" in stale
    done = post(client, first, version=version, score="60,5", feedback="Well done")
    assert done.location == f"{second}?done=graded"
    raw = client.get(second, headers={**bearer("ops", STAFF), **HTML}).get_data(as_text=True)
    assert "Because of &lt;b&gt;it&lt;/b&gt;" in raw
    essay = re.search(r'name="earned-([0-9a-f-]+)"', raw).group(1)  # type: ignore[union-attr]
    version = re.search(r'name="version" value="(\d+)"', raw).group(1)  # type: ignore[union-attr]
    fields = {"version": version, f"earned-{essay}": "3", f"feedback-{essay}": "Good"}
    post(client, second, 422, **{**fields, f"earned-{essay}": "5"})
    done = post(client, second, **fields)
    assert done.location == "/ops/grading?done=graded-last"
    assert "Nothing waits for a grade" in get(client, "/ops/grading")
    assert rows("SELECT score, feedback, graded_by FROM assignment_submissions") == [
        (60.5, "Well done", STAFF)
    ]
    assert rows("SELECT state, earned, passed FROM quiz_attempts") == [("graded", 4, True)]
    assert [row for row in actions("action", "actor") if row[1] == STAFF] == [
        ("submission.grade", STAFF),
        ("quiz.grade", STAFF),
    ]
    again = {
        "version": str(scalar("SELECT version FROM assignment_submissions")),
        "score": "10",
        "feedback": "",
    }
    assert "Say why" in html.unescape(post(client, first, 409, **again).get_data(as_text=True))
    post(client, first, **again, reason="copied")


def test_nobody_grades_their_own_work_here(client: FlaskClient) -> None:
    with transaction() as session:
        courses.enroll(session, STUDENT, OWN)
    assert put(client).status_code == 201
    submission = submit(client).get_json()
    answer = client.post(
        f"/ops/grading/submissions/{submission['id']}",
        data={"version": submission["version"], "score": "80", "feedback": ""},
        headers={**bearer("ops", "ana@example.com"), **HTML},
    )
    assert answer.status_code == 409
    assert "your own work" in answer.get_data(as_text=True)


def test_the_queue_is_paged_by_keyset_over_both_kinds(client: FlaskClient) -> None:
    with transaction() as session:
        courses.enroll(session, STUDENT, OWN)
    assert put(client).status_code == 201
    submit(client)
    for number in range(4):
        quiz = Staff(client, bearer("ops", "maker@example.com")).make(ESSAY, title=f"Quiz {number}")
        Student(client, bearer()).take(quiz, "words")
    seen: list[str] = []
    cursor = None
    with transaction() as session:
        while page := grading_queue.queue(session, limit=2, cursor=cursor):
            seen += [item.id for item in page]
            cursor = page[-1].cursor
    assert len(seen) == len(set(seen)) == 5


# -- the audit


def test_the_audit_is_filtered_paged_and_exported(client: FlaskClient) -> None:
    run(
        "INSERT INTO staff_actions (actor, action, subject_type, subject_id, reason, created_at)"
        " SELECT 'bo@example.com', 'xp.adjust', 'user', 'u-' || n, '=cmd()', now() - n * interval '1 hour'"
        " FROM generate_series(1, 120) n"
    )
    run(
        "INSERT INTO staff_actions (actor, action, subject_type, subject_id) VALUES ('cy@example.com', 'lti.link', 'tool', 't')"
    )
    seen: list[str] = []
    path = "/ops/audit?actor=BO@example.com"
    while path:
        page = get(client, path)
        seen += re.findall(r'<a href="/ops/students\?q=(u-\d+)">', page)
        older = re.search(r'href="(/ops/audit\?[^"]*cursor=[^"]+)"', page)
        path = older.group(1) if older else ""
    assert seen == [f"u-{n}" for n in range(1, 121)]
    assert "lti.link" in get(client, "/ops/audit?action=lti")
    assert "No action fits" in get(client, "/ops/audit?subject=nobody")
    assert "No action fits" in get(client, "/ops/audit?until=2020-01-01")
    today = datetime.now(UTC).date()
    assert "u-1<" in get(client, f"/ops/audit?since={today - timedelta(days=1)}&until={today}")
    get(client, "/ops/audit?since=yesterday", 422)
    answer = client.get("/ops/audit.csv?actor=bo@example.com", headers=bearer("ops", STAFF))
    lines = list(csv.DictReader(io.StringIO(answer.get_data(as_text=True))))
    assert [line["subject_id"] for line in lines] == [f"u-{n}" for n in range(1, 121)]
    assert {line["reason"] for line in lines} == {"'=cmd()"}, "no spreadsheet computes it"
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="audit-')
    assert [row for row in actions("action", "actor", "detail") if row[1] == STAFF] == [
        ("audit.export", STAFF, {"actor": "bo@example.com"})
    ]


# -- who may, and what it costs


def test_students_get_403_and_strangers_401_on_every_page_and_action(app: Flask) -> None:
    client, found = app.test_client(), 0
    student = bearer()
    for rule in app.url_map.iter_rules():
        if rule.endpoint.partition(".")[0] not in MINE:
            continue
        access = access_of(app.view_functions[rule.endpoint])
        assert access is not None
        assert access.roles == {"ops"}, rule.rule
        path = "".join(str(uuid.uuid4()) if dynamic else part for dynamic, part in rule._trace).removeprefix(
            "|"
        )
        method = "POST" if "POST" in (rule.methods or set()) else "GET"
        assert client.open(path, method=method, headers=student).status_code == 403, rule.rule
        assert client.open(path, method=method).status_code == 401, rule.rule
        found += 1
    assert found >= 30
    assert actions() == []


def test_each_page_costs_the_same_however_much_there_is(client: FlaskClient) -> None:
    headers = {**bearer("ops", STAFF), **HTML}
    event = wait_for(None)
    learn()
    paths = [PERSON, f"{PERSON}/xp", "/ops/students?q=ana", "/ops/waiting", f"/ops/waiting/{event}", "/ops/grading", "/ops/audit", "/ops/manual?state=", "/ops/manual/pools"]  # fmt: skip

    def costs() -> dict[str, int]:
        found = {}
        for path in paths:
            client.get(path, headers=headers)
            with counted_queries() as statements:
                assert client.get(path, headers=headers).status_code == 200, path
            found[path] = len(statements)
        return found

    before = costs()
    for number in range(12):
        wait_for({"n": str(number)})
        run("INSERT INTO quiz_accommodations (user_id, quiz_id) SELECT :u, NULL WHERE NOT EXISTS (SELECT 1 FROM quiz_accommodations)", u=STUDENT)  # fmt: skip
        run("INSERT INTO streak_rest_days (user_id, first_date, last_date) VALUES (:u, current_date, current_date + 1)", u=STUDENT)  # fmt: skip
        run("INSERT INTO certificates (user_id, certificate_url, verification_code, name, course_title) VALUES (:u, '/v', :c, 'A', 'B')", u=STUDENT, c=f"c{number}")  # fmt: skip
        run("INSERT INTO jobs (kind, business_key, queue, subject_id) VALUES ('mail.notice', :k, 'mail', :u)", k=f"m{number}", u=STUDENT)  # fmt: skip
        run("INSERT INTO users (email) VALUES (:e)", e=f"ana-{number}@example.com")
        run("INSERT INTO xp_transactions (user_id, kind, amount, base, source_type, source_id, category, reason, transport_key) VALUES (:u, 'adjustment', 5, 5, 'MANUAL_ADJUSTMENT', 'k', 'MANUAL', 'adjusted', :k)", u=STUDENT, k=f"k{number}")  # fmt: skip
    for code in rows("SELECT course_code FROM partner_courses LIMIT 6"):
        make_enrollment(course=code[0])
    after = costs()
    assert after == before
    assert max(after.values()) <= 20, after
