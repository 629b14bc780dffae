"""What has to be done: jobs, the steps they took, and the turns of the schedule."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, Id, WithId, WithTimes, one_of

JOB_STATES = ("ready", "running", "done", "failed", "parked")
STEP_STATES = ("started", "done")


class Job(WithId, WithTimes, Base):
    """Something that must happen. The row is the message; the broker only carries doorbells.

    Why a table stands beside Celery: a message in a broker can be popped by a worker that dies, flushed, or published
    before the transaction that caused it commits. A row is written in that very transaction and is found again.
    While a job runs, `next_run_at` is the end of its lease, so one index covers new work, retries and dead workers.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("kind", "business_key"),
        CheckConstraint(one_of("state", JOB_STATES), name="state"),
        Index("ix_jobs_due", "queue", "next_run_at", postgresql_where=text("state IN ('ready', 'running')")),
        Index(
            "ix_jobs_rung",
            "queue",
            "rung_at",
            postgresql_where=text("state = 'ready' AND rung_at IS NOT NULL"),
        ),
        Index("ix_jobs_running", "queue", postgresql_where=text("state = 'running'")),
        Index("ix_jobs_delayed", "partner", postgresql_where=text("state = 'ready' AND partner IS NOT NULL")),
        Index("ix_jobs_attention", "updated_at", postgresql_where=text("state IN ('failed', 'parked')")),
        Index("ix_jobs_subject_id", "subject_id"),
        # What is done leaves the indexes of what is due: they stay short as long as a vacuum keeps up.
        {"postgresql_with": {"autovacuum_vacuum_scale_factor": "0.02", "autovacuum_vacuum_cost_delay": "0"}},
    )

    kind: Mapped[str]
    business_key: Mapped[str]
    queue: Mapped[str]
    partner: Mapped[str | None]
    subject_id: Mapped[Id]
    state: Mapped[str] = mapped_column(server_default=text("'ready'"))
    # Asked for again while it was running: it becomes ready once more instead of done.
    rerun: Mapped[bool] = mapped_column(server_default=text("false"))
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    claims: Mapped[int] = mapped_column(server_default=text("0"))
    next_run_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    lease_owner: Mapped[str | None]
    token: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    rung_at: Mapped[datetime | None]
    correlation_id: Mapped[str | None]
    traceparent: Mapped[str | None]
    workflow_version: Mapped[int] = mapped_column(server_default=text("1"))
    last_error: Mapped[str | None]
    traceback: Mapped[str | None]
    finished_at: Mapped[datetime | None]


class JobStep(Base):
    """One step of a job with an effect outside. `started` without `done` means that its outcome is unknown."""

    __tablename__ = "job_steps"
    __table_args__ = (CheckConstraint(one_of("state", STEP_STATES), name="state"),)

    job_id: Mapped[Id] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    step: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(server_default=text("'started'"))
    attempt: Mapped[int] = mapped_column(server_default=text("1"))
    token: Mapped[int] = mapped_column(BigInteger)
    result: Mapped[dict[str, Any] | None]
    started_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    finished_at: Mapped[datetime | None]
    # Milliseconds spent on the successful attempt.
    duration_ms: Mapped[int | None]


class WorkerNode(Base):
    """A worker that gives signs of life: which queues it listens to, and whether it has the broker."""

    __tablename__ = "worker_nodes"

    node: Mapped[str] = mapped_column(primary_key=True)
    queues: Mapped[list[str]] = mapped_column(ARRAY(Text))
    connected: Mapped[bool]
    seen_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class ScheduledRun(Base):
    """A turn of the schedule, claimed by inserting it: of two beats, the second inserts nothing and does nothing."""

    __tablename__ = "scheduled_runs"

    job: Mapped[str] = mapped_column(primary_key=True)
    slot: Mapped[datetime] = mapped_column(primary_key=True)
    ran_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
