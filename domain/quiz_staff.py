"""Attempts as staff meet them: the grading queue, grading essays, voiding, what a student gets on top.

Each leaves who and why in the audit. What moves XP is done in the student's turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from db.models import Quiz, QuizAccommodation, QuizAttempt, User
from domain import quiz_grading, quiz_results, staff
from domain.errors import NotFound
from domain.levels import Curve
from domain.quiz_editing import Who
from domain.quiz_errors import AttemptClosed, NoAttempt, NoQuiz, NotGradable, OwnAttempt, Stale, WrongValues
from domain.quizzes import Page
from domain.student_view import decode_cursor, encode_moment


@dataclass(frozen=True)
class Mark:
    """What a person gives an answer: points, and a word to the student."""

    question_id: str
    earned: Decimal
    feedback: str | None


@dataclass(frozen=True)
class Given:
    """Marks for the version of an attempt that somebody saw. `grader_id` is their own user, None without one."""

    version: int
    marks: Sequence[Mark]
    grader_id: str | None


@dataclass(frozen=True)
class Waiting:
    """An attempt in the queue."""

    attempt: QuizAttempt
    title: str
    student: str


@dataclass(frozen=True)
class Marked:
    """A question of an attempt with its answer and its mark, None while it waits."""

    question: quiz_grading.Question
    answer: Any
    mark: dict[str, Any] | None


def queue(session: Session, quiz_id: str | None, *, limit: int, cursor: str | None = None) -> Page:
    """Return a page of the attempts that wait for a person, the longest waiting first; raise `InvalidCursor`."""
    query = (
        select(QuizAttempt, Quiz.title, User.name)
        .join(Quiz, Quiz.id == QuizAttempt.quiz_id)
        .join(User, User.id == QuizAttempt.user_id)
        .where(QuizAttempt.state == "submitted")
        .order_by(QuizAttempt.submitted_at, QuizAttempt.id)
        .limit(limit + 1)
    )
    if quiz_id is not None:
        query = query.where(QuizAttempt.quiz_id == quiz_id)
    if cursor is not None:
        query = query.where(tuple_(QuizAttempt.submitted_at, QuizAttempt.id) > decode_cursor(cursor))
    found = [Waiting(*row) for row in session.execute(query)]
    if len(found) <= limit:
        return Page(found, None)
    last_shown = found[limit - 1].attempt
    assert last_shown.submitted_at is not None  # noqa: S101
    return Page(found[:limit], encode_moment(last_shown.submitted_at, last_shown.id))


def view(session: Session, attempt_id: str) -> tuple[QuizAttempt, list[Marked]]:
    """Return an attempt with everything that is known of it, or raise `NoAttempt`."""
    attempt = session.get(QuizAttempt, attempt_id)
    if attempt is None:
        raise NoAttempt(f"there is no attempt {attempt_id}")
    questions = quiz_results.questions_of(session, attempt)
    return attempt, [
        Marked(question, attempt.answers.get(question.id), attempt.marks.get(question.id))
        for question in questions
    ]


def grade(session: Session, curve: Curve, attempt_id: str, given: Given, who: Who) -> QuizAttempt:
    """Give essays their points; the attempt is graded once none waits. What was given before can be changed.

    Raises `NoAttempt`, `OwnAttempt`, `NotGradable`, `Stale` or `WrongValues`.
    """
    quiz, attempt = quiz_results.take_attempt(session, attempt_id)
    if attempt.user_id == given.grader_id:
        raise OwnAttempt(f"attempt {attempt_id} is the grader's own")
    if attempt.state not in ("submitted", "graded"):
        raise NotGradable(f"attempt {attempt_id} is {attempt.state}")
    if attempt.version != given.version:
        raise Stale(attempt.version)
    marks = _check_marks(quiz_results.questions_of(session, attempt), attempt, given.marks)
    quiz_results.assess(session, curve, quiz, attempt, marks={**attempt.marks, **marks})
    detail = {"version": attempt.version, "earned": {name: mark["earned"] for name, mark in marks.items()}}
    _record(session, "quiz.grade", attempt, who, detail)
    return attempt


def void(session: Session, curve: Curve, attempt_id: str, who: Who) -> QuizAttempt:
    """Have an attempt count for nothing; raise `NoAttempt`, or `AttemptClosed` where that was done."""
    quiz, attempt = quiz_results.take_attempt(session, attempt_id)
    if attempt.state == "void":
        raise AttemptClosed(f"attempt {attempt_id} is void")
    detail = {"state": attempt.state, "passed": attempt.passed}
    quiz_results.void(session, curve, quiz, attempt)
    _record(session, "quiz.void_attempt", attempt, who, detail)
    return attempt


def accommodate(
    session: Session, user_id: str, quiz_id: str | None, time_factor: int, extra_attempts: int, who: Who
) -> QuizAccommodation:
    """Set what a student gets on top in one quiz, or in all; holds for attempts that begin from now on.

    Raises `NotFound` for the student, or `NoQuiz`.
    """
    if session.execute(quiz_results.STUDENT, {"user": user_id}).one_or_none() is None:
        raise NotFound(f"there is no user {user_id}")
    if quiz_id is not None and session.get(Quiz, quiz_id) is None:
        raise NoQuiz(f"there is no quiz {quiz_id}")
    mine = QuizAccommodation
    named = mine.quiz_id.is_(None) if quiz_id is None else mine.quiz_id == quiz_id
    row = session.scalar(select(mine).where(mine.user_id == user_id, named))
    row = row or QuizAccommodation(user_id=user_id, quiz_id=quiz_id)
    row.time_factor, row.extra_attempts = time_factor, extra_attempts
    session.add(row)
    session.flush()
    detail = {"quiz": quiz_id, "time_factor": time_factor, "extra_attempts": extra_attempts}
    staff.record(
        session,
        actor=who.actor,
        action="quiz.accommodate",
        subject=("user", user_id),
        reason=who.reason,
        detail=detail,
    )
    return row


def _check_marks(
    questions: Sequence[quiz_grading.Question], attempt: QuizAttempt, marks: Sequence[Mark]
) -> dict[str, dict[str, Any]]:
    """Return the marks as they are kept; raise `WrongValues`."""
    waiting = {item.id: item for item in questions if item.type == "essay" and item.id in attempt.answers}
    given: dict[str, dict[str, Any]] = {}
    errors = []
    for number, mark in enumerate(marks):
        if mark.question_id not in waiting:
            errors.append((f"marks/{number}/questionId", "is no answered essay of this attempt"))
        elif mark.question_id in given:
            errors.append((f"marks/{number}/questionId", "is repeated"))
        elif mark.earned > waiting[mark.question_id].points:
            most = waiting[mark.question_id].points
            errors.append((f"marks/{number}/earned", f"must be at most {most}, the question's points"))
        given[mark.question_id] = {
            "earned": str(Fraction(mark.earned)),
            "by": "person",
            "feedback": mark.feedback,
        }
    if errors:
        raise WrongValues(errors)
    return given


def _record(session: Session, action: str, attempt: QuizAttempt, who: Who, detail: dict[str, Any]) -> None:
    staff.record(
        session,
        actor=who.actor,
        action=action,
        subject=("quiz_attempt", attempt.id),
        reason=who.reason,
        detail={**detail, "user": attempt.user_id, "quiz": attempt.quiz_id},
    )
