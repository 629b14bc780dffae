"""Pages of courses, lessons, quizzes and assignments as forms, without a browser: what they say, take and refuse."""

from __future__ import annotations

import io
import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from html import unescape
from typing import Any

import pytest
from flask.testing import FlaskClient

from api.pages.markdown import render as markdown
from db.session import transaction
from domain import demo, flags
from settings import get_settings
from tests.api.conftest import HTML, OTHER, STUDENT, bearer, count, run
from tests.api.test_student import counted_queries
from tests.assignments.test_files import PDF
from tests.quizzes.conftest import ABCD, COURSE, ESSAY, SINGLE, TRUE, Staff, pass_time
from tests.stack import rows, scalar

BUILDS_ON_IT = demo.course_id("OWN-201")
LESSON = demo.lesson_id("OWN-101", 1)
MULTIPLE = {
    "type": "multiple",
    "question": "Which two?",
    "options": ABCD,
    "correctAnswer": ["a", "b"],
    "points": 2,
}
SHORT = {"type": "short_text", "question": "Name?", "correctAnswer": ["Usher"], "points": 1}
NUMERIC = {
    "type": "numeric",
    "question": "Pi?",
    "correctAnswer": {"value": "3.14", "tolerance": "0.01"},
    "points": 1,
}
SIDES = {"left": [{"id": "1", "text": "one"}, {"id": "2", "text": "two"}], "right": ABCD}
MATCHING = {
    "type": "matching",
    "question": "Pairs?",
    "options": SIDES,
    "correctAnswer": [["1", "a"], ["2", "b"]],
    "points": 2,
}
ORDERING = {
    "type": "ordering",
    "question": "Order?",
    "options": ABCD,
    "correctAnswer": ["a", "b", "c", "d"],
    "points": 4,
}
EVERY_TYPE = (SINGLE, MULTIPLE, TRUE, SHORT, NUMERIC, MATCHING, ORDERING, ESSAY)


@dataclass
class Reader:
    """Ana with a browser that has no scripts."""

    client: FlaskClient
    headers: dict[str, str]

    def open(self, path: str, status: int = 200) -> str:
        answer = self.client.get(path, headers=self.headers)
        assert answer.status_code == status, answer.get_data(as_text=True)
        return unescape(answer.get_data(as_text=True))

    def send(self, path: str, status: int = 303, page: str = "", **fields: Any) -> Any:
        """Post a form with the key that its page has; return the answer."""
        key = re.search(r'name="key" value="([^"]+)"', page)
        data = {**({"key": key[1]} if key else {}), **fields}
        answer = self.client.post(path, data=data, headers=self.headers)
        assert answer.status_code == status, answer.get_data(as_text=True)
        return answer

    def enroll(self) -> None:
        self.send(f"/courses/{COURSE}/enroll")

    def start(self, quiz: dict[str, Any]) -> str:
        """Begin an attempt; return its address."""
        return str(self.send(f"/quizzes/{quiz['id']}/attempts").headers["Location"])


@pytest.fixture
def ana(client: FlaskClient) -> Reader:
    return Reader(client, {**bearer(), **HTML})


@pytest.fixture
def staff(client: FlaskClient) -> Staff:
    return Staff(client, bearer("ops", "staff@example.com"))


def hidden(page: str) -> dict[str, str]:
    """Return the hidden fields of a page's quiz."""
    return dict(re.findall(r'name="(was-[^"]+)" value="([^"]+)"', page))


def in_order(quiz: dict[str, Any]) -> list[str]:
    return [
        str(row[0])
        for row in rows('SELECT id FROM questions WHERE quiz_id = :id ORDER BY "order"', id=quiz["id"])
    ]


def make_assignment(client: FlaskClient, **changes: Any) -> str:
    made = str(uuid.uuid4())
    body = {
        "courseId": COURSE,
        "title": "A plan",
        "maxPoints": 80,
        "isPublished": True,
        "reason": "new",
        **changes,
    }
    answer = client.put(f"/api/ops/assignments/{made}", json=body, headers=bearer("ops", "staff@example.com"))
    assert answer.status_code == 201, answer.get_json()
    return made


# Courses


