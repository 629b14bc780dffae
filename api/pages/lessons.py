"""A lesson: its text, marking it as completed, and what that gave."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, redirect, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from api.auth import current_user_id, requires_user
from api.courses import path_id
from api.errors import Problem
from api.pages.forms import go_once
from api.pages.markdown import render as markdown
from api.pages.viewer import load_viewer, render
from db.session import transaction
from domain import course_view, xp, xp_view
from domain.errors import NotFound
from domain.levels import current_curve
from domain.xp_errors import CompletedBefore, NoLesson, NotEnrolled

blueprint = Blueprint("lesson_pages", __name__)


@blueprint.get("/courses/<course_id>/lessons/<lesson_id>")
@requires_user
def lesson(course_id: str, lesson_id: str) -> ResponseReturnValue:
    """Show a lesson to somebody who is enrolled; everybody else is led to its course."""
    wanted, wanted_lesson, user_id = *_ids(course_id, lesson_id), current_user_id()
    try:
        with transaction() as session:
            load_viewer(session)
            found = course_view.get_lesson(session, user_id, wanted, wanted_lesson)
            outline = course_view.list_lessons(session, user_id, wanted)
            gain = xp_view.find_gain(session, current_curve(), user_id, "LESSON", found["id"])
    except NotFound:
        raise Problem("lesson_not_found") from None
    except NotEnrolled:
        return redirect(url_for("course_pages.course", course_id=wanted), 303)
    place = next(number for number, item in enumerate(outline) if item["id"] == found["id"])
    return render(
        "student/lesson_page.html",
        lesson=found,
        body=markdown(found["body"]),
        place=place + 1,
        outline=outline,
        before=outline[place - 1] if place else None,
        after=outline[place + 1] if place + 1 < len(outline) else None,
        all_done=all(item["completed_at"] is not None for item in outline),
        gain=gain,
        just_done="done" in request.args,
    )


@blueprint.post("/courses/<course_id>/lessons/<lesson_id>/complete")
@requires_user
def complete(course_id: str, lesson_id: str) -> ResponseReturnValue:
    """Complete the lesson and give its XP; the lesson then says what it gave."""
    wanted, wanted_lesson = _ids(course_id, lesson_id)
    names: dict[str, Any] = {"course_id": wanted, "lesson_id": wanted_lesson}

    def work(session: Session) -> str:
        done = xp.Completion(current_user_id(), wanted, wanted_lesson)
        xp.complete_lesson(session, current_curve(), done)
        return url_for("lesson_pages.lesson", **names, done=1)

    try:
        return go_once(work)
    except CompletedBefore:
        return redirect(url_for("lesson_pages.lesson", **names), 303)
    except NotEnrolled:
        return redirect(url_for("course_pages.course", course_id=wanted), 303)
    except NoLesson:
        raise Problem("lesson_not_found") from None


def _ids(course_id: str, lesson_id: str) -> tuple[str, str]:
    return path_id(course_id, "course_not_found"), path_id(lesson_id, "lesson_not_found")
