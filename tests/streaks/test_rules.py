"""The rules of streaks on facts alone: freezes, milestones, rest days, dates cut short, clocks that jump."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.streaks import (
    BACKFILL_DAYS,
    DAY,
    FREEZES,
    LEAST_LIVED,
    MILESTONE,
    Facts,
    Rest,
    State,
    Zone,
    accepts,
    evaluate,
    lived,
    local_date,
)

START = date(2026, 3, 2)  # a Monday
LA, AUCKLAND, APIA = "America/Los_Angeles", "Pacific/Auckland", "Pacific/Apia"


def days(*numbers: int) -> frozenset[date]:
    return frozenset(START + number * DAY for number in numbers)


def stand(numbers: list[int], today: int, **facts: object) -> State:
    return evaluate(Facts(days(*numbers), **facts), START + today * DAY)  # type: ignore[arg-type]


def model(facts: Facts, today: date) -> tuple[int, int, int, list[date]]:
    """The rules once more, the slow way: date by date from the first to the last, in plain words."""
    current = longest = 0
    available, covered = FREEZES, []
    if not facts.days:
        for _ in [grant for grant in facts.grants if grant <= today]:
            available = min(FREEZES, available + 1)
        return current, longest, available, covered
    day = min(facts.days | set(facts.grants))
    while day <= max(today, *facts.days):
        for _ in [grant for grant in facts.grants if grant == day]:
            available = min(FREEZES, available + 1)
        if day in facts.days:
            current += 1
            longest = max(longest, current)
            if current % MILESTONE == 0:
                available = min(FREEZES, available + 1)
        elif current and day != today and not facts.excuses(day):
            if available:
                available -= 1
                covered.append(day)
            else:
                current = 0
        day += DAY
    return current, longest, available, covered


def outcome(state: State) -> tuple[int, int, int, list[date]]:
    return state.current, state.longest, state.freezes_available, list(state.covered)


def test_active_days_count_and_frozen_days_bridge_without_adding() -> None:
    state = stand([0, 1, 2, 4, 5], 5)
    assert (state.current, state.longest, state.freezes_available) == (5, 5, 2)
    assert state.covered == (START + 3 * DAY,)


def test_today_unfinished_is_a_risk_and_no_break() -> None:
    state = stand([0, 1], 2)
    assert (state.current, state.at_risk, state.active_today, state.freezes_available) == (2, True, False, 3)
    state = stand([0, 1], 1)
    assert (state.current, state.at_risk, state.active_today) == (2, False, True)


def test_the_first_uncovered_day_breaks_the_run_and_spent_freezes_stay_spent() -> None:
    assert stand([0, 1], 5).current == 2
    broken = stand([0, 1], 6)
    assert (broken.current, broken.longest, broken.freezes_available, broken.at_risk) == (0, 2, 0, False)
    anew = stand([0, 1, 20], 20)
    assert (anew.current, anew.longest, anew.freezes_available) == (1, 2, 0)


def test_a_freeze_covers_only_days_from_its_grant_on() -> None:
    late, early = START + 6 * DAY, START + 4 * DAY
    assert stand([0, 6], 6, grants=(late,)).current == 1
    # Two are missed before it is granted, so it is not lost at the most that there may be.
    assert stand([0, 5], 5, grants=(early,)).freezes_available == 0
    assert stand([0, 5], 5, grants=(early,)).current == 2


def test_a_milestone_gives_one_more_and_never_more_than_three() -> None:
    whole = list(range(MILESTONE))
    assert stand(whole, MILESTONE - 1).freezes_available == 3
    gap = [number for number in range(MILESTONE + 1) if number != 7]
    assert (stand(gap, MILESTONE).current, stand(gap, MILESTONE).freezes_available) == (30, 3)
    assert stand(gap[:-1], MILESTONE - 1).freezes_available == 2
    assert stand([], 0, grants=(START,)).freezes_available == 3


def test_late_activity_gives_the_freeze_back() -> None:
    before, after = stand([0, 1, 3], 3), stand([0, 1, 3, 2], 3)
    assert (before.current, before.freezes_available) == (3, 2)
    assert (after.current, after.freezes_available, after.covered) == (4, 3, ())


def test_rest_days_neither_break_nor_add() -> None:
    weekend = (Rest(START, weekday=6), Rest(START, weekday=7))
    state = stand([3, 4, 7], 7, rest=weekend)  # Thursday, Friday, Monday
    assert (state.current, state.freezes_available) == (3, 3)
    assert not stand([3, 4], 5, rest=weekend).at_risk
    holiday = (Rest(START + 2 * DAY, START + 9 * DAY),)
    assert stand([0, 1, 10], 10, rest=holiday).current == 3


def test_a_date_lived_for_less_than_twelve_hours_is_excused() -> None:
    """LA -> Auckland: landing at 17:00 of the 11th leaves seven hours of it."""
    change = datetime(2026, 3, 11, 4, 0, tzinfo=UTC)
    zones = (Zone(LA, change), Zone(AUCKLAND))
    assert (local_date(LA, change), local_date(AUCKLAND, change)) == (date(2026, 3, 10), date(2026, 3, 11))
    assert lived(zones, date(2026, 3, 11)) == timedelta(hours=7)
    flown = frozenset({date(2026, 3, 9), date(2026, 3, 10), date(2026, 3, 12)})
    state = evaluate(Facts(flown, zones), date(2026, 3, 12))
    assert (state.current, state.freezes_available) == (3, 3)
    assert evaluate(Facts(flown, (Zone(AUCKLAND),)), date(2026, 3, 12)).freezes_available == 2
    # Back again the same evening: the 11th is lived a second time, so it is missed.
    back = (Zone(LA, change), Zone(AUCKLAND, change + timedelta(hours=6)), Zone(LA))
    assert lived(back, date(2026, 3, 11)) == timedelta(hours=6 + 21)
    assert evaluate(Facts(flown, back), date(2026, 3, 12)).freezes_available == 2


def test_samoa_had_no_30th_of_december_2011() -> None:
    assert lived((Zone(APIA),), date(2011, 12, 30)) == timedelta(0)
    around = Facts(frozenset({date(2011, 12, 29), date(2011, 12, 31)}), (Zone(APIA),))
    state = evaluate(around, date(2011, 12, 31))
    assert (state.current, state.freezes_available) == (2, 3)


def test_on_a_spring_forward_weekend_23_hours_can_span_a_missed_day() -> None:
    zone = ZoneInfo("Europe/Vienna")
    saturday, monday = datetime(2026, 3, 28, 23, 59, tzinfo=zone), datetime(2026, 3, 30, 0, 1, tzinfo=zone)
    assert monday.astimezone(UTC) - saturday.astimezone(UTC) == timedelta(hours=23, minutes=2)
    stamped = frozenset(local_date("Europe/Vienna", at) for at in (saturday, monday))
    state = evaluate(Facts(stamped, (Zone("Europe/Vienna"),)), date(2026, 3, 30))
    assert (state.covered, state.current) == ((date(2026, 3, 29),), 2)
    assert lived((Zone("Europe/Vienna"),), date(2026, 3, 29)) == timedelta(hours=23) > LEAST_LIVED


@pytest.mark.parametrize(
    ("hours", "taken"),
    [(0, True), (-24 * BACKFILL_DAYS, True), (-24 * (BACKFILL_DAYS + 1), False), (24, False)],
)
def test_a_week_back_is_taken_and_nothing_ahead(hours: int, taken: bool) -> None:
    now = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
    assert accepts("Asia/Kathmandu", now + timedelta(hours=hours), now) is taken


def test_a_zone_that_is_none_counts_as_utc() -> None:
    assert local_date("Mars/Olympus", datetime(2026, 1, 1, 23, 0, tzinfo=UTC)) == date(2026, 1, 1)


numbers = st.integers(0, 80)
ZONES = st.sampled_from([(Zone("UTC"),), (Zone(LA, datetime(2026, 3, 20, 5, tzinfo=UTC)), Zone(AUCKLAND))])
RESTS = st.lists(st.builds(Rest, st.just(START), st.none(), st.integers(1, 7)), max_size=2)
HISTORIES = st.tuples(
    st.lists(numbers, max_size=70, unique=True), st.lists(numbers, max_size=4), ZONES, RESTS, numbers
)


@given(HISTORIES, st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_any_order_of_a_history_gives_the_state_that_the_rules_give(
    history: tuple[list[int], list[int], tuple[Zone, ...], list[Rest], int], order: random.Random
) -> None:
    active, grants, zones, rest, extra = history
    today = START + max([*active, extra]) * DAY
    facts = Facts(days(*active), zones, tuple(START + n * DAY for n in grants), rest)
    state = evaluate(facts, today)
    assert outcome(state) == model(facts, today)
    order.shuffle(active)
    order.shuffle(grants)
    assert evaluate(Facts(days(*active), zones, tuple(START + n * DAY for n in grants), rest), today) == state
    assert 0 <= state.freezes_available <= FREEZES
    assert state.longest >= state.current
