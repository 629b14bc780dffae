"""What becomes of an attempt: its turn, its questions, its grade, and the XP that follow.

Lock order: the course against its deletion, the student, who takes the turns of whatever is done to their attempts, the
quiz against an edit; then the ledger, the attempt, counters, jobs. Several students go in the order of their ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db import jobs
from db.models import Question, Quiz, QuizAttempt, QuizVersion
from domain import counters, quiz_grading, xp, xp_corrections
from domain.levels import Curve
from domain.quiz_errors import NoAttempt, NoQuiz

# What is written after a deadline, for as long as a request may have been under way.
GRACE = timedelta(seconds=10)
# Decimal places in which points are shown; what decides is exact.
PLACES = Decimal("0.000001")

COURSE = text(
    """
    SELECT 1 FROM courses WHERE id = (SELECT course_id FROM quizzes WHERE id = :quiz) AND deleted_at IS NULL
    FOR KEY SHARE
    """
)
STUDENT = text("SELECT 1 FROM users WHERE id = :user FOR NO KEY UPDATE")


def take_turn(session: Session, user_id: str, quiz_id: str) -> Quiz:
    """Hold the student's attempts and the quiz to the end of the transaction; return the quiz, or raise `NoQuiz`."""
    course = session.execute(COURSE, {"quiz": quiz_id}).one_or_none()
    session.execute(STUDENT, {"user": user_id})
    quiz = session.get(Quiz, quiz_id, with_for_update={"read": True}, populate_existing=True)
    if course is None or quiz is None:
        raise NoQuiz(f"there is no quiz {quiz_id}")
    return quiz


def take_attempt(session: Session, attempt_id: str, user_id: str | None = None) -> tuple[Quiz, QuizAttempt]:
    """Hold an attempt, of that student where one is named, in its turn; return it with its quiz, or raise `NoAttempt`."""
    found = session.execute(
        select(QuizAttempt.user_id, QuizAttempt.quiz_id).where(QuizAttempt.id == attempt_id)
    ).one_or_none()
    if found is None or user_id not in (None, found.user_id):
        raise NoAttempt(f"there is no attempt {attempt_id}")
    try:
        quiz = take_turn(session, found.user_id, found.quiz_id)
    except NoQuiz:
        raise NoAttempt(f"the course of attempt {attempt_id} was deleted") from None
    return quiz, hold(session, attempt_id)


def hold(session: Session, attempt_id: str, user_id: str | None = None) -> QuizAttempt:
    """Hold an attempt, of that student where one is named; raise `NoAttempt`."""
    attempt = session.get(QuizAttempt, attempt_id, with_for_update=True, populate_existing=True)
    if attempt is None or user_id not in (None, attempt.user_id):
        raise NoAttempt(f"there is no attempt {attempt_id}")
    return attempt


def is_over(attempt: QuizAttempt, now: datetime) -> bool:
    """Say whether nothing is written into the attempt any more."""
    return attempt.deadline_at is not None and now > attempt.deadline_at + GRACE


def keep_version(session: Session, quiz: Quiz) -> list[quiz_grading.Question]:
    """Keep what the quiz asks now under its version, where that was not done, and return it. The quiz is held."""
    found = session.scalars(select(Question).where(Question.quiz_id == quiz.id).order_by(Question.order))
    questions = [as_question(row) for row in found]
    values = {"quiz_id": quiz.id, "version": quiz.version, "questions": [asdict(item) for item in questions]}
    session.execute(insert(QuizVersion).values(values).on_conflict_do_nothing())
    return questions


def as_question(row: Question) -> quiz_grading.Question:
    """Return a question as grading knows it."""
    names = quiz_grading.Question.__dataclass_fields__
    return quiz_grading.Question(**{name: getattr(row, name) for name in names})


def questions_of(session: Session, attempt: QuizAttempt) -> list[quiz_grading.Question]:
    """Return what the attempt asks, with the answers and points that it is graded by."""
    asked = _version(session, attempt.quiz_id, attempt.quiz_version)
    if attempt.key_version == attempt.quiz_version:
        return asked
    return quiz_grading.with_key(asked, _version(session, attempt.quiz_id, attempt.key_version))


