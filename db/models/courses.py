"""The provider's own courses, who learns in them, and what they did (seed A; the course's fields of seed D)."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Numeric,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, Id, WithId, WithTimes, one_of

DIFFICULTIES = ("beginner", "intermediate", "advanced")


class Course(WithId, WithTimes, Base):
    """A course of our own. Once `deleted_at` is set nobody earns in it any more, and its XP are being reversed."""

    __tablename__ = "courses"
    __table_args__ = (
        CheckConstraint(one_of("difficulty", DIFFICULTIES), name="difficulty"),
        CheckConstraint("xp_reward BETWEEN 0 AND 1000000", name="xp_reward"),
    )

    title: Mapped[str]
    description: Mapped[str] = mapped_column(server_default=text("''"))
    # Our own courses that have to be completed first.
    prerequisites: Mapped[list[str]] = mapped_column(
        ARRAY(Uuid(as_uuid=False)), server_default=text("'{}'::uuid[]")
    )
    difficulty: Mapped[str] = mapped_column(server_default=text("'beginner'"))
    estimated_hours: Mapped[Decimal | None] = mapped_column(Numeric(8, 2))
    xp_reward: Mapped[int] = mapped_column(server_default=text("200"))
    published: Mapped[bool] = mapped_column(server_default=text("false"))
    deleted_at: Mapped[datetime | None]


class Lesson(WithId, WithTimes, Base):
    """A lesson of a course; seed D calls it a chapter."""

    __tablename__ = "lessons"
    __table_args__ = (
        # What `lesson_progress` refers to: a lesson together with the course that it is really in.
        UniqueConstraint("id", "course_id"),
        CheckConstraint("xp_reward BETWEEN 0 AND 1000000", name="xp_reward"),
        Index("ix_lessons_course_id_position", "course_id", "position"),
    )

    course_id: Mapped[Id] = mapped_column(ForeignKey("courses.id", ondelete="CASCADE"))
    title: Mapped[str]
    position: Mapped[int] = mapped_column(server_default=text("0"))
    xp_reward: Mapped[int] = mapped_column(server_default=text("50"))
    published: Mapped[bool] = mapped_column(server_default=text("false"))


class Enrollment(WithId, Base):
    """Somebody learns in one of our own courses."""

    __tablename__ = "enrollments"
    __table_args__ = (
        UniqueConstraint("user_id", "course_id"),
        CheckConstraint("completion_percentage BETWEEN 0 AND 100", name="completion_percentage"),
        Index("ix_enrollments_course_id_user_id", "course_id", "user_id"),
    )

    user_id: Mapped[Id] = mapped_column(ForeignKey("users.id"))
    course_id: Mapped[Id] = mapped_column(ForeignKey("courses.id"))
    enrolled_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    completion_percentage: Mapped[int] = mapped_column(server_default=text("0"))
    xp_earned: Mapped[int] = mapped_column(server_default=text("0"))


class LessonProgress(WithId, Base):
    """A completed lesson. It goes when the XP for it are reversed, so that the lesson can be completed again."""

    __tablename__ = "lesson_progress"
    __table_args__ = (
        UniqueConstraint("user_id", "lesson_id"),
        ForeignKeyConstraint(
            ["user_id", "course_id"],
            ["enrollments.user_id", "enrollments.course_id"],
            name="fk_lesson_progress_enrollment",
            ondelete="CASCADE",
        ),
        ForeignKeyConstraint(
            ["lesson_id", "course_id"],
            ["lessons.id", "lessons.course_id"],
            name="fk_lesson_progress_lesson",
            ondelete="CASCADE",
        ),
        Index("ix_lesson_progress_user_id_course_id", "user_id", "course_id"),
        Index("ix_lesson_progress_lesson_id_course_id", "lesson_id", "course_id"),
    )

    user_id: Mapped[Id]
    lesson_id: Mapped[Id]
    course_id: Mapped[Id]
    completed_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
