"""Who looked whom up: each look of staff at a person's data is an action in the audit, kept for a time of its own."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import text
from sqlalchemy.orm import Session

LOOK_UP = "privacy.look_up"

# Ids of what belongs to one person, and whose it is.
OWNERS = {
    "user_id": "SELECT id FROM users WHERE id = CAST(:id AS uuid)",
    "enrollment_id": "SELECT student_id FROM partner_lms_enrollments WHERE id = CAST(:id AS uuid)",
    "submission_id": "SELECT user_id FROM assignment_submissions WHERE id = CAST(:id AS uuid)",
    "attempt_id": "SELECT user_id FROM quiz_attempts WHERE id = CAST(:id AS uuid)",
    "file_id": "SELECT user_id FROM assignment_files WHERE id = CAST(:id AS uuid)",
    "certificate_id": "SELECT user_id FROM certificates WHERE id = CAST(:id AS uuid)",
    "item_id": "SELECT e.student_id FROM manual_work_items i JOIN partner_lms_enrollments e ON e.id = i.enrollment_id"
    " WHERE i.id = CAST(:id AS uuid)",
    "event_id": "SELECT e.student_id FROM payments p JOIN payment_lines l ON l.payment_id = p.id"
    " JOIN partner_lms_enrollments e ON e.id = l.enrollment_id WHERE p.event_id = CAST(:id AS uuid)",
}
# Of the ids that an answer holds, those of users; what else is a uuid is nobody.
RECORD = text(
    """
    INSERT INTO staff_actions (actor, action, subject_type, subject_id, detail)
    SELECT :actor, :action, 'user', u.id, jsonb_build_object('where', CAST(:place AS text)) FROM users u
    WHERE u.id = ANY(CAST(:ids AS uuid[])) ORDER BY u.id
    """
)


def owners_of(session: Session, name: str, id: str) -> list[str]:
    """Return whose the thing with this id is; nobody's where it does not exist."""
    return [str(owner) for owner in session.execute(text(OWNERS[name]), {"id": id}).scalars()]


def record(session: Session, actor: str, ids: Collection[str], place: str) -> None:
    """Write down that somebody looked these people up; `place` is the method and the route."""
    session.execute(RECORD, {"actor": actor, "action": LOOK_UP, "ids": sorted(ids), "place": place})
