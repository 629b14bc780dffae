"""`usher catalog import` and `export`: all or nothing, every mistake with its line, and no change the second time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from db.session import transaction
from domain import courses, levels, xp
from domain.catalogue_export import export_catalogue
from domain.catalogue_file import dump
from tests.api.conftest import run
from tests.cli.conftest import Answer, Usher
from tests.conftest import Database
from tests.stack import make_students, rows, scalar

WHOLE = """\
categories:
  - slug: safety
    name: Safety
courses:
  - slug: burns
    title: Burns
    prerequisites: [first-aid]
  - slug: first-aid
    title: First Aid
    description: |
      What to do first.
      And second.
    category: safety
    difficulty: intermediate
    estimated_hours: 2.5
    xp_reward: 300
    published: true
    attachments:
      - name: Workbook
        url: https://cdn.example.com/w.pdf
    lessons:
      - slug: look
        title: Look
        body: "# Look\\n\\nFirst."
        video_url: https://video.example.com/1
        published: true
      - slug: call
        title: Call
        xp_reward: 75
partners:
  - type: sandbox
    name: Sandbox Academy
    support_email: help@example.com
    courses:
      - code: SBX-1
        name: Working Safely
        hours: 8
        level: beginner
      - code: SBX-2
        name: Leading
        external_code: "4711"
