"""`usher legacy`: import, report, validate, undo."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from db.session import transaction
from domain import xp
from tests.cli.conftest import Usher
from tests.conftest import Database
from tests.legacy.conftest import OldSystem, take_over, total_of
from tests.legacy.test_import import our_id, two_learners
from tests.stack import rows, scalar
from tests.xp.conftest import CURVE

TABLES = (
    "users",
    "courses",
    "lessons",
    "categories",
    "attachments",
    "enrollments",
    "lesson_progress",
    "legacy_ids",
)


def counts() -> dict[str, int]:
    return {table: scalar(f"SELECT count(*) FROM {table}") for table in TABLES}


def test_import_report_and_validate(old: OldSystem, proven: Database, usher: Usher) -> None:
    two_learners(old)
    old.complete("user_b", "gone", "gone-too")
    done = usher("legacy", "import", "--source", old.url)
    assert (done.code, "remarks in all" in done.out) == (0, True)
    assert "UserProgress   10 of 10 rows" in done.err
    found = usher("legacy", "report", "--json").json()
    odd = [row for row in found["odd"] if row["reason"] != "naive_times"]
    assert [(row["table_name"], row["reason"], row["rows"]) for row in odd] == [
        ("UserProgress", "deleted_chapter", 2)
    ]
    assert "chapter gone" in str(odd[0]["examples"])
    assert len(usher("legacy", "report", "--reason", "deleted_chapter", "--json").json()) == 2
    assert usher("legacy", "report", "--name", "other").code == 1
    checks = usher("legacy", "validate", "--source", old.url, "--json")
    assert (checks.code, {row["ok"] for row in checks.json()}) == (0, {True})
    xp_sum = next(row for row in checks.json() if row["check"] == "XP")
    assert (xp_sum["expected"], xp_sum["found"]) == (1400, 1400)


def test_validate_finds_what_is_missing(old: OldSystem, proven: Database, usher: Usher) -> None:
    two_learners(old)
    usher("legacy", "import", "--source", old.url)
    _, (chapter,) = old.course(1)
    old.complete("user_a", chapter)
    answer = usher("legacy", "validate", "--source", old.url, "--json")
    wrong = {(row["table"], row["check"]) for row in answer.json() if not row["ok"]}
    assert answer.code == 1
    # The chapter is not here yet, so its progress is odd, and nobody has named it.
    assert wrong == {
        ("Course", "rows placed or named"),
        ("Chapter", "rows placed or named"),
        ("UserProgress", "odd rows that are not named"),
    }
    usher("legacy", "import", "--source", old.url)
    assert usher("legacy", "validate", "--source", old.url).code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--source", "mysql://x"], "must be postgresql://"),
        (["--source", "postgresql://x", "--source-timezone", "Mars"], "IANA"),
        ([], "--source"),
    ],
)
def test_wrong_calls_are_named(
    usher: Usher, usher_env: dict[str, str], arguments: list[str], words: str
) -> None:
    answer = usher("legacy", "import", *arguments)
    assert (answer.code, words in answer.err) == (2, True)


def test_a_source_that_is_down_is_exit_code_3(usher: Usher, usher_env: dict[str, str]) -> None:
    assert usher("legacy", "import", "--source", "postgresql://nobody@127.0.0.1:1/none").code == 3


def test_an_undone_import_leaves_what_was_there_before_and_can_be_repeated(
    old: OldSystem, proven: Database, usher: Usher, tmp_path: Path
) -> None:
    before = counts()
    two_learners(old)
    course, _ = old.course(1)
    old.insert("Category", name="Safety")
    old.insert("Attachment", name="a", url="u", courseId=course)
    old.insert("Purchase", userId="buyer", courseId=course)
    old.run('CREATE TABLE "UserProfile" ("userId" TEXT PRIMARY KEY, "totalXP" INTEGER NOT NULL)')
    old.run("INSERT INTO \"UserProfile\" VALUES ('user_b', 900)")
    usher("legacy", "import", "--source", old.url, "--issuer", "https://clerk.test")
    file = tmp_path / "live.jsonl"
    call = ["legacy", "undo", "--actor", "ops@example.com", "--reason", "test", "--export"]
    assert "Add --go" in usher(*call, str(file)).out
    assert total_of("user_a") == 550
    assert usher(*call, str(file), "--go").code == 2  # The export is not overwritten.
    assert usher(*call, str(tmp_path / "again.jsonl"), "--go").code == 0
    left = counts()
    # The ledger keeps its entries, so the two who have some stay, and stay mapped.
    assert left == {**before, "users": 2, "legacy_ids": 2}
    assert rows("SELECT total_xp, level, highest_level FROM users ORDER BY 3") == [(0, 0, 2), (0, 0, 3)]
    assert scalar("SELECT count(*) FROM staff_actions WHERE action = 'legacy.undo'") == 1
    usher("legacy", "import", "--source", old.url)
    assert (total_of("user_a"), total_of("user_b")) == (550, 900)
    assert usher("legacy", "validate", "--source", old.url).code == 0


def test_what_live_use_stands_on_survives_an_undo(
    old: OldSystem, proven: Database, usher: Usher, tmp_path: Path
) -> None:
    _, chapters = old.course(2)
    old.complete("user_a", chapters[0])
    old.complete("user_b", *chapters)
    take_over(old)
    lesson = str(scalar("SELECT id FROM lessons ORDER BY position DESC LIMIT 1"))
    wanted = xp.Completion(our_id("user_a"), str(scalar("SELECT id FROM courses")), lesson)
    with transaction() as session:
        assert xp.complete_lesson(session, CURVE, wanted).course_awarded == 200
    file = tmp_path / "live.jsonl"
    usher("legacy", "undo", "--name", "old", "--actor", "a", "--reason", "r", "--export", str(file), "--go")
    exported = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(entry["reason"], entry["amount"]) for entry in exported] == [
        ("lesson_completed", 50),
        ("course_completed", 200),
    ]
    # The lesson that was completed live stays with its XP; the course is not complete any more.
    assert total_of("user_a") == 50
    assert rows("SELECT completion_percentage, xp_earned, completed_at FROM enrollments") == [(50, 50, None)]
    assert counts() == {
        **dict.fromkeys(TABLES, 1),
        "users": 2,
        "categories": 0,
        "attachments": 0,
        "legacy_ids": 4,
    }
    take_over(old)
    assert (total_of("user_a"), total_of("user_b")) == (300, 300)
