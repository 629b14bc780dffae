"""Students for staff: finding them, one with everything about them, and exceptions. Each look is written down (`api/access_log.py`)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, request
from flask_babel import gettext as _
from flask_babel import lazy_gettext
from sqlalchemy.orm import Session

from api.auth import requires
from api.errors import Problem
from api.pages.ops_console import NOTICES, address, notice, own_id, seal, unseal
from api.pages.ops_forms import Fields, Wrong, actor, submit
from api.pages.viewer import load_viewer, render
from db.session import transaction
from domain import certificates, people_search, people_view, quiz_staff, staff, streak_grants
from domain.certificates import NameMissing, NotValid
from domain.errors import DomainError, NotFound, NotPossible
from domain.orders import is_uuid
from domain.quiz_editing import Who
from domain.quiz_errors import NoQuiz
from domain.streak_grants import WrongDate
from domain.streaks import FREEZES

blueprint = Blueprint("ops_students", __name__)

HERE = "/ops/students"
PAGE = 25
# Letters of an address that are needed before anything is looked for.
LEAST = 2

NOTICES.update(
    {
        "freeze": lazy_gettext("The student has one more freeze."),
        "rest": lazy_gettext("The rest days are saved."),
        "rest-ended": lazy_gettext("The rest days end. What they covered stays covered."),
        "accommodated": lazy_gettext("Saved. It holds for attempts that begin from now on."),
        "certificate-revoked": lazy_gettext("The certificate is revoked, and its public page says so."),
        "certificate-reissued": lazy_gettext(
            "A new certificate replaces the old one, and the student gets a mail."
        ),
    }
)


@blueprint.get(HERE)
@requires("ops")
def search() -> Response:
    """Find people by address, or by an id of Stripe, a partner or ours."""
    wanted = " ".join(request.args.get("q", "").split())[: people_search.WANTED_MAX].replace("\0", "")
    cursor = request.args.get("cursor")
    after = unseal(cursor)[0] if cursor else ""
    by = ""
    found: list[dict[str, Any]] = []
    with transaction() as session:
        load_viewer(session)
        if len(wanted) >= LEAST:
            by, found = people_search.find(session, wanted, limit=PAGE + 1, after=after)
    older = address(cursor=seal(found[PAGE - 1]["email"].lower())) if len(found) > PAGE else None
    values: dict[str, Any] = {"q": wanted, "by": by, "people": found[:PAGE], "older": older}
    return render("ops/students.html", here=HERE, least=LEAST, **values)


@blueprint.get(f"{HERE}/<user_id>")
@requires("ops")
def show(user_id: str) -> Response:
    """Show one student."""
    wanted = own_id(user_id)
    with transaction() as session:
        load_viewer(session)
        found = _load(session, wanted)
    return _page(found)


@blueprint.post(f"{HERE}/<user_id>/freeze")
@requires("ops")
def freeze(user_id: str) -> Response:
    """Give a freeze, as of a date of the last week where one is named."""
    wanted = own_id(user_id)

    def work(session: Session, values: tuple[Any, str]) -> str:
        on, reason = values
        found = streak_grants.grant_freeze(session, wanted, on)
        detail = {"date": str(on or found.today)}
        _record(session, "streak.freeze", wanted, reason, detail)
        return _address(wanted, "freeze")

    return submit("freeze", lambda form: (form.day("date"), form.reason()), work, _again(wanted), _refusal)


@blueprint.post(f"{HERE}/<user_id>/rest")
@requires("ops")
def add_rest(user_id: str) -> Response:
    """Name rest days of one student."""
    wanted = own_id(user_id)

    def read(form: Fields) -> tuple[Any, ...]:
        weekday = form.whole("weekday", 0, 7)
        return weekday or None, form.day("first_date", needed=True), form.day("last_date"), form.reason()

    def work(session: Session, values: tuple[Any, ...]) -> str:
        weekday, first, last, reason = values
        made = streak_grants.add_rest(session, wanted, weekday, first, last, datetime.now(UTC))
        detail = {"rest": str(made["id"]), "first": str(first), "last": str(last), "weekday": weekday}
        _record(session, "streak.rest", wanted, reason, detail)
        return _address(wanted, "rest")

    return submit("rest", read, work, _again(wanted), _refusal)


@blueprint.post(f"{HERE}/<user_id>/rest/<rest_id>/end")
@requires("ops")
def end_rest(user_id: str, rest_id: str) -> Response:
    """End rest days of one student."""
    wanted, which = own_id(user_id), own_id(rest_id)

    def work(session: Session, reason: str) -> str:
        if which not in {str(row["id"]) for row in _load(session, wanted)["rests"]}:
            raise NotFound("these are nobody's rest days here")
        streak_grants.end_rest(session, which, datetime.now(UTC))
        _record(session, "streak.rest_end", wanted, reason, {"rest": which})
        return _address(wanted, "rest-ended")

    return submit(f"end-{which}", lambda form: form.reason(), work, _again(wanted))


@blueprint.post(f"{HERE}/<user_id>/accommodation")
@requires("ops")
def accommodate(user_id: str) -> Response:
    """Set what a student gets on top in quizzes."""
    wanted = own_id(user_id)

    def read(form: Fields) -> tuple[Any, ...]:
        quiz = form.text("quiz")
        if quiz and not is_uuid(quiz):
            form.errors["quiz"] = _("Paste the quiz's id, or leave this empty for every quiz.")
        percent = form.whole("time", 100, 1000)
        return quiz or None, percent, form.whole("attempts", 0, 1000), form.reason()

    def work(session: Session, values: tuple[Any, ...]) -> str:
        quiz, percent, attempts, reason = values
        quiz_staff.accommodate(session, wanted, quiz, percent * 100, attempts, Who(actor(), reason))
        return _address(wanted, "accommodated")

    return submit("accommodation", read, work, _again(wanted), _refusal)


@blueprint.post(f"{HERE}/<user_id>/certificates/<certificate_id>/revoke")
@requires("ops")
def revoke(user_id: str, certificate_id: str) -> Response:
    """Revoke a certificate."""
    return _certificate(user_id, certificate_id, "revoke")


@blueprint.post(f"{HERE}/<user_id>/certificates/<certificate_id>/reissue")
@requires("ops")
def reissue(user_id: str, certificate_id: str) -> Response:
    """Replace a certificate by one with today's name and title."""
    return _certificate(user_id, certificate_id, "reissue")


