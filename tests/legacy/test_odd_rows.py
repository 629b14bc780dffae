"""Rows that cannot be placed: each is counted and named, and placed later where its reason goes away."""

from __future__ import annotations

import pytest

from domain.legacy.source import NotReadable
from tests.conftest import Database
from tests.legacy.conftest import OldSystem, oddities, take_over, total_of
from tests.stack import rows, scalar


def test_each_odd_row_of_progress_is_named(old: OldSystem, proven: Database) -> None:
    _, (chapter, hidden, other) = old.course(3)
    _, (closed,) = old.course(1, published=False)
    old.run('UPDATE "Chapter" SET "isPublished" = false WHERE id = %s', hidden)
    good, twice, thrice, in_hidden, in_closed, in_deleted = old.complete(
        "user_a", chapter, chapter, chapter, hidden, closed, "no-such-chapter"
    )
    (nobody,) = old.complete(None, chapter)
    (nothing,) = old.complete("user_a", None)
    old.complete("user_a", other, done=False)
    old.run(
        'INSERT INTO "UserProgress" ("userId", "chapterId", "isCompleted") VALUES (\'user_a\', %s, true)',
        other,
    )
    take_over(old)
    assert total_of("user_a") == 50
    named = {(id, reason) for table, id, reason in oddities() if table == "UserProgress"}
    assert named == {
        (twice, "duplicate_progress"),
        (thrice, "duplicate_progress"),
        (in_hidden, "unpublished_chapter"),
        (in_closed, "unpublished_course"),
        (in_deleted, "deleted_chapter"),
        (nobody, "null_user"),
        (nothing, "null_chapter"),
        ("*", "null_id"),
    }
    assert good not in {id for id, _ in named}
    read, placed = rows("SELECT rows_read, rows_placed FROM legacy_tables WHERE table_name = 'UserProgress'")[
        0
    ]
    assert (read, placed) == (9, 2)  # One completed, one not.


def test_what_waited_is_placed_once_its_reason_is_gone(old: OldSystem, proven: Database) -> None:
    course, chapters = old.course(1, published=False)
    old.complete("user_a", *chapters, "late-chapter")
    take_over(old)
    assert total_of("user_a") == 0
    old.run('UPDATE "Course" SET "isPublished" = true, "updatedAt" = \'2040-01-01\'')
    old.insert("Chapter", id="late-chapter", title="Late", position=2, isPublished=True, courseId=course)
    take_over(old)
    assert total_of("user_a") == 300
    assert oddities() == []


def test_times_without_a_zone_are_read_in_the_given_one(old: OldSystem, proven: Database) -> None:
    _, chapters = old.course(1)
    for (chapter, at), user in zip(
        [(chapters[0], "2026-07-01 12:00"), (chapters[0], "2026-12-01")], "ab", strict=True
    ):
        old.insert(
            "UserProgress", userId=user, chapterId=chapter, isCompleted=True, updatedAt=at, createdAt=at
        )
    take_over(old, zone="Europe/Vienna")
    found = rows("SELECT completed_at::text FROM lesson_progress ORDER BY completed_at")
    assert found[0] == ("2026-07-01 10:00:00+00",)
    # A completion that has not happened yet, as its clock has it, counts as of the import.
    assert scalar("SELECT max(completed_at) <= now() FROM lesson_progress")
    remark = rows("SELECT detail, count FROM legacy_oddities WHERE table_name = 'UserProgress'")
    assert remark == [("createdAt, updatedAt: times without a zone were read as Europe/Vienna", 2)]


def test_a_completion_that_was_taken_back_keeps_its_xp_and_is_named(old: OldSystem, proven: Database) -> None:
    _, chapters = old.course(1)
    (row,) = old.complete("user_a", *chapters)
    take_over(old)
    old.run('UPDATE "UserProgress" SET "isCompleted" = false, "updatedAt" = \'2040-01-01\'')
    take_over(old)
    assert total_of("user_a") == 250
    assert oddities() == [("UserProgress", row, "completion_taken_back")]


def test_odd_purchases_and_a_paid_course_that_is_unpublished(old: OldSystem, proven: Database) -> None:
    course, _ = old.course(1, published=False)
    paid = old.insert("Purchase", userId="buyer", courseId=course)
    lost = old.insert("Purchase", userId="buyer", courseId="no-such-course")
    nobody = old.insert("Purchase", userId=None, courseId=course)
    take_over(old)
    assert scalar("SELECT count(*) FROM enrollments") == 1
    assert [line for line in oddities() if line[0] == "Purchase"] == [
        ("Purchase", paid, "unpublished_course"),
        ("Purchase", lost, "deleted_course"),
        ("Purchase", nobody, "null_user"),
    ]


def test_rewards_of_the_begun_plan_count_and_those_out_of_range_are_bounded(
    old: OldSystem, proven: Database
) -> None:
    old.run('ALTER TABLE "Chapter" ADD "xpReward" INTEGER NOT NULL DEFAULT 50')
    old.run('ALTER TABLE "Course" ADD "xpReward" INTEGER NOT NULL DEFAULT 200')
    _, (first, second) = old.course(2)
    old.run('UPDATE "Chapter" SET "xpReward" = CASE id WHEN %s THEN 70 ELSE -5 END', first)
    old.complete("user_a", first, second)
    take_over(old)
    assert total_of("user_a") == 70 + 0 + 200
    assert ("Chapter", second, "xp_reward_out_of_range") in oddities()


def test_a_database_that_is_something_else_is_refused_before_anything_is_written(
    old: OldSystem, database: Database
) -> None:
    old.run('ALTER TABLE "Chapter" DROP "courseId"')
    with pytest.raises(NotReadable, match='"Chapter" has no column courseId'):
        take_over(old)
    for table in (
        "Course",
        "Category",
        "Attachment",
        "Chapter",
        "MuxData",
        "UserProgress",
        "Purchase",
        "StripeCustomer",
    ):
        old.run(f'DROP TABLE "{table}"')
    with pytest.raises(NotReadable, match="none of the tables"):
        take_over(old)
    assert scalar("SELECT count(*) FROM legacy_sources") == 0


def test_totals_without_a_ledger_open_one(old: OldSystem, proven: Database) -> None:
    old.run('CREATE TABLE "UserProfile" ("userId" TEXT PRIMARY KEY, "totalXP" INTEGER NOT NULL)')
    # Seed B's later `UserXP` holds entries and no totals: it is left alone.
    old.run(
        'CREATE TABLE "UserXP" ("id" TEXT PRIMARY KEY, "userId" TEXT NOT NULL, "amount" INTEGER NOT NULL)'
    )
    _, chapters = old.course(1)
    old.complete("user_a", *chapters)
    old.run(
        "INSERT INTO \"UserProfile\" VALUES ('user_a', 400), ('user_b', 70), ('user_c', 0), ('user_d', -3)"
    )
    take_over(old)
    # The total holds what the chapters gave: only the rest opens the ledger.
    assert (total_of("user_a"), total_of("user_b"), total_of("user_c")) == (400, 70, 0)
    opening = "SELECT count(*) FROM xp_transactions WHERE source_type = 'LEGACY'"
    assert scalar(opening) == 2
    take_over(old)
    assert scalar(opening) == 2
    old.run('UPDATE "UserProfile" SET "totalXP" = CASE "userId" WHEN \'user_b\' THEN 95 ELSE 10 END')
    take_over(old)
    assert (total_of("user_a"), total_of("user_b"), total_of("user_d")) == (400, 95, 10)
    assert oddities() == [("UserProfile", "user_a", "total_below_entries")]
