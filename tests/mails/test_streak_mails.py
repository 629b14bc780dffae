"""Reminders of streaks: in the evening of the learner's own zone, once a day, only where asked for and needed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

import settings as settings_module
from db.session import transaction
from domain import mail_turns
from tasks import mail as mail_tasks
from tests.api.conftest import run
from tests.mails.conftest import deliver
from tests.mails.test_mails import FIRST, Deliver, check
from tests.stack import rows, scalar
from tests.streaks.conftest import be_active, settle

__all__ = ["deliver"]

LA, KIRITIMATI, MADRID = "America/Los_Angeles", "Pacific/Kiritimati", "Europe/Madrid"


def learner(zone: str, *, wants: bool = True, days: int = 5, last: date = date(2026, 1, 1)) -> str:
    """Insert somebody with a run of so many days as it is cached, whose last active date was `last`."""
    user = scalar(
        "INSERT INTO users (email, name, time_zone, wants_streak_mail)"
        " VALUES (gen_random_uuid() || '@example.com', 'Lea', :zone, :wants) RETURNING id",
        zone=zone,
        wants=wants,
    )
    run(
        "INSERT INTO user_streaks (user_id, current_streak, longest_streak, last_activity_date, as_of)"
        " VALUES (:u, :n, :n, :last, :last)",
        u=user,
        n=days,
        last=last,
    )
    return str(user)


def take_turn(now: datetime, limit: int = 500) -> list[str]:
    """Ask for the reminders of a moment; return the keys of all that were asked for so far."""
    with transaction() as session:
        calendar = mail_turns.evenings(session, now)
    after: str | None = FIRST
    while after is not None:
        with transaction() as session:
            after = mail_turns.remind(session, calendar, after, limit)
    return [row[0] for row in rows("SELECT business_key FROM jobs WHERE kind = 'mail.notice' ORDER BY id")]


def test_los_angeles_and_kiritimati_have_their_evenings_on_their_own_dates(deliver: Deliver) -> None:
    west, east = learner(LA), learner(KIRITIMATI)
    # 20:00 on 9 January in Los Angeles is 18:00 on 10 January in Kiritimati: evening in one, not yet in the other.
    now = datetime(2026, 1, 10, 4, 0, tzinfo=UTC)
    assert take_turn(now) == [f"streak:{west}:2026-01-09"]
    assert set(take_turn(now + timedelta(hours=1))) == {
        f"streak:{west}:2026-01-09",
        f"streak:{east}:2026-01-10",
    }
    assert len(take_turn(now + timedelta(hours=1, minutes=45))) == 2, "once a day"
    assert len(take_turn(now + timedelta(days=1))) == 3


@pytest.mark.parametrize(
    ("zone", "before", "after"),
    [(LA, date(2026, 3, 7), date(2026, 3, 8)), (MADRID, date(2026, 10, 24), date(2026, 10, 25))],
)
def test_the_evening_follows_the_clocks_when_they_change(
    deliver: Deliver, zone: str, before: date, after: date
) -> None:
    user = learner(zone)
    for day in (before, after):
        seven = datetime(day.year, day.month, day.day, 19, tzinfo=ZoneInfo(zone)).astimezone(UTC)
        assert f"streak:{user}:{day}" not in take_turn(seven - timedelta(minutes=1))
        assert f"streak:{user}:{day}" in take_turn(seven)
    assert len(take_turn(seven + timedelta(hours=3))) == 2
    first = datetime(before.year, before.month, before.day, 19, tzinfo=ZoneInfo(zone))
    assert seven - first.astimezone(UTC) in (timedelta(hours=23), timedelta(hours=25))


def test_nobody_is_reminded_who_did_not_ask_is_active_or_has_little_to_lose(deliver: Deliver) -> None:
    today = date(2026, 6, 1)
    learner("UTC", wants=False)
    learner("UTC", days=2)
    learner("UTC", last=today)
    wanted = [learner("UTC") for _ in range(5)]
    found = take_turn(datetime(2026, 6, 1, 19, 30, tzinfo=UTC), limit=2)
    assert set(found) == {f"streak:{user}:{today}" for user in wanted}


def test_a_reminder_arrives_in_the_learners_language_and_only_while_it_is_true(deliver: Deliver) -> None:
    user = str(scalar("INSERT INTO users (email, name, locale, wants_streak_mail) VALUES ('lea@example.com', 'Lea', 'es', true) RETURNING id"))  # fmt: skip
    be_active(user, 4, 3, 2, 1)
    settle(user)
    today = scalar("SELECT current_date")
    evening = datetime(today.year, today.month, today.day, 19, 30, tzinfo=UTC)
    assert take_turn(evening) == [f"streak:{user}:{today}"]
    [mail] = deliver()
    assert mail["to"] == ["lea@example.com"]
    assert mail["subject"] == "Hoy todavía no está en tu racha"
    assert "llevas 4 días seguidos aprendiendo" in mail["text"]
    assert "Te quedan 3 protectores" in mail["text"]
    check(mail, "es", stops=True)
    run("DELETE FROM jobs")
    assert len(take_turn(evening)) == 1
    be_active(user, 0)
    assert deliver() == [], "active since it was asked for"
    run("DELETE FROM jobs")
    run("DELETE FROM user_activity_days WHERE local_date = current_date")
    run("UPDATE user_streaks SET last_activity_date = current_date - 1, current_streak = 4")
    assert len(take_turn(evening)) == 1
    run("UPDATE users SET wants_streak_mail = false")
    assert deliver() == [], "ended since it was asked for"


def test_a_reminder_for_a_day_that_is_over_is_dropped(deliver: Deliver) -> None:
    user = learner("UTC")
    assert take_turn(datetime(2026, 1, 9, 20, tzinfo=UTC)) == [f"streak:{user}:2026-01-09"]
    assert deliver() == []
    assert rows("SELECT state FROM jobs WHERE kind = 'mail.notice'") == [("done",)]


def test_beat_asks_for_all_of_them_in_its_turn(deliver: Deliver) -> None:
    settings_module.get_settings.cache_clear()
    mail_tasks.ask_due()
    assert rows("SELECT count(*) FROM scheduled_runs WHERE job = 'mail.turn'") == [(1,)]
