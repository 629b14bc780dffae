"""What staff do to our own courses: make, edit, publish and order them. Each leaves an audit row.

One edit at a time: whether prerequisites form a cycle depends on every course. Nothing here touches enrolments, progress
or the ledger, so what was awarded stays as it is whatever a course or lesson gives from now on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from db.models import Attachment, Base, Category, Course, Lesson
from domain import staff
from domain.course_fields import LESSONS_MAX, make_slug
from domain.errors import DomainError, NotFound

# The advisory lock that editing holds to the end of its transaction.
EDITING = 7_215_430_113
# Characters of a value that the audit keeps.
AUDIT_MAX = 200

Values = Mapping[str, Any]


class StaleVersion(DomainError):
    """Somebody else edited the course meanwhile; `current` is its version now."""

    code = "stale_version"

    def __init__(self, current: int) -> None:
        self.current = current
        super().__init__(f"the course is at version {current}")


class SlugTaken(DomainError):
    """Another row has this slug."""

    code = "slug_taken"


class WrongReference(DomainError):
    """What a field names does not exist, stands twice or leads back to itself. `field` is the field."""

    code = "wrong_reference"

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(message)


class NotPublishable(DomainError):
    """The course has no published lesson (or would have none), or builds on one that does not exist."""

    code = "not_publishable"


def create_course(session: Session, values: Values, *, actor: str, reason: str | None = None) -> Course:
    """Make an unpublished course; raise `SlugTaken` or `WrongReference`. Without a slug it gets one from its title."""
    begin(session)
    slug = values.get("slug") or _free_slug(session, values["title"])
    if session.scalar(select(Course.id).where(Course.slug == slug)) is not None:
        raise SlugTaken(f"there is a course {slug}")
    course = Course(slug=slug, title=values["title"])
    session.add(course)
    session.flush()
    _fill(session, course, {name: value for name, value in values.items() if name != "slug"})
    session.flush()
    session.refresh(course)
    _record(session, "course.create", course, actor, reason, {"slug": slug, "title": course.title})
    return course


def edit_course(
    session: Session, course_id: str, version: int, values: Values, *, actor: str, reason: str | None = None
) -> Course:
    """Set the given columns, `category` (slug), `prerequisites` (ids) and `attachments`; what is left out stays.

    Raises `NotFound`, `StaleVersion` or `WrongReference`.
    """
    course = take(session, course_id, version)
    changes = _fill(session, course, values)
    return _finish(session, "course.edit", course, actor, reason, changes)


def publish(
    session: Session, course_id: str, version: int | None = None, *, actor: str, reason: str | None = None
) -> Course:
    """Open a course for enrolment; raise `NotFound`, `StaleVersion` or `NotPublishable`."""
    course = take(session, course_id, version)
    if course.published:
        return course
    if not _has_published_lesson(session, course_id):
        raise NotPublishable("a course without a published lesson cannot be published")
    try:
        check_prerequisites(session, course_id, course.prerequisites)
    except WrongReference as refusal:
        raise NotPublishable(str(refusal)) from None
    course.published = True
    return _finish(session, "course.publish", course, actor, reason, {"published": [False, True]})


def unpublish(
    session: Session, course_id: str, version: int | None = None, *, actor: str, reason: str | None = None
) -> Course:
    """Close a course for enrolment; who learns in it goes on. Raises `NotFound` or `StaleVersion`."""
    course = take(session, course_id, version)
    if not course.published:
        return course
    course.published = False
    return _finish(session, "course.unpublish", course, actor, reason, {"published": [True, False]})


def add_lesson(
    session: Session, course_id: str, values: Values, *, actor: str, reason: str | None = None
) -> tuple[Course, Lesson]:
    """Add a lesson at the end; raise `NotFound`, `SlugTaken`, or `WrongReference` where there are too many."""
    course = take(session, course_id)
    known = session.execute(select(Lesson.slug, Lesson.position).where(Lesson.course_id == course_id)).all()
    if len(known) >= LESSONS_MAX:
        raise WrongReference("lessons", f"a course has at most {LESSONS_MAX} lessons")
    slugs = {slug for slug, _ in known}
    slug = values.get("slug") or _next_free(make_slug(values["title"]), slugs)
    if slug in slugs:
        raise SlugTaken(f"the course has a lesson {slug}")
    last = max((position for _, position in known), default=0)
    lesson = Lesson(course_id=course_id, position=last + 1, **{**values, "slug": slug})
    session.add(lesson)
    session.flush()
    session.refresh(lesson)
    detail = {"lesson": lesson.id, "slug": slug, "title": lesson.title}
    return _finish(session, "lesson.create", course, actor, reason, detail), lesson


def edit_lesson(
    session: Session,
    course_id: str,
    lesson_id: str,
    version: int,
    values: Values,
    *,
    actor: str,
    reason: str | None = None,
) -> tuple[Course, Lesson]:
    """Set the given columns of a lesson; `version` is the course's.

    Raises `NotFound`, `StaleVersion`, or `NotPublishable` for the last published lesson of a published course.
    """
    course = take(session, course_id, version)
    lesson = session.get(Lesson, lesson_id)
    if lesson is None or lesson.course_id != course_id:
        raise NotFound(f"course {course_id} has no lesson {lesson_id}")
    changes = set_columns(lesson, values)
    session.flush()
    if course.published and not _has_published_lesson(session, course_id):
        raise NotPublishable("the last published lesson of a published course has to stay published")
    detail = {"lesson": lesson_id, **changes} if changes else {}
    return _finish(session, "lesson.edit", course, actor, reason, detail), lesson


def order_lessons(
    session: Session,
    course_id: str,
    version: int,
    lesson_ids: Sequence[str],
    *,
    actor: str,
    reason: str | None = None,
) -> Course:
    """Bring the lessons into this order, which names each once; raise `NotFound`, `StaleVersion`, `WrongReference`."""
    course = take(session, course_id, version)
    lessons = {row.id: row for row in session.scalars(select(Lesson).where(Lesson.course_id == course_id))}
    if len(lesson_ids) != len(lessons) or set(lesson_ids) != set(lessons):
        raise WrongReference("lesson_ids", "must name every lesson of the course exactly once")
    moved = [id for place, id in enumerate(lesson_ids, 1) if lessons[id].position != place]
    for place, id in enumerate(lesson_ids, 1):
        lessons[id].position = place
    return _finish(
        session, "lesson.order", course, actor, reason, {"order": list(lesson_ids)} if moved else {}
    )


def put_category(
    session: Session, slug: str, name: str, *, actor: str, reason: str | None = None
) -> tuple[Category, bool]:
    """Make a category, or rename the one with this slug; return it, and whether it is new."""
    begin(session)
    known = session.scalar(select(Category).where(Category.slug == slug))
    category = known or Category(slug=slug, name=name)
    if known is not None and known.name == name:
        return category, False
    detail = {"slug": slug, "name": name if known is None else [known.name, name]}
    category.name = name
    session.add(category)
    session.flush()
    subject = ("category", category.id)
    staff.record(session, actor=actor, action="category.put", subject=subject, reason=reason, detail=detail)
    return category, known is None


def take(session: Session, course_id: str, version: int | None = None) -> Course:
    """Return a course for editing, locked; raise `NotFound` (deleted ones too) or `StaleVersion`."""
    begin(session)
    course = session.get(Course, course_id, with_for_update={"key_share": True})
    if course is None or course.deleted_at is not None:
        raise NotFound(f"there is no course {course_id}")
    if version is not None and version != course.version:
        raise StaleVersion(course.version)
    return course


def check_prerequisites(session: Session, course_id: str, wanted: Iterable[str]) -> None:
    """Raise `WrongReference` unless all of them exist and none leads back to the course."""
    known = {
        row.id: (row.slug, row.prerequisites)
        for row in session.execute(
            select(Course.id, Course.slug, Course.prerequisites).where(Course.deleted_at.is_(None))
        )
    }
    listed = list(wanted)
    missing = [id for id in listed if id not in known]
    if missing:
        raise WrongReference("prerequisites", f"there is no course {missing[0]}")
    graph = {id: list(first) for id, (_, first) in known.items()} | {course_id: listed}
    cycle = find_cycle(graph)
    if cycle:
        path = " -> ".join(known[id][0] for id in cycle)
        raise WrongReference("prerequisites", f"lead back to the course itself: {path}")


def find_cycle(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """Return courses of which each builds on the next, the last being the first again; empty where there are none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found[::-1]
    return []