"""
Take = Callable[..., Answer]


@pytest.fixture
def take(usher: Usher, database: Database, tmp_path: Path) -> Take:
    """Import a text as a file."""

    def call(text: str, *options: str, name: str = "catalogue.yaml") -> Answer:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return usher("catalog", "import", str(path), *options)

    return call


def everything() -> list[Any]:
    """Return every row of the catalogue, with what an update would change."""
    tables = ("categories", "courses", "lessons", "attachments", "partner_lms_providers", "partner_courses")
    return [rows(f"SELECT t.xmin::text, t::text FROM {table} t ORDER BY t.id") for table in tables]


def written() -> str:
    with transaction() as session:
        return dump(export_catalogue(session))


def test_a_file_is_taken_whole_and_the_second_run_changes_nothing(take: Take, usher: Usher) -> None:
    done = take(WHOLE, "--actor", "staff@example.com", "--reason", "autumn", "--json")
    assert done.code == 0, done.err
    counts = {name: done.json()[name] for name in ("created", "updated", "unchanged", "dry_run")}
    assert counts == {"created": 6, "updated": 0, "unchanged": 0, "dry_run": False}
    [aid] = rows(
        "SELECT c.title, c.description, c.difficulty, c.estimated_hours::text, c.xp_reward, c.published, c.version,"
        " g.name FROM courses c JOIN categories g ON g.id = c.category_id WHERE c.slug = 'first-aid'"
    )
    assert aid == (
        "First Aid",
        "What to do first.\nAnd second.\n",
        "intermediate",
        "2.50",
        300,
        True,
        1,
        "Safety",
    )
    lessons = rows("SELECT slug, position, xp_reward, published, body FROM lessons ORDER BY position")
    assert lessons == [("look", 1, 50, True, "# Look\n\nFirst."), ("call", 2, 75, False, "")]
    builds_on = (
        "SELECT f.slug FROM courses c JOIN courses f ON f.id = ANY(c.prerequisites) WHERE c.slug = 'burns'"
    )
    assert rows(builds_on) == [("first-aid",)]
    partners = usher("catalog", "--json").json()["partners"]
    assert [
        (item["providerType"], [course["courseCode"] for course in item["courses"]]) for item in partners
    ] == [("sandbox", ["SBX-1", "SBX-2"])]
    audit = "SELECT actor, action, reason, detail -> 'created' FROM staff_actions"
    assert rows(audit) == [("staff@example.com", "catalogue.import", "autumn", 6)]

    before = everything()
    again = take(WHOLE, "--json").json()
    assert (again["created"], again["updated"], again["unchanged"]) == (0, 0, 6)
    assert everything() == before
    assert scalar("SELECT count(*) FROM staff_actions") == 1


def test_what_is_left_out_stays_and_what_is_named_is_set(take: Take) -> None:
    take(WHOLE)
    change = "courses:\n- slug: first-aid\n  xp_reward: 10\n  lessons:\n  - slug: new\n    title: New\n  - slug: call\n"
    done = take(change, "--json").json()
    assert [(item["action"], item["key"], item["fields"]["xp_reward"]) for item in done["changes"]] == [
        ("update", "first-aid", [300, 10])
    ]
    assert rows("SELECT title, xp_reward, published, version FROM courses WHERE slug = 'first-aid'") == [
        ("First Aid", 10, True, 2)
    ]
    assert rows("SELECT slug, xp_reward FROM lessons ORDER BY position") == [
        ("new", 50),
        ("call", 75),
        ("look", 50),
    ]
    assert scalar("SELECT count(*) FROM attachments") == 1
    assert take(change, "--json").json()["unchanged"] == 1


def test_a_dry_run_shows_the_same_and_changes_nothing(take: Take) -> None:
    dry = take(WHOLE, "--dry-run", "--json").json()
    assert (dry["dry_run"], dry["created"]) == (True, 6)
    assert everything() == [[]] * 6
    assert scalar("SELECT count(*) FROM staff_actions") == 0
    assert take(WHOLE, "--json").json()["changes"] == dry["changes"]
    shown = take(WHOLE.replace("xp_reward: 75", "xp_reward: 80"), "--dry-run").out
    assert "update course first-aid: lesson call xp_reward" in shown
    assert "dry run" in shown


MISTAKES = {
    "a key that is none": ("    xp_reward: 300", "    xpreward: 300", 16, "courses[1].xpreward", "Extra"),
    "a wrong value": ("intermediate", "hard", 14, "courses[1].difficulty", "beginner"),
    "no number": ("xp_reward: 75", "xp_reward: many", 29, "courses[1].lessons[1].xp_reward", "integer"),
    "not a slug": ("- slug: look", "- slug: Look!", 22, "courses[1].lessons[0].slug", "lower-case"),
    "no text": ("title: Burns", "title: 2026-11-21", 6, "courses[0].title", "string"),
    "a date that is none": ("title: Burns", "title: 2026-13-45", 6, "courses[0].title", "quotes"),
    "no web address": (
        "https://cdn.example.com/w.pdf",
        "javascript:x",
        20,
        "courses[1].attachments[0].url",
        "web",
    ),
    "a course twice": ("- slug: burns", "- slug: first-aid", 8, "courses[1]", "second time"),
    "a lesson twice": ("slug: call", "slug: look", 27, "courses[1].lessons[1]", "second time"),
    "a key twice": ("    xp_reward: 300", "    title: Aid", 16, "courses[1].title", "second time"),
    "no such category": (
        "category: safety",
        "category: office",
        13,
        "courses[1].category",
        "no category office",
    ),
    "no such course": ("[first-aid]", "[first-aid, x]", 7, "courses[0].prerequisites[1]", "no course x"),
    "a cycle": (
        "    difficulty",
        "    prerequisites: [burns]\n    difficulty",
        7,
        "courses[0].prerequisites",
        "->",
    ),
    "nothing published": (
        "        published: true",
        "        published: false",
        17,
        "courses[1].published",
        "lesson",
    ),
    "a new course without a title": ("title: Burns", "xp_reward: 1", 5, "courses[0].title", "needs a title"),
    "no adapter": ("type: sandbox", "type: moodel", 31, "partners[0].type", "no adapter"),
    "no address": ("help@example.com", "help", 33, "partners[0].support_email", "e-mail"),
    "a code twice": ("code: SBX-2", "code: SBX-1", 39, "partners[0].courses[1]", "second time"),
    "not YAML": ("courses:", "courses: [", 5, "", "not YAML"),
    "an alias": ("[first-aid]", "&a [first-aid]\n    attachments: *a", 7, "courses[0].attachments", "alias"),
}


def test_every_mistake_has_its_line_and_nothing_is_written(take: Take) -> None:
    for name, (old, new, line, key, message) in MISTAKES.items():
        assert old in WHOLE, name
        answer = take(WHOLE.replace(old, new, 1), "--json")
        assert answer.code == 1, name
        found = answer.json()["errors"]
        assert (line, key) in [(item["line"], item["key"]) for item in found], (name, found)
        assert any(message in item["message"] for item in found), (name, found)
        assert everything() == [[]] * 6, name


def test_the_file_in_the_manual_is_taken(take: Take) -> None:
    manual = (Path(__file__).parents[2] / "docs/operations.md").read_text()
    example = manual.split("## The catalogue\n")[1].split("```yaml\n")[1].split("```")[0]
    assert take(example, "--json").json()["created"] == 4
    assert take(written(), "--json").json()["unchanged"] == 4
    assert rows("SELECT external_course_code FROM partner_courses") == [("4711",)]


def test_all_mistakes_are_named_at_once_for_people_too(take: Take) -> None:
    wrong = WHOLE.replace("difficulty: intermediate", "difficulty: hard").replace(
        "title: Look", "titel: Look"
    )
    answer = take(wrong)
    assert answer.code == 1
    lines = [line for line in answer.err.splitlines() if "catalogue.yaml:" in line]
    assert [line.split("catalogue.yaml:")[1].split(": ")[0] for line in lines] == ["14", "23"]
    assert "nothing was changed" in answer.err


def test_a_file_that_is_no_catalogue_is_refused(take: Take) -> None:
    for text in ("", "- a\n", "x", "a: &a [*a]\n", "a: !!python/object:os.system x\n", "[" * 2000, "a: \x07"):
        answer = take(text, "--json")
        assert answer.code == 1, text
        assert answer.json()["errors"], text


def test_csv_brings_courses_lessons_and_partner_courses(take: Take) -> None:
    assert (
        take(
            'slug,title,xp_reward,prerequisites,description\na,A,,,\nb,B,70,a,"two\nlines"\n', name="c.csv"
        ).code
        == 0
    )
    lessons = "course,slug,title,published\na,one,One,true\nb,one,One,no\na,two,Two,\n"
    assert take(lessons, name="l.csv").code == 0
    assert take("partner,code,name,hours\nhsi,X,Cross,1.5\n", name="p.csv").code == 1, (
        "there is no such partner yet"
    )
    take("partners: [{type: hsi, name: HSI}]")
    assert take("partner,code,name,hours\nhsi,X,Cross,1.5\n", name="p.csv").code == 0
    assert rows(
        "SELECT slug, xp_reward, description, cardinality(prerequisites) FROM courses ORDER BY slug"
    ) == [
        ("a", 200, "", 0),
        ("b", 70, "two\nlines", 1),
    ]
    found = rows(
        "SELECT c.slug, l.slug, l.position, l.published FROM lessons l JOIN courses c ON c.id = l.course_id ORDER BY 1, 3"
    )
    assert found == [("a", "one", 1, True), ("a", "two", 2, False), ("b", "one", 1, False)]
    assert rows("SELECT course_code, hours::text FROM partner_courses") == [("X", "1.50")]
    before = everything()
    assert take(lessons, name="l.csv").code == 0
    assert everything() == before


CSV_MISTAKES = [
    ("title\nA\n", 1, ""),
    ("slug,slug\na,a\n", 1, ""),
    ("slug,title\na,A\nb,B,extra\n", 3, ""),
    ('slug,title,description\na,A,"x\ny"\nb,B,\nNo,C,\n', 5, "courses[2].slug"),
    ("slug,titel\na,A\n", 2, "courses[0].titel"),
    ("course,slug,title\n,x,X\n", 2, "courses[0].slug"),
    ("partner,code,name\nhsi,,X\n", 2, "partners[0].courses[0].code"),
    ('slug,title\na,"A\n', 2, ""),
]


def test_mistakes_in_csv_have_their_line(take: Take) -> None:
    for text, line, key in CSV_MISTAKES:
        answer = take(text, "--json", name="c.csv")
        assert answer.code == 1, text
        assert (line, key) in [(item["line"], item["key"]) for item in answer.json()["errors"]], answer.out


def test_a_file_in_another_encoding_is_refused(usher: Usher, database: Database, tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("courses:\n- slug: a\n  title: Überleben\n".encode("latin-1"))
    answer = usher("catalog", "import", str(path), "--json")
    assert answer.json()["errors"] == [{"file": str(path), "line": 3, "key": "", "message": "is not UTF-8"}]


def test_what_is_exported_is_taken_back_without_a_change(
    take: Take, usher: Usher, tmp_path: Path, database: Database
) -> None:
    usher("seed")
    take(WHOLE.replace("type: sandbox", "type: milady"))
    exported = usher("catalog", "export").out
    assert exported == written()
    before = everything()
    assert usher("catalog", "export", str(tmp_path / "out.yaml")).code == 0
    again = usher("catalog", "import", str(tmp_path / "out.yaml"), "--json").json()
    assert (again["created"], again["updated"]) == (0, 0)
    assert everything() == before
    for table in (
        "lessons",
        "attachments",
        "courses",
        "categories",
        "partner_courses",
        "partner_lms_providers",
    ):
        run(f"DELETE FROM {table}")
    assert usher("catalog", "import", str(tmp_path / "out.yaml")).code == 0
    assert written() == exported


def test_partners_of_one_type_are_told_apart_by_id(take: Take) -> None:
    two = "partners:\n" + "".join(
        f"- type: sandbox\n  id: 0000000{n}-0000-4000-8000-000000000000\n  name: Campus {n}\n" for n in (1, 2)
    )
    assert take(two).code == 0
    before = everything()
    assert take(two, "--json").json()["unchanged"] == 2
    assert take(written()).code == 0
    assert everything() == before
    answer = take("partners:\n- type: sandbox\n  name: Campus\n", "--json")
    assert [(item["line"], item["key"]) for item in answer.json()["errors"]] == [(2, "partners[0].type")]
    assert everything() == before


def test_learners_and_what_they_earned_stay_as_they_are(take: Take, database: Database) -> None:
    take(WHOLE)
    [student] = make_students(1)
    course, lesson = rows("SELECT course_id::text, id::text FROM lessons WHERE slug = 'look'")[0]
    with transaction() as session:
        courses.enroll(session, student, course)
        xp.complete_lesson(session, levels.SQRT, xp.Completion(student, course, lesson))
    kept = "SELECT (SELECT json_agg(x ORDER BY seq)::text FROM xp_transactions x), (SELECT json_agg(e)::text FROM enrollments e)"
    before = rows(kept)
    assert (
        take(
            WHOLE.replace("xp_reward: 300", "xp_reward: 1").replace("published: true", "published: false")
        ).code
        == 0
    )
    assert rows("SELECT xp_reward, published FROM courses WHERE slug = 'first-aid'") == [(1, False)]
    assert rows(kept) == before
    assert scalar("SELECT total_xp FROM users WHERE id = :id", id=student) == 350


def test_a_large_file_is_taken_in_one_go_or_not_at_all(take: Take) -> None:
    course = "- slug: c-{n}\n  title: Course {n}\n  published: true\n  lessons:\n{lessons}"
    lessons = "".join(f"  - {{slug: l-{n}, title: Lesson {n}, published: true}}\n" for n in range(5))
    text = "courses:\n" + "".join(course.format(n=n, lessons=lessons) for n in range(100))
    broken = take(f"{text}  category: nowhere\n", "--json").json()["errors"]
    assert [item["key"] for item in broken] == ["courses[99].category"]
    assert everything() == [[]] * 6
    assert take(text, "--json").json()["created"] == 100
    assert scalar("SELECT count(*) FROM lessons") == 500
    assert take(text, "--json").json()["unchanged"] == 100
