"""Quizzes: the rules of one and its attempts; an attempt while it is open, and its result.

The database's clock decides what is in time. The script on the page saves while somebody writes and hands in when the
time is over; what a page that was closed had saved is handed in by a worker.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import Blueprint, Response, jsonify, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import format_time
from sqlalchemy.orm import Session

from api.auth import current_user_id, requires_user
from api.courses import path_id
from api.errors import read_query, wants_html
from api.flags import requires as requires_feature
from api.pages import answers, forms
from api.pages.markdown import render as markdown
from api.pages.viewer import load_viewer, render
from api.quizzes import refusals
from api.student import PageQuery
from db.models import Quiz
from db.session import transaction
from domain import quiz_results, quizzes, xp_view
from domain.levels import current_curve
from domain.quiz_errors import AttemptClosed, NoAttemptsLeft, TimeOver

# Bytes of a form: the longest essays of a quiz that holds many of them.
FORM_MAX = 4_000_000

blueprint = Blueprint("quiz_pages", __name__)


@blueprint.get("/quizzes/<quiz_id>")
@requires_user
@requires_feature("quizzes")
def quiz(quiz_id: str) -> Response:
    """Show a quiz's rules, what is left of it, and one's own attempts."""
    return _show_quiz(path_id(quiz_id, "quiz_not_found"), read_query(PageQuery))


@blueprint.post("/quizzes/<quiz_id>/attempts")
@requires_user
@requires_feature("quizzes")
def start(quiz_id: str) -> ResponseReturnValue:
    """Begin an attempt, or go on with the open one."""
    wanted = path_id(quiz_id, "quiz_not_found")

    def work(session: Session) -> str:
        attempt, _ = quizzes.start(session, current_curve(), current_user_id(), wanted)
        return _address(attempt.id)

    with refusals():
        try:
            return forms.go_once(work)
        except NoAttemptsLeft:
            return _show_quiz(wanted, PageQuery(), 422)


@blueprint.get("/quiz-attempts/<attempt_id>")
@requires_user
@requires_feature("quizzes")
def attempt(attempt_id: str) -> Response:
    """Show one's own attempt: its questions while it is open, its result afterwards."""
    return _show_attempt(path_id(attempt_id, "quiz_attempt_not_found"))


@blueprint.post("/quiz-attempts/<attempt_id>")
@requires_user
@requires_feature("quizzes")
def write(attempt_id: str) -> ResponseReturnValue:
    """Save the answers that changed and, asked to, hand them in. The page's script is answered in JSON.

    What cannot be taken is told, and the rest is saved; nothing is handed in then, but when the time is over (`final`).
    """
    forms.allow(FORM_MAX, FORM_MAX)
    wanted, action = path_id(attempt_id, "quiz_attempt_not_found"), request.form.get("action")
    with transaction() as session, refusals():
        load_viewer(session)
        held = quizzes.view(session, current_user_id(), wanted).attempt
        sheet = answers.read(quiz_results.questions_of(session, held), request.form)
    changed = list(sheet.changed.items())
    with refusals():
        try:
            if action == "final" or (action == "submit" and not sheet.errors):
                return _submit(wanted, changed)
            with transaction() as session:
                saved = quizzes.save(session, current_user_id(), wanted, changed)
        except (AttemptClosed, TimeOver):
            return redirect(_address(wanted), 303)
    if not wants_html():
        marks = {id: answers.mark(saved.answers.get(id)) for id in sheet.changed}
        return jsonify(saved=format_time(saved.saved_at, "short"), was=marks, errors=sheet.errors)
    if sheet.errors:
        return _show_attempt(wanted, sheet)
    return redirect(_address(wanted, saved=1), 303)


def _submit(attempt_id: str, changed: list[tuple[str, Any]]) -> Response:
    def work(session: Session) -> str:
        quizzes.submit(session, current_curve(), current_user_id(), attempt_id, changed)
        return _address(attempt_id)

    return forms.go_once(work)


def _show_quiz(quiz_id: str, query: PageQuery, status: int = 200) -> Response:
    user_id = current_user_id()
    with transaction() as session, refusals():
        load_viewer(session)
        found = quizzes.find(session, user_id, quiz_id)
        page = quizzes.list_attempts(session, user_id, quiz_id, limit=query.limit, cursor=query.cursor)
    older = page.next_cursor and url_for("quiz_pages.quiz", quiz_id=quiz_id, cursor=page.next_cursor)
    minutes = found.time_limit and timedelta(minutes=found.time_limit) * found.time_factor / quizzes.WHOLE
    return render(
        "student/quiz_page.html",
        status,
        quiz=found,
        about=markdown(found.description),
        left=max(0, found.max_attempts - found.attempts_used),
        minutes=minutes and minutes / timedelta(minutes=1),
        attempts=page.items,
        older=older,
    )


def _show_attempt(attempt_id: str, sheet: answers.Sheet | None = None) -> Response:
    user_id = current_user_id()
    with transaction() as session, refusals():
        load_viewer(session)
        found = quizzes.view(session, user_id, attempt_id)
        quiz = session.get_one(Quiz, found.attempt.quiz_id)
        gain = None
        if found.attempt.passed:
            gain = xp_view.find_gain(session, current_curve(), user_id, "QUIZ", quiz.id)
    values: dict[str, Any] = {
        "quiz": quiz,
        "attempt": found.attempt,
        "questions": found.questions,
        "now": found.now,
    }
    if found.attempt.state != "open":
        return render("student/quiz_result.html", **values, view=found, gain=gain, say=answers.say)
    deadline = found.attempt.deadline_at
    if deadline is not None and found.now > deadline:
        return render("student/quiz_over.html", **values)
    typed = {} if sheet is None else sheet.typed
    return render(
        "student/quiz_attempt.html",
        200 if sheet is None else 422,
        **values,
        errors={} if sheet is None else sheet.errors,
        typed={item.id: typed.get(item.id, answers.as_typed(item)) for item in found.questions},
        was={item.id: answers.mark(item.answer) for item in found.questions},
        left=deadline and deadline - found.now,
        saved="saved" in request.args,
    )


def _address(attempt_id: str, **values: Any) -> str:
    return url_for("quiz_pages.attempt", attempt_id=attempt_id, **values)
