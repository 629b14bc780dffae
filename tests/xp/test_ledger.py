"""The ledger's rules: once each, append-only, reversed once, given anew, and totals that nothing else may move."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError

from db.session import transaction
from domain import xp, xp_checks, xp_corrections
from domain.errors import NotFound, NotPossible
from domain.xp_errors import (
    BelowZero,
    CompletedBefore,
    KeyReused,
    NoLesson,
    NotEnrolled,
    ReversedBefore,
    WrongAmount,
)
from tests.stack import make_students, rows, scalar
from tests.xp.conftest import CURVE, complete, make_school, totals

pytestmark = pytest.mark.usefixtures("proven")


def sql(statement: str, **values: object) -> None:
    with transaction() as session:
        session.execute(xp.text(statement), values)


def reverse(entry: str) -> xp_corrections.Posted:
    with transaction() as session:
        return xp_corrections.reverse(session, CURVE, entry, reason="reversed_by_staff")


def adjust(user: str, amount: int, key: str) -> xp_corrections.Posted:
    with transaction() as session:
        return xp_corrections.adjust(session, CURVE, user, amount, transport_key=key)


def enrollment() -> tuple[int, int, bool]:
    [found] = rows("SELECT completion_percentage, xp_earned, completed_at IS NOT NULL FROM enrollments")
    return (found[0], found[1], found[2])


def test_a_lesson_gives_its_xp_and_the_last_one_those_of_the_course() -> None:
    school = make_school(lessons=2)
    first = complete(school)
    assert (first.awarded, first.course_awarded, first.percentage, first.total_xp) == (50, 0, 50, 50)
    last = complete(school, 1)
    assert (last.awarded, last.course_awarded, last.total_xp) == (50, 200, 300)
    assert (last.level_before, last.level) == (0, 1)
    assert enrollment() == (100, 300, True)
    assert rows("SELECT kind, business_key FROM jobs WHERE kind = 'xp.after_award'") != []
    course = rows("SELECT caused_by_id IS NOT NULL FROM xp_transactions WHERE source_type = 'COURSE'")
    assert course == [(True,)]


def test_what_is_not_right_gives_nothing() -> None:
    school, other = make_school(), make_school()
    user = school.students[0]
    cases: list[tuple[type[Exception], xp.Completion]] = [
        (NotEnrolled, xp.Completion(user, other.course, other.lessons[0])),
        (NoLesson, xp.Completion(user, school.course, other.lessons[0])),
        (WrongAmount, xp.Completion(user, school.course, school.lessons[0], claimed=5000)),
    ]
    for refusal, wanted in cases:
        with pytest.raises(refusal), transaction() as session:
            xp.complete_lesson(session, CURVE, wanted)
    sql("UPDATE lessons SET published = false WHERE course_id = :course", course=school.course)
    with pytest.raises(NoLesson):
        complete(school)
    assert rows("SELECT * FROM xp_transactions") == []
    assert rows("SELECT * FROM lesson_progress") == []


def test_fifty_parallel_awards_of_one_lesson_are_one() -> None:
    school = make_school()

    def attempt(_: int) -> bool:
        try:
            complete(school)
        except CompletedBefore:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(attempt, range(50))) == 1
    assert totals() == [(50, 0, 0)]
    assert scalar("SELECT count(*) FROM jobs WHERE kind = 'xp.after_award'") == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE xp_transactions SET amount = 1000",
        "UPDATE xp_transactions SET description = 'x' WHERE false",
        "DELETE FROM xp_transactions",
        "TRUNCATE xp_transactions CASCADE",
        "TRUNCATE users CASCADE",
        "UPDATE users SET total_xp = 1000",
        "UPDATE users SET total_xp = total_xp + 1",
        "UPDATE users SET level = 9",
        "UPDATE users SET highest_level = 9",
        "INSERT INTO users (email, total_xp) VALUES ('rich@example.com', 5)",
    ],
)
def test_the_database_refuses_to_change_the_past_or_a_total(statement: str) -> None:
    complete(make_school())
    with pytest.raises(DBAPIError, match=r"append-only|follow from xp_transactions"):
        sql(statement)
    assert totals() == [(50, 0, 0)]


def test_other_columns_of_a_user_may_change() -> None:
    complete(make_school())
    sql("UPDATE users SET name = 'New', total_xp = total_xp")


def test_a_reversal_needs_its_award_exactly() -> None:
    school = make_school(2)
    entry = complete(school).entry_id
    columns = "user_id, kind, amount, base, source_type, category, reason, reverses_id"
    for user, amount in ((school.students[1], -50), (school.students[0], -49), (school.students[0], -51)):
        with pytest.raises(IntegrityError, match="reversed_award"):
            sql(
                f"INSERT INTO xp_transactions ({columns})"
                " VALUES (:user, 'reversal', :amount, :amount, 'LESSON', 'LESSON', 'x', :entry)",
                user=user,
                amount=amount,
                entry=entry,
            )
    posted = reverse(entry)
    with pytest.raises(NotPossible):
        reverse(posted.entry_id)


def test_reversing_twice_makes_one_reversal_also_at_once() -> None:
    entry = complete(make_school()).entry_id

    def attempt(_: int) -> bool:
        try:
            reverse(entry)
        except ReversedBefore:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(8))) == 1
    assert totals() == [(0, 0, 0)]
    with pytest.raises(NotFound):
        reverse("00000000-0000-4000-8000-000000000000")


def test_a_reversed_lesson_can_be_completed_again_as_a_new_generation() -> None:
    school = make_school()
    for generation in range(3):
        done = complete(school)
        assert rows("SELECT generation FROM xp_transactions WHERE id = :id", id=done.entry_id) == [
            (generation,)
        ]
        with pytest.raises(CompletedBefore):
            complete(school)
        reverse(done.entry_id)
    assert complete(school).total_xp == 50
    assert enrollment() == (33, 50, False)


def test_a_reversed_lesson_takes_the_course_with_it_whichever_lesson_it_was() -> None:
    for which in (0, 1):
        school = make_school(lessons=2)
        entries = [complete(school).entry_id, complete(school, 1).entry_id]
        posted = reverse(entries[which])
        assert (posted.entries, posted.total_xp) == (2, 50)
        again = complete(school, which)
        assert (again.total_xp, again.course_awarded, again.percentage) == (300, 200, 100)


def test_levels_fall_and_the_highest_stays() -> None:
    [user] = make_students(1)
    adjust(user, 900, "a")
    assert totals() == [(900, 3, 3)]
    adjust(user, -600, "b")
    assert totals() == [(300, 1, 3)]


def test_an_adjustment_is_made_once_for_a_key_and_not_below_zero() -> None:
    [user] = make_students(1)
    first, again = adjust(user, 100, "a"), adjust(user, 100, "a")
    assert (first.entry_id, first.entries, again.entries) == (again.entry_id, 1, 0)
    with pytest.raises(KeyReused):
        adjust(user, 99, "a")
    with pytest.raises(BelowZero):
        adjust(user, -101, "b")
    assert adjust(user, -100, "b").total_xp == 0


def test_a_reversal_after_a_deduction_goes_below_zero() -> None:
    school = make_school()
    entry = complete(school).entry_id
    adjust(school.students[0], -30, "a")
    assert reverse(entry).total_xp == -30
    assert totals() == [(-30, 0, 0)]


def test_an_award_under_a_key_stands_once_and_prices_are_rounded_half_up() -> None:
    [user] = make_students(1)
    wanted = xp.Award(user, "quiz:1:pass", 25, "QUIZ", "1", "QUIZ", "quiz_passed")
    price = xp.Price(12_200, ({"name": "weekend", "basis_points": 2_200},))
    with transaction() as session:
        given = xp.award(session, CURVE, wanted, price=price)
        again = xp.award(session, CURVE, wanted)
        assert (given.created, given.awarded, again.created, again.entry_id) == (
            True,
            31,
            False,
            given.entry_id,
        )
        with pytest.raises(NotFound):
            xp.award(session, CURVE, xp.Award(given.entry_id, "k", 1, "QUIZ", None, "QUIZ", "r"))
    assert rows("SELECT base, factor, breakdown -> 0 ->> 'name' FROM xp_transactions") == [
        (25, 12_200, "weekend")
    ]


def test_an_insert_that_conflicts_moves_nothing() -> None:
    school = make_school()
    complete(school)
    sql(
        "INSERT INTO xp_transactions (user_id, kind, amount, base, source_type, category, reason, business_key)"
        " SELECT user_id, kind, amount, base, source_type, category, reason, business_key FROM xp_transactions"
        " ON CONFLICT DO NOTHING"
    )
    assert totals() == [(50, 0, 0)]


def test_drift_is_found_repaired_and_audited() -> None:
    school = make_school(3)
    for student in range(3):
        complete(school, student=student)
    sql("ALTER TABLE users DISABLE TRIGGER xp_totals_guard_update")
    sql("UPDATE users SET total_xp = 7 WHERE id = :id", id=school.students[0])
    sql("UPDATE users SET level = 5 WHERE id = :id", id=school.students[1])
    sql("ALTER TABLE users ENABLE TRIGGER xp_totals_guard_update")
    with transaction() as session:
        drifts = xp_checks.compare(session, CURVE).drifts
        assert {drift.user_id for drift in drifts} == set(school.students[:2])
        for drift in drifts:
            assert xp_checks.repair(session, CURVE, drift, actor="tests") == 50
    assert totals() == [(50, 0, 0)] * 3
    assert scalar("SELECT count(*) FROM xp_transactions WHERE source_type = 'RECALCULATION'") == 1
    assert scalar("SELECT count(*) FROM staff_actions WHERE action = 'xp.repair'") == 2
