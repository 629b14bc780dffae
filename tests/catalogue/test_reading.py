"""What a student sees of our own courses: pages, filters, search, progress, and texts only when enrolled."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from db.session import transaction
from domain import courses, demo, levels, xp
from tests.api.conftest import STUDENT, bearer, run
from tests.stack import rows, scalar

OWN = demo.course_id("OWN-101")
NEXT = demo.course_id("OWN-201")


@pytest.fixture
def ana(client: FlaskClient) -> Any:
    headers = bearer()

    def get(path: str) -> TestResponse:
        return client.get(path, headers=headers)

    return get


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.get_json()["code"]


def titles(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["title"] for item in answer.get_json()["data"]]


def test_the_catalogue_comes_in_pages_without_gaps(ana: Any) -> None:
    run(
        "INSERT INTO courses (title, published, created_at)"
        " SELECT 'Course ' || n, n % 3 > 0, now() - make_interval(mins => n / 4) FROM generate_series(1, 30) n"
    )
    seen, cursor = [], ""
    while cursor is not None:
        page = ana(f"/api/courses?limit=7&cursor={cursor}" if cursor else "/api/courses?limit=7").get_json()
        seen += [item["id"] for item in page["data"]]
        cursor = page["next_cursor"]
        assert page["has_more"] == (cursor is not None)
    published = rows("SELECT id::text FROM courses WHERE published ORDER BY created_at DESC, id DESC")
    assert seen == [row[0] for row in published]
    assert len(seen) == 22
    assert code(ana("/api/courses?cursor=x")) == (400, "invalid_cursor")


def test_filters_and_search_narrow_it(ana: Any) -> None:
    run("INSERT INTO categories (slug, name) VALUES ('safety', 'Safety'), ('office', 'Office')")
    run(
        "INSERT INTO courses (title, description, difficulty, published, category_id) VALUES"
        " ('Excel', '100% of it, in an_hour', 'advanced', true, (SELECT id FROM categories WHERE slug = 'office')),"
        " ('Fire', 'What to do first', 'beginner', true, (SELECT id FROM categories WHERE slug = 'safety')),"
        " ('Fire drills', 'Unfinished', 'beginner', false, (SELECT id FROM categories WHERE slug = 'safety'))"
    )
    assert titles(ana("/api/courses?category=safety")) == ["Fire"]
    assert titles(ana("/api/courses?category=nowhere")) == []
    assert titles(ana("/api/courses?difficulty=advanced")) == ["Excel"]
    assert titles(ana("/api/courses?q=FIRST fire")) == ["Fire"]
    assert titles(ana("/api/courses?q=first excel")) == []
    assert titles(ana("/api/courses?q=100%25")) == ["Excel"]
    assert titles(ana("/api/courses?q=n_h")) == ["Excel"], "_ is no wildcard"
    assert titles(ana("/api/courses?q=%5C")) == []
    assert [(item["slug"], item["courseCount"]) for item in ana("/api/categories").get_json()["data"]] == [
        ("office", 1),
        ("safety", 1),
    ]
    for query in ("difficulty=hard", "category=No%20Slug", "limit=0", "q=a%00b"):
        assert code(ana(f"/api/courses?{query}")) == (422, "validation_failed")


def test_a_course_shows_its_lessons_and_ones_own_progress(ana: Any) -> None:
    before = ana(f"/api/courses/{OWN}").get_json()
    assert (before["enrollment"], before["lessonCount"], len(before["lessons"])) == (None, 3, 3)
    with transaction() as session:
        courses.enroll(session, STUDENT, OWN)
        lesson = xp.Completion(STUDENT, OWN, demo.lesson_id("OWN-101", 2))
        xp.complete_lesson(session, levels.SQRT, lesson)
    after = ana(f"/api/courses/{OWN}").get_json()
    assert (after["enrollment"]["completionPercentage"], after["enrollment"]["xpEarned"]) == (33, 50)
    assert [item["completedAt"] is not None for item in after["lessons"]] == [False, True, False]
    assert [item["position"] for item in after["lessons"]] == [1, 2, 3]
    [first] = ana(f"/api/courses/{NEXT}").get_json()["prerequisites"]
    assert (first["id"], first["completed"]) == (OWN, False)
    listed = {item["id"]: item["enrollment"] for item in ana("/api/courses").get_json()["data"]}
    assert (listed[OWN]["completionPercentage"], listed[NEXT]) == (33, None)


def test_texts_and_files_are_for_those_who_are_enrolled(ana: Any) -> None:
    lesson = demo.lesson_id("OWN-101", 1)
    run("UPDATE lessons SET body = '# Memory', video_url = 'https://v.example.com' WHERE id = :id", id=lesson)
    run(
        "INSERT INTO attachments (course_id, name, url) VALUES (:id, 'Notes', 'https://f.example.com')",
        id=OWN,
    )
    path = f"/api/courses/{OWN}/lessons/{lesson}"
    assert code(ana(path)) == (404, "not_enrolled")
    assert ana(f"/api/courses/{OWN}").get_json()["attachments"][0]["url"] is None
    with transaction() as session:
        courses.enroll(session, STUDENT, OWN)
    found = ana(path).get_json()
    assert (found["body"], found["videoUrl"]) == ("# Memory", "https://v.example.com")
    assert ana(f"/api/courses/{OWN}").get_json()["attachments"][0]["url"] == "https://f.example.com"
    run("UPDATE lessons SET published = false WHERE id = :id", id=lesson)
    assert code(ana(path)) == (404, "lesson_not_found")


def test_an_unpublished_course_is_seen_by_its_learners_only(ana: Any) -> None:
    with transaction() as session:
        courses.enroll(session, STUDENT, OWN)
    run("UPDATE courses SET published = false")
    assert ana(f"/api/courses/{OWN}").get_json()["published"] is False
    assert code(ana(f"/api/courses/{NEXT}")) == (404, "course_not_found")
    assert titles(ana("/api/courses")) == []
    run("UPDATE courses SET deleted_at = now() WHERE id = :id", id=OWN)
    assert code(ana(f"/api/courses/{OWN}")) == (404, "course_not_found")


def test_what_is_not_there_is_404(ana: Any, client: FlaskClient) -> None:
    for path in (str(uuid.uuid4()), "x"):
        assert code(ana(f"/api/courses/{path}")) == (404, "course_not_found")
        assert code(ana(f"/api/courses/{OWN}/lessons/{path}")) == (404, "lesson_not_found")
    assert code(client.get("/api/courses", headers=bearer("service", "shop"))) == (403, "no_student")
    assert scalar("SELECT count(*) FROM enrollments") == 0
