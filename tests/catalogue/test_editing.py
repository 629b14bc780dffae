"""Staff make, edit, publish and order courses over HTTP: with versions, keys, audit rows, and nothing half done."""

from __future__ import annotations

import threading
import uuid
from typing import Any

import pytest
from flask.testing import FlaskClient

from db.session import transaction
from domain import course_editing, courses, levels, xp
from domain.course_editing import StaleVersion, WrongReference
from tests.api.conftest import STUDENT, bearer, count
from tests.conftest import Database
from tests.stack import rows, scalar

OPS = "/api/ops/courses"


class Staff:
    """A member of staff with a client."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client
        self.headers = bearer("ops", "staff@example.com")

    def get(self, path: str) -> Any:
        return self.client.get(path, headers=self.headers)

    def post(self, path: str, key: str | None = None, **body: Any) -> Any:
        headers = self.headers if key is None else {**self.headers, "Idempotency-Key": key}
        return self.client.post(path, json=body, headers=headers)

    def patch(self, path: str, version: int, **body: Any) -> Any:
        return self.client.patch(path, json=body, headers={**self.headers, "If-Match": f'"{version}"'})

    def course(self, **body: Any) -> dict[str, Any]:
        """Make a course."""
        answer = self.post(OPS, **{"title": "First Aid", **body})
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.get_json()
        return made

    def lesson(self, course: dict[str, Any], **body: Any) -> dict[str, Any]:
        """Add a lesson, published unless told otherwise."""
        answer = self.post(f"{OPS}/{course['id']}/lessons", **{"title": "Burns", "published": True, **body})
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.get_json()
        return made


@pytest.fixture
def staff(client: FlaskClient) -> Staff:
    return Staff(client)


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.get_json()["code"]


def test_a_course_is_made_with_everything_and_its_defaults(staff: Staff) -> None:
    assert staff.post("/api/ops/categories", slug="safety", name="Safety").status_code == 201
    plain = staff.course(title="Überleben im Büro")
    assert plain["slug"] == "uberleben-im-buro"
    assert (plain["xpReward"], plain["difficulty"], plain["published"], plain["version"]) == (
        200,
        "beginner",
        False,
        1,
    )
    assert staff.course(title="Überleben im Büro")["slug"] == "uberleben-im-buro-2"
    made = staff.course(
        slug="first-aid",
        description="What to do\nfirst",
        imageUrl="https://cdn.example.com/a.png",
        category="safety",
        prerequisites=[plain["id"]],
        difficulty="advanced",
        estimatedHours=2.5,
        xpReward=300,
        attachments=[{"name": "Workbook", "url": "https://cdn.example.com/w.pdf"}],
    )
    assert made["category"] == {"slug": "safety", "name": "Safety"}
    assert made["attachments"][0]["url"] == "https://cdn.example.com/w.pdf"
    assert [item["slug"] for item in made["prerequisites"]] == ["uberleben-im-buro"]
    assert (made["estimatedHours"], made["xpReward"], made["difficulty"]) == (2.5, 300, "advanced")
    lesson = staff.lesson(made, body="# Burns\n\nCool them.", videoUrl="https://video.example.com/1")
    assert (lesson["xpReward"], lesson["position"], lesson["slug"]) == (50, 1, "burns")
    assert staff.get(f"{OPS}/{made['id']}/lessons/{lesson['id']}").get_json() == lesson
    assert lesson["body"] == "# Burns\n\nCool them."


def test_an_edit_changes_what_it_names_and_leaves_who_why_and_what(staff: Staff) -> None:
    course = staff.course(slug="aid", xpReward=100)
    answer = staff.patch(f"{OPS}/{course['id']}", 1, title="Aid", reason="shorter")
    assert (answer.get_json()["title"], answer.get_json()["xpReward"]) == ("Aid", 100)
    assert (answer.get_json()["version"], answer.headers["ETag"]) == (2, '"2"')
    same = staff.patch(f"{OPS}/{course['id']}", 2, title="Aid")
    assert same.get_json()["version"] == 2, "nothing changed"
    assert rows("SELECT actor, action, reason, detail -> 'title' FROM staff_actions ORDER BY created_at") == [
        ("staff@example.com", "course.create", None, "First Aid"),
        ("staff@example.com", "course.edit", "shorter", ["First Aid", "Aid"]),
    ]


def test_two_people_do_not_overwrite_each_other(staff: Staff, database: Database) -> None:
    course = staff.course()
    path = f"{OPS}/{course['id']}"
    assert code(staff.client.patch(path, json={}, headers=staff.headers)) == (428, "version_required")
    assert staff.patch(path, 1, title="A").status_code == 200
    late = staff.patch(path, 1, title="B")
    assert (code(late), late.headers["ETag"]) == ((412, "stale_version"), '"2"')
    weak = staff.client.patch(path, json={"title": "B"}, headers={**staff.headers, "If-Match": 'W/"2"'})
    assert code(weak) == (412, "stale_version")

    done: list[str] = []

    def edit(title: str) -> None:
        try:
            with transaction() as session:
                course_editing.edit_course(session, course["id"], 2, {"title": title}, actor="staff")
            done.append(title)
        except StaleVersion:
            pass

    threads = [threading.Thread(target=edit, args=(f"Title {number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 1, "of six at once on version 2, one got through"
    assert rows("SELECT title, version FROM courses WHERE id = :id", id=course["id"]) == [(done[0], 3)]


def test_a_course_without_a_published_lesson_is_not_published(staff: Staff) -> None:
    course = staff.course()
    path = f"{OPS}/{course['id']}"
    assert code(staff.post(f"{path}/publish")) == (409, "course_not_publishable")
    lesson = staff.lesson(course, published=False)
    assert code(staff.post(f"{path}/publish")) == (409, "course_not_publishable")
    staff.patch(f"{path}/lessons/{lesson['id']}", lesson["version"], published=True)
    published = staff.post(f"{path}/publish").get_json()
    assert (published["published"], published["version"]) == (True, 4)
    assert staff.post(f"{path}/publish").get_json()["version"] == 4
    answer = staff.patch(f"{path}/lessons/{lesson['id']}", 4, published=False)
    assert code(answer) == (409, "course_not_publishable")
    assert scalar("SELECT published FROM lessons WHERE id = :id", id=lesson["id"])
    assert staff.post(f"{path}/unpublish").get_json()["published"] is False
    assert staff.patch(f"{path}/lessons/{lesson['id']}", 5, published=False).status_code == 200


def test_prerequisites_exist_and_form_no_cycle(staff: Staff) -> None:
    a, b, c = (staff.course(title=title) for title in "ABC")
    assert staff.patch(f"{OPS}/{b['id']}", 1, prerequisites=[a["id"]]).status_code == 200
    assert staff.patch(f"{OPS}/{c['id']}", 1, prerequisites=[b["id"]]).status_code == 200
    for wanted, said in ((c["id"], "a -> c"), (a["id"], "a -> a"), (str(uuid.uuid4()), "no course")):
        answer = staff.patch(f"{OPS}/{a['id']}", 1, prerequisites=[wanted])
        assert code(answer) == (409, "wrong_reference")
        [error] = answer.get_json()["errors"]
        assert (error["pointer"], said in error["detail"]) == ("/prerequisites", True), error
    lesson = staff.lesson(b)
    with transaction() as session:
        assert courses.delete(session, levels.SQRT, a["id"])
    assert scalar("SELECT prerequisites FROM courses WHERE id = :id", id=b["id"]) == [], "nothing to wait for"
    assert staff.post(f"{OPS}/{b['id']}/publish").get_json()["lessons"][0]["id"] == lesson["id"]


def test_of_two_edits_that_would_close_a_cycle_together_one_is_refused(
    staff: Staff, database: Database
) -> None:
    a, b = staff.course(title="A"), staff.course(title="B")
    outcomes: list[str] = []

    def edit(course: str, first: str) -> None:
        try:
            with transaction() as session:
                course_editing.edit_course(session, course, 1, {"prerequisites": [first]}, actor="staff")
            outcomes.append("done")
        except WrongReference:
            outcomes.append("refused")

    pairs = [(a["id"], b["id"]), (b["id"], a["id"])]
    threads = [threading.Thread(target=edit, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["done", "refused"]


def test_lessons_are_ordered_all_at_once(staff: Staff) -> None:
    course = staff.course()
    made = [staff.lesson(course, title=f"Lesson {number}")["id"] for number in range(3)]
    path, headers = f"{OPS}/{course['id']}/lesson-order", {**staff.headers, "If-Match": '"4"'}
    for wrong in (made[:2], [*made, made[0]], [*made[:2], str(uuid.uuid4())]):
        answer = staff.client.put(path, json={"lessonIds": wrong}, headers=headers)
        assert code(answer) == (409, "wrong_reference")
        assert answer.get_json()["errors"][0]["pointer"] == "/lessonIds"
    answer = staff.client.put(path, json={"lessonIds": made[::-1]}, headers=headers)
    assert [(item["id"], item["position"]) for item in answer.get_json()["lessons"]] == [
        (made[2], 1),
        (made[1], 2),
        (made[0], 3),
    ]
    assert code(staff.client.put(path, json={"lessonIds": made}, headers=headers)) == (412, "stale_version")


def test_what_was_awarded_stays_whatever_is_edited(staff: Staff) -> None:
    course = staff.course()
    first, second = staff.lesson(course), staff.lesson(course, title="Cuts")
    staff.post(f"{OPS}/{course['id']}/publish")
    with transaction() as session:
        courses.enroll(session, STUDENT, course["id"])
    for lesson in (first, second):
        with transaction() as session:
            xp.complete_lesson(session, levels.SQRT, xp.Completion(STUDENT, course["id"], lesson["id"]))
    ledger = rows("SELECT id, kind, amount FROM xp_transactions ORDER BY seq")
    assert [amount for _, _, amount in ledger] == [50, 50, 200]
    path = f"{OPS}/{course['id']}"
    assert staff.patch(path, 4, xpReward=999, title="Renamed").status_code == 200
    assert staff.patch(f"{path}/lessons/{first['id']}", 5, xpReward=999).status_code == 200
    assert staff.patch(f"{path}/lessons/{second['id']}", 6, published=False).status_code == 200
    assert staff.post(f"{path}/unpublish").status_code == 200
    assert rows("SELECT id, kind, amount FROM xp_transactions ORDER BY seq") == ledger
    assert rows("SELECT total_xp FROM users WHERE id = :id", id=STUDENT) == [(300,)]
    kept = rows("SELECT completed_at IS NOT NULL, xp_earned FROM enrollments")
    assert kept == [(True, 300)], "unpublishing keeps learners"


WRONG: list[dict[str, Any]] = [
    {"title": ""},
    {"title": "two\nlines"},
    {"title": None},
    {"title": "x" * 201},
    {"description": "a\u0000b"},
    {"imageUrl": "javascript:alert(1)"},
    {"category": "No Where"},
    {"imageUrl": "https://a b"},
    {"title": "\u2028"},
    {"difficulty": "hard"},
    {"estimatedHours": -1},
    {"xpReward": -1},
    {"xpReward": 1_000_001},
    {"slug": "Not A Slug"},
    {"slug": None},
    {"prerequisites": ["x"]},
    {"attachments": [{"name": "A"}]},
    {"published": True},
    {"reason": "a\u0000b"},
]


def test_bad_values_are_named_and_nothing_is_made(staff: Staff) -> None:
    before = count("courses")
    for wrong in WRONG:
        answer = staff.post(OPS, **{"title": "First Aid", **wrong})
        assert code(answer) == (422, "validation_failed"), wrong
        assert answer.get_json()["errors"][0]["pointer"].startswith(f"/{next(iter(wrong))}")
    assert (count("courses"), count("staff_actions")) == (before, 0)


def test_what_does_not_fit_is_named_and_nothing_is_made(staff: Staff) -> None:
    before, file = count("courses"), {"name": "A", "url": "https://a.example.com"}
    for wrong in (
        {"category": "nowhere"},
        {"prerequisites": [str(uuid.uuid4())]},
        {"attachments": [file, file]},
    ):
        answer = staff.post(OPS, title="First Aid", **wrong)
        assert code(answer) == (409, "wrong_reference"), wrong
        assert [error["pointer"] for error in answer.get_json()["errors"]] == [f"/{next(iter(wrong))}"]
    assert (count("courses"), count("staff_actions")) == (before, 0)


def test_a_repeated_post_makes_one_and_a_slug_is_taken_once(staff: Staff) -> None:
    first = staff.post(OPS, key="k", title="First Aid", slug="aid")
    again = staff.post(OPS, key="k", title="First Aid", slug="aid")
    assert (again.status_code, again.get_json()) == (201, first.get_json())
    assert code(staff.post(OPS, title="Other", slug="aid")) == (409, "slug_taken")
    course = first.get_json()
    staff.lesson(course, slug="burns")
    answer = staff.post(f"{OPS}/{course['id']}/lessons", title="Burns", slug="burns")
    assert code(answer) == (409, "slug_taken")
    assert staff.lesson(course, title="Burns")["slug"] == "burns-2"
    assert count("staff_actions") == 3


def test_what_is_not_there_is_404_and_only_staff_may(staff: Staff) -> None:
    course, gone = staff.course(), str(uuid.uuid4())
    for path in (gone, "x"):
        assert code(staff.get(f"{OPS}/{path}")) == (404, "course_not_found")
        assert code(staff.patch(f"{OPS}/{path}", 1)) == (404, "course_not_found")
        assert code(staff.post(f"{OPS}/{path}/publish")) == (404, "course_not_found")
        assert code(staff.patch(f"{OPS}/{course['id']}/lessons/{path}", 1)) == (404, "lesson_not_found")
    other = staff.lesson(staff.course(title="Other"))
    assert code(staff.get(f"{OPS}/{course['id']}/lessons/{other['id']}")) == (404, "lesson_not_found")
    for role in ("student", "service"):
        assert code(staff.client.post(OPS, json={}, headers=bearer(role))) == (403, "wrong_role")
        assert code(staff.client.get(OPS, headers=bearer(role))) == (403, "wrong_role")


def test_staff_see_what_is_not_published(staff: Staff) -> None:
    staff.course(slug="hidden")
    listed = {state: staff.get(f"{OPS}?state={state}").get_json()["data"] for state in ("all", "unpublished")}
    assert [item["slug"] for item in listed["unpublished"]] == ["hidden"]
    assert {item["slug"] for item in listed["all"]} > {"hidden"}
    assert all(item["published"] for item in staff.get(f"{OPS}?state=published").get_json()["data"])


def test_a_category_is_made_once_and_renamed(staff: Staff) -> None:
    path = "/api/ops/categories"
    made = staff.post(path, slug="safety", name="Safety")
    again = staff.post(path, slug="safety", name="Safety first")
    assert (made.status_code, again.status_code) == (201, 200)
    assert again.get_json() == {**made.get_json(), "name": "Safety first"}
    staff.post(path, slug="safety", name="Safety first")
    assert count("staff_actions") == 2
