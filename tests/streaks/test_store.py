"""Streaks in the database: stamped once, cached, looked at each night, paid once."""

from __future__ import annotations

import random
from datetime import date, timedelta

import pytest
from sqlalchemy import text

import tasks.gamification as gamification
from db.session import transaction
from domain import counters, streak_store, xp_corrections
from domain.counters import FIRST
from domain.levels import SQRT
from domain.streaks import local_date
from tests.conftest import Database
from tests.stack import make_students, rows, scalar
from tests.streaks.conftest import be_active, look, now, settle
from tests.xp.conftest import assert_proven
from workers.job import run_due

pytestmark = pytest.mark.usefixtures("database")

CACHED = (
    "SELECT current_streak, longest_streak, last_activity_date, freezes_available, freezes_used, covered_dates, as_of"
    " FROM user_streaks WHERE user_id = :user"
)


def sql(statement: str, **values: object) -> None:
    with transaction() as session:
        session.execute(text(statement), values)


def cached(user: str) -> tuple[object, ...]:
    [found] = rows(CACHED, user=user)
    return tuple(found)


def lazy(user: str) -> tuple[object, ...]:
    found = look(user)
    state = found.state
    return (
        state.current,
        state.longest,
        state.last_active,
        state.freezes_available,
        len(state.covered),
        list(state.covered),
        found.today,
    )


def give_history(user: str, choice: random.Random, today: date) -> None:
    """Insert a random history of days, grants and rest days, as if it had been stamped day by day."""
    for day in {choice.randrange(60) for _ in range(choice.randrange(60))}:
        sql(
            "INSERT INTO user_activity_days (user_id, local_date, time_zone, active_at, settled_at)"
            " VALUES (:user, :day, 'UTC', now(), now())",
            user=user,
            day=today - timedelta(days=day),
        )
    if choice.random() < 0.5:
        sql(
            "INSERT INTO streak_freeze_grants (user_id, granted_on) VALUES (:user, :day)",
            user=user,
            day=today - timedelta(days=choice.randrange(60)),
        )


def test_a_day_is_stamped_once_in_the_zone_of_that_moment() -> None:
    [user] = make_students(1)
    sql("UPDATE users SET time_zone = 'Asia/Tokyo'")
    sql("DELETE FROM user_zone_changes")
    stamp_at = now() - timedelta(days=1)
    with transaction() as session:
        assert streak_store.stamp(session, user, stamp_at)
        assert not streak_store.stamp(session, user, stamp_at)
    sql("UPDATE users SET time_zone = 'America/Los_Angeles'")
    assert rows("SELECT local_date, time_zone FROM user_activity_days") == [
        (local_date("Asia/Tokyo", stamp_at), "Asia/Tokyo")
    ]
    assert rows("SELECT was, became FROM user_zone_changes") == [("Asia/Tokyo", "America/Los_Angeles")]
    # What is told only now, but happened before the move, is of the zone of that time.
    with transaction() as session:
        streak_store.stamp(session, user, stamp_at - timedelta(days=2))
    assert rows("SELECT DISTINCT time_zone FROM user_activity_days") == [("Asia/Tokyo",)]


def test_too_late_and_ahead_is_not_taken() -> None:
    [user] = make_students(1)
    be_active(user, 8, -1, -400)
    assert rows("SELECT * FROM user_activity_days") == []
    be_active(user, 7)
    assert scalar("SELECT count(*) FROM user_activity_days") == 1


def test_late_activity_gives_the_freeze_back() -> None:
    [user] = make_students(1)
    be_active(user, 3, 1, 0)
    settle(user)
    assert rows("SELECT current_streak, freezes_available, freezes_used FROM user_streaks") == [(3, 2, 1)]
    be_active(user, 2)
    assert run_due([counters.SETTLE])
    assert rows("SELECT current_streak, freezes_available, freezes_used FROM user_streaks") == [(4, 3, 0)]


