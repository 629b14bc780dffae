"""Our own courses, as the students who are signed in see them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from flask import Blueprint, Response
from pydantic import BaseModel, Field

from api.auth import current_user_id, requires_user
from api.enrollments import check_uuid
from api.errors import Problem, read_query
from api.student import CamelModel, PageQuery, Uuid
from api.xp import answer_json
from db.session import transaction
from domain import course_view
from domain.course_fields import TEXT, Difficulty, Slug
from domain.errors import NotFound
from domain.student_view import InvalidCursor
from domain.xp_errors import NotEnrolled

blueprint = Blueprint("courses", __name__)

Search = Annotated[str, Field(max_length=200, pattern=TEXT)]


class CategoryName(CamelModel):
    """The shelf that a course stands on."""

    slug: str
    name: str


class CategoryAnswer(CategoryName):
    """A shelf of the catalogue; `courseCount` counts its published courses."""

    id: Uuid
    course_count: int


class Categories(BaseModel):
    """All of them at once, by name."""

    data: list[CategoryAnswer]
    has_more: bool = False
    next_cursor: str | None = None


class MyEnrollment(CamelModel):
    """One's own enrolment in the course."""

    id: Uuid
    enrolled_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    completion_percentage: int
    xp_earned: int


class CourseSummary(CamelModel):
    """A course in a list. `lessonCount` counts published lessons; `enrollment` is one's own, null without one."""

    id: Uuid
    slug: str
    title: str
    description: str
    image_url: str | None
    category: CategoryName | None
    difficulty: Difficulty
    estimated_hours: float | None
    xp_reward: int
    published: bool
    lesson_count: int
    enrollment: MyEnrollment | None
    created_at: datetime
    updated_at: datetime


class Courses(BaseModel):
    """A page, newest first."""

    data: list[CourseSummary]
    has_more: bool
    next_cursor: str | None


class LessonSummary(CamelModel):
    """A lesson of a course. `completedAt` is one's own, null until then."""

    id: Uuid
    slug: str
    title: str
    description: str
    position: int
    xp_reward: int
    completed_at: datetime | None


class LessonAnswer(LessonSummary):
    """A lesson with its text, Markdown as it was written."""

    course_id: Uuid
    body: str
    video_url: str | None


class AttachmentAnswer(CamelModel):
    """A file of the course. `url` is null until one is enrolled."""

    id: Uuid
    name: str
    url: str | None


class Prerequisite(CamelModel):
    """A course that has to be completed first, and whether it is."""

    id: Uuid
    slug: str
    title: str
    completed: bool


class CourseParts(CourseSummary):
    """A course with what belongs to it, but for its lessons."""

    attachments: list[AttachmentAnswer]
    prerequisites: list[Prerequisite]


class CourseAnswer(CourseParts):
    """A course with its published lessons in their order."""

    lessons: list[LessonSummary]


class CoursesQuery(PageQuery):
    """Which courses: `category` is a slug, `q` words that all occur in title or description, in any case of letters."""

    category: Slug | None = None
    difficulty: Difficulty | None = None
    q: Search | None = None


@blueprint.get("/api/courses")
@requires_user
def list_courses() -> Response:
    """Return a page of the published courses."""
    query = read_query(CoursesQuery)
    wanted = course_view.Wanted(category=query.category, difficulty=query.difficulty, search=query.q)
    try:
        with transaction() as session:
            page = course_view.list_courses(
                session, current_user_id(), wanted, limit=query.limit, cursor=query.cursor
            )
    except InvalidCursor:
        raise Problem("invalid_cursor") from None
    data = [CourseSummary.model_validate(item) for item in page.items]
    return answer_json(
        Courses(data=data, has_more=page.next_cursor is not None, next_cursor=page.next_cursor)
    )


@blueprint.get("/api/courses/<course_id>")
@requires_user
def get_course(course_id: str) -> Response:
    """Return a course with its lessons and the caller's progress."""
    wanted = path_id(course_id, "course_not_found")
    try:
        with transaction() as session:
            found = course_view.get_course(session, current_user_id(), wanted)
    except NotFound:
        raise Problem("course_not_found") from None
    return answer_json(CourseAnswer.model_validate(found))


@blueprint.get("/api/courses/<course_id>/lessons/<lesson_id>")
@requires_user
def get_lesson(course_id: str, lesson_id: str) -> Response:
    """Return a lesson's text to somebody who is enrolled."""
    course, lesson = path_id(course_id, "course_not_found"), path_id(lesson_id, "lesson_not_found")
    try:
        with transaction() as session:
            found = course_view.get_lesson(session, current_user_id(), course, lesson)
    except NotFound:
        raise Problem("lesson_not_found") from None
    except NotEnrolled:
        raise Problem("not_enrolled") from None
    return answer_json(LessonAnswer.model_validate(found))


@blueprint.get("/api/categories")
@requires_user
def list_categories() -> Response:
    """Return the shelves of the catalogue."""
    with transaction() as session:
        rows = course_view.list_categories(session)
    return answer_json(Categories(data=[CategoryAnswer.model_validate(row) for row in rows]))


def path_id(raw: str, problem: str) -> str:
    """Return an id in the address; raise this 404 for what is no uuid."""
    try:
        return check_uuid(raw)
    except ValueError:
        raise Problem(problem) from None
