"""Our own courses, as staff make, edit, publish and order them. Each change leaves who did it.

Every answer about a course has its version, as `ETag` too. An edit names the version that it was made on with `If-Match`,
so that two people do not overwrite each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal, TypedDict

from flask import Blueprint, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from sqlalchemy.orm import Session

import api.course_problems  # noqa: F401 - registers the codes
from api.auth import current_identity, requires
from api.courses import (
    CourseParts,
    CoursesQuery,
    CourseSummary,
    LessonAnswer,
    LessonSummary,
    path_id,
)
from api.enrollments import InputModel, UuidInput
from api.errors import Detail, Problem, read_body, read_query
from api.idempotency import answer_once
from api.ops_xp import Reason
from api.preconditions import read_version
from api.student import CamelModel, Uuid
from api.xp import answer_json
from db.session import transaction
from domain import course_editing, course_view
from domain.course_fields import (
    LESSONS_MAX,
    LIST_MAX,
    Description,
    Difficulty,
    Hours,
    Line,
    Markdown,
    Slug,
    WebAddress,
    XpReward,
)
from domain.errors import NotFound
from domain.student_view import InvalidCursor

blueprint = Blueprint("ops_courses", __name__)


def _without_defaults(schema: dict[str, Any]) -> None:
    """What is left out is not set at all, so no default is promised."""
    for part in schema.get("properties", {}).values():
        part.pop("default", None)


class EditModel(InputModel):
    """A body of which only what is sent counts. `reason` goes to the audit."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    reason: Reason | None = None

    def values(self) -> dict[str, Any]:
        """Return what was sent, by column."""
        return self.model_dump(exclude={"reason"}, exclude_unset=True)


class AttachmentInput(InputModel):
    """A file of the course, kept elsewhere."""

    name: Line
    url: WebAddress


class CourseEdit(EditModel):
    """What to change of a course. `prerequisites` are ids, `category` is a slug; each list replaces the one before.

    Certificates are valid for `certificateDays`; null: for ever. Those that were issued stay as they are.
    """

    title: Line = ""
    description: Description = ""
    image_url: WebAddress | None = None
    category: Slug | None = None
    prerequisites: list[UuidInput] = Field([], max_length=LIST_MAX)
    difficulty: Difficulty = "beginner"
    estimated_hours: Hours | None = None
    xp_reward: XpReward = 200
    certificate_days: Annotated[int, Field(ge=1, le=36_500)] | None = None
    attachments: Annotated[list[AttachmentInput], Field(default=[], max_length=LIST_MAX)]


class CourseInput(CourseEdit):
    """A new course, unpublished. Without a `slug` it gets one from its title; the slug never changes."""

    slug: Slug = ""
    title: Line


class LessonEdit(EditModel):
    """What to change of a lesson. `body` is Markdown."""

    title: Line = ""
    description: Description = ""
    body: Markdown = ""
    video_url: WebAddress | None = None
    xp_reward: XpReward = 50
    published: bool = False


class LessonInput(LessonEdit):
    """A new lesson, put at the end. Without a `slug` it gets one from its title."""

    slug: Slug = ""
    title: Line


class OrderInput(EditModel):
    """Every lesson of the course once, in the order that is wanted."""

    lesson_ids: list[UuidInput] = Field(max_length=LESSONS_MAX)


class CategoryInput(EditModel):
    """A category; one with this slug is renamed."""

    slug: Slug
    name: Line


class ReasonInput(EditModel):
    """Why, for the audit."""


class StaffSummary(CourseSummary):
    """A course in the staff's list."""

    version: int


class StaffCourses(BaseModel):
    """A page, newest first."""

    data: list[StaffSummary]
    has_more: bool
    next_cursor: str | None


class StaffLesson(LessonSummary):
    """A lesson in the staff's view of a course."""

    published: bool


class StaffCourse(CourseParts):
    """A course with all its lessons. `version` is what `If-Match` has to name."""

    version: int
    certificate_days: int | None
    lessons: list[StaffLesson]


class StaffLessonAnswer(LessonAnswer):
    """A lesson with its text, and its course's version."""

    published: bool
    version: int


class CategoryMade(CamelModel):
    """The category as it stands."""

    id: Uuid
    slug: str
    name: str


class StaffCoursesQuery(CoursesQuery):
    """As students may ask, and `state`."""

    state: Literal["all", "published", "unpublished"] = "all"


class Who(TypedDict):
    """Who changes something, and why."""

    actor: str
    reason: str | None


PUBLISHED = {"all": None, "published": True, "unpublished": False}


@blueprint.get("/api/ops/courses")
@requires("ops")
def list_courses() -> Response:
    """Return a page of all courses."""
    query = read_query(StaffCoursesQuery)
    wanted = course_view.Wanted(PUBLISHED[query.state], query.category, query.difficulty, query.q)
    try:
        with transaction() as session:
            page = course_view.list_courses(session, None, wanted, limit=query.limit, cursor=query.cursor)
    except InvalidCursor:
        raise Problem("invalid_cursor") from None
    data = [StaffSummary.model_validate(item) for item in page.items]
    return answer_json(
        StaffCourses(data=data, has_more=page.next_cursor is not None, next_cursor=page.next_cursor)
    )


@blueprint.post("/api/ops/courses")
@requires("ops")
def create_course() -> Response:
    """Make an unpublished course: 201."""
    values = read_body(CourseInput)
    return answer_once(values, lambda session, _key: _create(session, values))


@blueprint.get("/api/ops/courses/<course_id>")
@requires("ops")
def get_course(course_id: str) -> Response:
    """Return a course with everything in it."""
    wanted = path_id(course_id, "course_not_found")
    with transaction() as session, _refusals():
        return _answer(session, wanted)


