"""What staff do: quizzes that hold together, regrades both ways, essays, voided attempts, more time and attempts."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask.testing import FlaskClient

import tasks.gamification
import tasks.quizzes  # noqa: F401 - registers the kinds
from api.ops_quizzes import QuizEdit
from db.session import transaction
from domain import counters, demo, quiz_editing, quizzes
from tests.api.conftest import OTHER, STUDENT, bearer, count, run
from tests.quizzes.conftest import (
    AB,
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
from tests.stack import make_students, rows, scalar
from tests.xp.conftest import CURVE
from workers.job import run_due

STANDING = """
    SELECT u.email, a.generation FROM xp_transactions a JOIN users u ON u.id = a.user_id WHERE a.kind = 'award'
        AND NOT EXISTS (SELECT 1 FROM xp_transactions r WHERE r.reverses_id = a.id) ORDER BY u.email
"""


def regrade(staff: Staff, quiz: dict[str, Any]) -> None:
    assert staff.post(f"/quizzes/{quiz['id']}/regrade").status_code == 202
    assert run_due(["quizzes.regrade"])


def correct(staff: Staff, quiz: dict[str, Any], **changes: Any) -> None:
    """Change the first question of a quiz."""
    stored = staff.get(f"/quizzes/{quiz['id']}").get_json()
    questions = [stored["questions"][0] | changes, *stored["questions"][1:]]
    assert staff.edit(stored, questions=questions).status_code == 200


@pytest.fixture
def ben(client: FlaskClient, ana: Student) -> Student:
    """Another student of the course."""
    run("INSERT INTO enrollments (user_id, course_id) VALUES (:user, :course)", user=OTHER, course=COURSE)
    return Student(client, bearer(subject="ben@example.com"), OTHER)


def test_a_quiz_is_made_read_edited_and_listed(staff: Staff) -> None:
    lesson = demo.lesson_id("OWN-101", 1)
    made = staff.make(SINGLE | {"points": 2}, TRUE, publish=False, lessonId=lesson, xpReward=5)
    assert (made["lessonId"], made["maxAttempts"], made["passingScore"], made["isPublished"]) == (
        lesson,
        3,
        70,
        False,
    )
    read = staff.get(f"/quizzes/{made['id']}")
    assert (read.get_json(), read.headers["ETag"]) == (made, '"1"')
    one, two = made["questions"]
    edited = staff.edit(made, title="Better", questions=[two | {"points": 3}, SINGLE | {"question": "New?"}])
    body = edited.get_json()
    assert (body["title"], body["version"], edited.headers["ETag"]) == ("Better", 2, '"2"')
    assert [(item["id"] == two["id"], item["points"]) for item in body["questions"]] == [
        (True, 3),
        (False, 1),
    ]
    assert one["id"] not in str(body)
    first = staff.get(f"/quizzes?courseId={COURSE}&limit=1").get_json()
    assert ([item["id"] for item in first["data"]], first["next_cursor"]) == ([made["id"]], None)
    assert staff.get(f"/quizzes?courseId={uuid.uuid4()}").get_json()["data"] == []
    actions = rows("SELECT action, actor FROM staff_actions WHERE subject_type = 'quiz' ORDER BY created_at")
    assert actions == [("quiz.create", "staff@example.com"), ("quiz.edit", "staff@example.com")]


def test_two_people_do_not_edit_over_each_other(staff: Staff) -> None:
    quiz = staff.make(SINGLE, publish=False)
    assert staff.edit(quiz, title="First").status_code == 200
    stale = staff.edit(quiz, title="Second")
    assert (code(stale), stale.headers["ETag"]) == ((412, "stale_version"), '"2"')
    body = {"title": "Third", "questions": []}
    path = f"/api/ops/quizzes/{quiz['id']}"
    assert code(staff.client.put(path, json=body, headers=staff.headers)) == (428, "version_required")
    weak = staff.client.put(path, json=body, headers={**staff.headers, "If-Match": 'W/"2"'})
    assert code(weak) == (412, "stale_version")
    assert scalar("SELECT title FROM quizzes") == "First"


def test_a_quiz_of_nothing_cannot_be_published(staff: Staff) -> None:
    quiz = staff.make(SINGLE | {"points": 0}, publish=False)
    path = f"/quizzes/{quiz['id']}"
    assert code(staff.post(f"{path}/publish")) == (409, "quiz_without_points")
    assert staff.edit(quiz, questions=[quiz["questions"][0] | {"points": 1}]).status_code == 200
    published = staff.post(f"{path}/publish")
    assert published.get_json()["isPublished"] is True
    stored = staff.get(path).get_json()
    for questions in ([], [stored["questions"][0] | {"points": 0}]):
        assert code(staff.edit(stored, questions=questions)) == (409, "quiz_without_points")
    assert len(staff.get(path).get_json()["questions"]) == 1
    assert scalar("SELECT points FROM questions") == 1


def test_values_that_cannot_be_are_pointed_at_and_nothing_is_written(staff: Staff) -> None:
    quiz = staff.make(SINGLE, TRUE, publish=False)
    first, second = quiz["questions"]
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({"questions": [first, first]}, ["/questions/1/id"]),
        ({"questions": [first | {"id": str(uuid.uuid4())}]}, ["/questions/0/id"]),
        ({"questions": [second | {"id": first["id"]}]}, ["/questions/0/type"]),
        ({"questions": [first, SINGLE | {"correctAnswer": "z"}]}, ["/questions/1"]),
        ({"questions": [TRUE | {"options": AB}, SINGLE | {"options": []}]}, ["/questions/0", "/questions/1"]),
        ({"questions": [SINGLE | {"question": "a\0"}]}, ["/questions/0/question"]),
        ({"lessonId": demo.lesson_id("OWN-201", 1)}, ["/lessonId"]),
        ({"timeLimit": 0}, ["/timeLimit"]),
        ({"passingScore": 101}, ["/passingScore"]),
    ]
    for fields, expected in cases:
        assert pointers(staff.edit(quiz, **fields)) == expected
    assert staff.get(f"/quizzes/{quiz['id']}").get_json() == quiz
    body = {"courseId": str(uuid.uuid4()), "title": "Quiz", "questions": []}
    assert code(staff.post("/quizzes", body)) == (404, "course_not_found")
    assert code(staff.post(f"/quizzes/{quiz['id']}/publish", {})) == (422, "validation_failed"), "why?"
    assert count("quizzes") == 1


def test_the_same_key_makes_one_quiz(staff: Staff) -> None:
    body = {"courseId": COURSE, "title": "Quiz", "questions": [SINGLE]}
    made = [staff.post("/quizzes", body, **{"Idempotency-Key": "q"}) for _ in range(2)]
    assert (made[0].status_code, made[0].data) == (201, made[1].data)
    assert count("quizzes") == count("questions") == 1


def test_only_staff_may(staff: Staff, ana: Student) -> None:
    quiz = staff.make(SINGLE)
    own = ana.start(quiz).get_json()
    for path in (f"quizzes/{quiz['id']}", "quizzes", "quiz-attempts", f"quiz-attempts/{own['id']}"):
        assert code(ana.get(f"/ops/{path}")) == (403, "wrong_role")
    for path in (f"quizzes/{quiz['id']}/regrade", f"quiz-attempts/{own['id']}/void", "quiz-accommodations"):
        answer = ana.client.post(f"/api/ops/{path}", json={}, headers=ana.headers)
        assert code(answer) == (403, "wrong_role")


def test_a_corrected_answer_takes_xp_and_gives_them(staff: Staff, ana: Student, ben: Student) -> None:
    quiz = staff.make(SINGLE, xpReward=30)
    assert ana.take(quiz, "a")["passed"] is True
    assert ben.take(quiz, "b")["passed"] is False
    late = ben.start(quiz).get_json()
    correct(staff, quiz, correctAnswer="b", explanation="It was b.")
    assert rows(STANDING) == [("ana@example.com", 0)], "an edit alone changes no result"
    regrade(staff, quiz)
    assert rows(STANDING) == [("ben@example.com", 0)]
    assert rows("SELECT reason FROM xp_transactions WHERE kind = 'reversal'") == [("quiz_not_passed",)]
    assert ben.submit(late, "b").get_json()["passed"] is True, "who is still at it gets the new key too"
    correct(staff, quiz, correctAnswer="a")
    regrade(staff, quiz)
    assert rows(STANDING) == [("ana@example.com", 1)], "given anew"
    assert (ana.xp, ben.xp) == (30, 0)
    regrade(staff, quiz)
    assert scalar("SELECT count(*) FROM xp_transactions") == 5, "again, it changes nothing"


def test_one_of_two_passes_is_enough_for_the_xp(staff: Staff, ana: Student) -> None:
    quiz = staff.make(SINGLE, TRUE, passingScore=50)
    ana.take(quiz, "a", False)
    ana.take(quiz, "b", True)
    correct(staff, quiz, correctAnswer="b")
    regrade(staff, quiz)
    assert rows("SELECT passed FROM quiz_attempts ORDER BY number") == [(False,), (True,)]
    assert rows(STANDING) == [("ana@example.com", 0)]
    assert count("xp_transactions") == 1


def test_a_question_that_was_bad_is_taken_out_by_its_points(staff: Staff, ana: Student) -> None:
    quiz = staff.make(SINGLE, TRUE)
    assert ana.take(quiz, "b", True)["passed"] is False
    correct(staff, quiz, points=0)
    regrade(staff, quiz)
    found = ana.get(f"/quizzes/{quiz['id']}/attempts").get_json()["data"][0]
    assert (found["passed"], found["earned"], found["possible"]) == (True, 1, 1)


def test_a_regrade_goes_on_where_it_stopped(staff: Staff, ana: Student) -> None:
    quiz = staff.make(SINGLE, maxAttempts=10)
    for _ in range(5):
        ana.take(quiz, "b")
    correct(staff, quiz, correctAnswer="b")
    with transaction() as session:
        assert quiz_editing.regrade_batch(session, CURVE, quiz["id"], 2)
    assert scalar("SELECT count(*) FROM quiz_attempts WHERE passed") == 2
    regrade(staff, quiz)
    assert scalar("SELECT count(*) FROM quiz_attempts WHERE passed") == 5
    assert ana.xp == 25
    assert rows("SELECT state FROM jobs WHERE kind = 'quizzes.regrade'") == [("done",)]


def test_essays_wait_for_a_person(staff: Staff, ana: Student) -> None:
    quiz = staff.make(SINGLE, ESSAY, ESSAY, passingScore=60)
    result = ana.take(quiz, "a", "Because.", "And because.")
    assert (result["state"], result["passed"], result["earned"]) == ("submitted", None, 1)
    assert ana.xp == 0
    [waiting] = staff.get("/quiz-attempts").get_json()["data"]
    assert (waiting["id"], waiting["userId"], waiting["quizTitle"]) == (result["id"], STUDENT, "Quiz")
    assert staff.get(f"/quiz-attempts?quizId={uuid.uuid4()}").get_json()["data"] == []
    path = f"/quiz-attempts/{result['id']}"
    seen = staff.get(path)
    _, one, two = [question["id"] for question in seen.get_json()["questions"]]
    assert [question["answer"] for question in seen.get_json()["questions"]][1] == "Because."
    assert [question["mark"] is None for question in seen.get_json()["questions"]] == [False, True, True]

    def give(etag: str, *marks: tuple[str, Any]) -> Any:
        body = {"marks": [{"questionId": id, "earned": earned, "feedback": "Good."} for id, earned in marks]}
        return staff.post(f"{path}/grade", body, **{"If-Match": etag})

    half = give(seen.headers["ETag"], (one, "1.5"))
    assert (half.get_json()["state"], half.get_json()["earned"]) == ("submitted", 2.5)
    assert code(give(seen.headers["ETag"], (two, 4))) == (412, "stale_version")
    for wrong in ("4.001", -1, "NaN", 1001, None):
        assert code(give(half.headers["ETag"], (two, wrong))) == (422, "validation_failed")
    assert pointers(give(half.headers["ETag"], (two, 4.5))) == ["/marks/0/earned"]
    choice = seen.get_json()["questions"][0]["id"]
    assert pointers(give(half.headers["ETag"], (two, 1), (two, 2), (choice, 1))) == [
        "/marks/1/questionId",
        "/marks/2/questionId",
    ]
    assert ana.xp == 0
    done = give(half.headers["ETag"], (two, 4))
    assert (done.get_json()["state"], done.get_json()["passed"], done.get_json()["earned"]) == (
        "graded",
        True,
        6.5,
    )
    assert ana.xp == 25
    assert staff.get("/quiz-attempts").get_json()["data"] == []
    assert ana.get(path).get_json()["questions"][1]["feedback"] == "Good."
    assert give(done.headers["ETag"], (two, 0)).get_json()["passed"] is False
    assert ana.xp == 0, "a grade that is corrected takes the XP back"
    regrade(staff, quiz)
    assert scalar("SELECT earned FROM quiz_attempts") == 2.5, "a regrade keeps what a person gave"
    assert scalar("SELECT count(*) FROM staff_actions WHERE action = 'quiz.grade'") == 3


def test_a_failed_attempt_shows_a_persons_word_but_not_the_answers(staff: Staff, ana: Student) -> None:
    quiz = staff.make(SINGLE, ESSAY, passingScore=100)
    result = ana.take(quiz, "a", "Because.")
    body = {"marks": [{"questionId": result["questions"][1]["id"], "earned": 1, "feedback": "Too short."}]}
    staff.post(f"/quiz-attempts/{result['id']}/grade", body, **{"If-Match": '"2"'})
    first, essay = ana.get(f"/quiz-attempts/{result['id']}").get_json()["questions"]
    assert (first["earned"], first["correctAnswer"]) == (None, None)
    assert (essay["earned"], essay["feedback"]) == (1, "Too short.")


def test_nobody_grades_their_own_attempt_or_an_open_one(staff: Staff, ana: Student) -> None:
    quiz = staff.make(ESSAY)
    attempt = ana.start(quiz).get_json()
    body = {"marks": [{"questionId": attempt["questions"][0]["id"], "earned": 4}]}
    path, match = f"/quiz-attempts/{attempt['id']}/grade", {"If-Match": '"1"'}
    assert code(staff.post(path, body, **match)) == (409, "quiz_attempt_not_gradable")
    ana.submit(attempt, "Because.")
    own = Staff(staff.client, bearer("ops", "ana@example.com"))
    assert code(own.post(path, body, **{"If-Match": '"2"'})) == (403, "quiz_attempt_own")
    unknown = f"/quiz-attempts/{uuid.uuid4()}"
    assert code(staff.post(f"{unknown}/grade", body, **match)) == (404, "quiz_attempt_not_found")
    assert code(staff.get(unknown)) == (404, "quiz_attempt_not_found")
    assert ana.xp == 0


def test_a_voided_attempt_counts_for_nothing(staff: Staff, ana: Student) -> None:
    quiz = staff.make(SINGLE, maxAttempts=1)
    result = ana.take(quiz, "a")
    assert code(ana.start(quiz)) == (409, "quiz_attempts_used_up")
    path = f"/quiz-attempts/{result['id']}/void"
    assert staff.post(path).get_json() == {"id": result["id"], "state": "void"}
    assert ana.xp == 0
    assert code(staff.post(path)) == (409, "quiz_attempt_closed")
    second = ana.start(quiz).get_json()
    assert second["number"] == 2
    assert staff.post(f"/quiz-attempts/{second['id']}/void").status_code == 200
    assert code(ana.submit(second, "a")) == (409, "quiz_attempt_closed")
    assert ana.take(quiz, "a")["passed"] is True
    assert rows(STANDING) == [("ana@example.com", 1)]
    audit = rows("SELECT reason, detail->>'passed' FROM staff_actions WHERE action = 'quiz.void_attempt'")
    assert sorted(audit, key=str) == [("asked for", "true"), ("asked for", None)]


def test_more_time_and_more_attempts(staff: Staff, ana: Student, ben: Student) -> None:
    quiz = staff.make(SINGLE, maxAttempts=1, timeLimit=20)

    def grant(factor: float, extra: int, quiz_id: str | None, user: str = STUDENT) -> Any:
        body = {
            "userId": user,
            "quizId": quiz_id,
            "timeFactor": factor,
            "extraAttempts": extra,
            "reason": "r",
        }
        return staff.post("/quiz-accommodations", body)

    assert grant(1.5, 0, None).get_json()["timeFactor"] == 1.5
    first = ana.start(quiz).get_json()
    assert scalar("SELECT deadline_at - started_at = interval '30 minutes' FROM quiz_attempts")
    ana.submit(first, "b")
    assert code(ana.start(quiz)) == (409, "quiz_attempts_used_up")
    for _ in range(2):
        assert grant(1.25, 1, quiz["id"]).status_code == 200
    assert ana.get(f"/courses/{COURSE}/quizzes").get_json()["data"][0]["maxAttempts"] == 2
    second = ana.start(quiz).get_json()
    minutes = "SELECT deadline_at - started_at = interval '30 minutes' FROM quiz_attempts WHERE number = 2"
    assert scalar(minutes), "the longer of the two"
    pass_time(second, 60)
    assert code(ana.start(quiz)) == (409, "quiz_attempts_used_up")
    ben.start(quiz)
    others = "SELECT deadline_at - started_at = interval '20 minutes' FROM quiz_attempts WHERE user_id = :id"
    assert scalar(others, id=ben.id)
    assert count("quiz_accommodations") == 2
    assert code(grant(1, 1, None, str(uuid.uuid4()))) == (404, "user_not_found")
    assert code(grant(1, 1, str(uuid.uuid4()))) == (404, "quiz_not_found")
    assert code(grant(0.5, 0, None)) == code(grant(1, -1, None)) == (422, "validation_failed")
    assert scalar("SELECT count(*) FROM staff_actions WHERE action = 'quiz.accommodate'") == 3


def test_the_queue_is_read_page_by_page(staff: Staff, ana: Student) -> None:
    quiz = staff.make(ESSAY, maxAttempts=3)
    made = [ana.take(quiz, f"Because {number}.")["id"] for number in range(3)]
    first = staff.get("/quiz-attempts?limit=2").get_json()
    rest = staff.get(f"/quiz-attempts?limit=2&cursor={first['next_cursor']}").get_json()
    assert [item["id"] for item in first["data"] + rest["data"]] == made
    assert (first["has_more"], rest["has_more"], rest["next_cursor"]) == (True, False, None)
    assert code(staff.get("/quiz-attempts?cursor=x")) == (400, "invalid_cursor")


def test_taking_editing_and_regrading_at_once_leaves_xp_where_a_pass_stands(
    staff: Staff, ana: Student
) -> None:
    quiz = staff.make(SINGLE, maxAttempts=100)
    students = [ana.id, *make_students(2, prefix="crowd")]
    [question], body = quiz["questions"], {"title": "Quiz", "maxAttempts": 100}
    for student in students[1:]:
        run("INSERT INTO enrollments (user_id, course_id) VALUES (:u, :c)", u=student, c=COURSE)

    def take(student: str) -> None:
        for number in range(4):
            with transaction() as session:
                attempt, _ = quizzes.start(session, CURVE, student, quiz["id"])
            with transaction() as session:
                quizzes.submit(session, CURVE, student, attempt.id, [(question["id"], "ab"[number % 2])])

    def change(_: str) -> None:
        for version, right in enumerate("bab", 1):
            with transaction() as session:
                draft = QuizEdit.model_validate(body | {"questions": [question | {"correctAnswer": right}]})
                quiz_editing.edit(session, quiz["id"], version, draft.draft(), quiz_editing.Who("test", None))
            with transaction() as session:
                while quiz_editing.regrade_batch(session, CURVE, quiz["id"], 3):
                    pass

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(take, student) for student in students]
        done.append(pool.submit(change, ""))
        for each in done:
            each.result()
    regrade(staff, quiz)
    assert count("quiz_attempts") == 12
    assert scalar("SELECT count(*) FROM quiz_attempts WHERE state <> 'graded' OR key_version <> 4") == 0
    assert scalar("SELECT count(*) FROM quiz_attempts WHERE passed") == 6
    assert len(rows(STANDING)) == 3


def test_counters_follow_what_is_passed(staff: Staff, ana: Student) -> None:
    quiz = staff.make(SINGLE, TRUE, passingScore=50)

    def counted() -> dict[str, int]:
        assert run_due([counters.SETTLE])
        names = ["quizzes.passed", "quizzes.perfect"]
        found = (
            "SELECT name, value FROM user_counters WHERE user_id = :id AND name = ANY(:names) AND NOT stale"
        )
        return dict(rows(found, id=ana.id, names=names))

    half = ana.take(quiz, "a", False)
    assert counted() == {"quizzes.passed": 1, "quizzes.perfect": 0}
    ana.take(quiz, "a", True)
    assert counted() == {"quizzes.passed": 1, "quizzes.perfect": 1}
    assert scalar("SELECT count(*) FROM user_activity_days WHERE user_id = :id", id=ana.id) == 1
    staff.post(f"/quiz-attempts/{half['id']}/void")
    assert counted() == {"quizzes.passed": 1, "quizzes.perfect": 1}
    correct(staff, quiz, correctAnswer="b")
    regrade(staff, quiz)
    assert counted() == {"quizzes.passed": 1, "quizzes.perfect": 0}
