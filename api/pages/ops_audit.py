"""What staff did: every action with filters, page by page, and as a file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any

from flask import Blueprint, Response, g, request
from pydantic import BeforeValidator

from api.auth import requires
from api.errors import read_query
from api.pages.ops_console import PAGE, PageQuery, Text, address, cut, notice, place_of
from api.pages.ops_forms import actor
from api.pages.viewer import load_viewer, render
from db.session import transaction
from domain import audit, manual_csv, staff
from domain.audit import Filter
from domain.streaks import start_of

blueprint = Blueprint("ops_audit", __name__)

HERE = "/ops/audit"
Day = Annotated[date | None, BeforeValidator(lambda value: value or None)]


class AuditQuery(PageQuery):
    """Filters; dates are of the reader's own calendar, both included."""

    actor: Text = None
    action: Text = None
    subject: Text = None
    since: Day = None
    until: Day = None


@blueprint.get(HERE)
@requires("ops")
def show() -> Response:
    """Show actions, the newest first."""
    query = read_query(AuditQuery)
    with transaction() as session:
        load_viewer(session)
        place = place_of(query.cursor)
        rows = audit.list_actions(session, _filter(query), limit=PAGE + 1, **place)
    values: dict[str, Any] = {"page": cut(rows), "query": query, "filtered": _filter(query) != Filter()}
    export = address(cursor="").replace(HERE, f"{HERE}.csv", 1)
    return render("ops/audit.html", here=HERE, notice=notice(), export=export, most=audit.MOST, **values)


@blueprint.get(f"{HERE}.csv")
@requires("ops")
def export() -> Response:
    """Return the actions of a filter as a file, written batch by batch. Taking it is an action, too."""
    query = read_query(AuditQuery)
    with transaction() as session:
        load_viewer(session)
        wanted = _filter(query)
        asked = {name: value for name, value in request.args.items() if value and name != "cursor"}
        subject = ("audit", None)
        staff.record(
            session, actor=actor(), action="audit.export", subject=subject, reason=None, detail=asked
        )
    response = Response(_lines(wanted), mimetype="text/csv")
    name = f"audit-{datetime.now(UTC):%Y-%m-%d}.csv"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _lines(wanted: Filter) -> Iterator[str]:
    """Yield the file: the header, then some rows at a time, each read in a short transaction."""
    yield _csv([audit.COLUMNS])
    at, last, left = None, None, audit.MOST
    while left > 0:
        with transaction() as session:
            rows = audit.list_actions(session, wanted, limit=min(audit.BATCH, left), at=at, last=last)
        yield _csv([_cell(row[name]) for name in audit.COLUMNS] for row in rows)
        if len(rows) < audit.BATCH:
            return
        left -= len(rows)
        at, last = rows[-1]["created_at"], str(rows[-1]["id"])


def _csv(rows: Iterable[Sequence[object]]) -> str:
    """Return lines of a file; what a spreadsheet would take for a formula is escaped."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(map(manual_csv.escape, row) for row in rows)
    return out.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value


def _filter(query: AuditQuery) -> Filter:
    """Return the filter; days begin at the midnight of whoever reads."""
    return Filter(
        actor=query.actor,
        action=query.action,
        subject=query.subject,
        since=_midnight(query.since),
        until=_midnight(query.until, timedelta(days=1)),
    )


def _midnight(day: date | None, later: timedelta = timedelta(0)) -> datetime | None:
    if day is None:
        return None
    day = min(max(day, date(1970, 1, 1)), date(9990, 1, 1)) + later
    zone = g.get("time_zone")
    return datetime.combine(day, time(), UTC) if zone is None else start_of(zone, day)