def begin(session: Session) -> None:
    """Take the turn to edit, to the end of the transaction."""
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": EDITING})


def _fill(session: Session, course: Course, values: Values) -> dict[str, Any]:
    """Set columns and what hangs on the course; return what changed as {field: [old, new]}."""
    plain = dict(values)
    changes: dict[str, Any] = {}
    if "category" in plain:
        plain["category_id"] = _category(session, plain.pop("category"))
    if "prerequisites" in plain:
        plain["prerequisites"] = list(dict.fromkeys(plain["prerequisites"]))
        check_prerequisites(session, course.id, plain["prerequisites"])
    if "attachments" in plain:
        files = select(Attachment).where(Attachment.course_id == course.id).order_by(Attachment.position)
        changes |= attach(session, course.id, session.scalars(files).all(), plain.pop("attachments"))
    return changes | set_columns(course, plain)


def set_columns(row: Base, values: Values) -> dict[str, Any]:
    """Set columns of a row; return what changed as {column: [old, new]}."""
    changes = {
        name: [_short(getattr(row, name)), _short(value)]
        for name, value in values.items()
        if getattr(row, name) != value
    }
    for name, value in values.items():
        setattr(row, name, value)
    return changes


def attach(
    session: Session, course_id: str, rows: Sequence[Attachment], wanted: Sequence[Values]
) -> dict[str, Any]:
    """Replace a course's attachments, given in their order, by others; return what changed. Raises `WrongReference`."""
    before = [(row.name, row.url) for row in rows]
    after = [(item["name"], item["url"]) for item in wanted]
    if len({name for name, _ in after}) < len(after):
        raise WrongReference("attachments", "each needs a name of its own")
    if before == after:
        return {}
    for row in rows:
        session.delete(row)
    if rows:
        session.flush()  # Names that stay are free only then.
    session.add_all(
        Attachment(course_id=course_id, name=name, url=url, position=place)
        for place, (name, url) in enumerate(after, 1)
    )
    return {"attachments": [[name for name, _ in before], [name for name, _ in after]]}


