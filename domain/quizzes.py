"""Quizzes as students take them: the list, starting, saving, submitting, what is shown of an attempt.

Attempts are counted and started one at a time for each student, however many tabs ask. Every started attempt counts,
except one that staff voided. The database's clock decides what is in time; how long the browser says it took is not asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

from sqlalchemy import func, or_, select, text
from sqlalchemy.orm import Session

from db import jobs
from db.models import Enrollment, Quiz, QuizAccommodation, QuizAttempt
from domain import quiz_grading, quiz_results
from domain.levels import Curve
from domain.quiz_errors import AttemptClosed, NoAttempt, NoAttemptsLeft, NoQuiz, TimeOver, WrongValues
from domain.student_view import InvalidCursor, decode_cursor, encode_moment
from domain.xp_errors import NotEnrolled

CLOSE = "quizzes.close"
QUEUE = "xp"
# Basis points.
WHOLE = 10_000
# Attempts whose submission is asked for in one transaction.
BATCH = 500

QUIZZES = """
    SELECT q.id, q.course_id, q.lesson_id, q.title, q.description, q.time_limit, q.passing_score, q.xp_reward,
        q.required, q.created_at, asked.questions, asked.points, q.max_attempts + extra.attempts AS max_attempts,
        mine.used AS attempts_used, mine.open_id AS open_attempt_id, mine.passed, c.title AS course_title,
        extra.time_factor, asked.essays
    FROM quizzes q
    JOIN courses c ON c.id = q.course_id AND c.deleted_at IS NULL
    JOIN enrollments e ON e.course_id = q.course_id AND e.user_id = CAST(:user AS uuid)
    CROSS JOIN LATERAL (
        SELECT count(*) AS questions, coalesce(sum(points), 0) AS points, count(*) FILTER (WHERE type = 'essay') AS essays
        FROM questions WHERE quiz_id = q.id
    ) AS asked
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(extra_attempts), 0) AS attempts, coalesce(max(time_factor), 10000) AS time_factor
        FROM quiz_accommodations
        WHERE user_id = e.user_id AND (quiz_id = q.id OR quiz_id IS NULL)
    ) AS extra
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE state <> 'void') AS used, coalesce(bool_or(passed), false) AS passed,
            (array_agg(id) FILTER (WHERE state = 'open'))[1] AS open_id
        FROM quiz_attempts WHERE user_id = e.user_id AND quiz_id = q.id
    ) AS mine
    WHERE q.is_published
"""
LIST = text(
    QUIZZES
    + """
        AND q.course_id = CAST(:course AS uuid) AND (q.created_at, q.id) > (:moment, CAST(:last AS uuid))
    ORDER BY q.created_at, q.id LIMIT :limit
    """
)
ONE = text(QUIZZES + " AND q.id = CAST(:quiz AS uuid)")
# Only those that were not asked for yet: one that cannot be graded waits among the failed jobs for a person.
ASK_CLOSE = text(
    f"""
    INSERT INTO jobs (kind, business_key, queue, subject_id)
    SELECT '{CLOSE}', a.id::text, '{QUEUE}', a.id FROM quiz_attempts a
    WHERE a.state = 'open' AND a.deadline_at < now() - CAST(:grace AS interval)
        AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.kind = '{CLOSE}' AND j.business_key = a.id::text)
    ORDER BY a.deadline_at, a.id LIMIT :limit
    ON CONFLICT DO NOTHING RETURNING 1
    """  # noqa: S608
)
FIRST = ("-infinity", "00000000-0000-0000-0000-000000000000")


@dataclass(frozen=True)
class QuestionView:
    """A question of an attempt. What it earned, and the correct answer, are None while they are hidden."""

    id: str
    type: str
    question: str
    options: Any
    points: int
    answer: Any
    earned: float | None
    feedback: str | None
    correct_answer: Any
    explanation: str | None


@dataclass(frozen=True)
class AttemptView:
    """An attempt as its student sees it. `revealed` says whether the correct answers are shown."""

    attempt: QuizAttempt
    questions: list[QuestionView]
    revealed: bool
    now: datetime


@dataclass(frozen=True)
class Page:
    """Some rows of a list. `next_cursor` is None on the last page."""

    items: list[Any]
    next_cursor: str | None


def list_quizzes(
    session: Session, user_id: str, course_id: str, *, limit: int, cursor: str | None = None
) -> Page:
    """Return a page of a course's published quizzes, oldest first, with what the student has left of each.

    Raises `NotEnrolled` or `InvalidCursor`.
    """
    _check_enrolled(session, user_id, course_id)
    moment, last = FIRST if cursor is None else decode_cursor(cursor)
    names = {"user": user_id, "course": course_id, "moment": moment, "last": last, "limit": limit + 1}
    return page_of(list(session.execute(LIST, names)), limit)


def find(session: Session, user_id: str, quiz_id: str) -> Any:
    """Return a published quiz of one of the student's courses, as the list has it; raise `NoQuiz`.

    Its `time_factor`, in basis points, is how much of the time limit this student has; `essays` wait for a person.
    """
    row = session.execute(ONE, {"user": user_id, "quiz": quiz_id}).one_or_none()
    if row is None:
        raise NoQuiz(f"there is no published quiz {quiz_id}, or the student does not learn in its course")
    return row


def list_attempts(
    session: Session, user_id: str, quiz_id: str, *, limit: int, cursor: str | None = None
) -> Page:
    """Return a page of the student's own attempts at a quiz, newest first; raise `InvalidCursor`."""
    query = select(QuizAttempt).where(QuizAttempt.user_id == user_id, QuizAttempt.quiz_id == quiz_id)
    if cursor is not None:
        if not cursor.isdecimal() or not cursor.isascii() or len(cursor) > 9:
            raise InvalidCursor
        query = query.where(QuizAttempt.number < int(cursor))
    found = list(session.scalars(query.order_by(QuizAttempt.number.desc()).limit(limit + 1)))
    more = len(found) > limit
    return Page(found[:limit], str(found[limit - 1].number) if more else None)


