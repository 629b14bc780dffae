"""Grading: what waits, longest first; one piece of work with its points and feedback; then the next one.

A page names the version of the work that it shows, so two graders do not overwrite each other.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from flask import Blueprint, Response, request
from flask_babel import gettext as _
from flask_babel import lazy_gettext
from sqlalchemy.orm import Session

from api import flags
from api.auth import current_identity, requires
from api.errors import Problem
from api.pages import answers
from api.pages.ops_console import NOTICES, PAGE, address, notice, own_id
from api.pages.ops_forms import Fields, Wrong, submit
from api.pages.viewer import load_viewer, render
from db.session import transaction
from domain import assignments, grading_desk, grading_queue, quiz_staff
from domain.errors import DomainError, NotFound
from domain.grading_desk import Grade, Grader, NotGradable, OwnWork, ReasonMissing, ScoreTooHigh
from domain.levels import current_curve
from domain.quiz_editing import Who
from domain.quiz_errors import NotGradable as AttemptNotGradable
from domain.quiz_errors import OwnAttempt
from domain.quiz_errors import Stale as StaleAttempt
from domain.quiz_grading import Question
from domain.quiz_staff import Mark, Marked
from domain.student_view import InvalidCursor

blueprint = Blueprint("ops_grading", __name__)

HERE = "/ops/grading"
FEEDBACK_MAX = 5000

NOTICES.update(
    {
        "graded": lazy_gettext("The grade is saved. This is the next one."),
        "graded-last": lazy_gettext("The grade is saved. Nothing else waits."),
    }
)


@blueprint.get(HERE)
@requires("ops")
def queue() -> Response:
    """Show what waits for a grade."""
    try:
        with transaction() as session:
            load_viewer(session)
            found = grading_queue.queue(session, limit=PAGE + 1, cursor=request.args.get("cursor"))
    except InvalidCursor:
        raise Problem("invalid_cursor") from None
    older = address(cursor=found[PAGE - 1].cursor) if len(found) > PAGE else None
    return render("ops/grading.html", here=HERE, notice=notice(), waiting=found[:PAGE], older=older)


@blueprint.get(f"{HERE}/submissions/<submission_id>")
@requires("ops")
@flags.requires("assignments")
def show_submission(submission_id: str) -> Response:
    """Show handed-in work."""
    return _submission(own_id(submission_id))


@blueprint.post(f"{HERE}/submissions/<submission_id>")
@requires("ops")
@flags.requires("assignments")
def grade_submission(submission_id: str) -> Response:
    """Grade handed-in work, and go on to the next."""
    wanted = own_id(submission_id)

    def read(form: Fields) -> tuple[Any, ...]:
        score = form.points("score", 1_000_000)
        feedback = form.text("feedback", most=FEEDBACK_MAX, lines=True)
        return form.whole("version", 0, 2**31), score, feedback, form.text("reason", most=500)

    def work(session: Session, values: tuple[Any, ...]) -> str:
        version, score, feedback, reason = values
        given = Grade(score, feedback, reason or None)
        identity = current_identity()
        grader = Grader(identity.subject, identity.user_id)
        grading_desk.grade(session, current_curve(), wanted, given, expected=version, grader=grader)
        return _next(session, wanted)

    return submit("grade", read, work, lambda errors, status: _submission(wanted, errors, status), _refusal)


@blueprint.get(f"{HERE}/essays/<attempt_id>")
@requires("ops")
@flags.requires("quizzes")
def show_essays(attempt_id: str) -> Response:
    """Show an attempt with its essays."""
    return _essays(own_id(attempt_id))


@blueprint.post(f"{HERE}/essays/<attempt_id>")
@requires("ops")
@flags.requires("quizzes")
def grade_essays(attempt_id: str) -> Response:
    """Give the essays of an attempt their points, and go on to the next."""
    wanted = own_id(attempt_id)
    with transaction() as session:
        essays = [item.question for item in _marked(session, wanted) if _is_essay(item)]

    def read(form: Fields) -> tuple[int, list[Mark]]:
        return form.whole("version", 0, 2**31), [_mark(form, question) for question in essays]

    def work(session: Session, values: tuple[int, list[Mark]]) -> str:
        version, marks = values
        given = quiz_staff.Given(version, marks, current_identity().user_id)
        who = Who(current_identity().subject, request.form.get("reason", "").strip()[:500] or None)
        quiz_staff.grade(session, current_curve(), wanted, given, who)
        session.flush()
        return _next(session, wanted)

    return submit("grade", read, work, lambda errors, status: _essays(wanted, errors, status), _refusal)


def _mark(form: Fields, question: Question) -> Mark:
    earned = form.points(f"earned-{question.id}", question.points)
    feedback = form.text(f"feedback-{question.id}", most=FEEDBACK_MAX, lines=True)
    return Mark(question.id, Decimal(earned), feedback or None)


def _next(session: Session, done: str) -> str:
    """Return the address of what has waited longest now."""
    found = grading_queue.following(session, done)
    if found is None:
        return f"{HERE}?done=graded-last"
    return f"{HERE}/{found.kind}s/{found.id}?done=graded"


def _submission(wanted: str, errors: dict[str, str] | None = None, status: int = 200) -> Response:
    try:
        with transaction() as session:
            load_viewer(session)
            work = assignments.load(session, wanted)
            about = grading_queue.about(session, "submission", wanted)
            versions = grading_desk.versions(session, wanted)
    except NotFound:
        raise Problem("not_found") from None
    values = {"work": work, "about": about, "versions": versions, "gradable": grading_desk.GRADABLE}
    return _render("ops/grading_submission.html", status, errors, **values)


def _essays(wanted: str, errors: dict[str, str] | None = None, status: int = 200) -> Response:
    with transaction() as session:
        load_viewer(session)
        marked = _marked(session, wanted)
        attempt, _questions = quiz_staff.view(session, wanted)
        about = grading_queue.about(session, "essay", wanted)
        values = {"attempt": _plain(attempt), "about": about, "questions": [_tell(item) for item in marked]}
    return _render("ops/grading_essay.html", status, errors, **values)


def _marked(session: Session, wanted: str) -> list[Marked]:
    try:
        return quiz_staff.view(session, wanted)[1]
    except NotFound:
        raise Problem("not_found") from None


def _plain(attempt: Any) -> dict[str, Any]:
    names = ("id", "state", "version", "number", "submitted_at", "earned", "possible", "passed")
    return {name: getattr(attempt, name) for name in names}


def _tell(item: Marked) -> dict[str, Any]:
    """Return a question with its answer in words."""
    question, essay = item.question, item.question.type == "essay"
    said = item.answer if essay else answers.say(question, item.answer)  # type: ignore[arg-type]
    return {"question": question, "essay": _is_essay(item), "answer": said, "mark": item.mark}


def _is_essay(item: Marked) -> bool:
    return item.question.type == "essay" and item.answer is not None


def _render(template: str, status: int, errors: dict[str, str] | None, **values: Any) -> Response:
    typed = request.form if errors else None
    return render(template, status, here=HERE, notice=notice(), errors=errors or {}, typed=typed, **values)


def _refusal(error: DomainError) -> Wrong | None:
    match error:
        case assignments.Stale() | StaleAttempt():
            return Wrong(
                version=_(
                    "Somebody changed this since you opened it. Look at it as it is now, then save again."
                )
            )
        case OwnWork() | OwnAttempt():
            return Wrong(version=_("This is your own work; somebody else has to grade it."))
        case NotGradable() | AttemptNotGradable():
            return Wrong(version=_("This cannot be graded now: it was returned, or has not been handed in."))
        case ScoreTooHigh():
            return Wrong(score=_("The points are more than this work can have."))
        case ReasonMissing():
            return Wrong(reason=_("Say why; a grade that stands is changed only with a reason."))
    return None