def test_the_catalogue_says_what_is_open_and_what_comes_first(ana: Reader) -> None:
    page = ana.open("/courses")
    assert page.count("Not enrolled") == 2
    assert "Complete first:" in page
    assert f'action="/courses/{COURSE}/enroll"' in page
    assert f'action="/courses/{BUILDS_ON_IT}/enroll"' not in page
    run("INSERT INTO categories (slug, name) VALUES ('soft', 'Soft skills')")
    run("UPDATE courses SET category_id = (SELECT id FROM categories) WHERE id = :id", id=COURSE)
    narrowed = ana.open("/courses?category=soft&difficulty=&q=")
    assert "Learning to Learn" in narrowed
    assert "Teaching Others" not in narrowed
    assert "Nothing fits" in ana.open("/courses?q=zebra")


def test_the_catalogue_goes_on_where_the_page_ended(ana: Reader) -> None:
    first = ana.open("/courses?limit=1")
    older = re.search(r'href="(/courses\?cursor=[^"]+)"', first)
    assert older is not None
    titles = [title for title in ("Learning to Learn", "Teaching Others") if title in first]
    assert len(titles) == 1
    assert f">{titles[0]}</a></h2>" not in ana.open(older[1])
    ana.open("/courses?cursor=nonsense", 400)


def test_enrolling_opens_the_course_once(ana: Reader) -> None:
    page = ana.open(f"/courses/{COURSE}")
    assert f"/courses/{COURSE}/lessons/" not in page
    answers = [ana.send(f"/courses/{COURSE}/enroll", page=page) for _ in range(2)]
    assert answers[0].headers["Location"] == answers[1].headers["Location"] == f"/courses/{COURSE}?enrolled=1"
    assert ana.send(f"/courses/{COURSE}/enroll").headers["Location"] == f"/courses/{COURSE}"
    assert count("enrollments") == 1
    assert "You are enrolled." in ana.open(f"/courses/{COURSE}?enrolled=1")


def test_a_course_that_builds_on_another_says_so_and_stays_closed(ana: Reader) -> None:
    page = ana.open(f"/courses/{BUILDS_ON_IT}")
    assert "Complete them first" in page
    assert "Learning to Learn" in page
    refused = ana.send(f"/courses/{BUILDS_ON_IT}/enroll", 422).get_data(as_text=True)
    assert 'role="alert"' in refused
    assert 'href="#first"' in refused
    assert 'id="first"' in refused
    assert count("enrollments") == 0


def test_two_clicks_at_once_do_it_once(ana: Reader) -> None:
    page = ana.open(f"/courses/{COURSE}")
    app = ana.client.application
    with ThreadPoolExecutor(2) as pool:
        twins = [Reader(app.test_client(), ana.headers) for _ in range(2)]
        sent = list(pool.map(lambda twin: twin.send(f"/courses/{COURSE}/enroll", page=page), twins))
    assert {answer.headers["Location"] for answer in sent} == {f"/courses/{COURSE}?enrolled=1"}
    assert count("enrollments") == 1


def test_a_lesson_gives_its_xp_once_and_says_so(ana: Reader) -> None:
    ana.enroll()
    address = f"/courses/{COURSE}/lessons/{LESSON}"
    page = ana.open(address)
    assert "gives 50 XP" in page
    run("UPDATE lessons SET xp_reward = 100 WHERE id = :id", id=LESSON)
    done = [ana.send(f"{address}/complete", page=page).headers["Location"] for _ in range(2)]
    assert done == [f"{address}?done=1"] * 2
    shown = ana.open(done[0])
    assert "+100 XP" in shown
    assert "You reached level 1." in shown
    assert "Next lesson: Planning a week" in shown
    assert ana.send(f"{address}/complete").headers["Location"] == address
    assert "You reached level" not in ana.open(address)
    assert scalar("SELECT total_xp FROM users WHERE id = :id", id=STUDENT) == 100


def test_the_last_lesson_completes_the_course(ana: Reader) -> None:
    ana.enroll()
    for number in (1, 2, 3):
        address = f"/courses/{COURSE}/lessons/{demo.lesson_id('OWN-101', number)}"
        ana.send(f"{address}/complete")
    assert "Completing the course gave you +200 XP." in ana.open(f"{address}?done=1")
    page = ana.open(f"/courses/{COURSE}")
    assert "3 of 3 lessons" in page
    assert "Completed" in page
    assert f'action="/courses/{BUILDS_ON_IT}/enroll"' in ana.open(f"/courses/{BUILDS_ON_IT}")