def _category(session: Session, slug: str | None) -> str | None:
    if slug is None:
        return None
    found = session.scalar(select(Category.id).where(Category.slug == slug))
    if found is None:
        raise WrongReference("category", f"there is no category {slug}")
    return found


def _has_published_lesson(session: Session, course_id: str) -> bool:
    wanted = select(Lesson.id).where(Lesson.course_id == course_id, Lesson.published).limit(1)
    return session.scalar(wanted) is not None


def _free_slug(session: Session, title: str) -> str:
    wanted = make_slug(title)
    taken = session.scalars(select(Course.slug).where(func.starts_with(Course.slug, wanted))).all()
    return _next_free(wanted, set(taken))


def _next_free(wanted: str, taken: set[str]) -> str:
    number, slug = 1, wanted
    while slug in taken:
        number += 1
        slug = f"{wanted}-{number}"
    return slug


def _finish(
    session: Session, action: str, course: Course, actor: str, reason: str | None, changes: dict[str, Any]
) -> Course:
    """Raise the version and write the audit row, unless nothing changed."""
    if changes:
        course.version += 1
        session.flush()
        _record(session, action, course, actor, reason, changes)
    return course


def _record(
    session: Session, action: str, course: Course, actor: str, reason: str | None, detail: dict[str, Any]
) -> None:
    staff.record(
        session,
        actor=actor,
        action=action,
        subject=("course", course.id),
        reason=reason,
        detail={**detail, "version": course.version},
    )


def _short(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | list):
        return value
    plain = str(value)
    return plain if len(plain) <= AUDIT_MAX else plain[:AUDIT_MAX] + "…"
