"""What was given up: grouped by cause, what a bulk replay would do, doing it, and how it goes."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, request
from flask_babel import gettext
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from api.auth import requires
from api.errors import Problem, read_query
from api.pages.ops_console import (
    PAGE,
    Listed,
    PageQuery,
    act,
    address,
    cut,
    notice,
    own_id,
    place_of,
    seal,
    unseal,
)
from api.pages.viewer import load_viewer, render
from db.session import transaction
from domain import ops_failures, replays, staff, work
from domain.errors import NotFound
from domain.ops_enrollment import Stale, Who
from partners.registry import provider_types

# Enrolments per minute, and how many that are left out are named.
RATE, RATE_MAX = 120, 6000
NAMED = 20
BATCHES = 5

blueprint = Blueprint("ops_failures", __name__)


@blueprint.get("/ops/failures")
@requires("ops")
def failures() -> Response:
    """Show open failures by cause, other work that was given up, and the newest bulk replays."""
    cursor = read_query(PageQuery).cursor
    count, last = _group_place(cursor)
    with transaction() as session:
        load_viewer(session)
        rows = ops_failures.list_groups(session, count=count, last=last, limit=PAGE + 1)
        jobs = ops_failures.list_jobs(session, at=None, last=None, limit=BATCHES + 1)
        batches = ops_failures.list_batches(session, at=None, last=None, limit=BATCHES)
    older = None
    if len(rows) > PAGE:
        older = address(cursor=seal(rows[PAGE - 1]["enrollments"], rows[PAGE - 1]["fingerprint"]))
    return render(
        "ops/failures.html",
        here="/ops/failures",
        page=Listed(rows[:PAGE], older),
        jobs=jobs[:BATCHES],
        more_jobs=len(jobs) > BATCHES,
        batches=batches,
        notice=notice(),
    )


@blueprint.get("/ops/failures/jobs")
@requires("ops")
def jobs() -> Response:
    """Show a page of the jobs that were given up."""
    return _jobs({}, 200)


@blueprint.post("/ops/failures/jobs/<job_id>/retry")
@requires("ops")
def retry_job(job_id: str) -> Response:
    """Make a job that was given up due again."""
    wanted = own_id(job_id)

    def do(session: Session, who: Who) -> str:
        work.revive(session, wanted)
        staff.record(
            session, actor=who.actor, action="jobs.retry", subject=("job", wanted), reason=who.reason
        )
        return "/ops/failures/jobs?done=job-revived"

    return act(f"job-{wanted}", do, _jobs)


@blueprint.get("/ops/failures/replays")
@requires("ops")
def batches() -> Response:
    """Show a page of bulk replays."""
    query = read_query(PageQuery)
    with transaction() as session:
        load_viewer(session)
        rows = ops_failures.list_batches(session, limit=PAGE + 1, **place_of(query.cursor))
    return render("ops/replays.html", here="/ops/failures", page=cut(rows))


@blueprint.get("/ops/failures/replays/<batch_id>")
@requires("ops")
def batch(batch_id: str) -> Response:
    """Show how far a bulk replay came."""
    wanted = own_id(batch_id)
    with transaction() as session:
        load_viewer(session)
        try:
            found = ops_failures.show_batch(session, wanted)
        except NotFound:
            raise Problem("not_found") from None
    running = (
        found["state"] in ("canary", "running") or found["asked"] > found["through"] + found["failed_again"]
    )
    return render("ops/replay.html", here="/ops/failures", batch=found, running=running, notice=notice())


@blueprint.get("/ops/failures/<fingerprint>")
@requires("ops")
def group(fingerprint: str) -> Response:
    """Show one cause: what it probably is, and which enrolments failed by it."""
    query = read_query(PageQuery)
    with transaction() as session:
        load_viewer(session)
        found = _group(session, fingerprint)
        members = ops_failures.list_members(session, fingerprint, limit=PAGE + 1, **place_of(query.cursor))
    return render("ops/failure_group.html", here="/ops/failures", group=found, page=cut(members))


@blueprint.get("/ops/failures/<fingerprint>/replay")
@requires("ops")
def plan(fingerprint: str) -> Response:
    """Say what a bulk replay would do, and do nothing."""
    return _plan(fingerprint, {}, 200)


@blueprint.post("/ops/failures/<fingerprint>/replay")
@requires("ops")
def replay(fingerprint: str) -> Response:
    """Start the bulk replay that was looked at."""
    rate = _rate()
    if rate is None:
        words = gettext("Give a whole number from 1 to %(most)s.", most=RATE_MAX)
        return _plan(fingerprint, {"go-rate": words}, 422)

    def do(session: Session, who: Who) -> str:
        planned, version = ops_failures.plan(session, fingerprint, provider_types())
        if version != who.version:
            raise Stale(f"the failures of {fingerprint} have changed")
        started = replays.start(session, planned, actor=who.actor, reason=who.reason, rate_per_minute=rate)
        return f"/ops/failures/replays/{started}?done=bulk"

    return act("go", do, lambda errors, status: _plan(fingerprint, errors, status))


def _group_place(cursor: str | None) -> tuple[int | None, str | None]:
    if cursor is None:
        return None, None
    parts = unseal(cursor)
    if (
        len(parts) != 2
        or not (parts[0].isascii() and parts[0].isdecimal())
        or len(parts[0]) > 9
        or "\0" in parts[1]
    ):
        raise Problem("invalid_cursor")
    return int(parts[0]), parts[1]


def _group(session: Session, fingerprint: str) -> dict[str, Any]:
    try:
        return ops_failures.show_group(session, fingerprint)
    except NotFound:
        raise Problem("not_found", gettext("Nothing of this cause is open any more.")) from None


def _rate() -> int | None:
    given = request.form.get("rate", "").strip() or str(RATE)
    return (
        int(given)
        if given.isascii() and given.isdecimal() and len(given) <= 6 and 1 <= int(given) <= RATE_MAX
        else None
    )


def _plan(fingerprint: str, errors: dict[str, str], status: int) -> Response:
    with transaction() as session:
        load_viewer(session)
        found = _group(session, fingerprint)
        try:
            planned, version = ops_failures.plan(session, fingerprint, provider_types())
        except NotFound:
            raise Problem("not_found") from None
    return render(
        "ops/failure_plan.html",
        status,
        here="/ops/failures",
        group=found,
        planned=planned,
        left_out=list(planned.obstructed.items())[:NAMED],
        version=version,
        rate=RATE,
        rate_max=RATE_MAX,
        errors=errors,
        typed=request.form,
    )


def _jobs(errors: dict[str, str], status: int) -> Response:
    query = read_query(PageQuery)
    with transaction() as session:
        load_viewer(session)
        rows = ops_failures.list_jobs(session, limit=PAGE + 1, **place_of(query.cursor))
    return render(
        "ops/jobs.html",
        status,
        here="/ops/failures",
        page=cut(rows, "updated_at"),
        errors=errors,
        typed=request.form,
        notice=notice(),
    )
