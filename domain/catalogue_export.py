"""Writing the catalogue out as a file that `domain.catalogue_import` takes back without a change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import Attachment, Category, Course, Lesson, PartnerCourse, PartnerProvider

COURSE = (
    "slug",
    "title",
    "description",
    "image_url",
    "difficulty",
    "estimated_hours",
    "xp_reward",
    "published",
)
LESSON = ("slug", "title", "description", "body", "video_url", "xp_reward", "published")
PARTNER = {
    "type": "provider_type",
    "name": "provider_name",
    "website_url": "website_url",
    "support_email": "support_email",
    "active": "active",
}
PARTNER_COURSE = {
    "code": "course_code",
    "name": "course_name",
    "external_code": "external_course_code",
    "description": "description",
    "hours": "hours",
    "level": "level",
    "credential_type": "credential_type",
    "active": "active",
}


def export_catalogue(session: Session) -> dict[str, Any]:
    """Return the whole catalogue in the order of its keys, as plain values; courses that are being deleted left out."""
    categories = session.scalars(select(Category).order_by(Category.slug)).all()
    return {
        "categories": [{"slug": row.slug, "name": row.name} for row in categories],
        "courses": _courses(session, {row.id: row.slug for row in categories}),
        "partners": _partners(session),
    }


def _courses(session: Session, categories: dict[str, str]) -> list[dict[str, Any]]:
    courses = session.scalars(select(Course).where(Course.deleted_at.is_(None)).order_by(Course.slug)).all()
    slugs = {course.id: course.slug for course in courses}
    lessons = _by_course(session.scalars(select(Lesson).order_by(Lesson.position, Lesson.created_at)))
    files = _by_course(session.scalars(select(Attachment).order_by(Attachment.position)))
    found = []
    for course in courses:
        row = _named(course, {name: name for name in COURSE})
        if course.category_id is not None:
            row["category"] = categories[course.category_id]
        row["prerequisites"] = [slugs[id] for id in course.prerequisites if id in slugs]
        row["attachments"] = [{"name": item.name, "url": item.url} for item in files.get(course.id, [])]
        row["lessons"] = [
            _named(item, {name: name for name in LESSON}) for item in lessons.get(course.id, [])
        ]
        found.append(row)
    return found


def _partners(session: Session) -> list[dict[str, Any]]:
    providers = session.scalars(
        select(PartnerProvider).order_by(PartnerProvider.provider_type, PartnerProvider.id)
    ).all()
    of_type = Counter(provider.provider_type for provider in providers)
    found = []
    for provider in providers:
        row = _named(provider, PARTNER)
        if of_type[provider.provider_type] > 1:
            row["id"] = provider.id
        query = select(PartnerCourse).where(PartnerCourse.provider_id == provider.id)
        courses = session.scalars(query.order_by(PartnerCourse.course_code))
        row["courses"] = [_named(course, PARTNER_COURSE) for course in courses]
        found.append(row)
    return found


def _by_course(rows: Iterable[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for row in rows:
        found.setdefault(row.course_id, []).append(row)
    return found


def _named(row: Any, columns: dict[str, str]) -> dict[str, Any]:
    """Return the columns that have a value, by their names in the file."""
    values = {name: getattr(row, column) for name, column in columns.items()}
    return {name: _plain(value) for name, value in values.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value
