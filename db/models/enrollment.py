"""Seats at partners: enrolments, their failures, their certificates, and how far each partner was synced (seed C)."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, Numeric, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, Id, WithCreated, WithId, WithTimes, one_of

ENROLLMENT_STATUSES = ("pending", "active", "completed", "failed", "suspended", "revoked")


class PartnerEnrollment(WithId, WithTimes, Base):
    """One seat of one student in one partner course. There is never a second row for the same pair."""

    __tablename__ = "partner_lms_enrollments"
    __table_args__ = (
        UniqueConstraint("student_id", "course_id"),
        CheckConstraint(one_of("status", ENROLLMENT_STATUSES), name="status"),
        CheckConstraint("progress_percentage BETWEEN 0 AND 100", name="progress_percentage"),
        Index("ix_partner_lms_enrollments_student_id_created_at", "student_id", "created_at"),
        Index("ix_partner_lms_enrollments_status_created_at", "status", "created_at"),
        Index("ix_partner_lms_enrollments_created_at", "created_at", "id"),
        Index("ix_partner_lms_enrollments_provider_id_created_at", "provider_id", "created_at"),
        Index(
            "uq_partner_lms_enrollments_external",
            "provider_id",
            "external_enrollment_id",
            unique=True,
            postgresql_where=text("external_enrollment_id IS NOT NULL"),
        ),
        Index(
            "ix_partner_lms_enrollments_to_sync",
            "provider_id",
            "id",
            postgresql_where=text("status = 'active'"),
        ),
        Index(
            "ix_partner_lms_enrollments_completed_at",
            "completed_at",
            postgresql_where=text("status = 'completed'"),
        ),
        {"postgresql_with": {"fillfactor": "85"}},
    )

    provider_id: Mapped[Id] = mapped_column(ForeignKey("partner_lms_providers.id"))
    student_id: Mapped[Id] = mapped_column(ForeignKey("users.id"))
    course_id: Mapped[Id] = mapped_column(ForeignKey("partner_courses.id"), index=True)
    program_id: Mapped[Id | None]
    status: Mapped[str] = mapped_column(server_default=text("'pending'"))
    progress_percentage: Mapped[Decimal] = mapped_column(Numeric(5, 2), server_default=text("0"))
    enrolled_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    external_enrollment_id: Mapped[str | None]
    external_account_id: Mapped[str | None]
    external_certificate_id: Mapped[str | None]
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", server_default=text("'{}'::jsonb"))
    # Beyond the seed: raised each time the seat is opened anew, so that a partner's idempotency keys are not reused.
    generation: Mapped[int] = mapped_column(server_default=text("1"))
    failure_reason: Mapped[str | None]
    # When the seat was given back to the partner, after a refund or a lost dispute.
    released_at: Mapped[datetime | None]
    launch_checked_at: Mapped[datetime | None]
    # The partner's own clock on the last progress that we accepted; older answers are stale.
    progress_updated_at: Mapped[datetime | None]
    correlation_id: Mapped[str | None]


class PartnerEnrollmentFailure(WithId, WithCreated, Base):
    """One failed attempt. The ids have no foreign keys that could fail: an unknown id is itself a failure to record."""

    __tablename__ = "partner_lms_enrollment_failures"
    __table_args__ = (
        Index("ix_partner_lms_enrollment_failures_created_at", "created_at"),
        Index(
            "ix_partner_lms_enrollment_failures_open",
            "created_at",
            postgresql_where=text("final AND resolved_at IS NULL"),
        ),
        Index("ix_partner_lms_enrollment_failures_enrollment_id", "enrollment_id", "created_at"),
    )

    student_id: Mapped[Id | None] = mapped_column(ForeignKey("users.id"))
    provider_id: Mapped[Id | None] = mapped_column(ForeignKey("partner_lms_providers.id"))
    course_id: Mapped[Id | None] = mapped_column(ForeignKey("partner_courses.id"))
    program_id: Mapped[Id | None]
    error_message: Mapped[str]
    retry_count: Mapped[int] = mapped_column(server_default=text("0"))
    # Beyond the seed: what it belongs to, where it happened, and whether it was the last attempt.
    enrollment_id: Mapped[Id | None] = mapped_column(
        ForeignKey("partner_lms_enrollments.id", ondelete="CASCADE")
    )
    event_id: Mapped[Id | None] = mapped_column(ForeignKey("inbox_events.id", ondelete="SET NULL"))
    job_id: Mapped[Id | None]
    step: Mapped[str | None]
    error_code: Mapped[str | None]
    final: Mapped[bool] = mapped_column(server_default=text("false"))
    resolved_at: Mapped[datetime | None]


class PartnerCertificate(WithId, WithCreated, Base):
    """The partner's certificate of one completed enrolment."""

    __tablename__ = "partner_certificates"
    __table_args__ = (UniqueConstraint("enrollment_id"),)

    enrollment_id: Mapped[Id] = mapped_column(ForeignKey("partner_lms_enrollments.id"))
    student_id: Mapped[Id] = mapped_column(ForeignKey("users.id"), index=True)
    partner_id: Mapped[Id] = mapped_column(ForeignKey("partner_lms_providers.id"), index=True)
    certificate_number: Mapped[str]
    certificate_url: Mapped[str | None]
    verification_url: Mapped[str | None]
    issued_date: Mapped[datetime | None]
    expiration_date: Mapped[datetime | None]
    # Set while the seat that it was earned in is not paid for.
    revoked_at: Mapped[datetime | None]
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", server_default=text("'{}'::jsonb"))


class PartnerSyncState(Base):
    """How far one partner's progress was pulled. One row a partner, so that unchanged enrolments are never written."""

    __tablename__ = "partner_sync_states"

    provider_id: Mapped[Id] = mapped_column(
        ForeignKey("partner_lms_providers.id", ondelete="CASCADE"), primary_key=True
    )
    next_due_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    cursor: Mapped[str | None]
    position: Mapped[Id | None]
    full_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    last_calls: Mapped[int] = mapped_column(server_default=text("0"))
    last_changed: Mapped[int] = mapped_column(server_default=text("0"))
    last_failed: Mapped[int] = mapped_column(server_default=text("0"))
