"""Taking a catalogue file over into the database.

Everything is found by keys that are the same in every database (slugs, codes), so a second run changes nothing. One
transaction takes the whole file or nothing of it; nothing is ever deleted, and neither enrolments nor awards are touched.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from db.models import Attachment, Category, Course, Lesson, PartnerCourse, PartnerProvider
from domain import staff
from domain.catalogue_file import CategoryRow, CourseRow, Parsed, PartnerRow, Source
from domain.course_editing import attach, begin, find_cycle, set_columns

# What the file calls otherwise than the table.
PARTNER_COLUMNS = {"name": "provider_name"}
PARTNER_COURSE_COLUMNS = {
    "code": "course_code",
    "name": "course_name",
    "external_code": "external_course_code",
}
# Keys of changed rows that the audit names.
AUDIT_MAX = 200

Row = TypeVar("Row", Lesson, Attachment)


@dataclass(frozen=True)
class Change:
    """A row that is made or updated. `fields` holds {column: [old, new]} of an update."""

    action: str
    kind: str
    key: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass
class Imported:
    """What an import did (or, in a dry run, would do). `unchanged` counts rows that were like that already."""

    changes: list[Change] = field(default_factory=list)
    unchanged: int = 0

    def note(self, kind: str, key: str, *, new: bool, fields: Mapping[str, Any]) -> None:
        """Note what became of a row."""
        if new:
            self.changes.append(Change("create", kind, key))
        elif fields:
            self.changes.append(Change("update", kind, key, dict(fields)))
        else:
            self.unchanged += 1

    def count(self, action: str) -> int:
        """Return how many rows were created or updated."""
        return sum(change.action == action for change in self.changes)


def import_catalogue(
    session: Session,
    parsed: Parsed,
    provider_types: Collection[str],
    *,
    actor: str,
    reason: str | None = None,
) -> Imported:
    """Make the database say what the file says, and leave an audit row; raise `FileMistakes`, for the caller to roll back.

    `provider_types` are those that have an adapter. For a dry run the caller rolls back as well.
    """
    begin(session)
    source, found, done = parsed.source, parsed.catalogue, Imported()
    _take_categories(session, found.categories, done)
    _take_courses(session, source, found.courses, done)
    _take_partners(session, source, found.partners, provider_types, done)
    source.check()
    session.flush()
    if done.changes:
        keys = [f"{change.kind} {change.key}" for change in done.changes[:AUDIT_MAX]]
        detail = {"created": done.count("create"), "updated": done.count("update"), "keys": keys}
        subject = ("catalogue", None)
        staff.record(
            session, actor=actor, action="catalogue.import", subject=subject, reason=reason, detail=detail
        )
    return done


def _take_categories(session: Session, rows: list[CategoryRow], done: Imported) -> None:
    for row in rows:
        known = session.scalar(select(Category).where(Category.slug == row.slug))
        category = known or Category(slug=row.slug, name=row.name)
        done.note("category", row.slug, new=known is None, fields=set_columns(category, {"name": row.name}))
        session.add(category)


def _take_courses(session: Session, source: Source, rows: list[CourseRow], done: Imported) -> None:
    """Take the courses first and what refers to them then, so that their order in the file does not matter."""
    taken = _find_courses(session, source, rows)
    session.flush()
    ids = {course.id: at for at, course in taken.items()}
    keys = _Keys(
        courses=_ids(session, select(Course.slug, Course.id).where(Course.deleted_at.is_(None))),
        categories=_ids(session, select(Category.slug, Category.id)),
    )
    order = (Lesson.position, Lesson.created_at, Lesson.id)
    lessons = _by_course(session, select(Lesson).where(Lesson.course_id.in_(ids)).order_by(*order))
    files = _by_course(
        session, select(Attachment).where(Attachment.course_id.in_(ids)).order_by(Attachment.position)
    )
    for at, course in taken.items():
        row, new = rows[at], course.version == 0
        changes = set_columns(course, _columns(source, at, row, keys))
        changes |= _take_lessons(session, source, at, row, course, lessons.get(course.id, []))
        if "attachments" in row.model_fields_set:
            wanted = [item.values() for item in row.attachments]
            changes |= attach(session, course.id, files.get(course.id, []), wanted)
        if new or changes:
            course.version += 1
        done.note("course", row.slug, new=new, fields=changes)
    session.flush()
    _check_lessons(session, source, ids)
    _check_cycle(session, source, ids)


@dataclass(frozen=True)
class _Keys:
    """The ids of what a course may refer to, by slug."""

    courses: dict[str, str]
    categories: dict[str, str]


def _find_courses(session: Session, source: Source, rows: list[CourseRow]) -> dict[int, Course]:
    """Return the course of each row by the row's place, locked; new ones have version 0."""
    query = select(Course).where(Course.slug.in_([row.slug for row in rows])).order_by(Course.id)
    known = {course.slug: course for course in session.scalars(query.with_for_update(key_share=True))}
    taken: dict[int, Course] = {}
    for at, row in enumerate(rows):
        course = known.get(row.slug)
        if course is not None and course.deleted_at is not None:
            source.mistake(("courses", at, "slug"), f"the course {row.slug} is being deleted")
        elif course is not None:
            taken[at] = course
        elif not row.title:
            source.mistake(("courses", at, "title"), f"{row.slug} is new and needs a title")
        else:
            taken[at] = Course(id=str(uuid.uuid4()), slug=row.slug, title=row.title, version=0)
            session.add(taken[at])
    return taken


