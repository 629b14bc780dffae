"""What waits for a grade, whatever it is: handed-in work and essays of quizzes in one line, the longest waiting first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from domain.assignments import FIRST
from domain.grading_desk import WAITING
from domain.student_view import decode_cursor, encode_moment

# Each half walks an index of what waits, or of what was handed in, and is cut before the two are merged.
QUEUE = text(
    """
    (SELECT 'submission' AS kind, s.id, s.submitted_at, s.number, s.late, a.title, c.title AS course, u.name, u.email
    FROM assignment_submissions s JOIN assignments a ON a.id = s.assignment_id JOIN courses c ON c.id = a.course_id
    JOIN users u ON u.id = s.user_id
    WHERE s.submitted_at IS NOT NULL AND s.state = ANY(:states) AND (s.submitted_at, s.id) > (:at, CAST(:last AS uuid))
    ORDER BY s.submitted_at, s.id LIMIT :limit)
    UNION ALL
    (SELECT 'essay', t.id, t.submitted_at, t.number, false, q.title, c.title, u.name, u.email
    FROM quiz_attempts t JOIN quizzes q ON q.id = t.quiz_id JOIN courses c ON c.id = q.course_id
    JOIN users u ON u.id = t.user_id
    WHERE t.state = 'submitted' AND (t.submitted_at, t.id) > (:at, CAST(:last AS uuid))
    ORDER BY t.submitted_at, t.id LIMIT :limit)
    ORDER BY submitted_at, id LIMIT :limit
    """
)
ABOUT_SUBMISSION = text(
    """
    SELECT a.title, a.description, a.max_points, a.passing_score, a.xp_reward, c.title AS course, u.id AS user_id,
        u.name, u.email
    FROM assignment_submissions s JOIN assignments a ON a.id = s.assignment_id JOIN courses c ON c.id = a.course_id
    JOIN users u ON u.id = s.user_id WHERE s.id = CAST(:id AS uuid)
    """
)
ABOUT_ATTEMPT = text(
    """
    SELECT q.title, q.passing_score, c.title AS course, u.id AS user_id, u.name, u.email
    FROM quiz_attempts t JOIN quizzes q ON q.id = t.quiz_id JOIN courses c ON c.id = q.course_id
    JOIN users u ON u.id = t.user_id WHERE t.id = CAST(:id AS uuid)
    """
)


@dataclass(frozen=True)
class Waiting:
    """Something that waits for a grade. `kind`: submission or essay."""

    kind: str
    id: str
    submitted_at: datetime
    number: int
    late: bool
    title: str
    course: str
    name: str
    email: str

    @property
    def cursor(self) -> str:
        """Return the place right behind it."""
        return encode_moment(self.submitted_at, self.id)


def queue(session: Session, *, limit: int, cursor: str | None = None) -> list[Waiting]:
    """Return what waits, the longest waiting first; raise `InvalidCursor`."""
    at, last = FIRST if cursor is None else decode_cursor(cursor)
    values = {"states": list(WAITING), "at": at, "last": last, "limit": limit}
    rows = session.execute(QUEUE, values)
    return [Waiting(**{**row._mapping, "id": str(row.id)}) for row in rows]


def following(session: Session, id: str) -> Waiting | None:
    """Return what has waited longest and is not this one; None where nothing else waits."""
    return next((item for item in queue(session, limit=2) if item.id != id), None)


def about(session: Session, kind: str, id: str) -> dict[str, Any] | None:
    """Return what a submission or an attempt is of, and whose it is; None where there is none."""
    row = session.execute(
        ABOUT_SUBMISSION if kind == "submission" else ABOUT_ATTEMPT, {"id": id}
    ).one_or_none()
    return None if row is None else dict(row._mapping)
