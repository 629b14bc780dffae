"""Quizzes: what is asked, the versions that were answered, and the attempts (seed D)."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Computed,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Numeric,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, Id, WithCreated, WithId, WithTimes, one_of

TYPES = (
    "single",
    "multiple",
    "true_false",
    "short_text",
    "numeric",
    "matching",
    "ordering",
    "essay",
)
STATES = ("open", "submitted", "graded", "void")


class Quiz(WithId, WithTimes, Base):
    """A quiz of a course, in the place of one of its lessons or beside them. `version` rises with every edit."""

    __tablename__ = "quizzes"
    __table_args__ = (
        CheckConstraint("time_limit BETWEEN 1 AND 10080", name="time_limit"),
        CheckConstraint("max_attempts BETWEEN 1 AND 1000", name="max_attempts"),
        CheckConstraint("passing_score BETWEEN 0 AND 100", name="passing_score"),
        CheckConstraint("xp_reward BETWEEN 0 AND 1000000", name="xp_reward"),
        ForeignKeyConstraint(
            ["lesson_id", "course_id"],
            ["lessons.id", "lessons.course_id"],
            name="fk_quizzes_lesson",
            ondelete="CASCADE",
        ),
        Index("ix_quizzes_course_id", "course_id", "created_at", "id"),
        Index("ix_quizzes_lesson_id", "lesson_id"),
        Index("ix_quizzes_created_at_id", "created_at", "id"),
    )

    course_id: Mapped[Id] = mapped_column(ForeignKey("courses.id", ondelete="CASCADE"))
    lesson_id: Mapped[Id | None]
    title: Mapped[str]
    description: Mapped[str] = mapped_column(server_default=text("''"))
    # Minutes; none without a limit.
    time_limit: Mapped[int | None]
    max_attempts: Mapped[int] = mapped_column(server_default=text("3"))
    # Percent of the points.
    passing_score: Mapped[int] = mapped_column(server_default=text("70"))
    xp_reward: Mapped[int] = mapped_column(server_default=text("25"))
    # Whether a certificate of the course waits for it.
    required: Mapped[bool] = mapped_column(server_default=text("true"))
    is_published: Mapped[bool] = mapped_column(server_default=text("false"))
    version: Mapped[int] = mapped_column(server_default=text("1"))
    # From then on everybody who has taken it sees the correct answers, not only who has passed.
    answers_released_at: Mapped[datetime | None]


class Question(WithId, WithCreated, Base):
    """A question as it stands now. What `options` and `correct_answer` hold: `domain.quiz_grading`."""

    __tablename__ = "questions"
    __table_args__ = (
        CheckConstraint(one_of("type", TYPES), name="type"),
        CheckConstraint("points BETWEEN 0 AND 1000", name="points"),
        CheckConstraint("(type = 'essay') = (correct_answer IS NULL)", name="correct_answer"),
        Index("ix_questions_quiz_id_order", "quiz_id", "order"),
    )

    quiz_id: Mapped[Id] = mapped_column(ForeignKey("quizzes.id", ondelete="CASCADE"))
    type: Mapped[str]
    question: Mapped[str]
    options: Mapped[Any] = mapped_column(JSONB(none_as_null=True), nullable=True)
    correct_answer: Mapped[Any] = mapped_column(JSONB(none_as_null=True), nullable=True)
    explanation: Mapped[str | None]
    points: Mapped[int] = mapped_column(server_default=text("1"))
    # Of several right options: some points for some of them. Else all or nothing.
    partial_credit: Mapped[bool] = mapped_column(server_default=text("false"))
    order: Mapped[int]


class QuizVersion(WithCreated, Base):
    """What a quiz asks, and its key, at one of its versions. Never changed."""

    __tablename__ = "quiz_versions"

    quiz_id: Mapped[Id] = mapped_column(ForeignKey("quizzes.id", ondelete="CASCADE"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    questions: Mapped[list[Any]]


class QuizAttempt(WithId, WithTimes, Base):
    """An attempt: `open`, then `graded`, by way of `submitted` where a person has to grade; `void` counts for nothing.

    It asks what `quiz_version` asked, and is graded by the answers and points of `key_version`.
    """

    __tablename__ = "quiz_attempts"
    __table_args__ = (
        UniqueConstraint("user_id", "quiz_id", "number"),
        CheckConstraint(one_of("state", STATES), name="state"),
        CheckConstraint("(state = 'graded') = (passed IS NOT NULL)", name="passed"),
        CheckConstraint(
            "state NOT IN ('submitted', 'graded') OR submitted_at IS NOT NULL", name="submitted_at"
        ),
        CheckConstraint("earned BETWEEN 0 AND possible", name="earned"),
        ForeignKeyConstraint(
            ["quiz_id", "quiz_version"],
            ["quiz_versions.quiz_id", "quiz_versions.version"],
            name="fk_quiz_attempts_quiz_version",
            ondelete="CASCADE",
        ),
        ForeignKeyConstraint(
            ["quiz_id", "key_version"],
            ["quiz_versions.quiz_id", "quiz_versions.version"],
            name="fk_quiz_attempts_key_version",
            ondelete="CASCADE",
        ),
        Index(
            "uq_quiz_attempts_open",
            "user_id",
            "quiz_id",
            unique=True,
            postgresql_where=text("state = 'open'"),
        ),
        Index("ix_quiz_attempts_deadline_at", "deadline_at", "id", postgresql_where=text("state = 'open'")),
        Index("ix_quiz_attempts_waiting", "submitted_at", "id", postgresql_where=text("state = 'submitted'")),
        Index("ix_quiz_attempts_quiz_id_key_version", "quiz_id", "key_version", "user_id", "id"),
    )

    user_id: Mapped[Id] = mapped_column(ForeignKey("users.id"))
    quiz_id: Mapped[Id] = mapped_column(ForeignKey("quizzes.id", ondelete="CASCADE"))
    number: Mapped[int]
    state: Mapped[str] = mapped_column(server_default=text("'open'"))
    # Rises with every grading, so that two people do not grade over each other.
    version: Mapped[int] = mapped_column(server_default=text("1"))
    quiz_version: Mapped[int]
    key_version: Mapped[int]
    passing_score: Mapped[int]
    # Question id -> answer.
    answers: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    # Question id -> {earned: a fraction such as "2/3", by: "usher" or "person", feedback}.
    marks: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    # The sum of the marks, rounded; what decides is the exact sum.
    earned: Mapped[Decimal | None] = mapped_column(Numeric(14, 6))
    possible: Mapped[int]
    passed: Mapped[bool | None]
    started_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    deadline_at: Mapped[datetime | None]
    saved_at: Mapped[datetime | None]
    submitted_at: Mapped[datetime | None]
    graded_at: Mapped[datetime | None]
    # The same under the names that seed D has for it; the time in seconds, by the database's clock.
    score: Mapped[float | None] = mapped_column(Double, Computed("earned::double precision", persisted=True))
    total_points: Mapped[int] = mapped_column(Computed("possible", persisted=True))
    time_spent: Mapped[int | None] = mapped_column(
        Computed("EXTRACT(epoch FROM (submitted_at - started_at))::integer", persisted=True)
    )
    completed_at: Mapped[datetime | None] = mapped_column(Computed("submitted_at", persisted=True))


class QuizAccommodation(WithId, WithTimes, Base):
    """What one student gets on top: more time (basis points) and more attempts; for every quiz where none is named."""

    __tablename__ = "quiz_accommodations"
    __table_args__ = (
        CheckConstraint("time_factor BETWEEN 10000 AND 100000", name="time_factor"),
        CheckConstraint("extra_attempts BETWEEN 0 AND 1000", name="extra_attempts"),
        Index(
            "uq_quiz_accommodations_quiz",
            "user_id",
            "quiz_id",
            unique=True,
            postgresql_where=text("quiz_id IS NOT NULL"),
        ),
        Index("uq_quiz_accommodations_all", "user_id", unique=True, postgresql_where=text("quiz_id IS NULL")),
        Index("ix_quiz_accommodations_quiz_id", "quiz_id"),
    )

    user_id: Mapped[Id] = mapped_column(ForeignKey("users.id"))
    quiz_id: Mapped[Id | None] = mapped_column(ForeignKey("quizzes.id", ondelete="CASCADE"))
    time_factor: Mapped[int] = mapped_column(server_default=text("10000"))
    extra_attempts: Mapped[int] = mapped_column(server_default=text("0"))