def _columns(source: Source, at: int, row: CourseRow, keys: _Keys) -> dict[str, Any]:
    """Return what a row sets in its course's columns, with ids for slugs."""
    columns = row.values("slug", "category", "prerequisites", "attachments", "lessons")
    if "category" in row.model_fields_set:
        if row.category is not None and row.category not in keys.categories:
            source.mistake(("courses", at, "category"), f"there is no category {row.category}")
        columns["category_id"] = keys.categories.get(row.category or "")
    if "prerequisites" in row.model_fields_set:
        for place, slug in enumerate(row.prerequisites):
            if slug not in keys.courses:
                source.mistake(("courses", at, "prerequisites", place), f"there is no course {slug}")
        columns["prerequisites"] = [keys.courses[slug] for slug in row.prerequisites if slug in keys.courses]
    return columns


def _take_lessons(
    session: Session, source: Source, at: int, row: CourseRow, course: Course, rows: list[Lesson]
) -> dict[str, Any]:
    """Take the lessons of a course, in the order of the file; those that it does not name follow as they were."""
    if not row.lessons:
        return {}
    known = {lesson.slug: lesson for lesson in rows}
    changes: dict[str, Any] = {}
    for place, wanted in enumerate(row.lessons):
        lesson = known.pop(wanted.slug, None)
        if lesson is None and not wanted.title:
            path = ("courses", at, "lessons", place, "title")
            source.mistake(path, f"{wanted.slug} is new and needs a title")
        elif lesson is None:
            values = {**wanted.values(), "course_id": course.id, "position": place + 1}
            session.add(Lesson(id=str(uuid.uuid4()), **values))
            changes[f"lesson {wanted.slug}"] = [None, "new"]
        else:
            fields = set_columns(lesson, {**wanted.values("slug"), "position": place + 1})
            changes |= {f"lesson {wanted.slug} {name}": pair for name, pair in fields.items()}
    for place, lesson in enumerate(known.values(), len(row.lessons) + 1):
        fields = set_columns(lesson, {"position": place})
        changes |= {f"lesson {lesson.slug} {name}": pair for name, pair in fields.items()}
    return changes


