"""Importing seed D's tables: worked examples, repeats, live awards beside it."""

from __future__ import annotations

from db.session import transaction
from domain import xp, xp_corrections
from tests.conftest import Database
from tests.legacy.conftest import OldSystem, oddities, take_over, total_of
from tests.stack import rows, scalar
from tests.xp.conftest import CURVE


def two_learners(old: OldSystem) -> None:
    """Three chapters and two whole courses; five and three."""
    _, one = old.course(1)
    _, two = old.course(2)
    _, three = old.course(2)
    old.complete("user_a", *one, *two)
    old.complete("user_b", *one, *two, *three)


def our_id(user: str) -> str:
    return str(scalar("SELECT id FROM legacy_ids WHERE table_name = 'User' AND legacy_id = :user", user=user))


def test_the_worked_examples_come_out_and_live_xp_stay(old: OldSystem, proven: Database) -> None:
    two_learners(old)
    take_over(old)
    assert (total_of("user_a"), total_of("user_b")) == (550, 850)
    wanted = xp.Award(our_id("user_a"), "referral:x:1", 10, "REFERRAL", "x", "REFERRAL", "referred")
    with transaction() as session:
        xp.award(session, CURVE, wanted)
    take_over(old)
    assert (total_of("user_a"), total_of("user_b")) == (560, 850)
    assert rows("SELECT level, highest_level FROM users ORDER BY total_xp") == [(2, 2), (2, 2)]


def test_what_counts_lessons_and_xp_is_told(old: OldSystem, proven: Database) -> None:
    two_learners(old)
    take_over(old)
    asked = rows("SELECT business_key FROM jobs WHERE kind = 'gamification.settle'")
    assert {key for (key,) in asked} == {our_id("user_a"), our_id("user_b")}
    stale = rows("SELECT DISTINCT name FROM user_counters WHERE stale")
    assert {name for (name,) in stale} >= {"lessons.completed", "courses.completed", "xp.total", "level"}
    rows("DELETE FROM jobs RETURNING 1")
    take_over(old, overlap=60)  # Read again, nothing changes, nobody is told.
    assert rows("SELECT 1 FROM jobs") == []


def test_a_second_import_reads_only_what_changed_and_changes_nothing(
    old: OldSystem, proven: Database
) -> None:
    two_learners(old)
    take_over(old)
    before = rows("SELECT id, balance_after FROM xp_transactions ORDER BY seq")
    old.run('UPDATE "UserProgress" SET "updatedAt" = \'2020-01-01\'')
    assert take_over(old) == 3 + 5  # The catalogue; of progress nothing.
    old.run('UPDATE "UserProgress" SET "updatedAt" = \'2040-01-01\'')
    assert take_over(old) == 3 + 5 + 8
    assert rows("SELECT id, balance_after FROM xp_transactions ORDER BY seq") == before


def test_what_was_earned_live_is_not_paid_again(old: OldSystem, proven: Database) -> None:
    course, chapters = old.course(2)
    old.insert("Purchase", userId="user_a", courseId=course)
    take_over(old)
    lesson = str(scalar("SELECT id FROM lessons ORDER BY position LIMIT 1"))
    wanted = xp.Completion(our_id("user_a"), str(scalar("SELECT id FROM courses")), lesson)
    with transaction() as session:
        xp.complete_lesson(session, CURVE, wanted)
    old.complete("user_a", *chapters)
    take_over(old)
    assert total_of("user_a") == 50 + 50 + 200
    keys = rows("SELECT business_key FROM xp_transactions ORDER BY seq")
    assert [key.partition(":")[0] for (key,) in keys] == ["lesson", "lesson", "course"]
    assert rows("SELECT completion_percentage, xp_earned, completed_at IS NULL FROM enrollments") == [
        (100, 300, False)
    ]


def test_what_staff_took_back_stays_taken_back(old: OldSystem, proven: Database) -> None:
    _, chapters = old.course(2)
    (row, *_) = old.complete("user_a", *chapters[:1])
    take_over(old)
    award = str(scalar("SELECT id FROM xp_transactions"))
    with transaction() as session:
        xp_corrections.reverse(session, CURVE, award, reason="reversed_by_staff")
    old.run('UPDATE "UserProgress" SET "updatedAt" = now() WHERE id = %s', row)
    take_over(old)
    assert total_of("user_a") == 0
    assert scalar("SELECT count(*) FROM lesson_progress") == 0


