"""Mails that nothing asks for at once: streaks at risk in the evening of their zone, seats that are failed for a while.

What was asked for is a job under the mail's key, so a turn that comes twice, or late, asks for nothing again.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from db import jobs
from domain import alerts
from domain.progress import MAIL
from domain.streaks import find_zone

# Hours of a learner's own clock in which a reminder is asked for: late enough to count, early enough to act.
EVENING = range(19, 22)
# Days of a run from which losing it is worth a mail.
LEAST_STREAK = 3
# What somebody at the office may have put right before its student hears of it.
PATIENCE = timedelta(hours=1)
BATCH = 500

ZONES = text("SELECT DISTINCT time_zone FROM users WHERE wants_streak_mail")
STREAKS = text(
    """
    SELECT u.id, calendar.today FROM users u JOIN user_streaks s ON s.user_id = u.id
    JOIN unnest(CAST(:zones AS text[]), CAST(:todays AS date[])) AS calendar(zone, today) ON calendar.zone = u.time_zone
    WHERE u.wants_streak_mail AND s.current_streak >= :least AND s.last_activity_date < calendar.today
        AND u.id > CAST(:after AS uuid)
        AND NOT EXISTS (
            SELECT 1 FROM jobs j WHERE j.kind = :kind AND j.business_key = 'streak:' || u.id || ':' || calendar.today
        )
    ORDER BY u.id LIMIT :limit
    """
)
FAILED = text(
    """
    SELECT e.id, e.generation, e.correlation_id FROM partner_lms_enrollments e
    WHERE e.id IN (
            SELECT enrollment_id FROM partner_lms_enrollment_failures
            WHERE final AND resolved_at IS NULL GROUP BY enrollment_id HAVING min(created_at) < :before
        ) AND e.status = 'failed' AND e.id > CAST(:after AS uuid)
        AND NOT EXISTS (
            SELECT 1 FROM jobs j WHERE j.kind = :kind AND j.business_key = 'failed:' || e.id || ':' || e.generation
        )
    ORDER BY e.id LIMIT :limit
    """
)


def evenings(session: Session, now: datetime) -> dict[str, date]:
    """Return the zones of those who want reminders in which it is evening, each with its date."""
    local = {name: now.astimezone(find_zone(name)) for name in session.scalars(ZONES)}
    return {name: at.date() for name, at in local.items() if at.hour in EVENING}


def remind(session: Session, calendar: dict[str, date], after: str, limit: int = BATCH) -> str | None:
    """Ask for reminders of some learners; return the last of them, None where nobody is left."""
    values = {"zones": list(calendar), "todays": list(calendar.values()), "least": LEAST_STREAK}
    found = session.execute(STREAKS, {**values, "after": after, "limit": limit, "kind": MAIL}).all()
    for row in found:
        key = f"streak:{row.id}:{row.today}"
        jobs.enqueue(session, jobs.Enqueue(MAIL, key, "mail", subject_id=str(row.id)), once=True)
    return str(found[-1].id) if found else None


def tell_of_failures(session: Session, now: datetime, after: str, limit: int = BATCH) -> str | None:
    """Ask for the mails to some students whose seat has been failed for a while; return the last, None at the end."""
    values = {"before": now - PATIENCE, "after": after, "limit": limit, "kind": MAIL}
    found = session.execute(FAILED, values).all()
    for row in found:
        key = f"failed:{row.id}:{row.generation}"
        wanted = jobs.Enqueue(MAIL, key, "mail", subject_id=str(row.id), correlation_id=row.correlation_id)
        jobs.enqueue(session, wanted, once=True)
    return str(found[-1].id) if found else None


def tell_staff_of_failures(session: Session) -> None:
    """Ask for one mail for each partner with failures that are newer than its last one."""
    for row in session.execute(alerts.NEWEST_FAILURES):
        alerts.tell_once(session, f"enrollment_failed:{row.provider_type}:{row.id}", str(row.id))
