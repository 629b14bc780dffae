"""Stored events: what Stripe and partners told us, what came of each, and having one looked at again."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from flask import Blueprint, request
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from api.auth import requires
from api.errors import Problem, read_query
from api.pages.ops_console import PAGE, Blank, PageQuery, Text, act, cut, notice, own_id, place_of
from api.pages.viewer import load_viewer, render
from db.models.stripe import INBOX_STATES
from db.session import transaction
from domain import events, ops_inbox, staff
from domain.errors import NotFound
from domain.ops_enrollment import Stale, Who

blueprint = Blueprint("ops_inbox", __name__)


class InboxQuery(PageQuery):
    """Of one type, in one state, or the one with this id, ours or the sender's."""

    state: Annotated[Literal["received", "done", "ignored", "waiting", "failed"] | None, Blank] = None
    type: Text = None
    id: Text = None


@blueprint.get("/ops/inbox")
@requires("ops")
def inbox() -> Response:
    """Show a page of events, the newest first."""
    query = read_query(InboxQuery)
    with transaction() as session:
        load_viewer(session)
        rows = ops_inbox.list_events(
            session, state=query.state, type=query.type, id=query.id, limit=PAGE + 1, **place_of(query.cursor)
        )
        types = ops_inbox.list_types(session)
    page = cut(rows, "received_at")
    return render(
        "ops/inbox.html", here="/ops/inbox", page=page, query=query, types=types, states=INBOX_STATES
    )


@blueprint.get("/ops/inbox/<event_id>")
@requires("ops")
def event(event_id: str) -> Response:
    """Show one event: its payload with personal data masked, what came of it, what staff did."""
    return _page(own_id(event_id), {}, 200)


@blueprint.post("/ops/inbox/<event_id>/replay")
@requires("ops")
def replay(event_id: str) -> Response:
    """Have an event looked at again."""
    wanted = own_id(event_id)

    def work(session: Session, who: Who) -> str:
        events.find(session, wanted)
        if ops_inbox.show_event(session, wanted)["version"] != who.version:
            raise Stale(f"event {wanted} has changed")
        events.replay(session, wanted)
        staff.record(
            session, actor=who.actor, action="events.replay", subject=("event", wanted), reason=who.reason
        )
        return f"/ops/inbox/{wanted}?done=event-replayed"

    return act("replay", work, lambda errors, status: _page(wanted, errors, status))


def _page(event_id: str, errors: dict[str, str], status: int) -> Response:
    with transaction() as session:
        load_viewer(session)
        try:
            found: dict[str, Any] = ops_inbox.show_event(session, event_id)
        except NotFound:
            raise Problem("not_found") from None
    return render(
        "ops/event.html",
        status,
        here="/ops/inbox",
        event=found,
        errors=errors,
        typed=request.form,
        notice=notice(),
    )
