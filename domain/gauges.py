"""What is measured at a scrape, each as one query that an index answers."""

from __future__ import annotations

from sqlalchemy import text

# Each condition is the one of a partial index, so that a table of finished rows is never read.
OPEN_JOBS = text(
    """
    SELECT count(*) FILTER (WHERE next_run_at <= now()) AS due, count(*) FILTER (WHERE state = 'ready') AS ready,
        count(*) FILTER (WHERE state = 'running') AS running,
        -- What waits for a partner that is left alone waits on purpose.
        coalesce(greatest(extract(epoch FROM now() - min(next_run_at) FILTER (WHERE partner IS NULL OR partner NOT IN (
            SELECT s.partner FROM partner_states s WHERE s.paused_at IS NOT NULL OR s.opened > 0))), 0), 0) AS oldest_due
    FROM jobs WHERE state IN ('ready', 'running')
    """
)
GIVEN_UP_JOBS = text(
    """
    SELECT count(*) FILTER (WHERE state = 'failed') AS failed, count(*) FILTER (WHERE state = 'parked') AS parked
    FROM jobs WHERE state IN ('failed', 'parked')
    """
)
INBOX_WAITING = text("SELECT count(*) FROM inbox_events WHERE state IN ('waiting', 'failed')")
PENDING_OLDEST = text(
    """
    SELECT coalesce(extract(epoch FROM now() - min(created_at)), 0) FROM partner_lms_enrollments
    WHERE status = 'pending'
    """
)
ENROLLMENTS = text("SELECT status, count(*) AS number FROM partner_lms_enrollments GROUP BY status")
