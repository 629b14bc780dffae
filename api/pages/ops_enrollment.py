"""Enrolments: lists, and one on one page with everything that happened to it and what can be done."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from flask import Blueprint, request
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from api.auth import requires
from api.enrollments import check_uuid
from api.errors import Problem, read_query
from api.pages.ops_console import (
    PAGE,
    Blank,
    Listed,
    PageQuery,
    Text,
    act,
    address,
    cut,
    duration,
    notice,
    own_id,
    place_of,
    seal,
    unseal,
)
from api.pages.viewer import load_viewer, render
from db.models.enrollment import ENROLLMENT_STATUSES
from db.session import transaction
from domain import ops_enrollment
from domain.enrollments import STEPS
from domain.errors import NotFound
from domain.ops_enrollment import RESTORABLE, REVOCABLE, WITH_PARTNER_ID, Who
from domain.student_view import InvalidCursor, decode_cursor, failure_reference
from partners.redaction import redact
from partners.registry import provider_types

# Entries of a timeline on one page, and the last of them that a summary for support holds.
ENTRIES = 200
SUMMED_UP = 25

blueprint = Blueprint("ops_enrollment", __name__)


class EnrollmentsQuery(PageQuery):
    """In one status, of one partner, of one student, or the one with this id or reference."""

    status: Annotated[
        Literal["pending", "active", "completed", "failed", "suspended", "revoked"] | None, Blank
    ] = None
    partner: Text = None
    find: Text = None


@blueprint.get("/ops/enrollments")
@requires("ops")
def enrollments() -> Response:
    """Show a page of enrolments, the newest first."""
    query = read_query(EnrollmentsQuery)
    with transaction() as session:
        load_viewer(session)
        rows = ops_enrollment.list_enrollments(
            session,
            status=query.status,
            provider_id=_provider(query.partner),
            find=query.find,
            limit=PAGE + 1,
            **place_of(query.cursor),
        )
        providers = ops_enrollment.list_providers(session)
    return render(
        "ops/enrollments.html",
        here="/ops/enrollments",
        page=cut(rows),
        query=query,
        providers=providers,
        statuses=ENROLLMENT_STATUSES,
    )


@blueprint.get("/ops/enrollments/<enrollment_id>")
@requires("ops")
def enrollment(enrollment_id: str) -> Response:
    """Show one enrolment with its timeline."""
    return _page(own_id(enrollment_id), {}, 200)


@blueprint.post("/ops/enrollments/<enrollment_id>/replay")
@requires("ops")
def replay(enrollment_id: str) -> Response:
    """Have what was given up tried again, from a step where one is named."""
    wanted, step = own_id(enrollment_id), request.form.get("step", "") or None

    def do(session: Session, who: Who) -> str:
        ops_enrollment.replay(session, wanted, who, partner_types=provider_types(), from_step=step)
        return f"/ops/enrollments/{wanted}?done=replayed"

    return act("replay", do, lambda errors, status: _page(wanted, errors, status))


@blueprint.post("/ops/enrollments/<enrollment_id>/skip")
@requires("ops")
def skip(enrollment_id: str) -> Response:
    """Take a step for done that was done at the partner by hand."""
    wanted, step = own_id(enrollment_id), request.form.get("step", "")
    partner_id = request.form.get("partner_id", "").strip()[:200].replace("\0", "") or None

    def do(session: Session, who: Who) -> str:
        ops_enrollment.skip(
            session, wanted, who, step=step, partner_id=partner_id, partner_types=provider_types()
        )
        return f"/ops/enrollments/{wanted}?done=skipped"

    return act("skip", do, lambda errors, status: _page(wanted, errors, status))


@blueprint.post("/ops/enrollments/<enrollment_id>/revoke")
@requires("ops")
def revoke(enrollment_id: str) -> Response:
    """Take a seat away by hand."""
    wanted = own_id(enrollment_id)

    def do(session: Session, who: Who) -> str:
        ops_enrollment.revoke(session, wanted, who)
        return f"/ops/enrollments/{wanted}?done=revoked"

    return act("revoke", do, lambda errors, status: _page(wanted, errors, status))


@blueprint.post("/ops/enrollments/<enrollment_id>/restore")
@requires("ops")
def restore(enrollment_id: str) -> Response:
    """Open a suspended or revoked seat anew by hand."""
    wanted = own_id(enrollment_id)

    def do(session: Session, who: Who) -> str:
        ops_enrollment.restore(session, wanted, who)
        return f"/ops/enrollments/{wanted}?done=restored"

    return act("restore", do, lambda errors, status: _page(wanted, errors, status))


def sum_up(found: dict[str, Any], entries: list[dict[str, Any]]) -> str:
    """Return what support may pass on: ids, states, steps and errors; no name, no address, nothing of the student's."""
    lines = [
        f"reference: {failure_reference(found['id'])}",
        f"enrolment: {found['id']}",
        f"status: {found['status']}, generation {found['generation']}",
        f"partner: {found['provider_type']}, course {found['course_code']}",
        f"seat at the partner: {found['external_enrollment_id'] or '-'}",
        f"walk: {found['job_state'] or '-'}, attempts {found['job_attempts'] or 0}",
        f"payments entitle to: {found['entitled']}",
        "",
    ]
    # What staff wrote may name anybody.
    told = [entry for entry in entries if not entry["what"].startswith(("staff ", "work item "))]
    lines += [
        f"{entry['at']:%Y-%m-%d %H:%M:%S} UTC  {entry['what']}: {entry['state']}"
        + (f" ({entry['detail']})" if entry["detail"] else "")
        for entry in told[-SUMMED_UP:]
    ]
    own = [found["student"], found["name"], str(found["student_id"]), found["external_account_id"] or ""]
    return "\n".join(redact(line, secrets=own) for line in lines)


def _provider(given: str | None) -> str | None:
    try:
        return None if given is None else check_uuid(given)
    except ValueError:
        raise Problem("not_found") from None


def _page(enrollment_id: str, errors: dict[str, str], status: int) -> Response:
    at, last = _place(read_query(PageQuery).cursor)
    with transaction() as session:
        load_viewer(session)
        try:
            found = ops_enrollment.show(session, enrollment_id)
        except NotFound:
            raise Problem("not_found") from None
        entries = ops_enrollment.list_timeline(session, enrollment_id, at=at, last=last, limit=ENTRIES + 1)
    later = None
    if len(entries) > ENTRIES:
        entries = entries[:ENTRIES]
        later = address(cursor=seal(entries[-1]["at"].isoformat(), entries[-1]["key"]))
    given_up = found["status"] == "failed" or found["job_state"] in ("failed", "parked")
    return render(
        "ops/enrollment.html",
        status,
        here="/ops/enrollments",
        seat=found,
        page=Listed(entries, later),
        summary=sum_up(found, entries),
        reference=failure_reference(enrollment_id),
        steps=STEPS,
        with_partner_id=WITH_PARTNER_ID,
        given_up=given_up,
        revocable=found["status"] in REVOCABLE,
        restorable=found["status"] in RESTORABLE,
        duration=duration,
        errors=errors,
        typed=request.form,
        notice=notice(),
    )


def _place(cursor: str | None) -> tuple[Any, str | None]:
    """Return where the timeline goes on: a time, and the key of its last entry."""
    if cursor is None:
        return None, None
    parts = unseal(cursor)
    try:
        at, _ = decode_cursor(seal(parts[0], "00000000-0000-0000-0000-000000000000"))
    except InvalidCursor:
        raise Problem("invalid_cursor") from None
    if len(parts) != 2 or not parts[1].isalnum():
        raise Problem("invalid_cursor")
    return at, parts[1]
