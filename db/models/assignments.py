"""Assignments: what is asked, what was handed in, version by version, and what a person said about it (seed D)."""

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
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, Id, WithCreated, WithId, WithTimes, one_of

STATES = ("draft", "submitted", "graded", "returned", "resubmitted")
NO_FILES = text("'{}'::text[]")


class Assignment(WithId, WithTimes, Base):
    """Work that students of a course hand in. Without `due_date` nothing is late; `lesson_id` is where it belongs."""

    __tablename__ = "assignments"
    __table_args__ = (
        CheckConstraint("max_points BETWEEN 1 AND 1000000", name="max_points"),
        CheckConstraint("passing_score BETWEEN 0 AND 100", name="passing_score"),
        CheckConstraint("grace_seconds BETWEEN 0 AND 2592000", name="grace_seconds"),
        CheckConstraint("xp_reward BETWEEN 0 AND 1000000", name="xp_reward"),
        ForeignKeyConstraint(
            ["lesson_id", "course_id"],
            ["lessons.id", "lessons.course_id"],
            name="fk_assignments_lesson",
            ondelete="CASCADE",
        ),
        Index("ix_assignments_course_id", "course_id"),
        Index("ix_assignments_created_at_id", "created_at", "id"),
        Index("ix_assignments_lesson_id", "lesson_id"),
    )

    course_id: Mapped[Id] = mapped_column(ForeignKey("courses.id", ondelete="CASCADE"))
    lesson_id: Mapped[Id | None]
    title: Mapped[str]
    description: Mapped[str] = mapped_column(server_default=text("''"))
    due_date: Mapped[datetime | None]
    # Seconds after the due date in which nothing is late yet.
    grace_seconds: Mapped[int] = mapped_column(server_default=text("0"))
    allow_late_submission: Mapped[bool] = mapped_column(server_default=text("true"))
    max_points: Mapped[int] = mapped_column(server_default=text("100"))
    # Percent of `max_points`.
    passing_score: Mapped[int] = mapped_column(server_default=text("60"))
    xp_reward: Mapped[int] = mapped_column(server_default=text("50"))
    # Whether a certificate of the course waits for it.
    required: Mapped[bool] = mapped_column(server_default=text("true"))
    is_published: Mapped[bool] = mapped_column(server_default=text("false"))


class AssignmentExtension(WithTimes, Base):
    """A later due date for one student."""

    __tablename__ = "assignment_extensions"
    __table_args__ = (Index("ix_assignment_extensions_user_id", "user_id"),)

    assignment_id: Mapped[Id] = mapped_column(
        ForeignKey("assignments.id", ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[Id] = mapped_column(ForeignKey("users.id"), primary_key=True)
    due_date: Mapped[datetime]
    granted_by: Mapped[str]


class AssignmentSubmission(WithId, WithTimes, Base):
    """What a student has handed in, as it stands. `version` rises with every change and is the ETag.

    `late` is about the latest hand-in, `score` and `passed` about the latest grade, `number` counts the hand-ins.
    """

    __tablename__ = "assignment_submissions"
    __table_args__ = (
        UniqueConstraint("user_id", "assignment_id"),
        CheckConstraint(one_of("state", STATES), name="state"),
        CheckConstraint("score >= 0", name="score"),
        CheckConstraint("(graded_at IS NULL) = (passed IS NULL)", name="graded"),
        Index("ix_assignment_submissions_assignment_id", "assignment_id"),
        Index("ix_assignment_submissions_submitted_at_id", "submitted_at", "id"),
        Index(
            "ix_assignment_submissions_waiting",
            "submitted_at",
            "id",
            postgresql_where=text("state IN ('submitted', 'resubmitted')"),
        ),
    )

    user_id: Mapped[Id] = mapped_column(ForeignKey("users.id"))
    assignment_id: Mapped[Id] = mapped_column(ForeignKey("assignments.id", ondelete="CASCADE"))
    state: Mapped[str] = mapped_column(server_default=text("'draft'"))
    version: Mapped[int] = mapped_column(server_default=text("1"))
    number: Mapped[int] = mapped_column(server_default=text("0"))
    content: Mapped[str] = mapped_column(server_default=text("''"))
    file_urls: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=NO_FILES)
    late: Mapped[bool] = mapped_column(server_default=text("false"))
    score: Mapped[Decimal | None] = mapped_column(Numeric(10, 2))
    passed: Mapped[bool | None]
    feedback: Mapped[str | None]
    submitted_at: Mapped[datetime | None]
    graded_at: Mapped[datetime | None]
    graded_by: Mapped[str | None]


class AssignmentSubmissionVersion(Base):
    """One hand-in as it was, with its grade. Saving a draft afterwards does not change it."""

    __tablename__ = "assignment_submission_versions"

    submission_id: Mapped[Id] = mapped_column(
        ForeignKey("assignment_submissions.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    content: Mapped[str]
    file_urls: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=NO_FILES)
    late: Mapped[bool]
    submitted_at: Mapped[datetime]
    score: Mapped[Decimal | None] = mapped_column(Numeric(10, 2))
    passed: Mapped[bool | None]
    feedback: Mapped[str | None]
    graded_at: Mapped[datetime | None]
    graded_by: Mapped[str | None]


class AssignmentFile(WithId, WithCreated, Base):
    """A file that a student uploaded; what it holds is in the file store under the row's id.

    `stored_at` is set when the store has it, `attached_at` when it was handed in. What is never handed in, and what
    outlives its assignment, is deleted in the end.
    """

    __tablename__ = "assignment_files"
    __table_args__ = (
        UniqueConstraint("user_id", "assignment_id", "sha256", "name"),
        CheckConstraint("size > 0", name="size"),
        Index("ix_assignment_files_assignment_id", "assignment_id"),
        Index(
            "ix_assignment_files_loose",
            "created_at",
            postgresql_where=text("attached_at IS NULL OR assignment_id IS NULL"),
        ),
    )

    user_id: Mapped[Id] = mapped_column(ForeignKey("users.id"))
    assignment_id: Mapped[Id | None] = mapped_column(ForeignKey("assignments.id", ondelete="SET NULL"))
    name: Mapped[str]
    media_type: Mapped[str]
    size: Mapped[int]
    sha256: Mapped[str]
    stored_at: Mapped[datetime | None]
    attached_at: Mapped[datetime | None]
