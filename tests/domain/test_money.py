"""What a payment entitles to: examples of the pure function."""

from __future__ import annotations

import pytest

from domain.money import Facts, Line, Refund, entitlement, has_unclear_refund, refunded_courses

ONE = [Line("a", 100)]
TWO = [Line("a", 100), Line("b", 50)]


def facts(lines: list[Line] = ONE, total: int = 100, **told: object) -> Facts:
    return Facts(paid=True, amount_total=total, lines=lines, **told)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("told", "word"),
    [
        (facts(), "granted"),
        (Facts(paid=False, amount_total=100, lines=ONE), "nothing"),
        (facts(refunds=[Refund(100, "succeeded")]), "revoked"),
        (facts(refunds=[Refund(100, "pending")]), "revoked"),
        (facts(refunds=[Refund(100, "requires_action")]), "granted"),
        (facts(refunds=[Refund(60, "succeeded")]), "granted"),
        (facts(refunds=[Refund(60, "succeeded"), Refund(40, "succeeded")]), "revoked"),
        (facts(refunds=[Refund(100, "failed")]), "granted"),
        (facts(refunds=[Refund(100, "canceled")]), "granted"),
        (facts(charge_refunded=100), "revoked"),
        (facts(charge_refunded=100, refunds=[Refund(100, "failed")]), "granted"),
        (facts(charge_refunded=100, refunds=[Refund(100, "failed"), Refund(100, "succeeded")]), "revoked"),
        (facts(charge_refunded=100, refunds=[Refund(100, "succeeded")]), "revoked"),
        (facts(disputes=["warning_needs_response"]), "granted"),
        (facts(disputes=["warning_closed"]), "granted"),
        (facts(disputes=["needs_response"]), "suspended"),
        (facts(disputes=["under_review"]), "suspended"),
        (facts(disputes=["lost"]), "revoked"),
        (facts(disputes=["appeal_under_review"]), "revoked"),
        (facts(disputes=["won"]), "granted"),
        (facts(disputes=["prevented"]), "granted"),
        (facts(disputes=["won"], refunds=[Refund(100, "succeeded")]), "revoked"),
        (facts(disputes=["won", "needs_response"]), "suspended"),
        (facts(total=0), "granted"),
        (Facts(True, None, ONE, charge_refunded=100, charge_amount=100), "revoked"),
    ],
)
def test_a_payment_for_one_course(told: Facts, word: str) -> None:
    assert entitlement(told, "a") == word


@pytest.mark.parametrize(
    ("told", "back", "unclear"),
    [
        ({"refunds": [Refund(50, "succeeded")]}, {"b"}, False),
        ({"refunds": [Refund(100, "succeeded")]}, {"a"}, False),
        ({"refunds": [Refund(150, "succeeded")]}, {"a", "b"}, False),
        ({"refunds": [Refund(100, "succeeded"), Refund(50, "succeeded")]}, {"a", "b"}, False),
        ({"refunds": [Refund(30, "succeeded")]}, set(), True),
        ({"refunds": [Refund(30, "succeeded", "b")]}, {"b"}, False),
        ({"charge_refunded": 50}, {"b"}, False),
        ({"charge_refunded": 30}, set(), True),
        ({"charge_refunded": 50, "refunds": [Refund(50, "succeeded")]}, {"b"}, False),
        ({"charge_refunded": 50, "refunds": [Refund(50, "failed")]}, set(), False),
    ],
)
def test_a_payment_for_two_courses(told: dict[str, object], back: set[str], unclear: bool) -> None:
    whole = facts(TWO, 150, **told)
    assert refunded_courses(whole) == back
    assert has_unclear_refund(whole) is unclear


def test_lines_of_equal_price_need_a_name() -> None:
    same = [Line("a", 50), Line("b", 50)]
    assert has_unclear_refund(facts(same, 100, refunds=[Refund(50, "succeeded")]))
    assert refunded_courses(facts(same, 100, refunds=[Refund(50, "succeeded", "a")])) == {"a"}
