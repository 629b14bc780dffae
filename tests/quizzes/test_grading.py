"""Grading is exact: every type of question, the traps that a popular LMS falls into, and properties of all of it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.quiz_grading import (
    Malformed,
    Question,
    check_answer,
    check_question,
    grade,
    mark,
    normalize,
    passes,
    with_key,
)

QUICK = settings(max_examples=60, deadline=None, database=None)


def options(*ids: str) -> list[dict[str, str]]:
    return [{"id": id, "text": f"option {id}"} for id in ids]


def ask(type: str, key: Any, given: Any = None, *, points: int = 1, partial: bool = False) -> Question:
    return Question("q", type, "What?", given, key, None, points, partial)


def earned(question: Question, answer: Any) -> Fraction | None:
    check_question(question)
    return mark(question, check_answer(question, answer))


ONE = ask("single", "a", options("a", "b", "c"))
MANY = ask("multiple", ["a", "b", "c"], options("a", "b", "c", "d"), points=3)
SHORT = ask("short_text", ["Straße", "100"])
PI = ask("numeric", {"value": "3.14", "tolerance": "0.01"})
PAIRS = ask(
    "matching",
    [["1", "x"], ["2", "y"], ["3", "z"]],
    {"left": options("1", "2", "3"), "right": options("x", "y", "z", "w")},
)
ORDER = ask("ordering", ["c", "a", "b"], options("a", "b", "c"))
ESSAY = ask("essay", None, points=4)


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [
        (ONE, "a", 1),
        (ONE, "b", 0),
        (ask("true_false", False), False, 1),
        (ask("true_false", False), True, 0),
        (MANY, ["c", "b", "a"], 3),
        (MANY, ["a", "b"], 0),
        (MANY, [], 0),
        (replace(MANY, partial_credit=True), ["a", "b"], 2),
        (replace(MANY, partial_credit=True), ["a", "d"], 0),
        (replace(MANY, partial_credit=True), ["a", "b", "d"], 1),
        (replace(MANY, partial_credit=True), ["d"], 0),
        (SHORT, "  STRASSE\t", 1),
        (SHORT, "ｓｔｒａße", 1),
        (SHORT, "Strase", 0),
        (SHORT, "1000", 0),
        (SHORT, "10", 0),
        (PI, "3.15", 1),
        (PI, "3.1500000001", 0),
        (PI, 3.13, 1),
        (PI, " 314e-2 ", 1),
        (ask("numeric", {"value": "0.3", "tolerance": "0"}), "0.3", 1),
        (ask("numeric", {"value": "1000", "tolerance": "0"}), "100", 0),
        (ask("numeric", {"value": "-2", "tolerance": "0"}), "\N{MINUS SIGN}2", 1),
        (PAIRS, [["1", "x"], ["3", "w"]], Fraction(1, 3)),
        (PAIRS, [["3", "z"], ["1", "x"], ["2", "y"]], 1),
        (ORDER, ["c", "b", "a"], Fraction(1, 3)),
        (ORDER, ["c", "a", "b"], 1),
        (ESSAY, "because", None),
    ],
)
def test_each_type_earns_what_it_should(question: Question, answer: Any, expected: Any) -> None:
    assert earned(question, answer) == expected


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (ONE, "z"),
        (ONE, ["a"]),
        (ONE, 1),
        (MANY, ["a", "a"]),
        (MANY, ["a", "z"]),
        (MANY, "a"),
        (ask("true_false", True), "true"),
        (ask("true_false", True), 1),
        (SHORT, "x" * 2001),
        (SHORT, "a\x00b"),
        (SHORT, 100),
        *(
            (PI, wrong)
            for wrong in ("NaN", "nan", "inf", float("nan"), float("inf"), "", "3,14", "1e999999999")
        ),
        *((PI, wrong) for wrong in (True, [3], "0x10", "1_000", "٣", 10**400, "9" * 300)),
        (PAIRS, [["1", "x"], ["1", "y"]]),
        (PAIRS, [["1", "x"], ["2", "x"]]),
        (PAIRS, [["1", "9"]]),
        (PAIRS, [["1"]]),
        (PAIRS, {"1": "x"}),
        (ORDER, ["c", "a"]),
        (ORDER, ["c", "a", "a"]),
        (ORDER, ["c", "a", "z"]),
        (ESSAY, "x" * 20_001),
    ],
)
def test_an_answer_of_another_shape_is_refused(question: Question, answer: Any) -> None:
    with pytest.raises(Malformed):
        check_answer(question, answer)


@pytest.mark.parametrize(
    "question",
    [
        ask("riddle", "a"),
        ask("single", "z", options("a")),
        ask("single", "a", options("a", "a")),
        ask("single", "a", []),
        ask("single", "a", [{"id": "a"}]),
        ask("single", "a", options("a", " ")),
        ask("multiple", [], options("a", "b")),
        ask("true_false", None),
        ask("true_false", True, options("a")),
        ask("short_text", []),
        ask("short_text", ["  "]),
        ask("numeric", {"value": "NaN", "tolerance": "0"}),
        ask("numeric", {"value": "1", "tolerance": "-1"}),
        ask("numeric", {"value": 1, "tolerance": 0}),
        ask("matching", [["1", "x"]], {"left": options("1", "2"), "right": options("x", "y")}),
        ask("matching", [["1", "x"], ["2", "x"]], {"left": options("1", "2"), "right": options("x")}),
        ask("ordering", ["a"], options("a", "b")),
        ask("essay", "because"),
        ask("essay", None, points=-1),
        ask("essay", None, points=1001),
    ],
)
def test_a_question_that_cannot_be_graded_is_refused(question: Question) -> None:
    with pytest.raises(Malformed):
        check_question(question)


def test_a_pass_is_decided_before_anything_is_rounded() -> None:
    assert 0.57 * 100 < 57, "what floats make of it"
    assert passes(Fraction(57), 100, 57)
    assert passes(Fraction(Decimal("0.57")), 1, 57)
    assert not passes(Fraction(56_999_999, 1_000_000), 100, 57)
    assert passes(Fraction(2, 3) + Fraction(1, 3), 1, 100)
    assert passes(Fraction(0), 1, 0)
    assert not passes(Fraction(0), 0, 0), "nothing of nothing is no pass"


def test_marks_of_a_person_are_kept_and_capped_and_others_are_made_anew() -> None:
    questions = [replace(ONE, id="1"), replace(ESSAY, id="2")]
    answers = {"1": "a", "2": "because"}
    waiting = grade(questions, answers, {}, 70)
    assert (waiting.earned, waiting.possible, waiting.passed) == (1, 5, None)
    given = {"1": {"earned": "9", "by": "usher"}, "2": {"earned": "7/2", "by": "person", "feedback": "good"}}
    done = grade(questions, answers, given, 90)
    assert (done.earned, done.passed) == (Fraction(9, 2), True)
    assert done.marks["2"]["feedback"] == "good"
    smaller = [questions[0], replace(questions[1], points=2)]
    assert grade(smaller, answers, given, 90).earned == 3
    assert grade(questions, {"1": "a"}, {}, 20).passed is True, "an essay without a word waits for nobody"


def test_a_new_key_changes_what_is_right_and_not_what_was_asked() -> None:
    corrected = replace(ONE, question="Which one?", options=options("a", "b"), correct_answer="b", points=5)
    [merged] = with_key([ONE], [corrected])
    assert (merged.question, merged.options) == (ONE.question, ONE.options)
    assert (merged.correct_answer, merged.points) == ("b", 5)
    assert with_key([ONE], []) == [ONE]


def subsets(items: list[str], smallest: int = 0) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(items), unique=True, min_size=smallest)


@st.composite
def asked_and_answered(draw: st.DrawFn) -> tuple[Question, Any]:
    """A question of any type with an answer that it can have."""
    ids = draw(st.lists(st.text("abcxyz1", min_size=1, max_size=3), unique=True, min_size=1, max_size=6))
    points, partial = draw(st.integers(0, 9)), draw(st.booleans())
    number = st.decimals(-1000, 1000, places=3).map(str)
    numeric = st.fixed_dictionaries({"value": number, "tolerance": st.sampled_from(["0", "0.5", "1"])})
    words = st.text("aA ß1", min_size=1).filter(normalize)
    left = ids[: draw(st.integers(1, len(ids)))]
    rights = st.permutations(ids).map(lambda right: [list(pair) for pair in zip(left, right, strict=False)])
    kinds: dict[str, tuple[Any, Any, Any]] = {
        "single": (options(*ids), st.sampled_from(ids), st.sampled_from(ids)),
        "multiple": (options(*ids), subsets(ids, 1), subsets(ids)),
        "true_false": (None, st.booleans(), st.booleans()),
        "short_text": (
            None,
            st.lists(words, min_size=1, max_size=3),
            st.text(max_size=5).filter(lambda t: "\0" not in t),
        ),
        "numeric": (None, numeric, number),
        "matching": ({"left": options(*left), "right": options(*ids)}, rights, rights),
        "ordering": (options(*ids), st.permutations(ids), st.permutations(ids)),
    }
    type = draw(st.sampled_from(sorted(kinds)))
    given, key, answer = kinds[type]
    return ask(type, draw(key), given, points=points, partial=partial), draw(answer)


@QUICK
@given(asked_and_answered())
def test_every_mark_lies_between_nothing_and_the_points(pair: tuple[Question, Any]) -> None:
    question, answer = pair
    points = earned(question, answer)
    assert points is not None
    assert 0 <= points <= question.points
    assert mark(question, check_answer(question, check_answer(question, answer))) == points, (
        "checking is stable"
    )


@QUICK
@given(asked_and_answered())
def test_the_correct_answer_earns_everything(pair: tuple[Question, Any]) -> None:
    question, key = pair[0], pair[0].correct_answer
    right = {"short_text": lambda: key[0], "numeric": lambda: key["value"]}.get(question.type, lambda: key)()
    assert earned(question, right) == question.points


@QUICK
@given(subsets(list("abcdef"), 1), subsets(list("abcdef")), st.sampled_from(list("abcdef")))
def test_one_more_wrong_option_never_helps(key: list[str], answer: list[str], more: str) -> None:
    question = ask("multiple", key, options(*"abcdef"), points=6, partial=True)
    before, after = earned(question, answer), earned(question, sorted({*answer, more}))
    assert before is not None
    assert after is not None
    right, wrong = len(set(answer) & set(key)), len(set(answer) - set(key))
    assert before == max(Fraction(0), Fraction(6 * (right - wrong), len(key)))
    assert after <= before or more in key


@QUICK
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
        max_leaves=6,
    ),
    st.sampled_from([ONE, MANY, ask("true_false", True), SHORT, PI, PAIRS, ORDER, ESSAY]),
)
def test_whatever_is_sent_is_graded_or_refused(answer: Any, question: Question) -> None:
    try:
        kept = check_answer(question, answer)
    except Malformed:
        return
    points = mark(question, kept)
    assert points is None or 0 <= points <= question.points


@QUICK
@given(st.integers(0, 10**6), st.integers(1, 10**6), st.integers(1, 10**4), st.integers(0, 100))
def test_a_pass_agrees_with_whole_numbers(top: int, bottom: int, possible: int, passing: int) -> None:
    share = Fraction(min(top, bottom), bottom) * possible
    assert passes(share, possible, passing) == (min(top, bottom) * 100 >= passing * bottom)
