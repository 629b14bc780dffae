"""The catalogue of our own courses, and a course with all that belongs to it."""

from __future__ import annotations

from typing import Annotated, Any

from flask import Blueprint, Response, g, redirect, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from pydantic import BeforeValidator
from sqlalchemy.orm import Session

from api.auth import current_user_id, requires_user
from api.courses import CoursesQuery, Search, path_id
from api.errors import Problem, read_query
from api.pages.forms import go_once
from api.pages.markdown import render as markdown
from api.pages.viewer import load_viewer, render
from api.student import PageQuery
from db.session import transaction
from domain import assignments, certificates, course_view, courses, quizzes
from domain.course_fields import Difficulty, Slug
from domain.errors import NotFound
from domain.student_view import InvalidCursor, encode_moment

# Quizzes and assignments of a course that are shown at once.
PARTS = 50

blueprint = Blueprint("course_pages", __name__)
# A form sends the fields that were left empty, too.
Empty = BeforeValidator(lambda raw: raw or None)


class CatalogueQuery(CoursesQuery):
    """What the catalogue is narrowed to; empty fields do not narrow it."""

    category: Annotated[Slug | None, Empty] = None
    difficulty: Annotated[Difficulty | None, Empty] = None
    q: Annotated[Search | None, Empty] = None


class CourseQuery(PageQuery):
    """Where the lists of a course go on, and whether one has just been enrolled."""

    quizzes: str | None = None
    assignments: str | None = None
    enrolled: bool = False


@blueprint.get("/courses")
@requires_user
def catalogue() -> Response:
    """Show the published courses, newest first, with what the student has of each."""
    query, user_id = read_query(CatalogueQuery), current_user_id()
    wanted = course_view.Wanted(category=query.category, difficulty=query.difficulty, search=query.q)
    try:
        with transaction() as session:
            load_viewer(session)
            page = course_view.list_courses(session, user_id, wanted, limit=query.limit, cursor=query.cursor)
            first = course_view.list_prerequisites(session, user_id, [item["id"] for item in page.items])
            shelves = course_view.list_categories(session)
    except InvalidCursor:
        raise Problem("invalid_cursor") from None
    narrowed: dict[str, Any] = {"category": query.category, "difficulty": query.difficulty, "q": query.q}
    older = page.next_cursor and url_for("course_pages.catalogue", cursor=page.next_cursor, **narrowed)
    shown = [{**item, "prerequisites": first[item["id"]]} for item in page.items]
    return render(
        "student/course_list.html", courses=shown, older=older, shelves=shelves, wanted=wanted, query=query
    )


@blueprint.get("/courses/<course_id>")
@requires_user
def course(course_id: str) -> Response:
    """Show a course: what is in it, how far the student is, and how to get in."""
    return _show(path_id(course_id, "course_not_found"), read_query(CourseQuery))


@blueprint.post("/courses/<course_id>/enroll")
@requires_user
def enroll(course_id: str) -> ResponseReturnValue:
    """Enrol the student; whoever is enrolled already is led to the course."""
    wanted = path_id(course_id, "course_not_found")

    def work(session: Session) -> str:
        courses.enroll(session, current_user_id(), wanted)
        return url_for("course_pages.course", course_id=wanted, enrolled=1)

    try:
        return go_once(work)
    except NotFound:
        raise Problem("course_not_found") from None
    except courses.AlreadyEnrolled:
        return _redirect(wanted)
    except courses.PrerequisitesMissing:
        errors = {"first": _("Complete the courses that come first.")}
        return _show(wanted, CourseQuery(), errors=errors, status=422)


def _redirect(course_id: str) -> ResponseReturnValue:
    return redirect(url_for("course_pages.course", course_id=course_id), 303)


def _show(
    course_id: str, query: CourseQuery, *, errors: dict[str, str] | None = None, status: int = 200
) -> Response:
    try:
        with transaction() as session:
            load_viewer(session)
            found = course_view.get_course(session, current_user_id(), course_id)
            parts = _parts(session, course_id, query) if found["enrollment"] else {}
    except NotFound:
        raise Problem("course_not_found") from None
    except InvalidCursor:
        raise Problem("invalid_cursor") from None
    ahead = next((lesson for lesson in found["lessons"] if lesson["completed_at"] is None), None)
    missing = [item for item in found["prerequisites"] if not item["completed"]]
    return render(
        "student/course_page.html",
        status,
        course=found,
        about=markdown(found["description"]),
        ahead=ahead,
        missing=missing,
        errors=errors or {},
        query=query,
        **parts,
    )


def _parts(session: Session, course_id: str, query: CourseQuery) -> dict[str, Any]:
    """Return what somebody who is enrolled has besides lessons, as far as it is switched on."""
    user_id, found = current_user_id(), dict[str, Any]()
    if g.features["quizzes"]:
        page = quizzes.list_quizzes(session, user_id, course_id, limit=PARTS, cursor=query.quizzes)
        found["quizzes"] = page.items
        found["more_quizzes"] = _more(course_id, quizzes=page.next_cursor)
    if g.features["assignments"]:
        rows = assignments.list_for(
            session, user_id, course_id=course_id, limit=PARTS, cursor=query.assignments
        )
        shown = rows[:PARTS]
        cursor = encode_moment(shown[-1].created_at, shown[-1].id) if len(rows) > PARTS else None
        found["assignments"] = shown
        found["more_assignments"] = _more(course_id, assignments=cursor)
    if g.features["certificates"]:
        found["certificate"] = certificates.find_valid(session, user_id, course_id)
    return found


def _more(course_id: str, **cursor: Any) -> str | None:
    if not any(cursor.values()):
        return None
    return url_for("course_pages.course", course_id=course_id, **cursor)