def test_history_is_not_multiplied(old: OldSystem, proven: Database) -> None:
    _, chapters = old.course(1)
    old.complete("user_a", *chapters)
    rows(
        "INSERT INTO xp_multipliers (name, factor, starts_at, ends_at)"
        " VALUES ('double', 20000, '2020-01-01', '2040-01-01') RETURNING 1"
    )
    take_over(old)
    assert total_of("user_a") == 250


def test_people_are_found_by_issuer_by_id_and_by_address(old: OldSystem, proven: Database) -> None:
    old.run('CREATE TABLE "User" ("id" TEXT PRIMARY KEY, "email" TEXT, "name" TEXT)')
    uuid = "11111111-2222-4333-8444-555555555555"
    for id, email in (
        ("user_mail", "ANA@example.com "),
        (uuid, "new@example.com"),
        ("user_none", None),
        ("user_twice", "new@example.com"),
        ("user_odd", "no address"),
    ):
        old.insert("User", id=id, email=email, name="Ana")
    known = rows("INSERT INTO users (email) VALUES ('ana@example.com'), ('clerk@example.com') RETURNING id")
    rows(
        "INSERT INTO identities (issuer, subject, user_id) VALUES ('https://clerk.test', 'user_clerk', :id) RETURNING 1",
        id=known[1][0],
    )
    course, _ = old.course(1)
    old.insert("Purchase", userId="user_clerk", courseId=course)
    take_over(old, issuer="https://clerk.test")
    assert our_id("user_mail") == str(known[0][0])
    assert our_id("user_clerk") == str(known[1][0])
    assert our_id(uuid) == our_id("user_twice") == uuid
    assert scalar("SELECT count(*) FROM users WHERE email LIKE '%@usher.invalid'") == 2
    assert scalar("SELECT count(*) FROM identities") == 6
    assert oddities() == [
        ("User", "user_none", "no_usable_address"),
        ("User", "user_odd", "no_usable_address"),
        ("User", "user_twice", "shared_address"),
    ]


def test_purchases_become_enrolments_and_the_rest_is_kept(old: OldSystem, proven: Database) -> None:
    category = old.insert("Category", name="Safety")
    course = old.insert(
        "Course", title="C", price=49.5, isPublished=True, categoryId=category, createdById="teacher"
    )
    chapter = old.insert("Chapter", title="1", position=1, courseId=course, videoUrl="https://v.test/1")
    old.insert("MuxData", assetId="asset", playbackId="play", chapterId=chapter)
    for _ in range(2):
        old.insert("Attachment", name="slides.pdf", url="https://f.test/1", courseId=course)
    first, second = (old.insert("Purchase", userId="buyer", courseId=course) for _ in range(2))
    old.insert("StripeCustomer", userid="buyer", stripeCustomerId="cus_1")
    take_over(old)
    assert rows("SELECT legacy_source, completion_percentage FROM enrollments") == [("old", 0)]
    assert oddities() == [("Purchase", second, "duplicate_purchase")]
    assert first < second
    kept = dict(rows("SELECT table_name, payload FROM legacy_ids"))
    assert kept["MuxData"] == {"assetId": "asset", "playbackId": "play"}
    assert kept["StripeCustomer"]["stripeCustomerId"] == "cus_1"
    assert (kept["Course"]["price"], kept["Course"]["createdById"]) == ("49.5", "teacher")
    assert scalar("SELECT video_url FROM lessons") == "https://v.test/1"
    assert len(rows("SELECT name FROM attachments")) == 2
    assert scalar("SELECT c.name FROM courses k JOIN categories c ON c.id = k.category_id") == "Safety"


def test_a_changed_catalogue_is_followed_unless_it_was_edited_here(old: OldSystem, proven: Database) -> None:
    _, chapters = old.course(2)
    take_over(old)
    old.run('UPDATE "Course" SET "title" = \'New\', "updatedAt" = \'2040-01-01\'')
    old.run('UPDATE "Chapter" SET "title" = \'New\', "updatedAt" = \'2040-01-01\'')
    rows("UPDATE lessons SET title = 'Ours', updated_at = now() WHERE position = 0 RETURNING 1")
    take_over(old)
    assert scalar("SELECT title FROM courses") == "New"
    assert rows("SELECT title FROM lessons ORDER BY position") == [("Ours",), ("New",)]
    assert oddities() == [("Chapter", chapters[0], "edited_here")]
