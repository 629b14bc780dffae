"""Quizzes as staff make them: creating, editing, publishing, releasing the answers, grading again after a correction.

Attempts keep the version that they began with, so an edit changes nothing under anybody's hands. Only a regrade has them
graded by the answers and points that stand now. Everything leaves an audit row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from db import jobs
from db.models import Course, Lesson, Question, Quiz, QuizAttempt
from domain import quiz_grading, quiz_results, staff
from domain.errors import NotFound
from domain.levels import Curve
from domain.quiz_errors import NoPoints, NoQuiz, Stale, WrongValues
from domain.quizzes import Page, page_of
from domain.student_view import decode_cursor

REGRADE = "quizzes.regrade"
QUEUE = "xp"
QUESTIONS_MAX = 100
# Attempts graded again in one transaction.
BATCH = 50


@dataclass(frozen=True)
class Draft:
    """A quiz as it is to be. A question with an empty id is new; those that are left out are taken away."""

    lesson_id: str | None
    title: str
    description: str
    time_limit: int | None
    max_attempts: int
    passing_score: int
    xp_reward: int
    required: bool
    questions: Sequence[quiz_grading.Question]


@dataclass(frozen=True)
class Who:
    """Who does it, and why."""

    actor: str
    reason: str | None


def list_quizzes(session: Session, course_id: str | None, *, limit: int, cursor: str | None = None) -> Page:
    """Return a page of quizzes, oldest first, of one course where it is named; raise `InvalidCursor`."""
    query = select(Quiz).order_by(Quiz.created_at, Quiz.id).limit(limit + 1)
    if course_id is not None:
        query = query.where(Quiz.course_id == course_id)
    if cursor is not None:
        query = query.where(tuple_(Quiz.created_at, Quiz.id) > decode_cursor(cursor))
    return page_of(list(session.scalars(query)), limit)


def load(session: Session, quiz_id: str) -> tuple[Quiz, list[Question]]:
    """Return a quiz with its questions in order, or raise `NoQuiz`."""
    quiz = session.get(Quiz, quiz_id)
    if quiz is None:
        raise NoQuiz(f"there is no quiz {quiz_id}")
    return quiz, _questions(session, quiz_id)


def create(session: Session, course_id: str, draft: Draft, who: Who) -> Quiz:
    """Make an unpublished quiz; raise `NotFound` for the course, or `WrongValues`."""
    if session.scalar(select(Course.id).where(Course.id == course_id, Course.deleted_at.is_(None))) is None:
        raise NotFound(f"there is no course {course_id}")
    quiz = Quiz(course_id=course_id, title=draft.title)
    _fill(session, quiz, draft, [])
    session.add(quiz)
    session.flush()
    _write_questions(session, quiz, draft, [])
    quiz_results.keep_version(session, quiz)
    _record(session, "quiz.create", quiz, who, {"title": draft.title, "questions": len(draft.questions)})
    return _fresh(session, quiz)


def edit(session: Session, quiz_id: str, version: int, draft: Draft, who: Who) -> Quiz:
    """Have the quiz be as the draft says; raise `NoQuiz`, `Stale`, `WrongValues`, or `NoPoints` of a published one."""
    quiz = _take(session, quiz_id, version)
    known = _questions(session, quiz_id)
    _fill(session, quiz, draft, known)
    if quiz.is_published and not any(question.points for question in draft.questions):
        raise NoPoints(f"quiz {quiz_id} is published")
    _write_questions(session, quiz, draft, known)
    quiz.version += 1
    quiz_results.keep_version(session, quiz)
    _record(session, "quiz.edit", quiz, who, {"version": quiz.version})
    return _fresh(session, quiz)


def publish(session: Session, quiz_id: str, who: Who, *, published: bool) -> Quiz:
    """Show the quiz to students, or take it away from those who have not begun; done before, nothing changes.

    Raises `NoQuiz`, or `NoPoints` where there is nothing to earn.
    """
    quiz = _take(session, quiz_id)
    if quiz.is_published == published:
        return quiz
    if published and not any(question.points for question in _questions(session, quiz_id)):
        raise NoPoints(f"quiz {quiz_id} has no points")
    quiz.is_published = published
    _record(session, "quiz.publish" if published else "quiz.unpublish", quiz, who, {"version": quiz.version})
    return _fresh(session, quiz)


def release_answers(session: Session, quiz_id: str, who: Who) -> Quiz:
    """Show the correct answers to everybody who has taken the quiz, from now on; raise `NoQuiz`."""
    quiz = _take(session, quiz_id)
    if quiz.answers_released_at is None:
        quiz.answers_released_at = jobs.database_now(session)
        _record(session, "quiz.release_answers", quiz, who, {})
    return _fresh(session, quiz)


def ask_regrade(session: Session, quiz_id: str, who: Who) -> str:
    """Ask for every attempt to be graded by what the quiz says now; return the job's id, or raise `NoQuiz`."""
    quiz = _take(session, quiz_id)
    quiz_results.keep_version(session, quiz)
    _record(session, "quiz.regrade", quiz, who, {"version": quiz.version})
    return str(jobs.enqueue(session, jobs.Enqueue(REGRADE, quiz_id, QUEUE, subject_id=quiz_id)))