def test_a_lesson_of_a_course_of_others_leads_to_the_course(ana: Reader) -> None:
    answer = ana.client.get(f"/courses/{COURSE}/lessons/{LESSON}", headers=ana.headers)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/courses/{COURSE}")
    sent = ana.send(f"/courses/{COURSE}/lessons/{LESSON}/complete")
    assert sent.headers["Location"] == f"/courses/{COURSE}"
    ana.open(f"/courses/{COURSE}/lessons/{uuid.uuid4()}", 404)
    ana.open("/courses/nonsense", 404)


def test_what_an_author_writes_is_text_and_never_markup_of_ours(ana: Reader) -> None:
    ana.enroll()
    bad = "<script>x</script> [a](javascript:x) ![p](https://e.org/p.png)\n\n# H\n\n| a |\n|--:|\n| 1 |\n"
    run("UPDATE lessons SET body = :body, video_url = 'https://e.org/v' WHERE id = :id", body=bad, id=LESSON)
    answer = ana.client.get(f"/courses/{COURSE}/lessons/{LESSON}", headers=ana.headers).get_data(as_text=True)
    assert "<script>x" not in answer
    assert "&lt;script&gt;x" in answer
    assert 'href="javascript' not in answer
    assert "<img" not in answer
    assert " style=" not in answer
    assert '<a href="https://e.org/p.png" rel="noopener noreferrer">p</a>' in answer
    assert "<h2>H</h2>" in answer
    for scheme in (
        "javascript:x",
        "JAVASCRIPT:x",
        "data:text/html,x",
        "vbscript:x",
        "&#106;avascript:x",
        "java&Tab;script:x",
    ):
        assert "href" not in markdown(f"[a]({scheme})"), scheme


# Quizzes


def test_every_type_of_question_is_answered_saved_and_shown_again(ana: Reader, staff: Staff) -> None:
    ana.enroll()
    quiz = staff.make(*EVERY_TYPE, timeLimit=30)
    assert "You have 30 minutes." in ana.open(f"/quizzes/{quiz['id']}")
    address = ana.start(quiz)
    page = ana.open(address)
    one, many, true, short, number, pairs, order, essay = in_order(quiz)
    fields = {
        **hidden(page),
        f"q-{one}": "a",
        f"q-{many}": ["a", "b"],
        f"q-{true}": "true",
        f"q-{short}": "usher",
        f"q-{number}": "3.14",
        f"q-{pairs}-0": "a",
        f"q-{pairs}-1": "c",
        f"q-{essay}": "Line one\r\nLine two",
        **{f"q-{order}-{line}": str(line + 1) for line in range(4)},
    }
    ana.send(address, page=page, action="save", **fields)
    saved = ana.open(f"{address}?saved=1")
    assert "Your answers were saved at" in saved
    assert saved.count(" checked") == 4
    assert saved.count(" selected") == 6
    assert "Line one\nLine two</textarea>" in saved
    ana.send(address, page=saved, action="submit", **{**fields, **hidden(saved)})
    result = ana.open(address)
    assert "Waits for a person" in result
    assert "11 of 16" in result
    assert "Right is" not in result
    staff.client.post(
        f"/api/ops/quiz-attempts/{address.rsplit('/', 1)[1]}/grade",
        json={"marks": [{"questionId": essay, "earned": 4, "feedback": "Well said"}]},
        headers={**staff.headers, "If-Match": '"2"'},
    )
    graded = ana.open(address)
    assert "Passed" in graded
    assert "Well said" in graded
    assert "+25 XP" in graded
    assert "one → a" in graded.lower()
    assert "3.14 ± 0.01" in graded


def test_what_cannot_be_taken_is_told_at_its_question_and_the_rest_is_saved(
    ana: Reader, staff: Staff
) -> None:
    ana.enroll()
    quiz = staff.make(SHORT, NUMERIC, MATCHING, ORDERING)
    address = ana.start(quiz)
    page = ana.open(address)
    short, number, pairs, order = in_order(quiz)
    wrong = {
        f"q-{number}": "many",
        f"q-{pairs}-0": "a",
        f"q-{pairs}-1": "a",
        f"q-{order}-0": "1",
        f"q-{order}-1": "1",
    }
    answer = ana.send(address, 422, page, action="submit", **hidden(page), **{f"q-{short}": "Usher"}, **wrong)
    refused = unescape(answer.get_data(as_text=True))
    assert 'role="alert" tabindex="-1" autofocus' in refused
    for question in (number, pairs, order):
        assert f'href="#q-{question}"' in refused
        assert f'id="q-{question}-mistake"' in refused
    assert 'value="many"' in refused
    assert rows("SELECT state, answers FROM quiz_attempts") == [("open", {short: "Usher"})]


