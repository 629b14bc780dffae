"""Events that could not be placed: what is missing, supplying it, letting one go."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request
from flask_babel import gettext as _
from flask_babel import lazy_gettext
from sqlalchemy.orm import Session

from api.auth import requires
from api.errors import Problem
from api.pages.ops_console import NOTICES, PAGE, cut, notice, own_id, place_of
from api.pages.ops_forms import Fields, Wrong, actor, submit
from api.pages.viewer import load_viewer, render
from db.session import transaction
from domain import waiting
from domain.errors import DomainError, NotFound
from domain.waiting import Unknown

blueprint = Blueprint("ops_waiting", __name__)

HERE = "/ops/waiting"

NOTICES.update(
    {
        "completed": lazy_gettext("The event has what it lacked and is looked at again."),
        "dismissed": lazy_gettext("The event was dismissed; nothing was opened for it."),
    }
)


@blueprint.get(HERE)
@requires("ops")
def list_waiting() -> Response:
    """Show events that wait for a person, the longest waiting first."""
    with transaction() as session:
        load_viewer(session)
        rows = waiting.list_waiting(session, limit=PAGE + 1, **place_of(request.args.get("cursor")))
    return render("ops/waiting.html", here=HERE, notice=notice(), page=cut(rows, "received_at"))


@blueprint.get(f"{HERE}/<event_id>")
@requires("ops")
def show(event_id: str) -> Response:
    """Show one event with what it lacks."""
    return _page(own_id(event_id))


@blueprint.post(f"{HERE}/<event_id>/complete")
@requires("ops")
def complete(event_id: str) -> Response:
    """Supply who bought what, and have the event looked at again."""
    wanted = own_id(event_id)

    def read(form: Fields) -> tuple[str, ...]:
        student = form.text("student", most=254, needed=_("Name the student by address or id."))
        partner = form.text("partner", needed=_("Choose the partner."))
        course = form.text("course", needed=_("Name the course by its code or name."))
        return student, partner, course, form.reason()

    def work(session: Session, values: tuple[str, ...]) -> str:
        student, partner, course, reason = values
        found = waiting.look_up(session, student=student, partner=partner, course=course)
        waiting.complete(session, wanted, found, actor=actor(), reason=reason)
        return f"{HERE}?done=completed"

    return submit("complete", read, work, lambda errors, status: _page(wanted, errors, status), _refusal)


@blueprint.post(f"{HERE}/<event_id>/dismiss")
@requires("ops")
def dismiss(event_id: str) -> Response:
    """Let an event go."""
    wanted = own_id(event_id)

    def work(session: Session, reason: str) -> str:
        waiting.dismiss(session, wanted, actor=actor(), reason=reason)
        return f"{HERE}?done=dismissed"

    return submit(
        "dismiss",
        lambda form: form.reason(),
        work,
        lambda errors, status: _page(wanted, errors, status),
    )


def _refusal(error: DomainError) -> Wrong | None:
    match error:
        case Unknown(field="student"):
            return Wrong(student=_("No student has this address or id."))
        case Unknown(field="partner"):
            return Wrong(partner=_("Choose a partner of the list."))
        case Unknown(found=[]):
            return Wrong(course=_("This partner has no course with this code or name."))
        case Unknown(found=found):
            return Wrong(
                course=_("Several courses fit; name one by its code: %(found)s", found="; ".join(found))
            )
    return None


def _page(event_id: str, errors: dict[str, str] | None = None, status: int = 200) -> Response:
    try:
        with transaction() as session:
            load_viewer(session)
            found = waiting.show(session, event_id)
            partners = waiting.partners(session)
    except NotFound:
        raise Problem("not_found") from None
    names, given = found["names"], found["given"]
    # What is known already stands in the form.
    typed: dict[str, Any] = {
        "student": names["studentId"] or "",
        "partner": given.get("partnerId", "") if names["partnerId"] else "",
        "course": given.get("courseId", "") if names["courseId"] else "",
    }
    values = {"event": found, "partners": partners, "typed": request.form if errors else typed}
    return render("ops/waiting_event.html", status, here=HERE, notice=notice(), errors=errors or {}, **values)