def regrade_batch(session: Session, curve: Curve, quiz_id: str, limit: int = BATCH) -> bool:
    """Grade some more attempts anew; False when none is left. May stop between any two batches.

    Those that are open are only given the new key. Who fails now loses the XP, who passes now gets them. The version was
    kept before: whoever keeps one may be waited for by others, so nobody does while they wait for a student's turn.
    """
    behind = (
        select(QuizAttempt.id)
        .join(Quiz, Quiz.id == QuizAttempt.quiz_id)
        .where(
            QuizAttempt.quiz_id == quiz_id,
            QuizAttempt.key_version < Quiz.version,
            QuizAttempt.state != "void",
        )
    )
    found = session.scalars(behind.order_by(QuizAttempt.user_id, QuizAttempt.id).limit(limit)).all()
    for attempt_id in found:
        quiz, attempt = quiz_results.take_attempt(session, attempt_id)
        attempt.key_version = quiz.version
        if attempt.state == "open":
            attempt.possible = sum(item.points for item in quiz_results.questions_of(session, attempt))
        elif attempt.state != "void":
            quiz_results.assess(session, curve, quiz, attempt)
    return bool(found)


def _take(session: Session, quiz_id: str, version: int | None = None) -> Quiz:
    quiz = session.get(Quiz, quiz_id, with_for_update={"key_share": True}, populate_existing=True)
    if quiz is None:
        raise NoQuiz(f"there is no quiz {quiz_id}")
    if version not in (None, quiz.version):
        raise Stale(quiz.version)
    return quiz


def _questions(session: Session, quiz_id: str) -> list[Question]:
    found = select(Question).where(Question.quiz_id == quiz_id)
    return list(session.scalars(found.order_by(Question.order, Question.id)))


def _fill(session: Session, quiz: Quiz, draft: Draft, known: Sequence[Question]) -> None:
    """Check the draft as a whole and set what is the quiz's own; raise `WrongValues`."""
    errors = _faults(draft, {question.id: question.type for question in known})
    if draft.lesson_id is not None:
        inside = select(Lesson.id).where(Lesson.id == draft.lesson_id, Lesson.course_id == quiz.course_id)
        if session.scalar(inside) is None:
            errors.append(("lessonId", "is no lesson of the quiz's course"))
    if errors:
        raise WrongValues(errors)
    for name, value in vars(draft).items():
        if name != "questions":
            setattr(quiz, name, value)


def _faults(draft: Draft, types: dict[str, str]) -> list[tuple[str, str]]:
    """Return what is wrong with the questions. `types` are those of the questions that there are."""
    errors = []
    if len(draft.questions) > QUESTIONS_MAX:
        errors.append(("questions", f"must be at most {QUESTIONS_MAX}"))
    seen: set[str] = set()
    for number, question in enumerate(draft.questions):
        if question.id in seen:
            errors.append((f"questions/{number}/id", "is repeated"))
        elif question.id and question.id not in types:
            errors.append((f"questions/{number}/id", "is no question of this quiz"))
        elif question.id and types[question.id] != question.type:
            errors.append((f"questions/{number}/type", "cannot change: add another question instead"))
        seen |= {question.id} - {""}
        try:
            quiz_grading.check_question(question)
        except quiz_grading.Malformed as fault:
            errors.append((f"questions/{number}", str(fault)))
    return errors


def _write_questions(session: Session, quiz: Quiz, draft: Draft, known: Sequence[Question]) -> None:
    rows = {row.id: row for row in known}
    for order, wanted in enumerate(draft.questions):
        row = rows.pop(wanted.id, None) or Question(quiz_id=quiz.id)
        for name, value in vars(wanted).items():
            if name != "id":
                setattr(row, name, value)
        row.order = order
        session.add(row)
    for row in rows.values():
        session.delete(row)
    session.flush()


def _record(session: Session, action: str, quiz: Quiz, who: Who, detail: dict[str, Any]) -> None:
    staff.record(
        session, actor=who.actor, action=action, subject=("quiz", quiz.id), reason=who.reason, detail=detail
    )


def _fresh(session: Session, quiz: Quiz) -> Quiz:
    session.flush()
    session.refresh(quiz)
    return quiz