def test_a_tab_that_was_left_open_does_not_undo_what_another_saved(ana: Reader, staff: Staff) -> None:
    ana.enroll()
    quiz = staff.make(SINGLE, SHORT)
    address = ana.start(quiz)
    old = ana.open(address)
    one, short = in_order(quiz)
    ana.send(address, action="save", **hidden(old), **{f"q-{one}": "a", f"q-{short}": "newer"})
    ana.send(address, action="submit", **hidden(old), **{f"q-{one}": "b"})
    assert rows("SELECT state, answers FROM quiz_attempts") == [("graded", {one: "b", short: "newer"})]
    again = ana.send(address, action="submit", **hidden(old), **{f"q-{one}": "a"})
    assert again.headers["Location"] == address
    assert rows("SELECT answers FROM quiz_attempts") == [({one: "b", short: "newer"},)]


def test_the_script_of_the_page_is_told_what_was_saved(ana: Reader, staff: Staff) -> None:
    ana.enroll()
    quiz = staff.make(SHORT, NUMERIC)
    address = ana.start(quiz)
    marks = hidden(ana.open(address))
    short, number = in_order(quiz)
    script = Reader(ana.client, {**bearer(), "Accept": "application/json"})
    told = script.send(
        address, 200, action="save", **marks, **{f"q-{short}": "a", f"q-{number}": "x"}
    ).get_json()
    assert list(told["errors"]) == [f"q-{number}"]
    assert list(told["was"]) == [short]
    fresh = {**marks, f"was-{short}": told["was"][short]}
    script.send(address, 200, action="save", **fresh, **{f"q-{short}": ""})
    assert rows("SELECT answers FROM quiz_attempts") == [({},)]
    assert (
        script.send(address, action="final", **fresh, **{f"q-{number}": "x"}).headers["Location"] == address
    )
    assert rows("SELECT state FROM quiz_attempts") == [("graded",)]


def test_after_the_deadline_nothing_is_taken_and_the_page_says_what_happens(
    ana: Reader, staff: Staff
) -> None:
    ana.enroll()
    quiz = staff.make(SINGLE, timeLimit=5)
    address = ana.start(quiz)
    marks = hidden(ana.open(address))
    pass_time({"id": address.rsplit("/", 1)[1]}, 30)
    assert "Time is over" in ana.open(address)
    (one,) = in_order(quiz)
    assert ana.send(address, action="submit", **marks, **{f"q-{one}": "a"}).headers["Location"] == address
    assert rows("SELECT state, answers FROM quiz_attempts") == [("open", {})]


def test_attempts_are_counted_and_the_page_says_when_none_is_left(ana: Reader, staff: Staff) -> None:
    ana.enroll()
    quiz = staff.make(SINGLE, maxAttempts=1)
    page = ana.open(f"/quizzes/{quiz['id']}")
    first, second = (
        ana.send(f"/quizzes/{quiz['id']}/attempts", page=page).headers["Location"] for _ in range(2)
    )
    assert first == second
    assert "Your attempt is open" in ana.open(f"/quizzes/{quiz['id']}")
    ana.send(first, action="submit")
    assert "No attempts left" in ana.open(f"/quizzes/{quiz['id']}")
    ana.send(f"/quizzes/{quiz['id']}/attempts", 422)
    assert "Not passed" in ana.open(first)
    assert count("quiz_attempts") == 1


# Assignments


