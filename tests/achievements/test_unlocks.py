"""Unlocking: once each with its XP, only what is concerned, to the end, and taken back where it may be."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import tasks.gamification
import tasks.xp
from db.session import transaction
from domain import achievement_catalogue, achievements, counters, flags, xp_corrections
from domain.levels import SQRT
from tests.achievements import conftest
from tests.achievements.conftest import at_least, define, settle, sql, unlocked
from tests.stack import make_students, rows, scalar
from tests.xp.conftest import complete, make_school
from workers.job import run_due

pytestmark = pytest.mark.usefixtures("proven")

KINDS = ["xp.after_award", counters.SETTLE, achievement_catalogue.BACKFILL]


def work_off() -> None:
    while run_due(KINDS):
        pass
    assert rows("SELECT DISTINCT state FROM jobs WHERE kind = ANY(:kinds)", kinds=KINDS) in ([], [("done",)])


def make(code: str, condition: dict[str, Any], **values: Any) -> str:
    """Make an achievement that everybody has seen."""
    id = conftest.make(code, condition, **values)
    work_off()
    return id


def entry(key: str) -> str:
    return str(
        scalar(
            "SELECT id FROM xp_transactions WHERE business_key = :key ORDER BY generation DESC LIMIT 1",
            key=key,
        )
    )


def reverse(key: str) -> None:
    with transaction() as session:
        xp_corrections.reverse(session, SQRT, entry(key), reason="reversed_by_staff")


def test_a_lesson_leads_to_the_streak_and_to_an_achievement_with_its_xp() -> None:
    make("first-lesson", at_least("lessons.completed", 1), xp_reward=25)
    school = make_school()
    complete(school)
    work_off()
    assert unlocked(school.students[0]) == [("first-lesson", 1)]
    assert rows("SELECT business_key, amount, category, factor FROM xp_transactions ORDER BY seq")[1:] == [
        ("achievement:first-lesson:1", 25, "ACHIEVEMENT", 10_000)
    ]
    assert scalar(
        "SELECT caused_by_id = (SELECT id FROM xp_transactions WHERE source_type = 'LESSON')"
        " FROM xp_transactions WHERE category = 'ACHIEVEMENT'"
    )
    assert rows("SELECT current_streak, freezes_available FROM user_streaks") == [(1, 3)]
    assert rows("SELECT name, value, stale FROM user_counters WHERE name LIKE '%ed' ORDER BY 1") == [
        ("achievements.unlocked", 1, False),
        ("courses.completed", 0, False),
        ("lessons.completed", 1, False),
    ]


def test_an_unlock_is_unique_however_often_and_at_once_it_is_looked_for() -> None:
    make("active", at_least("lessons.completed", 1), xp_reward=10)
    school = make_school()
    complete(school)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: settle(school.students[0], "lessons.completed"), range(12)))
    work_off()
    assert unlocked(school.students[0]) == [("active", 1)]
    assert scalar("SELECT total_xp FROM users") == 60


def test_an_unlock_moves_counters_and_what_follows_comes_with_it() -> None:
    """A fixpoint: the XP of one reach the next, whose number reaches the last; the order of codes is against it."""
    make("c-first", at_least("lessons.completed", 1), xp_reward=500)
    make("b-rich", at_least("xp.total", 550), xp_reward=400)
    make("a-many", at_least("achievements.unlocked", 2), xp_reward=50)
    make("a-level", at_least("level", 3))
    make("never", at_least("level", 4))
    school = make_school()
    complete(school)
    assert run_due(["xp.after_award"])
    assert unlocked(school.students[0]) == [("a-level", 1), ("a-many", 1), ("b-rich", 1), ("c-first", 1)]
    assert scalar("SELECT total_xp FROM users") == 50 + 500 + 400 + 50
    work_off()


def test_only_what_names_a_changed_counter_is_looked_at() -> None:
    [user] = make_students(1)
    make("days", at_least("days.active", 1))
    sql("INSERT INTO user_activity_days VALUES (:user, current_date, 'UTC', now(), now(), now())", user=user)
    settle(user, "lessons.completed")
    assert unlocked(user) == []
    settle(user, "days.active")
    assert unlocked(user) == [("days", 1)]


def test_tiers_are_unlocked_each_for_itself() -> None:
    tiers = [{"condition": at_least("lessons.completed", gte), "xp_reward": 10 * gte} for gte in (2, 4)]
    make("lessons", at_least("lessons.completed", 1), xp_reward=5, tiers=tiers)
    school = make_school(lessons=5)
    complete(school)
    work_off()
    assert unlocked(school.students[0]) == [("lessons", 1)]
    complete(school, 1)
    work_off()
    assert unlocked(school.students[0]) == [("lessons", 1), ("lessons", 2)]
    paid = "SELECT business_key, amount FROM xp_transactions WHERE category = 'ACHIEVEMENT' ORDER BY seq"
    assert rows(paid) == [("achievement:lessons:1", 5), ("achievement:lessons:2", 20)]


def test_a_revocable_one_goes_with_its_cause_and_another_one_stays() -> None:
    make("kept", at_least("lessons.completed", 1), xp_reward=7)
    make("lost", at_least("lessons.completed", 1), xp_reward=9, revocable=True)
    school = make_school()
    complete(school)
    work_off()
    assert scalar("SELECT total_xp FROM users") == 50 + 7 + 9
    reverse(f"lesson:{school.lessons[0]}")
    # In the same transaction the XP that it caused are gone; the row goes with the job that follows.
    assert scalar("SELECT total_xp FROM users") == 7
    work_off()
    assert unlocked(school.students[0]) == [("kept", 1)]
    assert scalar("SELECT value FROM user_counters WHERE name = 'lessons.completed'") == 0
    complete(school)
    work_off()
    assert unlocked(school.students[0]) == [("kept", 1), ("lost", 1)]
    assert scalar("SELECT total_xp FROM users") == 50 + 7 + 9


def test_a_revocable_one_whose_condition_holds_still_gets_its_xp_again() -> None:
    make("one", at_least("lessons.completed", 1), xp_reward=9, revocable=True)
    school = make_school()
    complete(school)
    work_off()
    complete(school, 1)
    work_off()
    reverse(f"lesson:{school.lessons[0]}")
    assert scalar("SELECT total_xp FROM users") == 50
    work_off()
    assert unlocked(school.students[0]) == [("one", 1)]
    assert scalar("SELECT total_xp FROM users") == 50 + 9
    # What staff took back by hand, its cause standing, is not given again.
    reverse("achievement:one:1")
    work_off()
    assert (unlocked(school.students[0]), scalar("SELECT total_xp FROM users")) == ([("one", 1)], 50)


def test_a_revocable_one_goes_when_something_else_than_its_cause_is_missing() -> None:
    make("two", at_least("lessons.completed", 2), xp_reward=9, revocable=True)
    school = make_school()
    for lesson in range(2):
        complete(school, lesson)
        work_off()
    reverse(f"lesson:{school.lessons[0]}")
    work_off()
    assert (unlocked(school.students[0]), scalar("SELECT total_xp FROM users")) == ([], 50)


def test_an_edit_is_a_new_version_and_takes_nothing_from_anybody() -> None:
    id = make("lessons", at_least("lessons.completed", 1), xp_reward=5, revocable=True)
    school = make_school()
    complete(school)
    work_off()
    harder = define(at_least("lessons.completed", 3), xp_reward=50, revocable=True)
    with transaction() as session:
        assert achievement_catalogue.edit(session, id, 1, harder)
    with transaction() as session:
        assert not achievement_catalogue.edit(session, id, 2, harder)
    with pytest.raises(achievement_catalogue.StaleVersion), transaction() as session:
        achievement_catalogue.edit(session, id, 1, harder)
    complete(school, 1)
    work_off()
    assert rows("SELECT tier, version FROM user_achievements") == [(1, 1)]
    assert scalar("SELECT count(*) FROM achievement_versions") == 2
    # It is held by what it took then: one lesson.
    reverse(f"lesson:{school.lessons[1]}")
    work_off()
    assert rows("SELECT tier, version FROM user_achievements") == [(1, 1)]


def test_a_new_achievement_reaches_everybody_who_earned_it_before(monkeypatch: pytest.MonkeyPatch) -> None:
    school = make_school(students=7)
    for student in range(7):
        complete(school, student=student)
    work_off()
    complete(school, 1, student=0)
    work_off()
    id = conftest.make(
        "lessons",
        at_least("lessons.completed", 1),
        xp_reward=10,
        tiers=[{"condition": at_least("lessons.completed", 2)}],
    )
    make_students(5, prefix="idle")
    monkeypatch.setattr(achievement_catalogue.backfill_batch, "__defaults__", (4,))
    with transaction() as session:
        assert achievement_catalogue.backfill_batch(session, SQRT, id)
    first = scalar("SELECT count(*) FROM user_achievements")
    assert first < 8
    assert run_due([achievement_catalogue.BACKFILL])
    assert scalar("SELECT count(*) FROM user_achievements") == 8
    assert scalar("SELECT backfilled_at IS NOT NULL FROM achievements")
    work_off()
    assert scalar("SELECT count(*) FROM xp_transactions WHERE category = 'ACHIEVEMENT'") == 7
    with transaction() as session:
        assert not achievement_catalogue.backfill_batch(session, SQRT, id)


def test_what_is_not_active_is_not_unlocked_and_comes_with_its_next_version() -> None:
    school = make_school()
    complete(school)
    id = make("later", at_least("lessons.completed", 1), is_active=False)
    work_off()
    assert unlocked(school.students[0]) == []
    with transaction() as session:
        achievement_catalogue.edit(session, id, 1, define(at_least("lessons.completed", 1)))
    work_off()
    assert unlocked(school.students[0]) == [("later", 1)]


def test_while_achievements_are_off_nothing_is_unlocked_and_a_rebuild_makes_up_for_it() -> None:
    make("first", at_least("lessons.completed", 1))
    work_off()
    school = make_school()
    with transaction() as session:
        flags.switch(session, "achievements", on=False, actor="test")
    complete(school)
    work_off()
    assert unlocked(school.students[0]) == []
    with transaction() as session:
        flags.switch(session, "achievements", on=True, actor="test")
    with transaction() as session:
        achievements.rebuild_batch(session, SQRT, xp_per_day=0)
    assert unlocked(school.students[0]) == [("first", 1)]


def test_a_removed_course_takes_back_what_it_counted_for() -> None:
    make("done", at_least("courses.completed", 1), xp_reward=30, revocable=True)
    school = make_school(lessons=1)
    complete(school)
    work_off()
    assert unlocked(school.students[0]) == [("done", 1)]
    with transaction() as session:
        tasks.xp.courses.delete(session, SQRT, school.course)
    work_off()
    assert (unlocked(school.students[0]), scalar("SELECT total_xp FROM users")) == ([], 0)


def test_xp_by_hand_count_too() -> None:
    [user] = make_students(1)
    make("rich", at_least("xp.total", 100))
    work_off()
    with transaction() as session:
        xp_corrections.adjust(session, SQRT, user, 100, transport_key="k")
    work_off()
    assert unlocked(user) == [("rich", 1)]
