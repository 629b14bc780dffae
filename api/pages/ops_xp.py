"""A student's XP for staff: the ledger, what a reversal would change, reversals, adjustments."""

from __future__ import annotations

import uuid
from typing import Any

from flask import Blueprint, Response, request
from flask_babel import gettext as _
from flask_babel import lazy_gettext
from sqlalchemy.orm import Session

from api.auth import requires
from api.errors import Problem
from api.idempotency import caller_hash
from api.pages import words
from api.pages.ops_console import NOTICES, address, notice, own_id
from api.pages.ops_forms import Fields, Wrong, actor, submit
from api.pages.viewer import load_viewer, render
from db.session import transaction
from domain import people_view, staff, xp_corrections, xp_preview, xp_view
from domain.errors import DomainError, NotFound, NotPossible
from domain.levels import current_curve
from domain.student_view import InvalidCursor
from domain.xp_corrections import ADJUSTMENT_MAX, Posted
from domain.xp_errors import BelowZero, ReversedBefore

blueprint = Blueprint("ops_xp_pages", __name__)

HERE = "/ops/students"
PAGE = 30

NOTICES.update(
    {
        "xp-adjusted": lazy_gettext("The adjustment is in the ledger."),
        "xp-reversed": lazy_gettext("The award is taken back, with what followed from it."),
    }
)


@blueprint.get(f"{HERE}/<user_id>/xp")
@requires("ops")
def ledger(user_id: str) -> Response:
    """Show the ledger, newest first, with the balance after each entry."""
    return _ledger(own_id(user_id))


@blueprint.post(f"{HERE}/<user_id>/xp/adjust")
@requires("ops")
def adjust(user_id: str) -> Response:
    """Give or take XP by hand."""
    wanted = own_id(user_id)

    def read(form: Fields) -> tuple[int, str]:
        amount = form.whole("amount", -ADJUSTMENT_MAX, ADJUSTMENT_MAX)
        if amount == 0:
            form.errors.setdefault("amount", _("Write an amount that is not 0."))
        return amount, form.reason()

    def work(session: Session, values: tuple[int, str]) -> str:
        amount, reason = values
        # The form's own key keeps it from being done twice; the ledger wants one in any case.
        key = f"{caller_hash()[:16]}:{uuid.uuid4()}"
        posted = xp_corrections.adjust(session, current_curve(), wanted, amount, transport_key=key)
        if posted.entries:
            _record(session, "xp.adjust", posted, reason, {"amount": amount})
        return f"{HERE}/{wanted}/xp?done=xp-adjusted"

    return submit("adjust", read, work, lambda errors, status: _ledger(wanted, errors, status), _refusal)


@blueprint.get(f"{HERE}/<user_id>/xp/<entry_id>/reverse")
@requires("ops")
def preview(user_id: str, entry_id: str) -> Response:
    """Show what reversing an award would change, before it is done."""
    return _preview(own_id(user_id), own_id(entry_id))


@blueprint.post(f"{HERE}/<user_id>/xp/<entry_id>/reverse")
@requires("ops")
def reverse(user_id: str, entry_id: str) -> Response:
    """Reverse an award and what followed from it."""
    wanted, entry = own_id(user_id), own_id(entry_id)

    def work(session: Session, reason: str) -> str:
        found = _entry(session, wanted, entry)
        posted = xp_corrections.reverse(
            session, current_curve(), str(found["id"]), reason="reversed_by_staff"
        )
        _record(session, "xp.reverse", posted, reason, {"reversed": entry})
        return f"{HERE}/{wanted}/xp?done=xp-reversed"

    return submit(
        "reverse",
        lambda form: form.reason(),
        work,
        lambda errors, status: _preview(wanted, entry, errors, status),
        _refusal,
    )


def _ledger(user_id: str, errors: dict[str, str] | None = None, status: int = 200) -> Response:
    try:
        with transaction() as session:
            load_viewer(session)
            person = people_view.person(session, user_id)
            standing = xp_view.standing(session, current_curve(), user_id)
            cursor = request.args.get("cursor")
            page = xp_view.list_entries(session, user_id, view="audit", limit=PAGE, cursor=cursor)
    except NotFound:
        raise Problem("not_found") from None
    except InvalidCursor:
        raise Problem("invalid_cursor") from None
    values = {
        "here": HERE,
        "notice": notice(),
        "person": person,
        "standing": standing,
        "entries": [words.tell_entry(entry, {}) for entry in page.items],
        "older": address(cursor=page.next_cursor) if page.next_cursor else None,
        "errors": errors or {},
        "typed": request.form,
    }
    return render("ops/student_xp.html", status, **values)


def _preview(
    user_id: str, entry_id: str, errors: dict[str, str] | None = None, status: int = 200
) -> Response:
    try:
        with transaction() as session:
            load_viewer(session)
            person = people_view.person(session, user_id)
            entry = _entry(session, user_id, entry_id)
            refused, found = None, None
            try:
                found = xp_preview.preview(session, current_curve(), user_id, entry_id)
            except ReversedBefore:
                refused = _("This award has been taken back before.")
            except NotPossible:
                refused = _("Only an award can be taken back; this entry is none.")
    except NotFound:
        raise Problem("not_found") from None
    values: dict[str, Any] = {"here": HERE, "person": person, "entry": words.tell_entry(entry, {})}
    values |= {"preview": found, "refused": refused, "errors": errors or {}, "typed": request.form}
    return render("ops/student_reversal.html", status, **values)


def _entry(session: Session, user_id: str, entry_id: str) -> dict[str, Any]:
    found = xp_preview.find_entry(session, user_id, entry_id)
    if found is None:
        raise NotFound(f"user {user_id} has no entry {entry_id}")
    return found


def _refusal(error: DomainError) -> Wrong | None:
    match error:
        case BelowZero():
            return Wrong(amount=_("The total would fall below 0. Take less."))
        case ReversedBefore():
            return Wrong(reason=_("This award has been taken back before."))
        case NotFound():
            return None
        case NotPossible():
            return Wrong(reason=_("Only an award can be taken back; this entry is none."))
    return None


def _record(session: Session, action: str, posted: Posted, reason: str, detail: dict[str, object]) -> None:
    subject = ("user", posted.user_id)
    detail |= {"transaction": posted.entry_id, "entries": posted.entries}
    staff.record(session, actor=actor(), action=action, subject=subject, reason=reason, detail=detail)
