"""Multipliers by rule: chosen by when it happened, added up, capped at 3, rounded once, and never priced again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db.models.xp import CATEGORIES, PRICED_CATEGORIES, PRICED_SOURCE_TYPES, SOURCE_TYPES
from db.session import transaction
from domain import courses, xp, xp_corrections, xp_multipliers, xp_partners
from domain.errors import NotFound, NotPossible
from domain.xp_multipliers import Rule, WrongRule
from tests.stack import make_students, rows, scalar
from tests.xp.conftest import CURVE, complete, make_school
from workers.job import run_due

pytestmark = pytest.mark.usefixtures("proven")

START = datetime(2026, 3, 7, 12, tzinfo=UTC)
END = START + timedelta(days=2)
TICK = timedelta(microseconds=1)


def add(factor: int, *, name: str = "weekend", **changes: Any) -> dict[str, Any]:
    with transaction() as session:
        return xp_multipliers.add(
            session, Rule(**{"name": name, "factor": factor, "starts_at": START, "ends_at": END, **changes})
        )


def add_now(factor: int, **changes: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    return add(
        factor, **{"starts_at": now - timedelta(hours=1), "ends_at": now + timedelta(hours=1), **changes}
    )


def give(
    user: str,
    key: str,
    base: int = 50,
    at: datetime | None = START,
    source: str = "QUIZ",
    category: str = "QUIZ",
    course: str | None = None,
) -> xp.Given:
    wanted = xp.Award(user, key, base, source, key, category, "test", occurred_at=at, course_id=course)
    with transaction() as session:
        return xp.award(session, CURVE, wanted)


def priced(entry: str) -> tuple[int, int, list[tuple[str, int]]]:
    [(base, factor, breakdown)] = rows(
        "SELECT base, factor, breakdown FROM xp_transactions WHERE id = :id", id=entry
    )
    return base, factor, [(part["name"], part["factor"]) for part in breakdown]


def test_what_happens_from_the_start_until_before_the_end_counts_for_more() -> None:
    [user] = make_students(1)
    add(15_000)
    moments = [START - TICK, START, END - TICK, END]
    given = [give(user, f"quiz:{n}", at=at).awarded for n, at in enumerate(moments)]
    assert given == [50, 75, 75, 50]


def test_several_add_up_and_are_capped_at_three() -> None:
    [user] = make_students(1)
    add(15_000, name="weekend")
    add(12_500, name="spring", starts_at=START + timedelta(seconds=1))
    at = START + timedelta(hours=1)
    two = give(user, "quiz:1", at=at)
    assert (two.awarded, priced(two.entry_id)) == (
        88,
        (50, 17_500, [("weekend", 15_000), ("spring", 12_500)]),
    )
    add(30_000, name="gala")
    three = give(user, "quiz:2", at=at)
    assert (three.awarded, priced(three.entry_id)[1]) == (150, 30_000)
    assert len(priced(three.entry_id)[2]) == 3, "the breakdown shows what was capped"


@pytest.mark.parametrize(
    ("base", "factor", "awarded"),
    [(1, 15_000, 2), (3, 15_000, 5), (1, 14_999, 1), (7, 10_001, 7), (333, 10_015, 333), (334, 10_015, 335)],
)
def test_it_is_rounded_once_and_half_up(base: int, factor: int, awarded: int) -> None:
    [user] = make_students(1)
    add(factor)
    assert give(user, "quiz:1", base).awarded == awarded


def test_a_scope_narrows_it() -> None:
    school, other = make_school(), make_school()
    [user] = make_students(1)
    add(20_000, course_id=school.course)
    add(15_000, category="STREAK_BONUS")
    add(12_000, source_type="QUIZ", category="QUIZ")
    cases = [
        (10, "ASSIGNMENT", "ASSIGNMENT", other.course),
        (10, "ASSIGNMENT", "ASSIGNMENT", None),
        (20, "ASSIGNMENT", "ASSIGNMENT", school.course),
        (22, "QUIZ", "QUIZ", school.course),
        (12, "QUIZ", "QUIZ", None),
        (15, "DAILY_STREAK", "STREAK_BONUS", None),
    ]
    for number, (awarded, source, category, course) in enumerate(cases):
        key = f"case:{number}"
        assert give(user, key, 10, source=source, category=category, course=course).awarded == awarded, key


def test_achievements_challenges_referrals_and_manual_xp_keep_their_worth() -> None:
    [user] = make_students(1)
    add(20_000)
    exempt = [("QUIZ", category) for category in CATEGORIES if category not in PRICED_CATEGORIES]
    exempt += [(source, "QUIZ") for source in SOURCE_TYPES if source not in PRICED_SOURCE_TYPES]
    assert {"ACHIEVEMENT", "CHALLENGE", "REFERRAL", "MANUAL"} <= {category for _, category in exempt}
    for source, category in exempt:
        given = give(user, f"{source}:{category}", source=source, category=category)
        assert (given.awarded, priced(given.entry_id)) == (50, (50, 10_000, [])), (source, category)
    for number, source in enumerate(PRICED_SOURCE_TYPES):
        assert give(user, f"priced:{number}", source=source, category="QUIZ").awarded == 100
    with transaction() as session:
        by_hand = xp_corrections.adjust(session, CURVE, user, 10, transport_key="k")
    assert scalar("SELECT amount FROM xp_transactions WHERE id = :id", id=by_hand.entry_id) == 10


def test_a_replay_never_prices_again_and_a_reversal_takes_back_what_was_given() -> None:
    [user] = make_students(1)
    rule = add(20_000)
    first = give(user, "quiz:1")
    with transaction() as session:
        xp_multipliers.add(session, Rule("more", 30_000, END, START))
    again = give(user, "quiz:1")
    assert (again.created, again.entry_id, again.awarded) == (False, first.entry_id, 100)
    assert priced(first.entry_id) == (50, 20_000, [("weekend", 20_000)])
    assert scalar("SELECT breakdown -> 0 ->> 'id' FROM xp_transactions") == rule["id"]
    with transaction() as session:
        assert xp_corrections.reverse(session, CURVE, first.entry_id, reason="test").total_xp == 0


def test_lesson_and_course_are_priced_each_on_their_own() -> None:
    school = make_school(lessons=2)
    complete(school)
    add_now(15_000, category="LESSON", course_id=school.course)
    add_now(20_000, source_type="COURSE")
    done = complete(school, 1)
    assert (done.awarded, done.course_awarded, done.total_xp) == (75, 400, 525)
    assert scalar("SELECT xp_earned FROM enrollments") == 525


def test_a_lesson_that_nobody_waits_for_is_priced_by_when_it_was_completed() -> None:
    school = make_school()
    rule = add_now(20_000)
    with transaction() as session:
        xp.ask_lesson(session, user_id=school.students[0], lesson_id=school.lessons[0])
        # The multiplier is over before a worker comes to it.
        asked = session.execute(xp.text("SELECT now()")).scalar_one()
        session.execute(
            xp.text(
                "UPDATE xp_multipliers SET ends_at = CAST(:at AS timestamptz) + interval '1 millisecond' WHERE id = :id"
            ),
            {"id": rule["id"], "at": asked},
        )
    assert run_due(["xp.award"])
    assert scalar("SELECT amount FROM xp_transactions WHERE kind = 'award'") == 100
    occurred, completed = rows(
        "SELECT t.occurred_at, p.completed_at FROM xp_transactions t, lesson_progress p"
    )[0]
    assert occurred == completed <= asked


def test_a_partner_course_is_priced_by_when_it_was_completed() -> None:
    [user] = make_students(1)
    provider = scalar(
        "INSERT INTO partner_lms_providers (provider_name, provider_type) VALUES ('P', 'sandbox') RETURNING id"
    )
    course = scalar(
        "INSERT INTO partner_courses (provider_id, course_name, course_code) VALUES (:p, 'C', 'C') RETURNING id",
        p=provider,
    )
    enrollment = scalar(
        "INSERT INTO partner_lms_enrollments (provider_id, student_id, course_id, status, completed_at)"
        " VALUES (:p, :s, :c, 'completed', :at) RETURNING id",
        p=provider,
        s=user,
        c=course,
        at=END - TICK,
    )
    add(15_000)
    with transaction() as session:
        xp_partners.settle(session, CURVE, str(enrollment))
    assert scalar("SELECT total_xp FROM users") == 300


def test_ending_a_rule_keeps_what_happened_before_and_calling_it_off_leaves_nothing() -> None:
    [user] = make_students(1)
    running, coming = add_now(20_000), add_now(20_000, starts_at=datetime.now(UTC) + timedelta(minutes=30))
    happened = datetime.now(UTC) - timedelta(minutes=1)
    with transaction() as session:
        assert xp_multipliers.end(session, running["id"])["state"] == "ended"
        assert xp_multipliers.end(session, coming["id"])["state"] == "called_off"
    assert give(user, "quiz:before", at=happened).awarded == 100
    assert give(user, "quiz:now", at=None).awarded == 50
    assert give(user, "quiz:later", at=datetime.now(UTC) + timedelta(minutes=45)).awarded == 50
    for over in (running, coming):
        with pytest.raises(NotPossible), transaction() as session:
            xp_multipliers.end(session, over["id"])
    with pytest.raises(NotFound), transaction() as session:
        xp_multipliers.end(session, user)


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("name", {"name": ""}),
        ("factor", {"factor": 10_000}),
        ("factor", {"factor": 30_001}),
        ("category", {"category": "ACHIEVEMENT"}),
        ("source_type", {"source_type": "MANUAL_ADJUSTMENT"}),
        ("ends_at", {"ends_at": START}),
        ("ends_at", {"starts_at": None}),
    ],
)
def test_a_rule_that_could_never_hold_is_refused(field: str, changes: dict[str, Any]) -> None:
    with pytest.raises(WrongRule) as refused:
        add(**{"factor": 15_000, **changes})
    assert refused.value.field == field
    assert rows("SELECT * FROM xp_multipliers") == []


def test_rules_of_a_course_go_with_it_and_need_one() -> None:
    school = make_school()
    with pytest.raises(NotFound):
        add(15_000, course_id=school.students[0])
    add(15_000, course_id=school.course)
    with transaction() as session:
        assert courses.delete(session, CURVE, school.course)
    assert rows("SELECT * FROM xp_multipliers") == []
