"""What a student finds on their own page beside their partner enrolments: own courses, what is next, what waits.

Each function is one statement, whatever the number of rows behind it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from domain.student_view import decode_cursor, encode_moment

# Things to do that are shown at once; those that are due first come first.
TODO_MOST = 6
NEWEST = (datetime.fromisoformat("9999-01-01T00:00:00+00:00"), "ffffffff-ffff-ffff-ffff-ffffffffffff")

COURSES = text(
    """
    SELECT e.id, e.course_id, c.title, c.difficulty, c.estimated_hours AS hours, e.completion_percentage, e.enrolled_at,
        e.completed_at, n.id AS lesson_id, n.title AS lesson_title, k.id AS certificate_id, k.verification_code,
        k.certificate_url, k.expires_at, k.expires_at <= now() AS certificate_expired
    FROM enrollments e JOIN courses c ON c.id = e.course_id AND c.deleted_at IS NULL
    LEFT JOIN LATERAL (
        SELECT l.id, l.title FROM lessons l WHERE l.course_id = e.course_id AND l.published AND NOT EXISTS (
            SELECT 1 FROM lesson_progress p WHERE p.user_id = e.user_id AND p.lesson_id = l.id
        ) ORDER BY l.position, l.created_at, l.id LIMIT 1
    ) AS n ON true
    LEFT JOIN certificates k ON k.user_id = e.user_id AND k.course_id = e.course_id AND k.status = 'valid'
    WHERE e.user_id = :user AND (e.enrolled_at, e.id) < (:moment, CAST(:last AS uuid))
    ORDER BY e.enrolled_at DESC, e.id DESC LIMIT :limit
    """
)
LATEST = text(
    """
    SELECT * FROM (
        (
            SELECT 'partner' AS kind, e.id, c.course_name AS title, p.provider_name AS place, e.progress_percentage,
                NULL::uuid AS lesson_id, NULL AS lesson_title, greatest(e.progress_updated_at, e.launch_checked_at, e.enrolled_at) AS at
            FROM partner_lms_enrollments e JOIN partner_courses c ON c.id = e.course_id
            JOIN partner_lms_providers p ON p.id = e.provider_id
            WHERE e.student_id = :user AND e.status = 'active' ORDER BY at DESC NULLS LAST, e.id LIMIT 1
        ) UNION ALL (
            SELECT 'own', e.course_id, c.title, NULL, e.completion_percentage, n.id, n.title, e.at
            FROM (
                SELECT e.course_id, e.completion_percentage, greatest(e.enrolled_at, e.started_at, d.at) AS at
                FROM enrollments e LEFT JOIN (
                    SELECT course_id, max(completed_at) AS at FROM lesson_progress WHERE user_id = :user GROUP BY course_id
                ) AS d USING (course_id)
                WHERE e.user_id = :user AND e.completed_at IS NULL AND EXISTS (
                    SELECT 1 FROM courses c WHERE c.id = e.course_id AND c.deleted_at IS NULL
                ) ORDER BY at DESC, e.id LIMIT 1
            ) AS e JOIN courses c ON c.id = e.course_id
            LEFT JOIN LATERAL (
                SELECT l.id, l.title FROM lessons l WHERE l.course_id = e.course_id AND l.published AND NOT EXISTS (
                    SELECT 1 FROM lesson_progress p WHERE p.user_id = :user AND p.lesson_id = l.id
                ) ORDER BY l.position, l.created_at, l.id LIMIT 1
            ) AS n ON true
        )
    ) AS found ORDER BY at DESC NULLS LAST, kind LIMIT 1
    """
)
# What can still be done: not what is with the graders, was passed, has no attempt left, or takes nothing late any more.
TODO = text(
    """
    SELECT 'assignment' AS kind, a.id, a.title, c.title AS course, coalesce(x.due_date, a.due_date) AS due_at,
        coalesce(s.state, 'new') AS state, NULL::uuid AS attempt_id,
        coalesce(x.due_date, a.due_date) < now() AS overdue
    FROM enrollments e JOIN courses c ON c.id = e.course_id AND c.deleted_at IS NULL
    JOIN assignments a ON a.course_id = e.course_id AND a.is_published
    LEFT JOIN assignment_extensions x ON x.assignment_id = a.id AND x.user_id = e.user_id
    LEFT JOIN assignment_submissions s ON s.assignment_id = a.id AND s.user_id = e.user_id
    WHERE e.user_id = :user AND :assignments AND coalesce(s.state, 'draft') IN ('draft', 'returned')
        AND (a.allow_late_submission OR coalesce(x.due_date, a.due_date) IS NULL
            OR coalesce(x.due_date, a.due_date) + a.grace_seconds * interval '1 second' >= now())
    UNION ALL
    SELECT 'quiz', q.id, q.title, c.title, mine.deadline_at,
        CASE WHEN mine.open_id IS NULL THEN 'new' ELSE 'open' END, mine.open_id, false
    FROM enrollments e JOIN courses c ON c.id = e.course_id AND c.deleted_at IS NULL
    JOIN quizzes q ON q.course_id = e.course_id AND q.is_published
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE t.state <> 'void') AS used,
            bool_or(t.passed IS TRUE OR t.state = 'submitted') IS TRUE AS settled,
            (array_agg(t.id) FILTER (WHERE t.state = 'open'))[1] AS open_id,
            max(t.deadline_at) FILTER (WHERE t.state = 'open') AS deadline_at
        FROM quiz_attempts t WHERE t.user_id = e.user_id AND t.quiz_id = q.id
    ) AS mine
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(o.extra_attempts), 0) AS attempts FROM quiz_accommodations o
        WHERE o.user_id = e.user_id AND (o.quiz_id = q.id OR o.quiz_id IS NULL)
    ) AS extra
    WHERE e.user_id = :user AND :quizzes AND NOT mine.settled
        AND (mine.open_id IS NOT NULL OR mine.used < q.max_attempts + extra.attempts)
        AND EXISTS (SELECT 1 FROM questions f WHERE f.quiz_id = q.id)
    ORDER BY due_at NULLS LAST, kind, title, id LIMIT :limit
    """
)
# Ids are uuids: one belongs to one of these at most.
NAMES = text(
    """
    SELECT id, title AS name FROM lessons WHERE id = ANY(CAST(:ids AS uuid[]))
    UNION ALL SELECT id, title FROM courses WHERE id = ANY(CAST(:ids AS uuid[]))
    UNION ALL SELECT id, title FROM quizzes WHERE id = ANY(CAST(:ids AS uuid[]))
    UNION ALL SELECT id, title FROM assignments WHERE id = ANY(CAST(:ids AS uuid[]))
    UNION ALL SELECT id, name FROM achievements WHERE id = ANY(CAST(:ids AS uuid[]))
    UNION ALL SELECT e.id, c.course_name FROM partner_lms_enrollments e JOIN partner_courses c ON c.id = e.course_id
    WHERE e.id = ANY(CAST(:ids AS uuid[]))
    """
)


@dataclass(frozen=True)
class OwnCourse:
    """One of our own courses that the student learns in. `lesson_id` is the first lesson that is not done."""

    id: str
    course_id: str
    title: str
    difficulty: str
    hours: Decimal | None
    completion_percentage: int
    enrolled_at: datetime
    completed_at: datetime | None
    lesson_id: str | None
    lesson_title: str | None
    certificate_id: str | None
    verification_code: str | None
    certificate_url: str | None
    expires_at: datetime | None
    certificate_expired: bool | None


@dataclass(frozen=True)
class OwnPage:
    """Own courses, latest enrolment first. `next_cursor` is None on the last page."""

    items: list[OwnCourse]
    next_cursor: str | None


def list_own(session: Session, user_id: str, *, limit: int, cursor: str | None = None) -> OwnPage:
    """Return a page of the student's own courses; raise `InvalidCursor` for a cursor that is not ours."""
    moment, last = NEWEST if cursor is None else decode_cursor(cursor)
    values = {"user": user_id, "moment": moment, "last": last, "limit": limit + 1}
    found = [OwnCourse(**row._mapping) for row in session.execute(COURSES, values)]
    items, more = found[:limit], len(found) > limit
    return OwnPage(items, encode_moment(items[-1].enrolled_at, items[-1].id) if more else None)


def find_latest(session: Session, user_id: str) -> dict[str, Any] | None:
    """Return the course that was last worked on and is not completed, of a partner or our own; None without one."""
    row = session.execute(LATEST, {"user": user_id}).one_or_none()
    return None if row is None else dict(row._mapping)


def list_todo(
    session: Session, user_id: str, *, quizzes: bool, assignments: bool, limit: int = TODO_MOST
) -> list[dict[str, Any]]:
    """Return quizzes and assignments that the student can do now, due first. `due_at` of a quiz is an open attempt's."""
    values = {"user": user_id, "quizzes": quizzes, "assignments": assignments, "limit": limit}
    return [dict(row._mapping) for row in session.execute(TODO, values)]


def name_sources(session: Session, entries: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Return what the sources of ledger entries are called; those that are gone or have no name are left out."""
    ids = {entry["source_id"] for entry in entries if _is_uuid(entry["source_id"])}
    return {str(row.id): row.name for row in session.execute(NAMES, {"ids": sorted(ids)})}


def _is_uuid(raw: str | None) -> bool:
    try:
        return raw is not None and str(uuid.UUID(raw)) == raw
    except ValueError:
        return False