def test_a_draft_with_files_is_kept_handed_in_once_and_graded(ana: Reader) -> None:
    ana.enroll()
    address = f"/assignments/{make_assignment(ana.client)}"
    page = ana.open(address)
    ana.send(
        address, page=page, action="save", content="A draft", version="", files=(io.BytesIO(PDF), "plan.pdf")
    )
    draft = ana.open(f"{address}?saved=1")
    assert "Your draft was saved." in draft
    assert "plan.pdf" in draft
    kept = re.findall(r'name="file" value="([^"]+)"', draft)
    for _ in range(2):
        sent = ana.send(address, page=draft, action="submit", content="Done", version="2", file=kept)
        assert sent.headers["Location"] == f"{address}?handed=1"
    assert rows("SELECT state, number, content FROM assignment_submissions") == [("submitted", 1, "Done")]
    assert "Waits for a grade" in ana.open(address)
    found = scalar("SELECT id FROM assignment_submissions")
    graded = ana.client.post(
        f"/api/ops/submissions/{found}/grade",
        json={"score": 60, "feedback": "Good plan"},
        headers={**bearer("ops", "staff@example.com"), "If-Match": '"3"'},
    )
    assert graded.status_code == 200, graded.get_json()
    shown = ana.open(address)
    assert "60 of 80 points" in shown
    assert "Good plan" in shown
    assert "+50 XP" in shown
    assert (
        ana.send(address, action="submit", content="Sneaked in", version="4").headers["Location"] == address
    )
    assert rows("SELECT content FROM assignment_submissions") == [("Done",)]


