"""The first tables

Revision: 0001, after nothing
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.Uuid(as_uuid=False), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("role IN ('student', 'service', 'ops')", name=op.f("ck_api_tokens_role")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_tokens")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_api_tokens_token_hash")),
    )
    op.create_table(
        "inbox_events",
        sa.Column("id", sa.Uuid(as_uuid=False), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'received'"), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("completion", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("completed_by", sa.Text(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("processed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('received', 'done', 'ignored', 'waiting', 'failed')",
            name=op.f("ck_inbox_events_state"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inbox_events")),
        sa.UniqueConstraint("source", "external_id", name=op.f("uq_inbox_events_source_external_id")),
    )
    op.create_index("ix_inbox_events_received_at", "inbox_events", ["received_at"], unique=False)
    op.create_index(
        "ix_inbox_events_waiting",
        "inbox_events",
        ["received_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('waiting', 'failed')"),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.Uuid(as_uuid=False), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("business_key", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("partner", sa.Text(), nullable=True),
        sa.Column("subject_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'ready'"), nullable=False),
        sa.Column("rerun", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("claims", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_run_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("token", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("rung_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("correlation_id", sa.Text(), nullable=True),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.Column("workflow_version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("traceback", sa.Text(), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "state IN ('ready', 'running', 'done', 'failed', 'parked')", name=op.f("ck_jobs_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("kind", "business_key", name=op.f("uq_jobs_kind_business_key")),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_index(
        "ix_jobs_attention",
        "jobs",
        ["updated_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('failed', 'parked')"),
    )
    op.create_index(
        "ix_jobs_delayed",
        "jobs",
        ["partner"],
        unique=False,
        postgresql_where=sa.text("state = 'ready' AND partner IS NOT NULL"),
    )
    op.create_index(
        "ix_jobs_due",
        "jobs",
        ["queue", "next_run_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('ready', 'running')"),
    )
    op.create_index(
        "ix_jobs_rung",
        "jobs",
        ["queue", "rung_at"],
        unique=False,
        postgresql_where=sa.text("state = 'ready' AND rung_at IS NOT NULL"),
    )
    op.create_index(
        "ix_jobs_running", "jobs", ["queue"], unique=False, postgresql_where=sa.text("state = 'running'")
    )
    op.create_index("ix_jobs_subject_id", "jobs", ["subject_id"], unique=False)
    op.create_table(
        "partner_calls",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column(
            "at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("path_template", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("subject_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("request", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("answer", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_partner_calls")),
    )
    op.create_index("ix_partner_calls_at", "partner_calls", ["at"], unique=False)
    op.create_index("ix_partner_calls_partner_at", "partner_calls", ["partner", "at"], unique=False)
    op.create_index("ix_partner_calls_subject_id_at", "partner_calls", ["subject_id", "at"], unique=False)
    op.create_table(
        "partner_lms_providers",
        sa.Column("id", sa.Uuid(as_uuid=False), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("provider_name", sa.Text(), nullable=False),
        sa.Column("provider_type", sa.Text(), nullable=False),
        sa.Column("website_url", sa.Text(), nullable=True),
        sa.Column("support_email", sa.Text(), nullable=True),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column(
            "metadata",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_partner_lms_providers")),
    )
    op.create_table(
        "partner_states",
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paused_by", sa.Text(), nullable=True),
        sa.Column("paused_reason", sa.Text(), nullable=True),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("opened", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("open_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("concurrency", sa.Integer(), nullable=True),
        sa.Column("rate_per_second", sa.Numeric(precision=10, scale=3), nullable=True),
        sa.Column("burst", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("partner", name=op.f("pk_partner_states")),
    )
    op.create_table(
        "payment_charges",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("payment_intent_id", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("amount_refunded", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_charges")),
    )
    op.create_index(
        op.f("ix_payment_charges_payment_intent_id"), "payment_charges", ["payment_intent_id"], unique=False
    )
    op.create_table(
        "payment_disputes",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("payment_intent_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_disputes")),
    )
    op.create_index(
        op.f("ix_payment_disputes_payment_intent_id"), "payment_disputes", ["payment_intent_id"], unique=False
    )
    op.create_table(
        "payment_refunds",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("payment_intent_id", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("course_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_refunds")),
    )
    op.create_index(
        op.f("ix_payment_refunds_payment_intent_id"), "payment_refunds", ["payment_intent_id"], unique=False
    )
    op.create_table(
        "rate_limits",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("tat", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_rate_limits")),
    )
    op.create_table(
        "replay_batches",
        sa.Column("id", sa.Uuid(as_uuid=False), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("rate_per_minute", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'canary'"), nullable=False),
        sa.Column("stopped_reason", sa.Text(), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "state IN ('canary', 'running', 'done', 'stopped')", name=op.f("ck_replay_batches_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replay_batches")),
    )
    op.create_table(
        "scheduled_runs",
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("slot", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ran_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("job", "slot", name=op.f("pk_scheduled_runs")),
    )
    op.create_table(
        "staff_actions",
        sa.Column("id", sa.Uuid(as_uuid=False), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject_type", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column(
            "detail",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_staff_actions")),
    )
    op.create_index("ix_staff_actions_created_at", "staff_actions", ["created_at"], unique=False)
    op.create_index("ix_staff_actions_subject_id", "staff_actions", ["subject_id"], unique=False)
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(as_uuid=False), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("time_zone", sa.Text(), server_default=sa.text("'UTC'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
    )
    op.create_index("uq_users_email_lower", "users", [sa.literal_column("lower(email)")], unique=True)
    op.create_table(
        "job_steps",
        sa.Column("job_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'started'"), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("result", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.CheckConstraint("state IN ('started', 'done')", name=op.f("ck_job_steps_state")),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_job_steps_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "step", name=op.f("pk_job_steps")),
    )
    op.create_table(
        "partner_courses",
        sa.Column("id", sa.Uuid(as_uuid=False), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("provider_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("course_name", sa.Text(), nullable=False),
        sa.Column("course_code", sa.Text(), nullable=False),
        sa.Column("external_course_code", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("hours", sa.Numeric(precision=8, scale=2), nullable=True),
        sa.Column("level", sa.Text(), nullable=True),
        sa.Column("credential_type", sa.Text(), nullable=True),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column(
            "metadata",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["provider_id"], ["partner_lms_providers.id"], name=op.f("fk_partner_courses_provider_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_partner_courses")),
        sa.UniqueConstraint(
            "provider_id", "course_code", name=op.f("uq_partner_courses_provider_id_course_code")
        ),
    )
    op.create_table(
        "partner_sync_states",
        sa.Column("provider_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("next_due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("cursor", sa.Text(), nullable=True),
        sa.Column("position", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("full_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_calls", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_changed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_failed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(
            ["provider_id"],
            ["partner_lms_providers.id"],
            name=op.f("fk_partner_sync_states_provider_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("provider_id", name=op.f("pk_partner_sync_states")),
    )
    op.create_table(
        "payments",
        sa.Column("id", sa.Uuid(as_uuid=False), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("checkout_session_id", sa.Text(), nullable=False),
        sa.Column("payment_intent_id", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("amount_total", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("event_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("paid_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "state IN ('awaiting', 'paid', 'failed', 'expired')", name=op.f("ck_payments_state")
        ),
        sa.ForeignKeyConstraint(
            ["event_id"], ["inbox_events.id"], name=op.f("fk_payments_event_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payments")),
        sa.UniqueConstraint("checkout_session_id", name=op.f("uq_payments_checkout_session_id")),
    )
    op.create_index("ix_payments_payment_intent_id", "payments", ["payment_intent_id"], unique=False)
    op.create_table(
        "partner_lms_enrollments",
        sa.Column("id", sa.Uuid(as_uuid=False), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("provider_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("student_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("course_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("program_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("status", sa.Text(), server_default=sa.text("'pending'"), nullable=False),
        sa.Column(
            "progress_percentage",
            sa.Numeric(precision=5, scale=2),
            server_default=sa.text("0"),
            nullable=False,
        ),
        sa.Column("enrolled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("external_enrollment_id", sa.Text(), nullable=True),
        sa.Column("external_account_id", sa.Text(), nullable=True),
        sa.Column("external_certificate_id", sa.Text(), nullable=True),
        sa.Column(
            "metadata",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("generation", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("failure_reason", sa.Text(), nullable=True),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("launch_checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("progress_updated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("correlation_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "status IN ('pending', 'active', 'completed', 'failed', 'suspended', 'revoked')",
            name=op.f("ck_partner_lms_enrollments_status"),
        ),
        sa.CheckConstraint(
            "progress_percentage BETWEEN 0 AND 100",
            name=op.f("ck_partner_lms_enrollments_progress_percentage"),
        ),
        sa.ForeignKeyConstraint(
            ["course_id"], ["partner_courses.id"], name=op.f("fk_partner_lms_enrollments_course_id")
        ),
        sa.ForeignKeyConstraint(
            ["provider_id"], ["partner_lms_providers.id"], name=op.f("fk_partner_lms_enrollments_provider_id")
        ),
        sa.ForeignKeyConstraint(
            ["student_id"], ["users.id"], name=op.f("fk_partner_lms_enrollments_student_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_partner_lms_enrollments")),
        sa.UniqueConstraint(
            "student_id", "course_id", name=op.f("uq_partner_lms_enrollments_student_id_course_id")
        ),
    )
    op.create_index(
        op.f("ix_partner_lms_enrollments_course_id"), "partner_lms_enrollments", ["course_id"], unique=False
    )
    op.create_index(
        "ix_partner_lms_enrollments_status_created_at",
        "partner_lms_enrollments",
        ["status", "created_at"],
        unique=False,
    )
    op.create_index(
        "ix_partner_lms_enrollments_student_id_created_at",
        "partner_lms_enrollments",
        ["student_id", "created_at"],
        unique=False,
    )
    op.create_index(
        "ix_partner_lms_enrollments_to_sync",
        "partner_lms_enrollments",
        ["provider_id", "id"],
        unique=False,
        postgresql_where=sa.text("status = 'active'"),
    )
    op.create_index(
        "uq_partner_lms_enrollments_external",
        "partner_lms_enrollments",
        ["provider_id", "external_enrollment_id"],
        unique=True,
        postgresql_where=sa.text("external_enrollment_id IS NOT NULL"),
    )
    op.create_table(
        "partner_certificates",
        sa.Column("id", sa.Uuid(as_uuid=False), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("enrollment_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("student_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("partner_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("certificate_number", sa.Text(), nullable=False),
        sa.Column("certificate_url", sa.Text(), nullable=True),
        sa.Column("verification_url", sa.Text(), nullable=True),
        sa.Column("issued_date", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expiration_date", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "metadata",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["enrollment_id"],
            ["partner_lms_enrollments.id"],
            name=op.f("fk_partner_certificates_enrollment_id"),
        ),
        sa.ForeignKeyConstraint(
            ["partner_id"], ["partner_lms_providers.id"], name=op.f("fk_partner_certificates_partner_id")
        ),
        sa.ForeignKeyConstraint(
            ["student_id"], ["users.id"], name=op.f("fk_partner_certificates_student_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_partner_certificates")),
        sa.UniqueConstraint("enrollment_id", name=op.f("uq_partner_certificates_enrollment_id")),
    )
    op.create_index(
        op.f("ix_partner_certificates_partner_id"), "partner_certificates", ["partner_id"], unique=False
    )
    op.create_index(
        op.f("ix_partner_certificates_student_id"), "partner_certificates", ["student_id"], unique=False
    )
    op.create_table(
        "partner_lms_enrollment_failures",
        sa.Column("id", sa.Uuid(as_uuid=False), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("student_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("provider_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("course_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("program_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=False),
        sa.Column("retry_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("enrollment_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("event_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("job_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("step", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("final", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["course_id"], ["partner_courses.id"], name=op.f("fk_partner_lms_enrollment_failures_course_id")
        ),
        sa.ForeignKeyConstraint(
            ["enrollment_id"],
            ["partner_lms_enrollments.id"],
            name=op.f("fk_partner_lms_enrollment_failures_enrollment_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["event_id"],
            ["inbox_events.id"],
            name=op.f("fk_partner_lms_enrollment_failures_event_id"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["provider_id"],
            ["partner_lms_providers.id"],
            name=op.f("fk_partner_lms_enrollment_failures_provider_id"),
        ),
        sa.ForeignKeyConstraint(
            ["student_id"], ["users.id"], name=op.f("fk_partner_lms_enrollment_failures_student_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_partner_lms_enrollment_failures")),
    )
    op.create_index(
        "ix_partner_lms_enrollment_failures_created_at",
        "partner_lms_enrollment_failures",
        ["created_at"],
        unique=False,
    )
    op.create_index(
        "ix_partner_lms_enrollment_failures_enrollment_id",
        "partner_lms_enrollment_failures",
        ["enrollment_id", "created_at"],
        unique=False,
    )
    op.create_index(
        "ix_partner_lms_enrollment_failures_open",
        "partner_lms_enrollment_failures",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("final AND resolved_at IS NULL"),
    )
    op.create_table(
        "payment_lines",
        sa.Column("payment_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("enrollment_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["enrollment_id"], ["partner_lms_enrollments.id"], name=op.f("fk_payment_lines_enrollment_id")
        ),
        sa.ForeignKeyConstraint(
            ["payment_id"], ["payments.id"], name=op.f("fk_payment_lines_payment_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("payment_id", "enrollment_id", name=op.f("pk_payment_lines")),
    )
    op.create_index(op.f("ix_payment_lines_enrollment_id"), "payment_lines", ["enrollment_id"], unique=False)
    op.create_table(
        "replay_items",
        sa.Column("batch_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("enrollment_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'waiting'"), nullable=False),
        sa.Column("canary", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'asked', 'skipped')", name=op.f("ck_replay_items_state")),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["replay_batches.id"], name=op.f("fk_replay_items_batch_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["enrollment_id"],
            ["partner_lms_enrollments.id"],
            name=op.f("fk_replay_items_enrollment_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("batch_id", "enrollment_id", name=op.f("pk_replay_items")),
    )
    op.create_index(
        "ix_replay_items_waiting",
        "replay_items",
        ["batch_id", "enrollment_id"],
        unique=False,
        postgresql_where=sa.text("state = 'waiting'"),
    )


def downgrade() -> None:
    op.drop_index(
        "ix_replay_items_waiting", table_name="replay_items", postgresql_where=sa.text("state = 'waiting'")
    )
    op.drop_table("replay_items")
    op.drop_index(op.f("ix_payment_lines_enrollment_id"), table_name="payment_lines")
    op.drop_table("payment_lines")
    op.drop_index(
        "ix_partner_lms_enrollment_failures_open",
        table_name="partner_lms_enrollment_failures",
        postgresql_where=sa.text("final AND resolved_at IS NULL"),
    )
    op.drop_index(
        "ix_partner_lms_enrollment_failures_enrollment_id", table_name="partner_lms_enrollment_failures"
    )
    op.drop_index(
        "ix_partner_lms_enrollment_failures_created_at", table_name="partner_lms_enrollment_failures"
    )
    op.drop_table("partner_lms_enrollment_failures")
    op.drop_index(op.f("ix_partner_certificates_student_id"), table_name="partner_certificates")
    op.drop_index(op.f("ix_partner_certificates_partner_id"), table_name="partner_certificates")
    op.drop_table("partner_certificates")
    op.drop_index(
        "uq_partner_lms_enrollments_external",
        table_name="partner_lms_enrollments",
        postgresql_where=sa.text("external_enrollment_id IS NOT NULL"),
    )
    op.drop_index(
        "ix_partner_lms_enrollments_to_sync",
        table_name="partner_lms_enrollments",
        postgresql_where=sa.text("status = 'active'"),
    )
    op.drop_index("ix_partner_lms_enrollments_student_id_created_at", table_name="partner_lms_enrollments")
    op.drop_index("ix_partner_lms_enrollments_status_created_at", table_name="partner_lms_enrollments")
    op.drop_index(op.f("ix_partner_lms_enrollments_course_id"), table_name="partner_lms_enrollments")
    op.drop_table("partner_lms_enrollments")
    op.drop_index("ix_payments_payment_intent_id", table_name="payments")
    op.drop_table("payments")
    op.drop_table("partner_sync_states")
    op.drop_table("partner_courses")
    op.drop_table("job_steps")
    op.drop_index("uq_users_email_lower", table_name="users")
    op.drop_table("users")
    op.drop_index("ix_staff_actions_subject_id", table_name="staff_actions")
    op.drop_index("ix_staff_actions_created_at", table_name="staff_actions")
    op.drop_table("staff_actions")
    op.drop_table("scheduled_runs")
    op.drop_table("replay_batches")
    op.drop_table("rate_limits")
    op.drop_index(op.f("ix_payment_refunds_payment_intent_id"), table_name="payment_refunds")
    op.drop_table("payment_refunds")
    op.drop_index(op.f("ix_payment_disputes_payment_intent_id"), table_name="payment_disputes")
    op.drop_table("payment_disputes")
    op.drop_index(op.f("ix_payment_charges_payment_intent_id"), table_name="payment_charges")
    op.drop_table("payment_charges")
    op.drop_table("partner_states")
    op.drop_table("partner_lms_providers")
    op.drop_index("ix_partner_calls_subject_id_at", table_name="partner_calls")
    op.drop_index("ix_partner_calls_partner_at", table_name="partner_calls")
    op.drop_index("ix_partner_calls_at", table_name="partner_calls")
    op.drop_table("partner_calls")
    op.drop_index("ix_jobs_subject_id", table_name="jobs")
    op.drop_index("ix_jobs_running", table_name="jobs", postgresql_where=sa.text("state = 'running'"))
    op.drop_index(
        "ix_jobs_rung", table_name="jobs", postgresql_where=sa.text("state = 'ready' AND rung_at IS NOT NULL")
    )
    op.drop_index("ix_jobs_due", table_name="jobs", postgresql_where=sa.text("state IN ('ready', 'running')"))
    op.drop_index(
        "ix_jobs_delayed",
        table_name="jobs",
        postgresql_where=sa.text("state = 'ready' AND partner IS NOT NULL"),
    )
    op.drop_index(
        "ix_jobs_attention", table_name="jobs", postgresql_where=sa.text("state IN ('failed', 'parked')")
    )
    op.drop_table("jobs")
    op.drop_index(
        "ix_inbox_events_waiting",
        table_name="inbox_events",
        postgresql_where=sa.text("state IN ('waiting', 'failed')"),
    )
    op.drop_index("ix_inbox_events_received_at", table_name="inbox_events")
    op.drop_table("inbox_events")
    op.drop_table("api_tokens")