def start(session: Session, curve: Curve, user_id: str, quiz_id: str) -> tuple[QuizAttempt, bool]:
    """Return the student's open attempt, or a new one and True.

    Raises `NoQuiz`, `NotEnrolled` or `NoAttemptsLeft`.
    """
    quiz = quiz_results.take_turn(session, user_id, quiz_id)
    if not quiz.is_published:
        raise NoQuiz(f"there is no published quiz {quiz_id}")
    _check_enrolled(session, user_id, quiz.course_id)
    now = jobs.database_now(session)
    mine = select(QuizAttempt).where(QuizAttempt.user_id == user_id, QuizAttempt.quiz_id == quiz_id)
    attempts = list(session.scalars(mine.with_for_update()))
    for attempt in attempts:
        if attempt.state == "open" and not quiz_results.is_over(attempt, now):
            return attempt, False
        if attempt.state == "open":
            close(session, curve, quiz, attempt)
    time_factor, extra = _accommodation(session, user_id, quiz_id)
    if sum(attempt.state != "void" for attempt in attempts) >= quiz.max_attempts + extra:
        raise NoAttemptsLeft(f"all attempts at quiz {quiz_id} were started")
    return _begin(session, user_id, quiz, attempts, now, time_factor), True


def save(session: Session, user_id: str, attempt_id: str, answers: Sequence[tuple[str, Any]]) -> QuizAttempt:
    """Keep answers in an open attempt, pairs of question id and answer; None takes one back.

    Raises `NoAttempt`, `AttemptClosed`, `TimeOver`, or `WrongValues` with nothing kept.
    """
    attempt = quiz_results.hold(session, attempt_id, user_id)
    now = jobs.database_now(session)
    if attempt.state != "open":
        raise AttemptClosed(f"attempt {attempt_id} is {attempt.state}")
    if quiz_results.is_over(attempt, now):
        raise TimeOver(f"the deadline was {attempt.deadline_at}")
    checked = check_answers(quiz_results.questions_of(session, attempt), answers)
    kept = {**attempt.answers, **checked}
    attempt.answers = {name: value for name, value in kept.items() if value is not None}
    attempt.saved_at = now
    return attempt


def submit(
    session: Session, curve: Curve, user_id: str, attempt_id: str, answers: Sequence[tuple[str, Any]]
) -> QuizAttempt:
    """Keep the last answers, submit the attempt and grade it; raises what `save` raises, with nothing done."""
    quiz, _ = quiz_results.take_attempt(session, attempt_id, user_id)
    attempt = save(session, user_id, attempt_id, answers)
    now = jobs.database_now(session)
    quiz_results.finish(session, curve, quiz, attempt, at=now, active_at=now)
    return attempt


def close(session: Session, curve: Curve, quiz: Quiz, attempt: QuizAttempt) -> None:
    """Submit a held attempt whose time is over, with what was saved, as of its deadline."""
    at = attempt.deadline_at or jobs.database_now(session)
    quiz_results.finish(session, curve, quiz, attempt, at=at, active_at=attempt.saved_at)


def close_overdue(session: Session, curve: Curve, attempt_id: str) -> bool:
    """Submit an attempt whose time is over; False where that is not so, or was done."""
    try:
        quiz, attempt = quiz_results.take_attempt(session, attempt_id)
    except NoAttempt:
        return False
    if attempt.state != "open" or not quiz_results.is_over(attempt, jobs.database_now(session)):
        return False
    close(session, curve, quiz, attempt)
    return True


