"""Who gets a certificate, once; what takes it back; and what staff do."""

from __future__ import annotations

import contextlib
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

import tasks.certificates
import tasks.mail
import tasks.xp  # noqa: F401 - registers the kinds
from db.session import transaction
from domain import certificates, courses, demo, flags, mails, xp, xp_corrections
from domain.errors import NoLongerWanted
from domain.levels import SQRT
from tests.api.conftest import OTHER, STUDENT, bearer, count, run
from tests.stack import rows, scalar
from workers.job import run_due

COURSE = demo.course_id("OWN-101")
LESSONS = [demo.lesson_id("OWN-101", number) for number in (1, 2, 3)]
STAFF = "staff@example.com"
KINDS = ["xp.after_award", "certificates.issue", "certificates.review"]


def work_off() -> None:
    """Do every job that awards, reversals and certificates ask for."""
    while run_due(KINDS):
        pass


def finish(user: str = STUDENT, lessons: list[str] = LESSONS) -> None:
    """Enrol somebody and complete lessons, with all that follows."""
    with transaction() as session, contextlib.suppress(courses.AlreadyEnrolled):
        courses.enroll(session, user, COURSE)
    for lesson in lessons:
        with transaction() as session:
            xp.complete_lesson(session, SQRT, xp.Completion(user, COURSE, lesson))
    work_off()


def reverse(key: str, user: str = STUDENT) -> None:
    with transaction() as session:
        assert xp_corrections.reverse_key(session, SQRT, user, key, reason="refund") is not None
    work_off()


def held(user: str = STUDENT) -> list[tuple[Any, ...]]:
    return rows(
        "SELECT status, name, course_title FROM certificates WHERE user_id = :u ORDER BY issued_at", u=user
    )


def post(client: FlaskClient, path: str, role: str = "ops", **body: Any) -> Any:
    return client.post(f"/api/ops/certificates{path}", json=body, headers=bearer(role, STAFF))


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.get_json()["code"]


def quiz(required: bool = True) -> str:
    return str(
        scalar(
            "INSERT INTO quizzes (course_id, title, is_published, required) VALUES (:c, 'Quiz', true, :r) RETURNING id",
            c=COURSE,
            r=required,
        )
    )


def take(quiz_id: str, *, passed: bool) -> None:
    run(
        "INSERT INTO quiz_versions (quiz_id, version, questions) VALUES (:q, 1, '[]') ON CONFLICT DO NOTHING",
        q=quiz_id,
    )
    run(
        "INSERT INTO quiz_attempts (user_id, quiz_id, number, state, quiz_version, key_version, passing_score, earned,"
        " possible, passed, submitted_at) SELECT :u, :q, count(*) + 1, 'graded', 1, 1, 70, 1, 1, :p, now()"
        " FROM quiz_attempts",
        u=STUDENT,
        q=quiz_id,
        p=passed,
    )


def award(key: str, source_type: str, source_id: str) -> None:
    with transaction() as session:
        xp.award(session, SQRT, xp.Award(STUDENT, key, 10, source_type, source_id, source_type, "passed"))
    work_off()


def test_a_course_that_is_done_gives_one_certificate_and_one_mail(client: FlaskClient) -> None:
    finish(lessons=LESSONS[:2])
    assert held() == []
    finish(lessons=LESSONS[2:])
    assert held() == [("valid", "Ana Silva", "Learning to Learn")]
    assert scalar("SELECT hours FROM certificates") == 3
    [(key, state)] = rows("SELECT business_key, state FROM jobs WHERE kind = 'mail.send'")
    assert key == f"certificate:{scalar('SELECT id FROM certificates')}"
    with transaction() as session:
        mail = mails.compose(session, key, key.split(":")[1], app_url="https://x.test", support_email=None)
    assert (mail.to, mail.subject) == ("ana@example.com", "Your certificate: Learning to Learn")
    assert "https://x.test/verify/" in mail.text
    run("UPDATE users SET name = 'Somebody Else'")
    run("UPDATE courses SET title = 'Renamed'")
    assert held() == [("valid", "Ana Silva", "Learning to Learn")], "a snapshot"
    assert state == "ready"