@blueprint.patch("/api/ops/courses/<course_id>")
@requires("ops")
def edit_course(course_id: str) -> Response:
    """Change what the body names."""
    wanted, values, version = path_id(course_id, "course_not_found"), read_body(CourseEdit), read_version()
    with transaction() as session, _refusals():
        course_editing.edit_course(session, wanted, version, values.values(), **_who(values))
        return _answer(session, wanted)


@blueprint.post("/api/ops/courses/<course_id>/publish")
@requires("ops")
def publish(course_id: str) -> Response:
    """Open the course for enrolment; done before, nothing changes."""
    wanted, values = path_id(course_id, "course_not_found"), read_body(ReasonInput)

    def work(session: Session, _key: str | None) -> Response:
        with _refusals():
            course_editing.publish(session, wanted, **_who(values))
            return _answer(session, wanted)

    return answer_once(values, work)


@blueprint.post("/api/ops/courses/<course_id>/unpublish")
@requires("ops")
def unpublish(course_id: str) -> Response:
    """Close the course for enrolment; who learns in it goes on."""
    wanted, values = path_id(course_id, "course_not_found"), read_body(ReasonInput)

    def work(session: Session, _key: str | None) -> Response:
        with _refusals():
            course_editing.unpublish(session, wanted, **_who(values))
            return _answer(session, wanted)

    return answer_once(values, work)


@blueprint.post("/api/ops/courses/<course_id>/lessons")
@requires("ops")
def add_lesson(course_id: str) -> Response:
    """Add a lesson at the end: 201."""
    wanted, values = path_id(course_id, "course_not_found"), read_body(LessonInput)

    def work(session: Session, _key: str | None) -> Response:
        with _refusals():
            _, lesson = course_editing.add_lesson(session, wanted, values.values(), **_who(values))
            return _answer_lesson(session, wanted, lesson.id, 201)

    return answer_once(values, work)


@blueprint.get("/api/ops/courses/<course_id>/lessons/<lesson_id>")
@requires("ops")
def get_lesson(course_id: str, lesson_id: str) -> Response:
    """Return a lesson with its text."""
    course, lesson = path_id(course_id, "course_not_found"), path_id(lesson_id, "lesson_not_found")
    with transaction() as session, _refusals("lesson_not_found"):
        return _answer_lesson(session, course, lesson)


@blueprint.patch("/api/ops/courses/<course_id>/lessons/<lesson_id>")
@requires("ops")
def edit_lesson(course_id: str, lesson_id: str) -> Response:
    """Change what the body names of a lesson; `If-Match` names the course's version."""
    course, lesson = path_id(course_id, "course_not_found"), path_id(lesson_id, "lesson_not_found")
    values, version = read_body(LessonEdit), read_version()
    with transaction() as session, _refusals("lesson_not_found"):
        course_editing.edit_lesson(session, course, lesson, version, values.values(), **_who(values))
        return _answer_lesson(session, course, lesson)


@blueprint.put("/api/ops/courses/<course_id>/lesson-order")
@requires("ops")
def order_lessons(course_id: str) -> Response:
    """Bring the lessons into an order."""
    wanted, values, version = path_id(course_id, "course_not_found"), read_body(OrderInput), read_version()
    with transaction() as session, _refusals():
        course_editing.order_lessons(session, wanted, version, values.lesson_ids, **_who(values))
        return _answer(session, wanted)


@blueprint.post("/api/ops/categories")
@requires("ops")
def put_category() -> Response:
    """Make a category: 201; or rename the one with this slug: 200."""
    values = read_body(CategoryInput)
    return answer_once(values, lambda session, _key: _put_category(session, values))


def _create(session: Session, values: CourseInput) -> Response:
    with _refusals():
        made = course_editing.create_course(session, values.values(), **_who(values))
        response = _answer(session, made.id, 201)
    response.headers["Location"] = f"/api/ops/courses/{made.id}"
    return response


def _put_category(session: Session, values: CategoryInput) -> Response:
    category, created = course_editing.put_category(session, values.slug, values.name, **_who(values))
    return answer_json(CategoryMade.model_validate(category), 201 if created else 200)


def _who(values: EditModel) -> Who:
    return Who(actor=current_identity().subject, reason=values.reason)


def _answer(session: Session, course_id: str, status: int = 200) -> Response:
    session.flush()
    found = course_view.get_course(session, None, course_id, staff=True)
    response = answer_json(StaffCourse.model_validate(found), status)
    response.headers["ETag"] = f'"{found["version"]}"'
    return response


def _answer_lesson(session: Session, course_id: str, lesson_id: str, status: int = 200) -> Response:
    session.flush()
    found = course_view.get_lesson(session, None, course_id, lesson_id, staff=True)
    response = answer_json(StaffLessonAnswer.model_validate(found), status)
    response.headers["ETag"] = f'"{found["version"]}"'
    return response


@contextmanager
def _refusals(not_found: str = "course_not_found") -> Iterator[None]:
    """Turn what the rules refuse into problems."""
    try:
        yield
    except NotFound as refusal:
        raise Problem(not_found, f"{str(refusal).capitalize()}.") from None
    except course_editing.StaleVersion as refusal:
        headers = {"ETag": f'"{refusal.current}"'}
        raise Problem("stale_version", headers=headers) from None
    except course_editing.SlugTaken:
        raise Problem("slug_taken") from None
    except course_editing.NotPublishable as refusal:
        raise Problem("course_not_publishable", f"{str(refusal).capitalize()}.") from None
    except course_editing.WrongReference as refusal:
        details = [Detail(pointer=f"/{to_camel(refusal.field)}", detail=str(refusal))]
        raise Problem("wrong_reference", errors=details) from None