def ask_close(session: Session, limit: int = BATCH) -> int:
    """Ask, as jobs, for the submission of attempts whose time is over; return for how many. Call it until that is 0."""
    asked = session.execute(ASK_CLOSE, {"grace": quiz_results.GRACE, "limit": limit})
    return len(asked.all())


def view(session: Session, user_id: str, attempt_id: str) -> AttemptView:
    """Return the student's own attempt; raise `NoAttempt`. Correct answers are shown once passed or released."""
    attempt = session.get(QuizAttempt, attempt_id)
    if attempt is None or attempt.user_id != user_id:
        raise NoAttempt(f"there is no attempt {attempt_id}")
    quiz = session.get_one(Quiz, attempt.quiz_id)
    revealed = attempt.state != "open" and (
        quiz.answers_released_at is not None or quiz_results.has_passed(session, user_id, quiz.id)
    )
    questions = quiz_results.questions_of(session, attempt)
    shown = [_show(question, attempt, revealed=revealed) for question in questions]
    return AttemptView(attempt, shown, revealed, jobs.database_now(session))


def check_answers(
    questions: Sequence[quiz_grading.Question], answers: Sequence[tuple[str, Any]]
) -> dict[str, Any]:
    """Return the answers by question; raise `WrongValues` for ids that are unknown or repeated, or wrong answers."""
    known = {question.id: question for question in questions}
    checked: dict[str, Any] = {}
    errors = []
    for number, (question_id, answer) in enumerate(answers):
        if question_id not in known or question_id in checked:
            fault = "is repeated" if question_id in known else "is no question of this attempt"
            errors.append((f"answers/{number}/questionId", fault))
            continue
        checked[question_id] = answer
        try:
            if answer is not None:
                checked[question_id] = quiz_grading.check_answer(known[question_id], answer)
        except quiz_grading.Malformed as fault:
            errors.append((f"answers/{number}/answer", str(fault)))
    if errors:
        raise WrongValues(errors)
    return checked


def page_of(rows: list[Any], limit: int) -> Page:
    """Return a page of rows with `created_at` and `id`, of which one more than `limit` was asked for."""
    more = len(rows) > limit
    cursor = encode_moment(rows[limit - 1].created_at, rows[limit - 1].id) if more else None
    return Page(rows[:limit], cursor)


def _begin(
    session: Session,
    user_id: str,
    quiz: Quiz,
    attempts: Sequence[QuizAttempt],
    now: datetime,
    time_factor: int,
) -> QuizAttempt:
    questions = quiz_results.keep_version(session, quiz)
    limit = None if quiz.time_limit is None else timedelta(minutes=quiz.time_limit) * time_factor / WHOLE
    attempt = QuizAttempt(
        user_id=user_id,
        quiz_id=quiz.id,
        number=max((attempt.number for attempt in attempts), default=0) + 1,
        quiz_version=quiz.version,
        key_version=quiz.version,
        passing_score=quiz.passing_score,
        possible=sum(question.points for question in questions),
        started_at=now,
        deadline_at=None if limit is None else now + limit,
    )
    session.add(attempt)
    session.flush()
    session.refresh(attempt)
    return attempt


def _accommodation(session: Session, user_id: str, quiz_id: str) -> tuple[int, int]:
    """Return the student's time factor in basis points and their extra attempts: the most time, and all attempts."""
    mine = QuizAccommodation
    found = session.execute(
        select(
            func.coalesce(func.max(mine.time_factor), WHOLE),
            func.coalesce(func.sum(mine.extra_attempts), 0),
        ).where(mine.user_id == user_id, or_(mine.quiz_id == quiz_id, mine.quiz_id.is_(None)))
    ).one()
    return int(found[0]), int(found[1])


def _check_enrolled(session: Session, user_id: str, course_id: str) -> None:
    mine = select(Enrollment.id).where(Enrollment.user_id == user_id, Enrollment.course_id == course_id)
    if session.scalar(mine) is None:
        raise NotEnrolled(f"not enrolled in course {course_id}")


def _show(question: quiz_grading.Question, attempt: QuizAttempt, *, revealed: bool) -> QuestionView:
    """Return a question as it may be shown. Points tell what is right, so they are hidden too, except a person's."""
    given: Mapping[str, Any] = attempt.marks.get(question.id, {})
    graded = bool(given) and attempt.state in ("graded", "submitted")
    visible = graded and (revealed or given["by"] == "person")
    return QuestionView(
        id=question.id,
        type=question.type,
        question=question.question,
        options=question.options,
        points=question.points,
        answer=attempt.answers.get(question.id),
        earned=float(Fraction(given["earned"])) if visible else None,
        feedback=given.get("feedback") if visible else None,
        correct_answer=question.correct_answer if revealed else None,
        explanation=question.explanation if revealed else None,
    )