def test_several_workers_issue_one(client: FlaskClient) -> None:
    finish(lessons=LESSONS[:2])
    with transaction() as session:
        xp.complete_lesson(session, SQRT, xp.Completion(STUDENT, COURSE, LESSONS[2]))

    def issue(_: int) -> str:
        try:
            with transaction() as session:
                return certificates.issue(session, STUDENT, COURSE)
        except certificates.HeldBefore:
            return "held"

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(issue, range(6)))
    assert sorted(answers)[1:] == ["held"] * 5
    work_off()
    assert (count("certificates"), scalar("SELECT count(*) FROM jobs WHERE kind = 'mail.send'")) == (1, 1)


def test_everything_published_and_required_has_to_be_done(client: FlaskClient) -> None:
    needed, _ = quiz(), quiz(required=False)
    assignment = str(
        scalar(
            "INSERT INTO assignments (course_id, title, is_published) VALUES (:c, 'Essay', true) RETURNING id",
            c=COURSE,
        )
    )
    finish()
    assert held() == []
    take(needed, passed=False)
    take(needed, passed=True)
    take(needed, passed=False)
    award(f"quiz:{needed}:pass", "QUIZ", needed)
    assert held() == [], "the assignment is missing"
    run(
        "INSERT INTO assignment_submissions (user_id, assignment_id, state, passed, graded_at)"
        " VALUES (:u, :a, 'graded', true, now())",
        u=STUDENT,
        a=assignment,
    )
    award(f"assignment:{assignment}", "ASSIGNMENT", assignment)
    assert held() == [("valid", "Ana Silva", "Learning to Learn")]


def test_a_course_of_nothing_and_no_enrolment_give_none(client: FlaskClient) -> None:
    with transaction() as session:
        assert not certificates.is_eligible(session, STUDENT, COURSE)
    finish()
    run("UPDATE lessons SET published = false")
    with transaction() as session:
        assert not certificates.is_eligible(session, STUDENT, COURSE)


def test_a_reversal_revokes_and_finishing_again_gives_a_new_one(client: FlaskClient) -> None:
    finish()
    finish(OTHER)
    reverse(f"lesson:{LESSONS[0]}")
    assert [row[0] for row in held()] == ["revoked"]
    assert [row[0] for row in held(OTHER)] == ["valid"]
    [kept] = rows("SELECT actor, action, reason FROM staff_actions")
    assert kept == ("usher", "certificate.revoke", "completion_reversed")
    finish(lessons=LESSONS[:1])
    assert [row[0] for row in held()] == ["revoked", "valid"]
    reverse(f"course:{COURSE}")
    assert [row[0] for row in held()] == ["revoked", "revoked"]


def test_a_failed_regrade_revokes(client: FlaskClient) -> None:
    needed = quiz()
    take(needed, passed=True)
    finish()
    award(f"quiz:{needed}:pass", "QUIZ", needed)
    assert [row[0] for row in held()] == ["valid"]
    run("UPDATE quiz_attempts SET passed = false")
    reverse(f"quiz:{needed}:pass")
    assert [row[0] for row in held()] == ["revoked"]


def test_what_a_course_gains_later_and_its_deletion_take_nothing_away(client: FlaskClient) -> None:
    finish()
    run("INSERT INTO lessons (course_id, title, published) VALUES (:c, 'New', true)", c=COURSE)
    with transaction() as session:
        assert certificates.review(session, STUDENT) == 0
    # What is reversed and done again before anybody looked is done.
    with transaction() as session:
        xp_corrections.reverse_key(session, SQRT, STUDENT, f"lesson:{LESSONS[0]}", reason="mistake")
    with transaction() as session:
        xp.complete_lesson(session, SQRT, xp.Completion(STUDENT, COURSE, LESSONS[0]))
    run("DELETE FROM lessons WHERE title = 'New'")
    with transaction() as session:
        xp.award(
            session, SQRT, xp.Award(STUDENT, f"course:{COURSE}", 200, "COURSE", COURSE, "COURSE", "again")
        )
    work_off()
    assert [row[0] for row in held()] == ["valid"]
    with transaction() as session:
        assert courses.delete(session, SQRT, COURSE)
    work_off()
    assert [row[0] for row in held()] == ["valid"]
    assert scalar("SELECT course_id FROM certificates") is None


def test_an_unrelated_reversal_asks_nothing(client: FlaskClient) -> None:
    finish(lessons=LESSONS[:1])
    reverse(f"lesson:{LESSONS[0]}")
    assert scalar("SELECT count(*) FROM jobs WHERE kind = 'certificates.review'") == 0


