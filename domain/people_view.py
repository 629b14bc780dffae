"""One person as staff see them: seats, courses, mails, exceptions, and what staff did. A fixed number of reads."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.session import find_rows
from domain import streak_store
from domain.errors import NotFound

Row = dict[str, Any]

# Rows of each list; the lists of their own go further back.
MOST = 30

PERSON = """
    SELECT id, email, name, time_zone, locale, wants_streak_mail, wants_progress_mail, total_xp, level, created_at
    FROM users WHERE id = :id
"""
SEATS = """
    SELECT e.id, e.status, e.progress_percentage, e.created_at, e.completed_at, e.external_account_id,
        e.external_enrollment_id, p.provider_name AS provider, c.course_name, c.course_code
    FROM partner_lms_enrollments e JOIN partner_lms_providers p ON p.id = e.provider_id
    JOIN partner_courses c ON c.id = e.course_id
    WHERE e.student_id = :id ORDER BY e.created_at DESC, e.id DESC LIMIT :limit
"""
COURSES = """
    SELECT e.id, c.title, e.completion_percentage, e.xp_earned, e.enrolled_at, e.completed_at
    FROM enrollments e JOIN courses c ON c.id = e.course_id
    WHERE e.user_id = :id ORDER BY e.enrolled_at DESC, e.id DESC LIMIT :limit
"""
EXCEPTIONS = """
    SELECT a.id, a.quiz_id, q.title AS quiz, a.time_factor, a.extra_attempts, a.updated_at
    FROM quiz_accommodations a LEFT JOIN quizzes q ON q.id = a.quiz_id WHERE a.user_id = :id ORDER BY q.title LIMIT :limit
"""
CERTIFICATES = """
    SELECT id, course_title, name, status, verification_code, issued_at, expires_at, revoked_at
    FROM certificates WHERE user_id = :id ORDER BY issued_at DESC, id DESC LIMIT :limit
"""
RESTS = """
    SELECT id, weekday, first_date, last_date FROM streak_rest_days
    WHERE user_id = :id ORDER BY created_at DESC, id DESC LIMIT :limit
"""
MAILS = """
    SELECT split_part(j.business_key, ':', 1) AS mail, j.state, j.created_at, j.finished_at, j.last_error,
        EXISTS (SELECT 1 FROM job_steps s WHERE s.job_id = j.id AND s.step = 'send' AND s.state = 'done') AS sent
    FROM jobs j
    WHERE j.kind IN ('mail.send', 'mail.notice') AND j.subject_id IN (
        SELECT CAST(:id AS uuid) UNION SELECT id FROM partner_lms_enrollments WHERE student_id = :id
        UNION SELECT id FROM certificates WHERE user_id = :id
    )
    ORDER BY j.created_at DESC, j.id DESC LIMIT :limit
"""
ACTIONS = """
    SELECT actor, action, reason, created_at FROM staff_actions
    WHERE subject_id = CAST(:id AS text) AND subject_type = 'user' AND action <> 'privacy.look_up'
    ORDER BY created_at DESC, id DESC LIMIT :limit
"""
LISTS = {
    "seats": SEATS,
    "courses": COURSES,
    "exceptions": EXCEPTIONS,
    "certificates": CERTIFICATES,
    "rests": RESTS,
    "mails": MAILS,
    "actions": ACTIONS,
}


def person(session: Session, user_id: str) -> Row:
    """Return who somebody is; raise `NotFound`."""
    row = session.execute(text(PERSON), {"id": user_id}).one_or_none()
    if row is None:
        raise NotFound(f"there is no user {user_id}")
    return dict(row._mapping)


def show(session: Session, user_id: str) -> Row:
    """Return a person with everything that staff look at; raise `NotFound`."""
    found = person(session, user_id)
    lists = {name: find_rows(session, query, id=user_id, limit=MOST) for name, query in LISTS.items()}
    return {**found, **lists, "streak": streak_store.look(session, user_id)}