def test_what_an_assignment_cannot_take_is_told_and_nothing_typed_is_lost(
    ana: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    ana.enroll()
    address = f"/assignments/{make_assignment(ana.client)}"
    empty = ana.send(address, 422, action="submit", content=" ", version="").get_data(as_text=True)
    assert "Write something or add a file" in empty
    assert 'aria-describedby="content-mistake"' in empty
    monkeypatch.setattr(get_settings(), "upload_max_bytes", 2000)
    for file, said in (
        ((io.BytesIO(PDF + b"x" * 3000), "big.pdf"), "big.pdf is larger than it may be."),
        ((io.BytesIO(b"\x7fELF\x00\x01"), "tool.pdf"), "tool.pdf is of a type that is not taken."),
        ((io.BytesIO(b""), "none.txt"), "none.txt is empty."),
    ):
        refused = ana.send(address, 422, action="submit", content="Typed", version="", files=file)
        page = unescape(refused.get_data(as_text=True))
        assert said in page
        assert ">Typed</textarea>" in page
    foreign = ana.send(address, 422, action="submit", content="Typed", version="", file=str(uuid.uuid4()))
    assert "A file is not there any more." in foreign.get_data(as_text=True)
    assert count("assignment_submissions") == 0


def test_two_tabs_do_not_overwrite_each_other_unasked(ana: Reader) -> None:
    ana.enroll()
    address = f"/assignments/{make_assignment(ana.client)}"
    ana.send(address, action="save", content="First tab", version="")
    stale = ana.send(address, 422, action="save", content="Second tab", version="").get_data(as_text=True)
    assert "changed in another tab" in stale
    assert ">Second tab</textarea>" in stale
    assert 'name="version" value="2"' in stale
    assert rows("SELECT content FROM assignment_submissions") == [("First tab",)]


def test_late_rules_stand_in_words_in_the_students_zone(ana: Reader) -> None:
    ana.enroll()
    run("UPDATE users SET time_zone = 'Asia/Tokyo' WHERE id = :id", id=STUDENT)
    over = make_assignment(ana.client, dueDate="2020-01-01T20:00:00Z", allowLateSubmission=False)
    page = ana.open(f"/assignments/{over}")
    assert "Jan 2, 2020, 5:00" in page
    assert "Work that comes later is not taken." in page
    assert 'name="action"' not in page
    refused = ana.send(f"/assignments/{over}", 422, action="submit", content="Late", version="")
    assert "The time for handing in is over" in refused.get_data(as_text=True)
    late = make_assignment(ana.client, dueDate="2020-01-01T20:00:00Z", graceSeconds=3600)
    page = ana.open(f"/assignments/{late}")
    assert "Jan 2, 2020, 6:00" in page
    assert "taken and marked as late" in page


# All of them


def test_pages_are_in_the_readers_language(ana: Reader) -> None:
    run("UPDATE users SET locale = 'es' WHERE id = :id", id=STUDENT)
    assert '<html lang="es">' in ana.open("/courses")


def test_the_number_of_queries_stays_the_same(ana: Reader, staff: Staff) -> None:
    """However many courses, lessons, quizzes, assignments, attempts and questions there are."""
    ana.enroll()
    quiz = staff.make(SINGLE, maxAttempts=100)
    address = ana.start(quiz)
    task = make_assignment(ana.client)
    ana.send(f"/assignments/{task}", action="save", content="Draft", version="")
    pages = (
        "/courses",
        f"/courses/{COURSE}",
        f"/courses/{COURSE}/lessons/{LESSON}",
        f"/quizzes/{quiz['id']}",
        address,
        f"/assignments/{task}",
    )
    few = [_queries(ana, path) for path in pages]
    run(
        "INSERT INTO courses (title, published, prerequisites) SELECT 'C' || n, true, ARRAY[CAST(:first AS uuid)] FROM generate_series(1, 60) n",
        first=COURSE,
    )
    run(
        "INSERT INTO lessons (course_id, title, position, published) SELECT :course, 'L' || n, n, true FROM generate_series(10, 60) n",
        course=COURSE,
    )
    run(
        "INSERT INTO quizzes (course_id, title, is_published) SELECT :course, 'Q' || n, true FROM generate_series(1, 60) n",
        course=COURSE,
    )
    run(
        "INSERT INTO assignments (course_id, title, is_published) SELECT :course, 'A' || n, true FROM generate_series(1, 60) n",
        course=COURSE,
    )
    run(
        "INSERT INTO quiz_attempts (user_id, quiz_id, number, quiz_version, key_version, passing_score, possible, state, submitted_at, passed, earned)"
        " SELECT user_id, quiz_id, n, quiz_version, key_version, passing_score, possible, 'graded', now(), false, 0 FROM quiz_attempts, generate_series(2, 40) n"
    )
    assert [_queries(ana, path) for path in pages] == few
    assert max(few) <= 14, few
    assert "More quizzes" in ana.open(f"/courses/{COURSE}")
    assert "Older attempts" in ana.open(f"/quizzes/{quiz['id']}")


def _queries(ana: Reader, path: str) -> int:
    ana.open(path)
    with counted_queries() as statements:
        ana.open(path)
    # A token is looked up, and flags are read again after some seconds: neither is the page's.
    return sum("feature_flags" not in statement and "api_tokens" not in statement for statement in statements)


def test_nobody_reaches_the_attempts_and_work_of_others(ana: Reader, staff: Staff) -> None:
    ana.enroll()
    quiz = staff.make(SINGLE)
    address = ana.start(quiz)
    task = make_assignment(ana.client)
    ben = Reader(ana.client, {**bearer(subject="ben@example.com"), **HTML})
    ben.open(address, 404)
    ben.send(address, 404, action="submit")
    ben.open(f"/quizzes/{quiz['id']}", 404)
    assert "Enrol in its course first" in ben.open(f"/assignments/{task}", 404)
    ben.send(f"/assignments/{task}", 404, action="submit", content="x", version="")
    assert rows("SELECT state FROM quiz_attempts") == [("open",)]
    assert rows("SELECT 1 FROM enrollments WHERE user_id = :id", id=OTHER) == []


def test_strangers_and_staff_without_a_student_see_none_of_it(ana: Reader, client: FlaskClient) -> None:
    some = str(uuid.uuid4())
    pages = (
        "/courses",
        f"/courses/{some}",
        f"/courses/{some}/lessons/{some}",
        f"/quizzes/{some}",
        f"/quiz-attempts/{some}",
        f"/assignments/{some}",
    )
    forms = (
        f"/courses/{some}/enroll",
        f"/courses/{some}/lessons/{some}/complete",
        f"/quizzes/{some}/attempts",
        f"/quiz-attempts/{some}",
        f"/assignments/{some}",
    )
    for headers, status in ((HTML, 401), ({**bearer("ops", "staff"), **HTML}, 403)):
        assert {client.get(path, headers=headers).status_code for path in pages} == {status}
        assert {client.post(path, headers=headers).status_code for path in forms} == {status}


def test_what_is_switched_off_is_not_there(ana: Reader, staff: Staff) -> None:
    ana.enroll()
    quiz = staff.make(SINGLE)
    task = make_assignment(ana.client)
    with transaction() as session:
        for name in ("quizzes", "assignments"):
            flags.switch(session, name, on=False, actor="test")
    page = ana.open(f"/courses/{COURSE}")
    assert "Quizzes" not in page
    assert "A plan" not in page
    ana.open(f"/quizzes/{quiz['id']}", 404)
    ana.open(f"/assignments/{task}", 404)
