"""Answers to a quiz as form fields, and as words.

The fields of a question, ID being its id: `q-ID` (several for boxes that are ticked), or one for each line of a matching
or ordering, `q-ID-0` and on. `was-ID` tells what the form was made with: only what differs from it is saved, so a tab
that was left open does not undo what another one saved since.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flask_babel import get_locale
from flask_babel import gettext as _
from werkzeug.datastructures import MultiDict

from domain import quiz_grading
from domain.quiz_grading import Question
from domain.quizzes import QuestionView

Form = MultiDict[str, str]


@dataclass
class Sheet:
    """What a form says: the answers that changed, and by field what cannot be taken. `typed` is all of it, as it is."""

    changed: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    typed: dict[str, Any] = field(default_factory=dict)


def read(questions: Sequence[Question], form: Form) -> Sheet:
    """Return what a form says about the questions that it holds."""
    sheet = Sheet()
    for question in questions:
        was = form.get(f"was-{question.id}")
        if was is None:
            continue
        raw = _raw(question, form)
        sheet.typed[question.id] = raw
        try:
            answer = _checked(question, raw)
        except quiz_grading.Malformed:
            sheet.errors[f"q-{question.id}"] = _complaint(question)
            continue
        if mark(answer) != was:
            sheet.changed[question.id] = answer
    return sheet


def mark(answer: Any) -> str:
    """Return a short name of an answer, for telling whether it is still the same."""
    return hashlib.sha256(json.dumps(answer).encode()).hexdigest()[:16]


def say(question: QuestionView, answer: Any, *, key: bool = False) -> list[str]:
    """Return an answer in words, line by line; nothing for none. `key` says that it is the correct one."""
    if answer is None:
        return []
    names = _names(question.options)
    match question.type:
        case "single":
            return [names.get(answer, answer)]
        case "true_false":
            return [_("True") if answer else _("False")]
        case "multiple" | "ordering":
            return [names.get(chosen, chosen) for chosen in answer]
        case "matching":
            left, right = _names(question.options["left"]), _names(question.options["right"])
            return [f"{left.get(one, one)} → {right.get(two, two)}" for one, two in answer]
        case "numeric" if key:
            off = answer["tolerance"]
            return [answer["value"] + (f" ± {off}" if float(off) else "")]
        case "short_text" if key:
            return list(answer)
        case _:
            return [str(answer)]


def _raw(question: Question, form: Form) -> Any:
    """Return what stands in the fields of a question, as a person left it."""
    name = f"q-{question.id}"
    match question.type:
        case "multiple":
            return form.getlist(name)
        case "matching":
            return _lines(form, name, len(question.options["left"]))
        case "ordering":
            return _lines(form, name, len(question.options))
        case "essay" | "short_text":
            return form.get(name, "").replace("\r\n", "\n")
        case _:
            return form.get(name, "")


def _lines(form: Form, name: str, count: int) -> list[str]:
    return [form.get(f"{name}-{number}", "") for number in range(count)]


def _checked(question: Question, raw: Any) -> Any:
    """Return the answer that the fields hold, None for empty ones; raise `Malformed`."""
    answer = READERS.get(question.type, _plain)(question, raw)
    return None if answer is None else quiz_grading.check_answer(question, answer)


def _plain(_question: Question, raw: Any) -> Any:
    return raw or None


def _text(_question: Question, raw: str) -> str | None:
    return raw if raw.strip() else None


def _number(_question: Question, raw: str) -> str | None:
    plain = raw.strip()
    if str(get_locale()) == "es" and "." not in plain:
        plain = plain.replace(",", ".")
    return plain or None


def _truth(_question: Question, raw: str) -> bool | str | None:
    return {"true": True, "false": False}.get(raw, raw or None)


def _pairs(question: Question, raw: Sequence[str]) -> list[list[str]] | None:
    left = quiz_grading.option_ids(question.options["left"])
    return [[one, two] for one, two in zip(left, raw, strict=True) if two] or None


def _order(question: Question, raw: Sequence[str]) -> list[str] | None:
    """Return ids in order from the place that each line was given; raise `Malformed` unless each has one of its own."""
    if not any(raw):
        return None
    ids = quiz_grading.option_ids(question.options)
    places = [str(number) for number in range(1, len(ids) + 1)]
    if sorted(raw) != sorted(places):
        raise quiz_grading.Malformed("must hold every option")
    return [ids[raw.index(place)] for place in places]


READERS: Mapping[str, Callable[[Question, Any], Any]] = {
    "true_false": _truth,
    "short_text": _text,
    "essay": _text,
    "numeric": _number,
    "matching": _pairs,
    "ordering": _order,
}


def as_typed(question: QuestionView) -> Any:
    """Return a saved answer as it stands in the fields of its question."""
    answer = question.answer
    match question.type:
        case "multiple":
            return answer or []
        case "true_false":
            return "" if answer is None else str(answer).lower()
        case "matching":
            chosen = dict(answer or [])
            return [chosen.get(option["id"], "") for option in question.options["left"]]
        case "ordering":
            place = {chosen: str(number) for number, chosen in enumerate(answer or [], 1)}
            return [place.get(option["id"], "") for option in question.options]
        case _:
            return answer or ""


def _complaint(question: Question) -> str:
    match question.type:
        case "numeric":
            said = _("Write a number, such as 3.5 or -2.")
        case "matching":
            said = _("Use each answer of the right side once at most.")
        case "ordering":
            said = _("Give each line a place of its own, or none of them.")
        case "short_text" | "essay":
            most = quiz_grading.ESSAY_MAX if question.type == "essay" else quiz_grading.TEXT_MAX
            said = _("Write at most %(most)s characters.", most=most)
        case _:
            said = _("Choose from the answers that are given.")
    return str(said)


def _names(options: Any) -> dict[str, str]:
    return {option["id"]: option["text"] for option in options} if isinstance(options, list) else {}