def _check_lessons(session: Session, source: Source, places: Mapping[str, int]) -> None:
    """Note every published course of the file that has no published lesson."""
    lesson = select(Lesson.id).where(Lesson.course_id == Course.id, Lesson.published)
    query = select(Course.id, Course.slug).where(Course.id.in_(places), Course.published, ~lesson.exists())
    for row in session.execute(query):
        source.mistake(("courses", places[row.id], "published"), f"{row.slug} has no published lesson")


def _check_cycle(session: Session, source: Source, places: Mapping[str, int]) -> None:
    """Note a cycle of prerequisites at a course of the file that is in it."""
    rows = session.execute(
        select(Course.id, Course.slug, Course.prerequisites).where(Course.deleted_at.is_(None))
    ).all()
    cycle = find_cycle({row.id: row.prerequisites for row in rows})
    at = min((places[id] for id in cycle if id in places), default=None)
    if at is not None:
        slugs = {row.id: row.slug for row in rows}
        path = " -> ".join(slugs[id] for id in cycle)
        source.mistake(("courses", at, "prerequisites"), f"lead back to the course itself: {path}")


def _take_partners(
    session: Session, source: Source, rows: list[PartnerRow], types: Collection[str], done: Imported
) -> None:
    named = {row.id for row in rows if row.id}
    for at, row in enumerate(rows):
        if row.type not in types:
            source.mistake(("partners", at, "type"), f"no adapter serves it; there are {', '.join(types)}")
            continue
        provider = _find_provider(session, source, at, row, named)
        new = provider is None
        if provider is None:
            if not row.name:
                source.mistake(("partners", at, "name"), f"{row.type} is new and needs a name")
                continue
            provider = PartnerProvider(id=row.id or str(uuid.uuid4()), provider_type=row.type)
        fields = set_columns(provider, _renamed(row.values("id", "type", "courses"), PARTNER_COLUMNS))
        session.add(provider)
        session.flush()
        done.note("partner", row.type, new=new, fields=fields)
        _take_partner_courses(session, source, at, row, provider.id, done)


def _find_provider(
    session: Session, source: Source, at: int, row: PartnerRow, named: Collection[str]
) -> PartnerProvider | None:
    """Return the partner that a row means, None for a new one."""
    query = select(PartnerProvider).where(PartnerProvider.provider_type == row.type)
    known = {provider.id: provider for provider in session.scalars(query)}
    if row.id in known:
        return known[row.id]
    others = [provider for id, provider in known.items() if id not in named]
    if row.id and session.get(PartnerProvider, row.id) is not None:
        source.mistake(("partners", at, "id"), "is the id of a partner of another type")
    elif row.id and others:
        message = f"there is a partner of the type {row.type} with the id {others[0].id}"
        source.mistake(("partners", at, "id"), message)
    elif len(others) > 1:
        source.mistake(
            ("partners", at, "type"), f"there are {len(others)} partners of this type: give the id"
        )
    return others[0] if others else None


def _take_partner_courses(
    session: Session, source: Source, at: int, row: PartnerRow, provider_id: str, done: Imported
) -> None:
    query = select(PartnerCourse).where(PartnerCourse.provider_id == provider_id)
    known = {course.course_code: course for course in session.scalars(query)}
    for place, wanted in enumerate(row.courses):
        course = known.get(wanted.code)
        if course is None and not wanted.name:
            path = ("partners", at, "courses", place, "name")
            source.mistake(path, f"{wanted.code} is new and needs a name")
            continue
        new = course is None
        course = course or PartnerCourse(id=str(uuid.uuid4()), provider_id=provider_id)
        columns = _renamed(wanted.values(), PARTNER_COURSE_COLUMNS)
        done.note("partner course", f"{row.type}/{wanted.code}", new=new, fields=set_columns(course, columns))
        session.add(course)


def _ids(session: Session, query: Select[str, str]) -> dict[str, str]:
    return {row[0]: row[1] for row in session.execute(query)}


def _by_course(session: Session, query: Select[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in session.scalars(query):
        found.setdefault(row.course_id, []).append(row)
    return found


def _renamed(values: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in values.items()}