def test_it_waits_for_a_name_and_while_certificates_are_off(client: FlaskClient) -> None:
    run("UPDATE users SET name = ' ' WHERE id = CAST(:id AS uuid)", id=STUDENT)
    finish()
    waiting = rows("SELECT state, last_error FROM jobs WHERE kind = 'certificates.issue'")
    assert held() == []
    assert [(state, "no name" in error) for state, error in waiting] == [("ready", True)]
    run("UPDATE users SET name = 'Ana Maria Silva' WHERE id = CAST(:id AS uuid)", id=STUDENT)
    with transaction() as session:
        flags.switch(session, "certificates", on=False, actor="t")
    again()
    assert held() == []
    with transaction() as session:
        flags.switch(session, "certificates", on=True, actor="t")
    again()
    assert [row[1] for row in held()] == ["Ana Maria Silva"]


def again() -> None:
    run("UPDATE jobs SET next_run_at = now() WHERE kind = 'certificates.issue'")
    work_off()


def test_staff_issue_what_was_earned_and_nothing_else(client: FlaskClient) -> None:
    body = {"userId": STUDENT, "courseId": COURSE, "reason": "the worker was off"}
    assert code(post(client, "", **body)) == (409, "certificate_not_earned")
    assert code(post(client, "", **{**body, "userId": str(uuid.uuid4())})) == (404, "user_not_found")
    finish()
    assert code(post(client, "", **body)) == (409, "certificate_held")
    run("DELETE FROM certificates")
    assert post(client, "", **body).status_code == 201
    assert code(post(client, "", role="student", **body)) == (403, "wrong_role")
    assert rows("SELECT actor, action, reason FROM staff_actions") == [
        (STAFF, "certificate.issue", "the worker was off")
    ]


def test_staff_revoke_with_a_reason_that_stays_inside(client: FlaskClient) -> None:
    finish()
    [(id, number)] = rows("SELECT id, verification_code FROM certificates")
    assert code(post(client, f"/{id}/revoke")) == (422, "validation_failed")
    answer = post(client, f"/{id}/revoke", reason="cheated in the exam")
    assert answer.get_json()["status"] == "revoked"
    assert code(post(client, f"/{id}/revoke", reason="again")) == (409, "certificate_not_valid")
    assert code(post(client, f"/{uuid.uuid4()}/revoke", reason="x")) == (404, "certificate_not_found")
    public = client.get(f"/verify/{number}")
    assert public.get_json()["status"] == "revoked"
    assert "cheated" not in public.text
    with transaction() as session, pytest.raises(NoLongerWanted):
        mails.compose(session, f"certificate:{id}", id, app_url="https://x.test", support_email=None)
    assert rows("SELECT reason FROM staff_actions WHERE subject_id = :id", id=id) == [
        ("cheated in the exam",)
    ]


def test_a_corrected_certificate_supersedes_the_old_one(client: FlaskClient) -> None:
    headers = {**bearer("ops", STAFF), "If-Match": '"1"'}
    edited = client.patch(f"/api/ops/courses/{COURSE}", json={"certificateDays": 365}, headers=headers)
    assert edited.get_json()["certificateDays"] == 365
    finish()
    [(id, number, expires)] = rows("SELECT id, verification_code, expires_at FROM certificates")
    assert rows("SELECT expires_at - issued_at FROM certificates") == [(timedelta(days=365),)]
    run("UPDATE users SET name = 'Ana Silva-Costa' WHERE id = CAST(:id AS uuid)", id=STUDENT)
    made = post(client, f"/{id}/reissue", reason="married").get_json()
    assert (made["name"], made["status"]) == ("Ana Silva-Costa", "valid")
    assert rows("SELECT expires_at FROM certificates WHERE id = :id", id=made["id"]) == [(expires,)]
    assert client.get(f"/verify/{number}").get_json()["status"] == "superseded"
    assert client.get(f"/verify/{made['verificationCode']}").get_json()["name"] == "Ana Silva-Costa"
    assert rows("SELECT superseded_by_id FROM certificates WHERE id = :id", id=id) == [(made["id"],)]
    assert code(post(client, f"/{id}/reissue", reason="again")) == (409, "certificate_not_valid")
    run("UPDATE certificates SET course_id = NULL")
    assert code(post(client, f"/{made['id']}/reissue", reason="x")) == (409, "course_gone")
    listed = client.get(
        f"/api/ops/certificates?user={STUDENT}&limit=1", headers=bearer("ops", STAFF)
    ).get_json()
    assert ([item["id"] for item in listed["data"]], listed["has_more"]) == ([made["id"]], True)
