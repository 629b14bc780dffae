"""An assignment over HTTP: draft, files, handing in, late or not, grades with their XP, and who may do what."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from db.session import transaction
from domain import assignment_files, courses, demo, flags
from domain.assignments import is_late
from domain.levels import SQRT
from settings import get_settings
from tasks import certificates as sweeping
from tests.api.conftest import OTHER, STUDENT, bearer, count, run
from tests.assignments.test_files import PDF
from tests.stack import rows, scalar

COURSE = demo.course_id("OWN-101")
ASSIGNMENT = str(uuid.uuid4())
STAFF = "staff@example.com"
HOUR = timedelta(hours=1)


@pytest.fixture
def school(client: FlaskClient) -> FlaskClient:
    """Ana is enrolled in a course that has an assignment of 80 points, pass at 60 %, worth 50 XP."""
    with transaction() as session:
        courses.enroll(session, STUDENT, COURSE)
    assert put(client).status_code == 201
    return client


def put(client: FlaskClient, **changes: Any) -> Any:
    body = {
        "courseId": COURSE,
        "title": "Essay",
        "maxPoints": 80,
        "isPublished": True,
        "reason": "new",
        **changes,
    }
    return client.put(f"/api/ops/assignments/{ASSIGNMENT}", json=body, headers=staff())


def staff(version: int | None = None, subject: str = STAFF, **headers: str) -> dict[str, str]:
    match = {} if version is None else {"If-Match": f'"{version}"'}
    return {**bearer("ops", subject), **match, **headers}


def submit(client: FlaskClient, content: str = "My work", headers: Any = None, **body: Any) -> Any:
    path = f"/api/assignments/{ASSIGNMENT}/submit"
    return client.post(path, json={"content": content, **body}, headers={**bearer(), **(headers or {})})


def upload(client: FlaskClient, content: bytes = PDF, name: str = "essay.exe", **headers: str) -> Any:
    path = f"/api/assignments/{ASSIGNMENT}/files?name={name}"
    return client.post(path, data=content, headers={**bearer(), **headers})


def grade(client: FlaskClient, submission: dict[str, Any], score: Any, **body: Any) -> Any:
    path = f"/api/ops/submissions/{submission['id']}/grade"
    return client.post(path, json={"score": score, **body}, headers=staff(submission["version"]))


def give_back(client: FlaskClient, submission: dict[str, Any], **body: Any) -> Any:
    path = f"/api/ops/submissions/{submission['id']}/return"
    return client.post(path, json={"feedback": "Again", **body}, headers=staff(submission["version"]))


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.get_json()["code"]


def total() -> int:
    return int(scalar("SELECT total_xp FROM users WHERE id = :id", id=STUDENT))


def due(hours: float) -> str:
    return (datetime.now(UTC) + hours * HOUR).isoformat()


def test_a_draft_becomes_a_grade_and_comes_back(school: FlaskClient) -> None:
    draft = school.put(f"/api/assignments/{ASSIGNMENT}/draft", json={"content": "Draft"}, headers=bearer())
    assert (draft.get_json()["state"], draft.headers["ETag"]) == ("draft", '"2"')
    first = submit(school, "First").get_json()
    assert (first["state"], first["number"], first["late"]) == ("submitted", 1, False)
    assert code(submit(school, "Sneaked in")) == (409, "submission_not_open")
    graded = grade(school, first, 40, feedback="Nearly").get_json()
    assert (graded["state"], graded["passed"], graded["score"]) == ("graded", False, 40.0)
    assert (total(), code(submit(school, "Again"))) == (0, (409, "submission_not_open"))
    returned = give_back(school, graded).get_json()
    assert returned["state"] == "returned"
    second = submit(school, "Second").get_json()
    assert (second["state"], second["number"]) == ("resubmitted", 2)
    done = grade(school, second, 48).get_json()
    assert (done["passed"], total()) == (True, 50)
    assert [(v["content"], v["score"], v["passed"]) for v in done["versions"]] == [
        ("First", 40.0, False),
        ("Second", 48.0, True),
    ]
    seen = school.get(f"/api/assignments/{ASSIGNMENT}", headers=bearer()).get_json()
    assert (seen["submission"]["score"], seen["maxPoints"]) == (48.0, 80)
    assert "gradedBy" not in seen["submission"]


def test_xp_are_given_in_full_once_and_follow_the_grade(school: FlaskClient) -> None:
    work = submit(school).get_json()
    seen = []
    for score, reason in (
        (48, None),
        (80, "too strict"),
        (47.99, "copied"),
        (48, "it was not"),
        (0, "it was"),
    ):
        answer = grade(school, work, score, **({} if reason is None else {"reason": reason}))
        work = answer.get_json()
        seen.append((work["passed"], total()))
    assert seen == [(True, 50), (True, 50), (False, 0), (True, 50), (False, 0)]
    entries = rows(
        "SELECT kind, amount, business_key, generation, source_type FROM xp_transactions ORDER BY seq"
    )
    key = f"assignment:{ASSIGNMENT}"
    assert entries == [
        ("award", 50, key, 0, "ASSIGNMENT"),
        ("reversal", -50, None, 0, "ASSIGNMENT"),
        ("award", 50, key, 1, "ASSIGNMENT"),
        ("reversal", -50, None, 0, "ASSIGNMENT"),
    ]


def test_a_pass_is_compared_exactly(school: FlaskClient) -> None:
    put(school, maxPoints=3, passingScore=57)
    work = submit(school).get_json()
    below = grade(school, work, "1.70").get_json()
    assert below["passed"] is False, "170 of 171 hundredths"
    assert grade(school, below, "1.71", reason="more").get_json()["passed"] is True
    assert grade(school, submit_again(school), 4).status_code == 422


def submit_again(client: FlaskClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/api/ops/submissions?state=all", headers=staff()).get_json()["data"][
        0
    ]
    back = give_back(client, found).get_json()
    return {**submit(client).get_json(), "id": back["id"]}


def test_the_second_of_two_graders_is_told_so(school: FlaskClient) -> None:
    work = submit(school).get_json()
    first = grade(school, work, 80)
    second = grade(school, work, 10, reason="I saw it differently")
    assert (first.status_code, code(second)) == (200, (412, "stale_version"))
    assert second.headers["ETag"] == first.headers["ETag"]
    path = f"/api/ops/submissions/{work['id']}/grade"
    assert code(school.post(path, json={"score": 1}, headers=staff())) == (428, "version_required")
    assert code(school.post(path, json={"score": 1}, headers={**staff(), "If-Match": "*"}))[0] == 412
    assert total() == 50


def test_several_graders_at_once_grade_once(school: FlaskClient) -> None:
    work = submit(school).get_json()
    clients = [(school.application.test_client(), staff(work["version"])) for _ in range(4)]
    path = f"/api/ops/submissions/{work['id']}/grade"

    def press(number: int) -> int:
        client, headers = clients[number]
        return int(client.post(path, json={"score": 60 + number}, headers=headers).status_code)

    with ThreadPoolExecutor(4) as pool:
        answers = sorted(pool.map(press, range(4)))
    assert (answers, total(), count("xp_transactions")) == ([200, 412, 412, 412], 50, 1)


def test_a_grade_that_stands_is_changed_only_with_a_reason(school: FlaskClient) -> None:
    graded = grade(school, submit(school).get_json(), 80).get_json()
    refused = grade(school, graded, 10)
    assert code(refused) == (422, "validation_failed")
    assert refused.get_json()["errors"][0]["pointer"] == "/reason"
    assert grade(school, graded, 10, reason="copied").status_code == 200
    kept = rows(
        "SELECT actor, action, reason, detail ->> 'score_before', detail ->> 'score' FROM staff_actions"
        " WHERE action LIKE 'submission.%' ORDER BY created_at"
    )
    assert kept == [
        (STAFF, "submission.grade", None, None, "80"),
        (STAFF, "submission.grade", "copied", "80.00", "10"),
    ]


def test_nobody_grades_their_own_work(school: FlaskClient) -> None:
    work = submit(school).get_json()
    path = f"/api/ops/submissions/{work['id']}/grade"
    own = staff(work["version"], subject="Ana@example.com")
    assert code(school.post(path, json={"score": 80}, headers=own)) == (403, "own_work")
    assert (total(), count("xp_transactions")) == (0, 0)


def test_only_what_was_handed_in_is_graded_and_only_what_was_graded_is_returned(school: FlaskClient) -> None:
    draft = school.put(
        f"/api/assignments/{ASSIGNMENT}/draft", json={"content": "x"}, headers=bearer()
    ).get_json()
    assert code(grade(school, draft, 80)) == (409, "submission_not_gradable")
    work = submit(school).get_json()
    assert code(give_back(school, work)) == (409, "submission_not_gradable")
    graded = grade(school, work, 80).get_json()
    returned = give_back(school, graded).get_json()
    assert code(grade(school, returned, 80)) == (409, "submission_not_gradable")
    unknown = {"id": str(uuid.uuid4()), "version": 1}
    assert code(grade(school, unknown, 80)) == (404, "submission_not_found")


def test_late_is_after_the_due_date_and_its_grace() -> None:
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    assert not is_late(moment, None, 0)
    assert not is_late(moment, moment, 0)
    assert is_late(moment + timedelta(microseconds=1), moment, 0)
    assert not is_late(moment + timedelta(seconds=90), moment, 90)
    assert is_late(moment + timedelta(seconds=91), moment, 90)


def test_late_work_is_marked_or_refused(school: FlaskClient) -> None:
    put(school, dueDate=due(-1), graceSeconds=60, allowLateSubmission=False)
    assert code(submit(school)) == (409, "late_not_allowed")
    assert count("assignment_submissions") == 0, "nothing is left half done"
    put(school, dueDate=due(-1), graceSeconds=7200, allowLateSubmission=False)
    assert submit(school).get_json()["late"] is False, "within the grace"
    run("DELETE FROM assignment_submissions")
    put(school, dueDate=due(-1), allowLateSubmission=True)
    assert submit(school).get_json()["late"] is True


def test_an_extension_is_one_students_own_and_leaves_who_and_why(school: FlaskClient) -> None:
    with transaction() as session:
        courses.enroll(session, OTHER, COURSE)
    put(school, dueDate=due(-1), allowLateSubmission=False)
    path = f"/api/ops/assignments/{ASSIGNMENT}/extensions/{STUDENT}"
    later = due(24)
    answer = school.put(path, json={"dueDate": later, "reason": "ill"}, headers=staff())
    assert answer.status_code == 200
    assert submit(school).get_json()["late"] is False
    assert code(submit(school, headers=bearer(subject="ben@example.com"))) == (409, "late_not_allowed")
    [kept] = rows("SELECT actor, subject_id, reason FROM staff_actions WHERE action = 'assignment.extend'")
    assert kept == (STAFF, STUDENT, "ill")
    seen = school.get("/api/assignments", headers=bearer()).get_json()["data"][0]
    assert datetime.fromisoformat(seen["dueDate"]) == datetime.fromisoformat(later)
    for wrong in (
        {"dueDate": "2026-01-01T00:00:00", "reason": "x"},
        {"dueDate": later},
        {"dueDate": due(10**7)},
    ):
        assert code(school.put(path, json=wrong, headers=staff())) == (422, "validation_failed")
    nobody = f"/api/ops/assignments/{ASSIGNMENT}/extensions/{uuid.uuid4()}"
    body = {"dueDate": later, "reason": "x"}
    assert code(school.put(nobody, json=body, headers=staff())) == (404, "assignment_not_found")


def test_returned_work_can_be_given_a_due_date_of_its_own(school: FlaskClient) -> None:
    graded = grade(school, submit(school).get_json(), 1).get_json()
    put(school, dueDate=due(-1), allowLateSubmission=False)
    returned = give_back(school, graded, dueDate=due(24))
    assert returned.status_code == 200
    assert submit(school).get_json()["state"] == "resubmitted"


def test_a_draft_is_not_overwritten_by_an_older_tab(school: FlaskClient) -> None:
    path = f"/api/assignments/{ASSIGNMENT}/draft"
    first = school.put(path, json={"content": "one"}, headers=bearer())
    tag = first.headers["ETag"]
    second = school.put(path, json={"content": "two"}, headers={**bearer(), "If-Match": tag})
    stale = school.put(path, json={"content": "three"}, headers={**bearer(), "If-Match": tag})
    assert (second.status_code, code(stale)) == (200, (412, "stale_version"))
    assert stale.headers["ETag"] == second.headers["ETag"]
    assert scalar("SELECT content FROM assignment_submissions") == "two"


def test_a_file_is_judged_stored_and_handed_in(school: FlaskClient) -> None:
    made = upload(school)
    assert made.status_code == 201
    stored = made.get_json()
    assert (stored["name"], stored["mediaType"], stored["size"]) == (
        "essay.exe.pdf",
        "application/pdf",
        len(PDF),
    )
    assert upload(school).get_json()["id"] == stored["id"], "the same file again is the same row"
    work = submit(school, "", fileIds=[stored["id"]]).get_json()
    assert work["fileUrls"] == [f"http://testserver/api/assignment-files/{stored['id']}"]
    path = f"/api/assignment-files/{stored['id']}"
    for headers in (bearer(), staff()):
        answer = school.get(path, headers=headers)
        assert (answer.status_code, answer.data, answer.mimetype) == (200, PDF, "application/pdf")
        assert answer.headers["Content-Disposition"] == "attachment; filename*=UTF-8''essay.exe.pdf"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    for subject, role in (("ben@example.com", "student"), ("front@example.com", "service")):
        answer = school.get(path, headers=bearer(role, subject))
        assert code(answer) == ((404, "file_not_found") if role == "student" else (403, "wrong_role"))


def test_files_that_cannot_be_taken_are_refused_and_leave_nothing(
    school: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert code(upload(school, b"MZ\x00program", "essay.pdf")) == (415, "file_type_not_taken")
    monkeypatch.setenv("UPLOAD_MAX_BYTES", "100")
    get_settings.cache_clear()
    assert upload(school, PDF.ljust(100)).status_code == 201
    assert code(upload(school, PDF.ljust(101))) == (413, "too_large")
    monkeypatch.setattr(assignment_files, "UPLOADS_MAX", 1)
    assert code(upload(school, PDF + b"other")) == (409, "too_many_files")
    assert count("assignment_files") == 1
    stranger = bearer(subject="ben@example.com")
    assert code(school.post(f"/api/assignments/{ASSIGNMENT}/files", data=PDF, headers=stranger)) == (
        404,
        "not_enrolled",
    )


def test_a_store_that_is_down_leaves_no_file_to_hand_in(
    school: FlaskClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder should be")
    monkeypatch.setenv("FILES_URL", f"file://{blocked}/files")
    get_settings.cache_clear()
    answer = upload(school)
    assert code(answer) == (503, "file_store_unavailable")
    [(file_id, stored)] = rows("SELECT id, stored_at FROM assignment_files")
    assert stored is None
    assert code(submit(school, fileIds=[file_id])) == (422, "validation_failed")


def test_only_ones_own_files_of_this_assignment_are_handed_in(school: FlaskClient) -> None:
    file_id = upload(school).get_json()["id"]
    with transaction() as session:
        courses.enroll(session, OTHER, COURSE)
    stolen = submit(school, fileIds=[file_id], headers=bearer(subject="ben@example.com"))
    assert code(stolen) == (422, "validation_failed")
    assert code(submit(school, fileIds=[str(uuid.uuid4())])) == (422, "validation_failed")
    assert code(submit(school, fileIds=[str(uuid.uuid4())] * 11)) == (422, "validation_failed")
    assert code(submit(school, "  ")) == (409, "submission_empty")
    assert count("assignment_submissions") == 0


def test_uploads_that_nobody_uses_are_swept_and_those_in_use_stay(school: FlaskClient) -> None:
    used, loose, orphan = (upload(school, PDF + bytes([n])).get_json()["id"] for n in b"123")
    school.put(f"/api/assignments/{ASSIGNMENT}/draft", json={"fileIds": [used]}, headers=bearer())
    run(
        "UPDATE assignment_files SET created_at = now() - interval '8 days' WHERE id <> CAST(:id AS uuid)",
        id=orphan,
    )
    sweep()
    assert set(rows("SELECT id FROM assignment_files")) == {(used,), (orphan,)}
    assert code(school.get(f"/api/assignment-files/{loose}", headers=bearer())) == (404, "file_not_found")
    run("DELETE FROM assignments")
    sweep()
    assert count("assignment_files") == 0
    store = get_settings().file_store().removeprefix("file://")
    assert list(Path(store).iterdir()) == []


def sweep() -> None:
    run("DELETE FROM scheduled_runs")
    sweeping.sweep()


def test_a_repeated_request_is_done_once(school: FlaskClient) -> None:
    stored = upload(school, b"Some words", **{"Idempotency-Key": "f1"})
    assert stored.status_code == 201
    key = {"Idempotency-Key": "s1"}
    first, again = submit(school, headers=key), submit(school, headers=key)
    assert (first.data, again.headers["Idempotency-Replayed"]) == (again.data, "true")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert count("assignment_submission_versions") == 1
    repeated = upload(school, b"Some words", **{"Idempotency-Key": "f1"})
    assert (repeated.status_code, repeated.data) == (201, stored.data), "though nothing is taken any more"
    assert code(upload(school, PDF, **{"Idempotency-Key": "f1"})) == (422, "idempotency_key_reused")


def test_students_see_published_assignments_of_their_own_courses(school: FlaskClient) -> None:
    listed = school.get(f"/api/assignments?course={COURSE}", headers=bearer()).get_json()
    assert [item["id"] for item in listed["data"]] == [ASSIGNMENT]
    stranger = bearer(subject="ben@example.com")
    assert school.get("/api/assignments", headers=stranger).get_json()["data"] == []
    assert code(school.get(f"/api/assignments/{ASSIGNMENT}", headers=stranger)) == (404, "not_enrolled")
    put(school, isPublished=False)
    assert school.get("/api/assignments", headers=bearer()).get_json()["data"] == []
    assert code(submit(school)) == (404, "assignment_not_found")
    assert code(school.get("/api/assignments/x", headers=bearer())) == (404, "assignment_not_found")


def test_an_assignment_needs_a_course_and_stays_in_it(school: FlaskClient) -> None:
    assert put(school, title="Report").status_code == 200
    assert code(put(school, courseId=demo.course_id("OWN-201"))) == (404, "course_not_found")
    assert code(put(school, lessonId=demo.lesson_id("OWN-201", 1))) == (404, "course_not_found")
    assert put(school, lessonId=demo.lesson_id("OWN-101", 1), isPublished=False).status_code == 200
    listed = school.get(f"/api/ops/assignments?course={COURSE}", headers=staff()).get_json()["data"]
    assert [(item["title"], item["isPublished"], item["maxPoints"]) for item in listed] == [
        ("Essay", False, 80)
    ]
    for wrong in (
        {"passingScore": 101},
        {"maxPoints": 0},
        {"title": " "},
        {"reason": ""},
        {"title": "a\x00"},
    ):
        assert code(put(school, **wrong)) == (422, "validation_failed")
    for role in ("student", "service"):
        answer = school.put(f"/api/ops/assignments/{ASSIGNMENT}", json={}, headers=bearer(role))
        assert code(answer) == (403, "wrong_role")


def test_the_queue_begins_with_what_waits_longest(school: FlaskClient) -> None:
    with transaction() as session:
        courses.enroll(session, OTHER, COURSE)
    submit(school, headers=bearer(subject="ben@example.com"))
    submit(school)
    page = school.get("/api/ops/submissions?limit=1", headers=staff()).get_json()
    assert ([item["userId"] for item in page["data"]], page["has_more"]) == ([OTHER], True)
    path = f"/api/ops/submissions?limit=1&cursor={page['next_cursor']}"
    rest = school.get(path, headers=staff()).get_json()
    assert ([item["userId"] for item in rest["data"]], rest["next_cursor"]) == ([STUDENT], None)
    grade(school, rest["data"][0], 80)
    assert len(school.get("/api/ops/submissions", headers=staff()).get_json()["data"]) == 1
    assert code(school.get("/api/ops/submissions?cursor=x", headers=staff())) == (400, "invalid_cursor")


def test_deleting_a_course_takes_its_assignments_and_their_xp(school: FlaskClient) -> None:
    grade(school, submit(school).get_json(), 80)
    assert total() == 50
    with transaction() as session:
        assert courses.delete(session, SQRT, COURSE)
    assert (total(), count("assignments"), count("assignment_submissions")) == (0, 0, 0)


def test_switched_off_there_are_no_assignments(school: FlaskClient) -> None:
    with transaction() as session:
        flags.switch(session, "assignments", on=False, actor="t")
    for answer in (submit(school), school.get("/api/ops/submissions", headers=staff()), put(school)):
        assert code(answer) == (404, "feature_off")
