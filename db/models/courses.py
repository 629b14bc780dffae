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
# A key that stays the same in every database. Rows that were given none have one that nobody has to know.
SLUG = text("(gen_random_uuid())::text")


class Category(WithId, WithTimes, Base):
    """A shelf of the catalogue."""

    __tablename__ = "categories"

    slug: Mapped[str] = mapped_column(unique=True, server_default=SLUG)
    name: Mapped[str]


class Course(WithId, WithTimes, Base):
    """A course of our own. Once `deleted_at` is set nobody earns in it any more, and its XP are being reversed."""

    __tablename__ = "courses"
    __table_args__ = (
        CheckConstraint(one_of("difficulty", DIFFICULTIES), name="difficulty"),
        CheckConstraint("xp_reward BETWEEN 0 AND 1000000", name="xp_reward"),
        CheckConstraint("certificate_days > 0", name="certificate_days"),
        Index("ix_courses_category_id", "category_id"),
        Index("ix_courses_created_at_id", "created_at", "id"),
    )

    slug: Mapped[str] = mapped_column(unique=True, server_default=SLUG)
    title: Mapped[str]
    description: Mapped[str] = mapped_column(server_default=text("''"))
    image_url: Mapped[str | None]
    category_id: Mapped[Id | None] = mapped_column(ForeignKey("categories.id"))
    # Our own courses that have to be completed first.
    prerequisites: Mapped[list[str]] = mapped_column(
        ARRAY(Uuid(as_uuid=False)), server_default=text("'{}'::uuid[]")
    )
    difficulty: Mapped[str] = mapped_column(server_default=text("'beginner'"))
    estimated_hours: Mapped[Decimal | None] = mapped_column(Numeric(8, 2))
    xp_reward: Mapped[int] = mapped_column(server_default=text("200"))
    # Days for which its certificates are valid; None: for ever.
    certificate_days: Mapped[int | None]
    published: Mapped[bool] = mapped_column(server_default=text("false"))
    # Raised by every edit of the course, its lessons or its attachments: two people do not overwrite each other.
    version: Mapped[int] = mapped_column(server_default=text("1"))
    deleted_at: Mapped[datetime | None]


class Attachment(WithId, WithTimes, Base):
    """A file of a course, kept elsewhere."""

    __tablename__ = "attachments"
    __table_args__ = (UniqueConstraint("course_id", "name"),)

    course_id: Mapped[Id] = mapped_column(ForeignKey("courses.id", ondelete="CASCADE"))
    name: Mapped[str]
    url: Mapped[str]
    position: Mapped[int] = mapped_column(server_default=text("0"))


class Lesson(WithId, WithTimes, Base):
    """A lesson of a course; seed D calls it a chapter."""

    __tablename__ = "lessons"
    __table_args__ = (
        # What `lesson_progress` refers to: a lesson together with the course that it is really in.
        UniqueConstraint("id", "course_id"),
        UniqueConstraint("course_id", "slug"),
        CheckConstraint("xp_reward BETWEEN 0 AND 1000000", name="xp_reward"),
        Index("ix_lessons_course_id_position", "course_id", "position"),
    )

    course_id: Mapped[Id] = mapped_column(ForeignKey("courses.id", ondelete="CASCADE"))
    slug: Mapped[str] = mapped_column(server_default=SLUG)
    title: Mapped[str]
    description: Mapped[str] = mapped_column(server_default=text("''"))
    # Markdown, kept and answered as it was written.
    body: Mapped[str] = mapped_column(server_default=text("''"))
    video_url: Mapped[str | None]
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
        {"postgresql_with": {"fillfactor": "85"}},
    )

    user_id: Mapped[Id] = mapped_column(ForeignKey("users.id"))
    course_id: Mapped[Id] = mapped_column(ForeignKey("courses.id"))
    enrolled_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    completion_percentage: Mapped[int] = mapped_column(server_default=text("0"))
    xp_earned: Mapped[int] = mapped_column(server_default=text("0"))
    # The older system whose import made it.
    legacy_source: Mapped[str | None]


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
