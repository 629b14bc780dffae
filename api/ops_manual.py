"""Partners without an API, for staff: the work items, their export, and progress from a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from flask import Blueprint, Response
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

import api.manual_problems  # noqa: F401 - registers the codes
from api.auth import current_identity, requires
from api.courses import path_id
from api.enrollments import InputModel
from api.errors import Detail, Problem, read_body, read_query
from api.idempotency import answer_once
from api.ops_xp import Reason
from api.preconditions import read_version
from api.student import CamelModel, PageQuery, Uuid
from api.xp import answer_json
from db.session import transaction
from domain import manual_export, manual_lists, manual_progress, manual_work, secrets
from domain.course_fields import WebAddress
from domain.errors import NotFound, NotPossible
from domain.manual_csv import FileWrong
from domain.student_view import InvalidCursor, decode_cursor, encode_moment
from partners.errors import PartnerError
from partners.manual.adapter import ManualOptions, ManualPartner
from partners.registry import get_partner

blueprint = Blueprint("ops_manual", __name__)

PartnerName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$", description="The provider type")]
PartnersId = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Kind = Literal["set_up", "give_back"]
State = Literal["open", "done", "refused", "cancelled"]


class WorkItemsQuery(PageQuery):
    """Of one partner, in one state, of one kind."""

    partner: PartnerName | None = None
    state: State | None = None
    kind: Kind | None = None


class CompleteInput(InputModel):
    """What was done. Without an `enrollmentId` of the partner, our own reference stands for the seat.

    `accessUrl` and `accessCode` are shown to the student in place of the partner's website. `note` is the evidence; it
    goes to the audit and must hold no code.
    """

    note: Reason
    account_id: PartnersId | None = None
    enrollment_id: PartnersId | None = None
    access_url: WebAddress | None = None
    access_code: PartnersId | None = None


class RefuseInput(InputModel):
    """Why it cannot be done."""

    reason: Reason


class ExportInput(InputModel):
    """Which partner's seats are to be set up; with `again` also those that were exported before."""

    partner: PartnerName
    again: bool = False
    reason: Reason | None = None


class ProgressInput(InputModel):
    """A CSV file with a header line. It is only checked unless `go` is true.

    Columns: `enrollment_id`, or `email` and `course_code`; `percentage`, `completed_at`, `certificate_number`,
    `certificate_url`, `certificate_expires`.
    """

    partner: PartnerName
    csv: str = Field(max_length=60_000)
    go: bool = False
    reason: Reason | None = None


class WorkItem(CamelModel):
    """What a person has to do at a partner for one enrolment. Codes are not told."""

    id: Uuid
    kind: Kind
    cause: Literal["by_hand", "no_voucher", "seat", "voucher"]
    state: State
    version: int
    partner: str
    enrollment_id: Uuid
    enrollment_status: str
    student: str
    name: str
    course_code: str
    course_name: str
    external_account_id: str | None
    external_enrollment_id: str | None
    access_url: str | None
    has_access_code: bool
    usual_hours: int
    note: str | None
    exported_at: datetime | None
    exported_by: str | None
    created_at: datetime
    closed_at: datetime | None
    closed_by: str | None


class WorkItems(BaseModel):
    """A page, newest first."""

    data: list[WorkItem]
    has_more: bool
    next_cursor: str | None


class LeftOut(CamelModel):
    """A line that was left out, and why."""

    line: int
    message: str


class ProgressAnswer(CamelModel):
    """What the file would do, or did: `changed` and `certificates` are 0 unless it was written."""

    rows: int
    left_out: list[LeftOut]
    written: bool
    changed: int
    certificates: int


@blueprint.get("/api/ops/manual/items")
@requires("ops")
def list_items() -> Response:
    """Return a page of work items."""
    query = read_query(WorkItemsQuery)
    at, last = place_of(query.cursor)
    with transaction() as session:
        found = manual_lists.list_items(
            session,
            partner=query.partner,
            state=query.state,
            kind=query.kind,
            limit=query.limit + 1,
            at=at,
            last=last,
        )
    more, shown = len(found) > query.limit, found[: query.limit]
    cursor = encode_moment(shown[-1]["created_at"], shown[-1]["id"]) if more else None
    data = [WorkItem.model_validate(item) for item in shown]
    return answer_json(WorkItems(data=data, has_more=more, next_cursor=cursor))


