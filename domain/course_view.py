"""Our own courses as students and staff read them: lists page by page, one course, one lesson."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from domain.errors import NotFound
from domain.student_view import decode_cursor, encode_moment
from domain.xp_errors import NotEnrolled

# Words of a search that are looked at.
WORDS_MAX = 10
# What LIKE reads as something else.
SPECIAL = re.compile(r"[%_\\]")
# Where a list without a cursor starts: after every row.
NEWEST = (datetime.fromisoformat("9999-01-01T00:00:00+00:00"), str(uuid.UUID(int=2**128 - 1)))

COURSE = """
    SELECT c.id, c.slug, c.title, c.description, c.image_url, c.difficulty, c.estimated_hours, c.xp_reward,
        c.published, c.version, c.certificate_days, c.created_at, c.updated_at, g.slug AS category, g.name AS category_name,
        (SELECT count(*) FROM lessons l WHERE l.course_id = c.id AND l.published) AS lesson_count,
        e.id AS enrollment_id, e.enrolled_at, e.started_at, e.completed_at, e.completion_percentage, e.xp_earned
    FROM courses c LEFT JOIN categories g ON g.id = c.category_id
    LEFT JOIN enrollments e ON e.course_id = c.id AND e.user_id = CAST(:user AS uuid)
    WHERE c.deleted_at IS NULL
"""
LIST = text(
    COURSE
    + """
        AND (c.created_at, c.id) < (:moment, CAST(:last AS uuid))
        AND (CAST(:published AS boolean) IS NULL OR c.published = :published)
        AND (CAST(:category AS text) IS NULL OR g.slug = :category)
        AND (CAST(:difficulty AS text) IS NULL OR c.difficulty = :difficulty)
        AND c.title || ' ' || c.description ILIKE ALL (CAST(:words AS text[]))
    ORDER BY c.created_at DESC, c.id DESC LIMIT :limit
    """
)
# Whoever learns in a course goes on seeing it when it is not published any more.
ONE = text(COURSE + " AND c.id = CAST(:course AS uuid) AND (:staff OR c.published OR e.id IS NOT NULL)")
LESSONS = text(
    """
    SELECT l.id, l.slug, l.title, l.description, l.position, l.xp_reward, l.published, p.completed_at
    FROM lessons l LEFT JOIN lesson_progress p ON p.lesson_id = l.id AND p.user_id = CAST(:user AS uuid)
    WHERE l.course_id = CAST(:course AS uuid) AND (:staff OR l.published)
    ORDER BY l.position, l.created_at, l.id
    """
)
LESSON = text(
    """
    SELECT l.id, l.course_id, l.slug, l.title, l.description, l.body, l.video_url, l.position, l.xp_reward,
        l.published, p.completed_at,
        EXISTS (
            SELECT 1 FROM enrollments e WHERE e.course_id = l.course_id AND e.user_id = CAST(:user AS uuid)
        ) AS enrolled, c.version, c.title AS course_title
    FROM lessons l JOIN courses c ON c.id = l.course_id AND c.deleted_at IS NULL
    LEFT JOIN lesson_progress p ON p.lesson_id = l.id AND p.user_id = CAST(:user AS uuid)
    WHERE l.id = CAST(:lesson AS uuid) AND l.course_id = CAST(:course AS uuid) AND (:staff OR l.published)
    """
)
ATTACHMENTS = text(
    "SELECT id, name, url FROM attachments WHERE course_id = CAST(:course AS uuid) ORDER BY position, name"
)
PREREQUISITES = text(
    """
    SELECT c.id AS of, f.id, f.slug, f.title, e.completed_at IS NOT NULL AS completed
    FROM courses c CROSS JOIN unnest(c.prerequisites) WITH ORDINALITY AS wanted(id, place)
    JOIN courses f ON f.id = wanted.id
    LEFT JOIN enrollments e ON e.course_id = f.id AND e.user_id = CAST(:user AS uuid)
    WHERE c.id = ANY(CAST(:courses AS uuid[])) ORDER BY c.id, wanted.place
    """
)


@dataclass(frozen=True)
class Wanted:
    """What a list is narrowed to; None does not narrow. `published` None shows both kinds, for staff."""

    published: bool | None = True
    category: str | None = None
    difficulty: str | None = None
    search: str | None = None


@dataclass(frozen=True)
class CoursePage:
    """Courses, newest first. `next_cursor` is None on the last page."""

    items: list[dict[str, Any]]
    next_cursor: str | None


def list_courses(
    session: Session, user_id: str | None, wanted: Wanted, *, limit: int, cursor: str | None = None
) -> CoursePage:
    """Return a page of the catalogue with the user's own progress; raise `InvalidCursor`."""
    moment, last = NEWEST if cursor is None else decode_cursor(cursor)
    values = {
        "user": user_id,
        "moment": moment,
        "last": last,
        "published": wanted.published,
        "category": wanted.category,
        "difficulty": wanted.difficulty,
        "words": _patterns(wanted.search or ""),
        "limit": limit + 1,
    }
    items = [_course(row) for row in session.execute(LIST, values)]
    if len(items) <= limit:
        return CoursePage(items, None)
    last_shown = items[limit - 1]
    return CoursePage(items[:limit], encode_moment(last_shown["created_at"], last_shown["id"]))


