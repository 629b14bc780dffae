"""What staff do with jobs."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.orm import Session

from domain.enrollments import WALK
from domain.errors import NotPossible


def revive(session: Session, job_id: str) -> str:
    """Make a failed or parked job due again and return its kind.

    Raises `NotPossible` for a job in another state, and for an enrolment's walk, whose enrolment has to be opened too.
    """
    kind = session.scalar(
        text(
            "UPDATE jobs SET state = 'ready', attempts = 0, claims = 0, next_run_at = now(), rung_at = NULL,"
            " finished_at = NULL, updated_at = now()"
            " WHERE id = :id AND state IN ('failed', 'parked') AND kind <> :walk RETURNING kind"
        ),
        {"id": job_id, "walk": WALK},
    )
    if kind is None:
        raise NotPossible(
            f"job {job_id} is neither failed nor parked, or is an enrolment's walk: usher failures retry"
        )
    return str(kind)
