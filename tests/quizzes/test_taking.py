"""Taking a quiz: attempts are counted, answers are kept, the database's clock decides, XP are given once."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

import tasks.quizzes as quiz_tasks
import tasks.xp  # noqa: F401 - registers the kinds
from db.session import transaction
from domain import demo, flags
from tests.api.conftest import bearer, count, run
from tests.quizzes.conftest import (
    ABCD,
    COURSE,
    ESSAY,
    SINGLE,
    TRUE,
    Staff,
    Student,
    code,
    pass_time,
    pointers,
)
from tests.stack import rows, scalar
from workers.job import run_due


def test_a_quiz_is_taken_from_the_list_to_the_result(staff: Staff, ana: Student) -> None:
    quiz = staff.make(SINGLE, TRUE, ESSAY | {"points": 0}, passingScore=50, timeLimit=30)
    staff.make(SINGLE, publish=False)
    [listed] = ana.get(f"/courses/{COURSE}/quizzes").get_json()["data"]
    assert (listed["id"], listed["questions"], listed["points"]) == (quiz["id"], 3, 2)
    assert (listed["maxAttempts"], listed["attemptsUsed"], listed["passed"]) == (3, 0, False)
    made = ana.start(quiz)
    attempt = made.get_json()
    assert (made.status_code, made.headers["Location"]) == (201, f"/api/quiz-attempts/{attempt['id']}")
    assert (attempt["state"], attempt["number"], attempt["possible"], attempt["earned"]) == (
        "open",
        1,
        2,
        None,
    )
    saved = ana.save(attempt, "b", True).get_json()
    assert (saved["state"], saved["savedAt"] is not None) == ("open", True)
    again = ana.start(quiz)
    assert (again.status_code, again.get_json()["id"]) == (200, attempt["id"])
    assert [question["answer"] for question in again.get_json()["questions"]] == ["b", True, None]
    result = ana.submit(attempt, "a").get_json()
    assert (result["state"], result["passed"], result["earned"]) == ("graded", True, 2)
    assert result["revealed"] is True
    assert [question["earned"] for question in result["questions"]] == [1, 1, 0]
    assert ana.xp == 25
    [listed] = ana.get(f"/courses/{COURSE}/quizzes").get_json()["data"]
    assert (listed["attemptsUsed"], listed["passed"], listed["openAttemptId"]) == (1, True, None)
    page = ana.get(f"/quizzes/{quiz['id']}/attempts").get_json()
    assert [item["id"] for item in page["data"]] == [attempt["id"]]
    assert rows(
        "SELECT score, total_points, time_spent >= 0, completed_at = submitted_at FROM quiz_attempts"
    ) == [(2.0, 2, True, True)]


def test_correct_answers_stay_hidden_until_passed_or_released(staff: Staff, ana: Student) -> None:
    quiz = staff.make(SINGLE | {"explanation": "because"}, TRUE, passingScore=100)
    attempt = ana.start(quiz).get_json()
    assert "because" not in str(attempt)
    assert {question["correctAnswer"] for question in attempt["questions"]} == {None}
    failed = ana.submit(attempt, "a", False).get_json()
    assert (failed["passed"], failed["revealed"], failed["earned"]) == (False, False, 1)
    for question in failed["questions"]:
        assert (question["correctAnswer"], question["explanation"], question["earned"]) == (None, None, None)
    assert staff.post(f"/quizzes/{quiz['id']}/release-answers").get_json()["answersReleasedAt"] is not None
    shown = ana.get(f"/quiz-attempts/{attempt['id']}").get_json()
    assert [question["correctAnswer"] for question in shown["questions"]] == ["a", True]
    assert [question["earned"] for question in shown["questions"]] == [1, 0]
    assert "because" not in str(ana.start(quiz).get_json()), "an open attempt shows none"


def test_twenty_tabs_start_three_attempts_of_three(app: Flask, staff: Staff, ana: Student) -> None:
    quiz, token = staff.make(SINGLE), bearer()

    def open_tab(_: int) -> int:
        client = app.test_client()
        started = client.post(f"/api/quizzes/{quiz['id']}/attempts", json={}, headers=token)
        if started.status_code == 201:
            path = f"/api/quiz-attempts/{started.get_json()['id']}/submit"
            client.post(path, json={}, headers=token)
        return started.status_code

    with ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(open_tab, range(20)))
    assert set(statuses) <= {200, 201, 409}
    started = count("quiz_attempts")
    assert started == statuses.count(201) <= 3
    while started < 3:
        ana.take(quiz, "b")
        started += 1
    assert code(ana.start(quiz)) == (409, "quiz_attempts_used_up")
    assert rows("SELECT array_agg(number ORDER BY number) FROM quiz_attempts") == [([1, 2, 3],)]


def test_twenty_tabs_at_once_open_one_attempt(app: Flask, staff: Staff, ana: Student) -> None:
    quiz, token = staff.make(SINGLE), bearer()

    def open_tab(_: int) -> tuple[int, str]:
        path = f"/api/quizzes/{quiz['id']}/attempts"
        answer = app.test_client().post(path, json={}, headers=token)
        return answer.status_code, answer.get_json()["id"]

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(open_tab, range(20)))
    assert sorted(status for status, _ in answers) == [200] * 19 + [201]
    assert len({id for _, id in answers}) == count("quiz_attempts") == 1


def test_xp_are_given_once_at_the_first_pass(staff: Staff, ana: Student) -> None:
    quiz = staff.make(SINGLE, xpReward=40)
    assert ana.take(quiz, "b")["passed"] is False
    assert ana.xp == 0
    for _ in range(2):
        assert ana.take(quiz, "a")["passed"] is True
        assert ana.xp == 40
    assert rows("SELECT business_key, source_type, source_id, amount FROM xp_transactions") == [
        (f"quiz:{quiz['id']}:pass", "QUIZ", quiz["id"], 40)
    ]
    assert scalar("SELECT count(*) FROM jobs WHERE kind = 'xp.after_award'") == 1


def test_a_submission_that_is_sent_again_is_answered_as_the_first(staff: Staff, ana: Student) -> None:
    quiz = staff.make(SINGLE)
    started = ana.start(quiz, **{"Idempotency-Key": "s"})
    attempt = started.get_json()
    assert ana.start(quiz, **{"Idempotency-Key": "s"}).data == started.data
    first = ana.submit(attempt, "a", **{"Idempotency-Key": "k"})
    again = ana.submit(attempt, "a", **{"Idempotency-Key": "k"})
    assert (again.status_code, again.data) == (200, first.data)
    assert code(ana.submit(attempt, "a")) == (409, "quiz_attempt_closed")
    assert code(ana.save(attempt, "b")) == (409, "quiz_attempt_closed")
    assert count("xp_transactions") == 1


def test_ids_that_are_unknown_or_repeated_are_refused_and_nothing_is_kept(staff: Staff, ana: Student) -> None:
    quiz = staff.make(SINGLE, SINGLE | {"type": "multiple", "options": ABCD, "correctAnswer": ["a", "b"]})
    attempt = ana.start(quiz).get_json()
    first, second = [question["id"] for question in attempt["questions"]]
    path, stranger = f"/api/quiz-attempts/{attempt['id']}", str(uuid.uuid4())

    def send(*answers: tuple[Any, Any]) -> Any:
        body = {"answers": [{"questionId": id, "answer": answer} for id, answer in answers]}
        sent = [
            ana.client.put(f"{path}/answers", json=body, headers=ana.headers),
            ana.client.post(f"{path}/submit", json=body, headers=ana.headers),
        ]
        assert pointers(sent[0]) == pointers(sent[1])
        return pointers(sent[0])

    assert send((first, "a"), (stranger, "a")) == ["/answers/1/questionId"]
    assert send((first, "a"), (first, "b")) == ["/answers/1/questionId"]
    assert send((first, "z"), (second, ["a", "a"])) == ["/answers/0/answer", "/answers/1/answer"]
    assert send((first, "a"), (second, ["a", "z"])) == ["/answers/1/answer"]
    assert send(("q1", "a")) == ["/answers/0/questionId"]
    assert rows("SELECT state, answers, saved_at FROM quiz_attempts") == [("open", {}, None)]
    assert send((first, "a"), (second, {"a": "\0"})) == ["/answers/1/answer/a"]
    ana.save(attempt, "a", ["a"])
    assert ana.save(attempt, None).status_code == 200
    assert rows("SELECT answers FROM quiz_attempts") == [({second: ["a"]},)]


def test_numbers_that_are_none_are_refused_and_a_thousand_is_not_a_hundred(
    staff: Staff, ana: Student
) -> None:
    key = {"value": "1000", "tolerance": "0"}
    quiz = staff.make({"type": "numeric", "question": "How many?", "correctAnswer": key})
    attempt = ana.start(quiz).get_json()
    path, question = f"/api/quiz-attempts/{attempt['id']}/answers", attempt["questions"][0]["id"]
    for literal in ("NaN", "Infinity", '"NaN"', '"1,000"', "1e999", "true"):
        body = f'{{"answers": [{{"questionId": "{question}", "answer": {literal}}}]}}'
        refused = ana.client.put(path, data=body, headers=ana.headers, content_type="application/json")
        assert refused.status_code in (400, 422), literal
    assert ana.submit(attempt, 100).get_json()["passed"] is False
    assert ana.take(quiz, "1e3")["passed"] is True


def test_the_deadline_is_the_databases_and_ten_seconds_are_let_pass(staff: Staff, ana: Student) -> None:
    quiz = staff.make(SINGLE, TRUE, timeLimit=20)
    attempt = ana.start(quiz).get_json()
    assert scalar("SELECT deadline_at = started_at + interval '20 minutes' FROM quiz_attempts")
    pass_time(attempt, 5)
    assert ana.save(attempt, "a").status_code == 200, "a request may have been under way"
    quiz_tasks.expire()
    assert scalar("SELECT count(*) FROM jobs WHERE kind = 'quizzes.close'") == 0
    pass_time(attempt, 11)
    assert code(ana.save(attempt, "a", True)) == (409, "quiz_time_over")
    assert code(ana.submit(attempt, "a", True)) == (409, "quiz_time_over")
    assert rows("SELECT state, passed FROM quiz_attempts") == [("open", None)]


def test_what_was_saved_is_submitted_at_the_deadline(
    staff: Staff, ana: Student, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiz = staff.make(SINGLE, TRUE, timeLimit=20, passingScore=50)
    attempt = ana.start(quiz).get_json()
    ana.save(attempt, "a")
    pass_time(attempt, 60)
    # Both turns within one slot of the schedule: what is asked twice is done once.
    monkeypatch.setattr("workers.job.claim_turn", lambda name: name == "quizzes.expire")
    for _ in range(2):
        quiz_tasks.expire()
    assert run_due(["quizzes.close"])
    assert not run_due(["quizzes.close"])
    found = ana.get(f"/quiz-attempts/{attempt['id']}").get_json()
    assert (found["state"], found["passed"], found["earned"]) == ("graded", True, 1)
    assert found["submittedAt"] == found["deadlineAt"]
    assert ana.xp == 25
    assert rows("SELECT state FROM jobs WHERE kind = 'quizzes.close'") == [("done",)]
    quiz_tasks.expire()
    assert not run_due(["quizzes.close"])


def test_many_that_are_overdue_are_asked_for_in_batches(staff: Staff, ana: Student) -> None:
    quiz = staff.make(SINGLE, timeLimit=20)
    attempt = ana.start(quiz).get_json()
    run("INSERT INTO users (email) SELECT 'crowd-' || n || '@example.com' FROM generate_series(1, 30) n")
    run(
        "INSERT INTO quiz_attempts (user_id, quiz_id, number, quiz_version, key_version, passing_score, possible,"
        " deadline_at) SELECT u.id, a.quiz_id, 1, a.quiz_version, a.key_version, 70, 1, a.deadline_at"
        " FROM users u, quiz_attempts a WHERE u.email LIKE 'crowd-%'"
    )
    run(
        "UPDATE quiz_attempts SET deadline_at = now() - interval '1 minute', started_at = now() - interval '2 hours'"
    )
    asked = []
    while not asked or asked[-1]:
        with transaction() as session:
            asked.append(quiz_tasks.quizzes.ask_close(session, 12))
    assert asked == [12, 12, 7, 0]
    while run_due(["quizzes.close"]):
        pass
    assert rows("SELECT state, passed, count(*) FROM quiz_attempts GROUP BY 1, 2") == [("graded", False, 31)]
    assert ana.get(f"/quiz-attempts/{attempt['id']}").get_json()["state"] == "graded"


def test_who_comes_back_too_late_begins_anew_without_waiting_for_beat(staff: Staff, ana: Student) -> None:
    quiz = staff.make(SINGLE, timeLimit=20, maxAttempts=2)
    first = ana.start(quiz).get_json()
    ana.save(first, "a")
    pass_time(first, 60)
    second = ana.start(quiz)
    assert (second.status_code, second.get_json()["number"]) == (201, 2)
    assert ana.get(f"/quiz-attempts/{first['id']}").get_json()["passed"] is True
    assert ana.xp == 25


def test_an_attempt_keeps_what_it_began_with(staff: Staff, ana: Student) -> None:
    quiz = staff.make(SINGLE, TRUE, passingScore=50)
    attempt = ana.start(quiz).get_json()
    stored = staff.get(f"/quizzes/{quiz['id']}").get_json()
    edited = staff.edit(stored, questions=[stored["questions"][1] | {"points": 9}], passingScore=100)
    assert (edited.status_code, len(edited.get_json()["questions"])) == (200, 1)
    assert staff.post(f"/quizzes/{quiz['id']}/unpublish").status_code == 200
    result = ana.submit(attempt, "a", False).get_json()
    assert (result["possible"], result["earned"], result["passed"], result["passingScore"]) == (
        2,
        1,
        True,
        50,
    )
    assert code(ana.start(quiz)) == (404, "quiz_not_found")


def test_who_may_not_take_it_is_told_why(staff: Staff, ana: Student, client: FlaskClient) -> None:
    quiz = staff.make(SINGLE)
    attempt = ana.start(quiz).get_json()
    ben = Student(client, bearer(subject="ben@example.com"), demo.fixed_id("student", "ben@example.com"))
    assert code(ben.start(quiz)) == (404, "not_enrolled")
    assert code(ben.get(f"/courses/{COURSE}/quizzes")) == (404, "not_enrolled")
    for answer in (
        ben.get(f"/quiz-attempts/{attempt['id']}"),
        ben.save(attempt, "a"),
        ben.submit(attempt, "a"),
    ):
        assert code(answer) == (404, "quiz_attempt_not_found")
    assert ben.get(f"/quizzes/{quiz['id']}/attempts").get_json()["data"] == []
    for unknown in (str(uuid.uuid4()), "seven"):
        assert code(ana.start({"id": unknown})) == (404, "quiz_not_found")
        assert code(ana.get(f"/quiz-attempts/{unknown}")) == (404, "quiz_attempt_not_found")
    for wrong in ("x", "9" * 40, "²"):
        answer = ana.client.get(
            f"/api/quizzes/{quiz['id']}/attempts", query_string={"cursor": wrong}, headers=ana.headers
        )
        assert code(answer) == (400, "invalid_cursor")
    assert code(client.post(f"/api/quizzes/{quiz['id']}/attempts", json={})) == (401, "not_signed_in")


def test_lists_are_read_page_by_page(staff: Staff, ana: Student) -> None:
    quizzes = [staff.make(SINGLE, title=f"Quiz {number}")["id"] for number in range(3)]
    path = f"/courses/{COURSE}/quizzes?limit=2"
    first = ana.get(path).get_json()
    rest = ana.get(f"{path}&cursor={first['next_cursor']}").get_json()
    assert [item["id"] for item in first["data"] + rest["data"]] == quizzes
    assert (first["has_more"], rest["has_more"], rest["next_cursor"]) == (True, False, None)
    for _ in range(3):
        ana.take({"id": quizzes[0]})
    first = ana.get(f"/quizzes/{quizzes[0]}/attempts?limit=2").get_json()
    rest = ana.get(f"/quizzes/{quizzes[0]}/attempts?limit=2&cursor={first['next_cursor']}").get_json()
    assert [item["number"] for item in first["data"] + rest["data"]] == [3, 2, 1]


def test_a_feature_that_is_off_answers_so(staff: Staff, ana: Student) -> None:
    quiz = staff.make(SINGLE)
    with transaction() as session:
        flags.switch(session, "quizzes", on=False, actor="test")
    try:
        assert code(ana.start(quiz)) == (404, "feature_off")
        assert code(ana.get(f"/courses/{COURSE}/quizzes")) == (404, "feature_off")
        assert code(staff.get("/quizzes")) == (404, "feature_off")
    finally:
        with transaction() as session:
            flags.switch(session, "quizzes", on=True, actor="test")
    assert ana.start(quiz).status_code == 201


def test_a_quiz_goes_with_its_course_and_so_do_its_xp(staff: Staff, ana: Student) -> None:
    from domain import courses
    from tests.xp.conftest import CURVE

    quiz = staff.make(SINGLE, timeLimit=20)
    ana.take(quiz, "a")
    attempt = ana.start(quiz).get_json()
    run("UPDATE courses SET deleted_at = now() WHERE id = :id", id=COURSE)
    assert code(ana.submit(attempt, "a")) == (404, "quiz_attempt_not_found")
    assert code(ana.start(quiz)) == (404, "quiz_not_found")
    with transaction() as session:
        assert courses.delete(session, CURVE, COURSE)
    assert ana.xp == 0
    assert [count(table) for table in ("quizzes", "questions", "quiz_attempts", "quiz_versions")] == [0] * 4