@blueprint.get("/api/ops/manual/items/<item_id>")
@requires("ops")
def get_item(item_id: str) -> Response:
    """Return a work item; the ETag is its version."""
    with transaction() as session, refusals():
        return _answer(session, path_id(item_id, "work_item_not_found"))


@blueprint.post("/api/ops/manual/items/<item_id>/complete")
@requires("ops")
def complete(item_id: str) -> Response:
    """Note what was done: a seat that was set up opens for its student."""
    wanted, values = path_id(item_id, "work_item_not_found"), read_body(CompleteInput)
    version, done = read_version(), manual_work.Done(**values.model_dump())

    def work(session: Session, _key: str | None) -> Response:
        with refusals():
            manual_work.complete(session, wanted, done, actor=actor(), version=version)
            return _answer(session, wanted)

    return answer_once(values, work)


@blueprint.post("/api/ops/manual/items/<item_id>/refuse")
@requires("ops")
def refuse(item_id: str) -> Response:
    """Note that it cannot be done: the enrolment of a seat that was to be set up fails."""
    wanted, values = path_id(item_id, "work_item_not_found"), read_body(RefuseInput)
    version = read_version()

    def work(session: Session, _key: str | None) -> Response:
        with refusals():
            manual_work.refuse(session, wanted, values.reason, actor=actor(), version=version)
            return _answer(session, wanted)

    return answer_once(values, work)


@blueprint.post("/api/ops/manual/exports")
@requires("ops")
def export() -> Response:
    """Return the seats to be set up as a file for the partner's bulk upload, and mark them as exported."""
    values = read_body(ExportInput)

    def work(session: Session, _key: str | None) -> Response:
        columns = find_options(values.partner).export_columns
        written, _ = manual_export.export(
            session, values.partner, columns, actor=actor(), reason=values.reason, again=values.again
        )
        return Response(written, mimetype="text/csv")

    return answer_once(values, work)


@blueprint.post("/api/ops/manual/progress")
@requires("ops")
def take_progress() -> Response:
    """Check a file of progress and certificates and, with `go`, write all of it."""
    values = read_body(ProgressInput)

    def work(session: Session, _key: str | None) -> Response:
        find_options(values.partner)
        return _take_progress(session, values)

    return answer_once(values, work)


def find_options(partner: str) -> ManualOptions:
    """Return the options of a partner without an API; raise the 409 for any other."""
    try:
        found = get_partner(partner)
    except PartnerError:
        raise Problem("partner_not_manual") from None
    if not isinstance(found, ManualPartner):
        raise Problem("partner_not_manual")
    return found.options


def actor() -> str:
    """Return who is calling, for the audit."""
    return current_identity().subject


def place_of(cursor: str | None) -> tuple[datetime | None, str | None]:
    """Return where a page begins; raise the 400 for a cursor that is not ours."""
    try:
        return (None, None) if cursor is None else decode_cursor(cursor)
    except InvalidCursor:
        raise Problem("invalid_cursor") from None


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what the rules refuse of a work item into problems."""
    try:
        yield
    except NotFound:
        raise Problem("work_item_not_found") from None
    except NotPossible as refusal:
        raise Problem("work_item_closed", f"{str(refusal).capitalize()}.") from None
    except manual_work.Stale as refusal:
        raise Problem("stale_version", headers={"ETag": f'"{refusal.version}"'}) from None
    except manual_work.SeatTaken:
        raise Problem("seat_id_taken") from None
    except (secrets.NoKeys, secrets.NotOurs):
        raise Problem("code_unreadable") from None


def _answer(session: Session, item_id: str) -> Response:
    item = WorkItem.model_validate(manual_lists.show_item(session, item_id))
    response = answer_json(item)
    response.headers["ETag"] = f'"{item.version}"'
    return response


def _take_progress(session: Session, values: ProgressInput) -> Response:
    try:
        planned = manual_progress.plan(session, values.partner, values.csv, datetime.now(UTC))
    except FileWrong as error:
        errors = [
            Detail(pointer="/csv", detail=f"line {item.line}: {item.message}") for item in error.mistakes
        ]
        raise Problem("file_wrong", errors=errors) from None
    written = manual_progress.Written()
    if values.go:
        for batch in manual_progress.batches(planned.entries):
            written.add(manual_progress.write(session, values.partner, batch))
        manual_progress.record(session, planned, written, actor=actor(), reason=values.reason)
    answer: dict[str, Any] = {**vars(written), "rows": len(planned.entries), "written": values.go}
    return answer_json(ProgressAnswer(**answer, left_out=[vars(line) for line in planned.skipped]))