def _certificate(user_id: str, certificate_id: str, what: str) -> Response:
    wanted, which = own_id(user_id), own_id(certificate_id)

    def work(session: Session, reason: str) -> str:
        certificates.find(session, which, wanted)
        if what == "revoke":
            certificates.revoke(session, which, actor=actor(), reason=reason)
            return _address(wanted, "certificate-revoked")
        certificates.reissue(session, which, actor=actor(), reason=reason)
        return _address(wanted, "certificate-reissued")

    return submit(f"{what}-{which}", lambda form: form.reason(), work, _again(wanted), _refusal)


def _refusal(error: DomainError) -> Wrong | None:
    """Return what the rules refuse in the page's language, beside the field that it is about."""
    match error:
        case WrongDate(field="date"):
            return Wrong(date=_("Choose one of the last 7 days of the student's calendar."))
        case WrongDate(field="first_date"):
            return Wrong(first_date=_("Rest days begin a week ago at the earliest."))
        case WrongDate():
            return Wrong(
                last_date=_(
                    "Choose a last day that is not before the first; a weekday may go on without one."
                )
            )
        case NoQuiz():
            return Wrong(quiz=_("There is no quiz with this id."))
        case NotValid():
            return Wrong(reason=_("The certificate has been revoked or replaced before."))
        case NameMissing():
            return Wrong(reason=_("The student has no name, and a certificate needs one."))
        case NotFound():
            return None
        case NotPossible() if "freezes" in str(error):
            return Wrong(
                date=_("The student has %(most)s freezes, the most that there may be.", most=FREEZES)
            )
    return None


def _again(user_id: str) -> Any:
    """Return what shows the page again with its mistakes."""

    def page(errors: dict[str, str], status: int) -> Response:
        with transaction() as session:
            load_viewer(session)
            found = _load(session, user_id)
        return _page(found, status, errors)

    return page


def _page(found: dict[str, Any], status: int = 200, errors: dict[str, str] | None = None) -> Response:
    values = {
        "here": HERE,
        "notice": notice(),
        "person": found,
        "errors": errors or {},
        "typed": request.form,
    }
    return render("ops/student.html", status, **values, freezes=FREEZES)


def _load(session: Session, user_id: str) -> dict[str, Any]:
    try:
        return people_view.show(session, user_id)
    except NotFound:
        raise Problem("not_found") from None


def _record(session: Session, action: str, user_id: str, reason: str, detail: dict[str, Any]) -> None:
    subject = ("user", user_id)
    staff.record(session, actor=actor(), action=action, subject=subject, reason=reason, detail=detail)


def _address(user_id: str, done: str) -> str:
    return f"{HERE}/{user_id}?done={done}"