def get_course(
    session: Session, user_id: str | None, course_id: str, *, staff: bool = False
) -> dict[str, Any]:
    """Return a course with its lessons, attachments and prerequisites, and the user's progress; raise `NotFound`.

    A student sees published lessons of a published course or one of their own, and the addresses of attachments when
    enrolled. Staff see everything but deleted courses.
    """
    names = {"user": user_id, "course": course_id, "staff": staff}
    row = session.execute(ONE, names).one_or_none()
    if row is None:
        raise NotFound(f"there is no course {course_id}")
    inside = staff or row.enrollment_id is not None
    attachments = [dict(item._mapping) for item in session.execute(ATTACHMENTS, names)]
    return {
        **_course(row),
        "lessons": list_lessons(session, user_id, course_id, staff=staff),
        "attachments": [item if inside else {**item, "url": None} for item in attachments],
        "prerequisites": list_prerequisites(session, user_id, [row.id])[row.id],
    }


def title_of(session: Session, course_id: str) -> str:
    """Return a course's title; raise `NotFound`."""
    title = session.scalar(text("SELECT title FROM courses WHERE id = :id"), {"id": course_id})
    if title is None:
        raise NotFound(f"there is no course {course_id}")
    return str(title)


def list_lessons(
    session: Session, user_id: str | None, course_id: str, *, staff: bool = False
) -> list[dict[str, Any]]:
    """Return the lessons of a course in their order, with when the user completed each; staff see hidden ones too."""
    names = {"user": user_id, "course": course_id, "staff": staff}
    return [dict(item._mapping) for item in session.execute(LESSONS, names)]


def list_prerequisites(
    session: Session, user_id: str | None, course_ids: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """Return, for each of these courses, those that come first, and whether the user has completed them."""
    found: dict[str, list[dict[str, Any]]] = {course_id: [] for course_id in course_ids}
    for row in session.execute(PREREQUISITES, {"user": user_id, "courses": list(course_ids)}):
        values = dict(row._mapping)
        found[values.pop("of")].append(values)
    return found


def get_lesson(
    session: Session, user_id: str | None, course_id: str, lesson_id: str, *, staff: bool = False
) -> dict[str, Any]:
    """Return a lesson with its text; raise `NotFound`, or `NotEnrolled` for a student who does not learn here."""
    names = {"user": user_id, "course": course_id, "lesson": lesson_id, "staff": staff}
    row = session.execute(LESSON, names).one_or_none()
    if row is None:
        raise NotFound(f"course {course_id} has no lesson {lesson_id}")
    if not staff and not row.enrolled:
        raise NotEnrolled(f"not enrolled in course {course_id}")
    return dict(row._mapping)


def list_categories(session: Session) -> list[dict[str, Any]]:
    """Return every category by name, with the number of its published courses."""
    rows = session.execute(
        text(
            """
            SELECT g.id, g.slug, g.name,
                count(c.id) FILTER (WHERE c.published AND c.deleted_at IS NULL) AS course_count
            FROM categories g LEFT JOIN courses c ON c.category_id = g.id GROUP BY g.id ORDER BY g.name, g.slug
            """
        )
    )
    return [dict(row._mapping) for row in rows]


def _course(row: Row[Any]) -> dict[str, Any]:
    """Return a course's columns, with category and enrolment as objects of their own, None where there is none."""
    found = dict(row._mapping)
    names = ("enrolled_at", "started_at", "completed_at", "completion_percentage", "xp_earned")
    enrollment = {"id": found.pop("enrollment_id"), **{name: found.pop(name) for name in names}}
    category = {"slug": found.pop("category"), "name": found.pop("category_name")}
    return {
        **found,
        "category": category if category["slug"] else None,
        "enrollment": enrollment if enrollment["id"] else None,
    }


def _patterns(search: str) -> list[str]:
    """Return what each word of a search has to match; nothing in a word is a wildcard."""
    return ["%" + SPECIAL.sub(r"\\\g<0>", word) + "%" for word in search.split()[:WORDS_MAX]]
