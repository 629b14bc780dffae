"""Grading: what a question may ask, what an answer may be, and what it earns. Pure and exact: fractions, never floats.

What a question's `options`, its `correct_answer` and an answer to it are, by type:

    single      options [{id, text}], one id                   an id
    multiple    options [{id, text}], ids                      ids
    true_false  no options, true or false                      true or false
    short_text  no options, the texts that are accepted        a text
    numeric     no options, {value, tolerance}: decimals       a decimal, as a string or a number
    matching    options {left, right}, pairs [left, right]     pairs; not every left has to be in one
    ordering    options [{id, text}], all ids in order         all ids in order
    essay       neither                                        a text; a person grades it

An answer of None is none.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

OPTIONS_MAX = 50
ACCEPTED_MAX = 50
POINTS_MAX = 1000
# Characters.
ID_MAX = 50
TEXT_MAX = 2_000
ESSAY_MAX = 20_000
# Short enough that its exact value is small too: an exponent of nine digits would fill the memory.
NUMBER = re.compile(r"[+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,2})?")
MINUS = "\N{MINUS SIGN}"


class Malformed(ValueError):
    """A question cannot be asked like this, or it cannot have this answer. The message is for people."""


@dataclass(frozen=True)
class Question:
    """A question of a version of a quiz."""

    id: str
    type: str
    question: str
    options: Any
    correct_answer: Any
    explanation: str | None
    points: int
    partial_credit: bool


@dataclass(frozen=True)
class Result:
    """What an attempt comes to. `marks` lacks the answers that wait for a person; `passed` is None while there are any."""

    marks: dict[str, dict[str, Any]]
    earned: Fraction
    possible: int
    passed: bool | None


def grade(
    questions: Sequence[Question], answers: Mapping[str, Any], marks: Mapping[str, Any], passing_score: int
) -> Result:
    """Grade every answer anew; of `marks`, only what a person gave is kept, up to the points that there are now."""
    found: dict[str, dict[str, Any]] = {}
    for question in questions:
        earned, given = mark(question, answers.get(question.id)), marks.get(question.id, {})
        if earned is not None:
            found[question.id] = {"earned": str(earned), "by": "usher"}
        elif given.get("by") == "person":
            kept = min(Fraction(given["earned"]), Fraction(question.points))
            found[question.id] = {**given, "earned": str(kept)}
    total = sum((Fraction(item["earned"]) for item in found.values()), Fraction())
    possible = sum(question.points for question in questions)
    passed = passes(total, possible, passing_score) if len(found) == len(questions) else None
    return Result(found, total, possible, passed)


def passes(earned: Fraction, possible: int, passing_score: int) -> bool:
    """Say whether this many of the possible points are at least `passing_score` percent; never so of no points."""
    return possible > 0 and earned * 100 >= passing_score * possible


def mark(question: Question, answer: Any) -> Fraction | None:
    """Return the points that a checked answer earns; None for an essay, which a person grades."""
    if answer is None:
        return Fraction()
    part = _share(question, answer)
    return None if part is None else part * question.points


def with_key(asked: Sequence[Question], key: Sequence[Question]) -> list[Question]:
    """Return the questions as they were asked, with the answers and points of `key` where it still has them."""
    known = {question.id: question for question in key}
    return [
        replace(
            question,
            correct_answer=known[question.id].correct_answer,
            explanation=known[question.id].explanation,
            points=known[question.id].points,
            partial_credit=known[question.id].partial_credit,
        )
        if question.id in known
        else question
        for question in asked
    ]


def check_question(question: Question) -> None:
    """Raise `Malformed` unless the question can be asked and graded."""
    key = question.correct_answer
    if not 0 <= question.points <= POINTS_MAX:
        raise Malformed(f"points must be from 0 to {POINTS_MAX}")
    if question.type in ("single", "multiple", "ordering"):
        option_ids(question.options)
    elif question.type == "matching":
        _check_sides(question.options)
    elif question.options is not None:
        raise Malformed("this type has no options")
    if question.type == "short_text":
        _check_accepted(key)
    elif question.type == "numeric":
        _check_range(key)
    elif question.type == "essay":
        if key is not None:
            raise Malformed("a person grades an essay: it has no correct answer")
    else:
        check_answer(question, key)
        _check_complete(question, key)


def check_answer(question: Question, answer: Any) -> Any:
    """Return the answer as it is kept; raise `Malformed` for one that this question cannot have."""
    match question.type:
        case "single":
            return _choose(answer, option_ids(question.options))
        case "multiple":
            return _choose_all(answer, option_ids(question.options))
        case "true_false":
            if not isinstance(answer, bool):
                raise Malformed("must be true or false")
            return answer
        case "short_text":
            return _check_text(answer, TEXT_MAX)
        case "numeric":
            return str(_number(answer))
        case "matching":
            return _pair(answer, question.options)
        case "ordering":
            ids = option_ids(question.options)
            if len(_choose_all(answer, ids)) != len(ids):
                raise Malformed("must hold every option")
            return answer
        case "essay":
            return _check_text(answer, ESSAY_MAX)
        case _:
            raise Malformed("there is no such type of question")


def option_ids(options: Any) -> list[str]:
    """Return the ids of options; raise `Malformed` unless they are a list of {id, text} with ids of their own."""
    if not isinstance(options, list) or not 1 <= len(options) <= OPTIONS_MAX:
        raise Malformed(f"must be a list of 1 to {OPTIONS_MAX} options")
    for option in options:
        if not isinstance(option, dict) or set(option) != {"id", "text"}:
            raise Malformed("an option is an object of id and text")
        _check_text(option["text"], TEXT_MAX)
        if not _check_text(option["id"], ID_MAX).strip():
            raise Malformed("the id of an option must not be empty")
    return _without_repeats([option["id"] for option in options])


def normalize(raw: str) -> str:
    """Return a text as it is compared: NFKC, without case, white space collapsed. Nothing is compared loosely."""
    folded = unicodedata.normalize("NFKC", raw).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def _share(question: Question, answer: Any) -> Fraction | None:
    """Return which part of its points an answer earns, 0 to 1; None for an essay."""
    key = question.correct_answer
    match question.type:
        case "essay":
            return None
        case "multiple":
            return _multiple(set(key), set(answer), partial=question.partial_credit)
        case "short_text":
            return Fraction(normalize(answer) in {normalize(text) for text in key})
        case "numeric":
            off = abs(_exact(answer) - _exact(key["value"]))
            return Fraction(off <= _exact(key["tolerance"]))
        case "matching":
            right = {tuple(pair) for pair in key} & {tuple(pair) for pair in answer}
            return Fraction(len(right), len(key))
        case "ordering":
            return Fraction(sum(one == two for one, two in zip(key, answer, strict=True)), len(key))
        case _:
            return Fraction(answer == key)


def _multiple(key: set[str], answer: set[str], *, partial: bool) -> Fraction:
    if not partial:
        return Fraction(answer == key)
    return max(Fraction(), Fraction(len(answer & key) - len(answer - key), len(key)))


def _check_complete(question: Question, key: Any) -> None:
    if question.type == "multiple" and not key:
        raise Malformed("at least one option must be right")
    if question.type == "matching" and len(key) != len(question.options["left"]):
        raise Malformed("every option on the left must be in a pair")


def _check_accepted(key: Any) -> None:
    if not isinstance(key, list) or not 1 <= len(key) <= ACCEPTED_MAX:
        raise Malformed(f"must be a list of 1 to {ACCEPTED_MAX} accepted texts")
    for text in key:
        if not normalize(_check_text(text, TEXT_MAX)):
            raise Malformed("an accepted text must not be empty")


def _check_range(key: Any) -> None:
    if not isinstance(key, dict) or set(key) != {"value", "tolerance"}:
        raise Malformed("must be an object of value and tolerance")
    if not isinstance(key["value"], str) or not isinstance(key["tolerance"], str):
        raise Malformed("value and tolerance are decimals in strings")
    _number(key["value"])
    if _number(key["tolerance"]) < 0:
        raise Malformed("the tolerance must not be negative")


def _check_sides(options: Any) -> None:
    if not isinstance(options, dict) or set(options) != {"left", "right"}:
        raise Malformed("must be an object of left and right, each a list of options")
    if len(option_ids(options["left"])) > len(option_ids(options["right"])):
        raise Malformed("must have at least as many options on the right as on the left")


def _choose(answer: Any, ids: Sequence[str]) -> str:
    if not isinstance(answer, str) or answer not in ids:
        raise Malformed("must be the id of one option")
    return answer


def _choose_all(answer: Any, ids: Sequence[str]) -> list[str]:
    if not isinstance(answer, list):
        raise Malformed("must be a list of ids of options")
    return _without_repeats([_choose(item, ids) for item in answer])


def _pair(answer: Any, options: Mapping[str, Any]) -> list[list[str]]:
    if not isinstance(answer, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in answer):
        raise Malformed("must be a list of pairs of ids, left and right")
    left, right = option_ids(options["left"]), option_ids(options["right"])
    _without_repeats([_choose(pair[0], left) for pair in answer])
    _without_repeats([_choose(pair[1], right) for pair in answer])
    return answer


def _without_repeats(ids: Iterable[str]) -> list[str]:
    listed = list(ids)
    if len(set(listed)) != len(listed):
        raise Malformed("an id is repeated")
    return listed


def _check_text(raw: Any, longest: int) -> str:
    if not isinstance(raw, str) or len(raw) > longest or "\x00" in raw:
        raise Malformed(f"must be a text of at most {longest} characters, without NUL")
    return raw


def _number(raw: Any) -> Decimal:
    """Return a decimal; raise `Malformed` for what is none, NaN and infinity among them."""
    if (isinstance(raw, int) and not isinstance(raw, bool) and abs(raw) < 10**30) or isinstance(raw, float):
        raw = repr(raw)
    if not isinstance(raw, str) or len(raw) > 200:
        raise Malformed("must be a number")
    plain = unicodedata.normalize("NFKC", raw).strip().replace(MINUS, "-")
    if NUMBER.fullmatch(plain) is None:
        raise Malformed("must be a number such as 3, -0.5 or 1e3")
    return Decimal(plain)


def _exact(raw: str) -> Fraction:
    return Fraction(_number(raw))