def test_the_order_in_which_activity_is_told_is_no_matter() -> None:
    choice = random.Random(5)
    days = [0, 1, 2, 4, 5, 7]
    outcomes = set()
    for number in range(4):
        [user] = make_students(1, prefix=f"told-{number}")
        choice.shuffle(days)
        for day in days:
            be_active(user, day)
            if choice.random() < 0.5:
                settle(user)
        settle(user)
        outcomes.add(str(cached(user)))
    assert len(outcomes) == 1
    assert "(6, 6," in outcomes.pop()


def test_the_nightly_turn_says_what_a_look_says(monkeypatch: pytest.MonkeyPatch) -> None:
    choice = random.Random(11)
    zones = ["Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kathmandu", "UTC"]
    users = make_students(24)
    for number, user in enumerate(users):
        sql("UPDATE users SET time_zone = :zone WHERE id = :user", zone=zones[number % 4], user=user)
        give_history(user, choice, look(user).today - timedelta(days=choice.randrange(5)))
    sql("DELETE FROM user_zone_changes")
    sql("INSERT INTO streak_rest_days (weekday, first_date) VALUES (7, '2026-01-01')")
    # As a turn some nights ago left it: everybody is in a run that was looked at then.
    sql(
        "INSERT INTO user_streaks (user_id, current_streak, as_of) SELECT id, 9, current_date - 4 FROM users WHERE id = ANY(CAST(:ids AS uuid[]))",
        ids=users,
    )
    monkeypatch.setattr(streak_store.refresh_due, "__defaults__", (5,))
    gamification.nightly()
    for user in users:
        assert cached(user) == lazy(user)
    with transaction() as session:
        assert streak_store.live_zones(session).keys() <= set(zones)
        calendar = {zone: local_date(zone, now()) for zone in zones}
        assert streak_store.refresh_due(session, calendar, FIRST) is None


def test_a_turn_that_was_cut_short_goes_on_with_who_is_left() -> None:
    users = sorted(make_students(3))
    for user in users:
        be_active(user, 1)
        settle(user)
    sql("UPDATE user_streaks SET as_of = as_of - 1")
    with transaction() as session:
        calendar = streak_store.live_zones(session)
        assert streak_store.refresh_due(session, calendar, FIRST, 2) == users[1]
    with transaction() as session:
        assert streak_store.refresh_due(session, calendar, FIRST, 2) == users[2]
    with transaction() as session:
        assert streak_store.refresh_due(session, calendar, FIRST, 2) is None


def test_an_active_day_is_paid_once_and_what_staff_took_back_stays_taken() -> None:
    [user] = make_students(1)
    be_active(user, 1, 0)
    settle(user, xp_per_day=10)
    settle(user, xp_per_day=10)
    entries = "SELECT business_key, amount FROM xp_transactions WHERE kind = 'award' ORDER BY 1"
    days = sorted(local_date("UTC", now() - timedelta(days=ago)) for ago in (0, 1))
    assert rows(entries) == [(f"streak:{day}", 10) for day in days]
    with transaction() as session:
        xp_corrections.reverse_key(session, SQRT, user, f"streak:{days[0]}", reason="reversed_by_staff")
    be_active(user, 1)
    settle(user, xp_per_day=10)
    assert scalar("SELECT total_xp FROM users") == 10
    assert_proven()


def test_nothing_is_paid_while_nothing_is_set() -> None:
    [user] = make_students(1)
    be_active(user, 0)
    assert run_due([counters.SETTLE])
    assert rows("SELECT * FROM xp_transactions") == []
    assert scalar("SELECT value FROM user_counters WHERE name = 'days.active'") == 1


def test_activity_of_nobody_and_of_no_counter(database: Database) -> None:
    be_active("00000000-0000-0000-0000-0000000000aa", 0)
    assert rows("SELECT * FROM jobs") == []
    [user] = make_students(1)
    with pytest.raises(ValueError, match="no counters"), transaction() as session:
        counters.changed(session, user, "lessons.begun")