def finish(
    session: Session,
    curve: Curve,
    quiz: Quiz,
    attempt: QuizAttempt,
    *,
    at: datetime,
    active_at: datetime | None,
) -> None:
    """Submit a held, open attempt and grade what was saved. `active_at` is when the student last did something."""
    attempt.submitted_at = at
    assess(session, curve, quiz, attempt, active_at=active_at)


def assess(
    session: Session,
    curve: Curve,
    quiz: Quiz,
    attempt: QuizAttempt,
    *,
    marks: Mapping[str, Any] | None = None,
    active_at: datetime | None = None,
) -> None:
    """Grade a held attempt that was submitted, with these marks of a person instead of those that it has."""
    had_passed, before = attempt.passed is True, _standing(attempt)
    given = attempt.marks if marks is None else marks
    result = quiz_grading.grade(questions_of(session, attempt), attempt.answers, given, attempt.passing_score)
    attempt.marks, attempt.possible, attempt.passed = result.marks, result.possible, result.passed
    attempt.earned = rounded(result.earned)
    attempt.state = "submitted" if result.passed is None else "graded"
    attempt.graded_at = None if result.passed is None else jobs.database_now(session)
    attempt.version += 1
    settle(session, curve, quiz, attempt, had_passed=had_passed)
    if active_at is not None or _standing(attempt) != before:
        tell_counters(session, attempt, active_at)


def void(session: Session, curve: Curve, quiz: Quiz, attempt: QuizAttempt) -> None:
    """Have a held attempt count for nothing; XP that only it had earned are taken back."""
    had_passed = attempt.passed is True
    attempt.state, attempt.passed = "void", None
    attempt.version += 1
    settle(session, curve, quiz, attempt, had_passed=had_passed)
    tell_counters(session, attempt)


def settle(session: Session, curve: Curve, quiz: Quiz, attempt: QuizAttempt, *, had_passed: bool) -> None:
    """Give XP for the first pass, and take them back with the last one."""
    session.flush()
    user_id, key = attempt.user_id, pass_key(quiz.id)
    if attempt.passed is True and not had_passed:
        xp.award(session, curve, _award(quiz, attempt, key))
    elif had_passed and attempt.passed is not True and not has_passed(session, user_id, quiz.id):
        xp_corrections.reverse_key(session, curve, user_id, key, reason="quiz_not_passed")


def tell_counters(session: Session, attempt: QuizAttempt, active_at: datetime | None = None) -> None:
    """Say that what is counted about quizzes changed. `active_at` is when the student last did something."""
    counters.changed(session, attempt.user_id, "quizzes.passed", "quizzes.perfect", active_at=active_at)


def has_passed(session: Session, user_id: str, quiz_id: str) -> bool:
    """Say whether the student has passed the quiz in any attempt that counts."""
    found = select(func.count()).where(
        QuizAttempt.user_id == user_id, QuizAttempt.quiz_id == quiz_id, QuizAttempt.passed.is_(True)
    )
    return session.scalars(found).one() > 0


def pass_key(quiz_id: str) -> str:
    """Return the business key of the XP for a quiz."""
    return f"quiz:{quiz_id}:pass"


def rounded(points: Fraction) -> Decimal:
    """Return points as they are shown."""
    return (Decimal(points.numerator) / Decimal(points.denominator)).quantize(PLACES)


def _standing(attempt: QuizAttempt) -> tuple[bool | None, Decimal | None, int]:
    return attempt.passed, attempt.earned, attempt.possible


def _award(quiz: Quiz, attempt: QuizAttempt, key: str) -> xp.Award:
    return xp.Award(
        user_id=attempt.user_id,
        key=key,
        base=quiz.xp_reward,
        source_type="QUIZ",
        source_id=quiz.id,
        category="QUIZ",
        reason="quiz_passed",
        description="Quiz passed",
        occurred_at=attempt.submitted_at,
        course_id=quiz.course_id,
    )


def _version(session: Session, quiz_id: str, version: int) -> list[quiz_grading.Question]:
    kept = session.get_one(QuizVersion, (quiz_id, version))
    return [quiz_grading.Question(**values) for values in kept.questions]
