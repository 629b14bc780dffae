"""Reconciliation: what Stripe and the partners hold against what we hold. Certain things are repaired, the rest is listed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

import structlog
from sqlalchemy.orm import Session

from db.session import transaction
from domain import enrollments, findings, reconciliation, rosters, stripe_checks, stripe_repairs
from domain.findings import Found
from domain.payments import HANDLED_TYPES
from domain.reconciliation import EVENTS_REACH, STRIPE, Reconciliation
from domain.stripe_repairs import Repair
from partners import errors
from partners.base import Capability, Partner, ProgressPage, iter_progress
from partners.registry import get_partner, played_by_sandbox, provider_types
from settings import ConfigurationError, get_settings
from tasks.enrollment import find_seat
from tasks.stripe_api import Object, Page, StripeApi, Unreadable, connect
from workers.job import JobRun, job, periodic
from workers.verdict import GiveUp

log = structlog.get_logger("tasks.reconcile")

# Seats in one page of a partner's roster.
ROSTER_PAGE = 500


@dataclass(frozen=True)
class Phase:
    """One of Stripe's lists: how it is read, and what of it we miss."""

    name: str
    pages: Callable[[StripeApi, int], Iterator[Page]]
    find: Callable[[Session, list[Object], Collection[str]], list[Repair]]


PHASES = (
    Phase("events", lambda api, since: api.iter_events(since, HANDLED_TYPES), stripe_repairs.missed_events),
    Phase("sessions", StripeApi.iter_checkout_sessions, stripe_repairs.missed_sales),
    Phase("refunds", StripeApi.iter_refunds, stripe_repairs.missed_refunds),
    Phase("disputes", StripeApi.iter_disputes, stripe_repairs.missed_disputes),
)
# What comes before and after Stripe's lists.
STUCK, CHECKS = "stuck", "checks"
# The parts of each comparison in their order. Of what is younger than its last look, events tell everything.
THOROUGH = (STUCK, *(phase.name for phase in PHASES), CHECKS)
PARTS = {"hourly": (STUCK, "events"), "daily": THOROUGH, "asked": THOROUGH}


@periodic("reconcile.schedule")
def schedule() -> None:
    """Ask for every comparison whose turn it is: Stripe each hour where we have a key, each partner once a day."""
    with transaction() as session:
        if get_settings().stripe_secret_key is not None:
            reconciliation.schedule_stripe(session)
        reconciliation.schedule_partners(session, provider_types())


@job("stripe.reconcile")
def reconcile_stripe(run: JobRun) -> None:
    """Compare with Stripe, list by list, going on where a killed run stopped."""
    known = run.read(lambda session: reconciliation.load(session, run.subject_id))
    try:
        api = connect()
    except ConfigurationError as error:
        raise GiveUp(error.problems[0]) from None
    parts = PARTS[known.occasion]
    for name in parts[parts.index(known.phase) if known.phase else 0 :]:
        place = known.place if name == known.phase else None
        if name == STUCK:
            revive(run, known)
        elif name == CHECKS:
            check(run, known)
        else:
            sweep(run, known, next(phase for phase in PHASES if phase.name == name), api, place)
    run.finally_write(lambda session: reconciliation.finish(session, known.id))


def sweep(run: JobRun, known: Reconciliation, phase: Phase, api: StripeApi, place: str | None) -> None:
    """Read one of Stripe's lists and repair what we miss. Where our key may not read it, that is a finding."""
    pending = run.read(stripe_repairs.on_the_way)
    unreadable: list[Found] = []
    try:
        for page in phase.pages(api, int(place) if place else start_of(phase, known.since, known.started_at)):
            repaired = run.checkpoint(
                partial(save_page, known=known, phase=phase, page=page, pending=pending)
            )
            if repaired:
                log.warning("[Reconcile] repaired", what=phase.name, repaired=repaired)
    except Unreadable as error:
        unreadable = [Found(f"{phase.name}_unreadable", "list", phase.name, str(error))]
    run.checkpoint(
        lambda session: findings.observe(session, known.id, STRIPE, f"{phase.name}_unreadable", unreadable)
    )


def save_page(
    session: Session, *, known: Reconciliation, phase: Phase, page: Page, pending: Collection[str]
) -> int:
    """Repair what a page shows and remember the place behind it; return how much was repaired."""
    repaired = stripe_repairs.repair(session, known.id, phase.find(session, ripe(page, known.until), pending))
    reconciliation.save_place(session, known.id, phase.name, str(page.place), len(page.objects))
    return repaired


def revive(run: JobRun, known: Reconciliation) -> None:
    """Give jobs to stored events that have none."""
    more = True
    while more:
        revived = run.checkpoint(partial(_revive, known=known))
        more = revived == stripe_repairs.BATCH


def check(run: JobRun, known: Reconciliation) -> None:
    """List what only a person can decide, and resolve what is no longer so."""
    for kind, find in stripe_checks.CHECKS.items():
        run.checkpoint(
            lambda session, kind=kind, find=find: findings.observe(  # type: ignore[misc]
                session, known.id, STRIPE, kind, find(session)
            )
        )


def preview(since: datetime | None, now: datetime) -> dict[str, Any]:
    """Return what a comparison with Stripe would do, without writing anything. `since` is as in `ask_stripe`."""
    since, api = since or now - reconciliation.REACH, connect()
    people: list[Found] = []
    looked_at = 0
    with transaction() as session:
        repairs = stripe_repairs.find_stuck(session, since, findings.MOST)
        told = stripe_repairs.on_the_way(session)
    for phase in PHASES:
        try:
            for page in phase.pages(api, start_of(phase, since, now)):
                looked_at += len(page.objects)
                # What would be stored by now would not be missed a second time.
                stored = {found for one in repairs if (found := one.object_id)}
                with transaction() as session:
                    repairs += phase.find(session, page.objects, told | stored)
        except Unreadable as error:
            people.append(Found(f"{phase.name}_unreadable", "list", phase.name, str(error)))
    with transaction() as session:
        people += [found for find in stripe_checks.CHECKS.values() for found in find(session)]
    return {
        "id": None,
        "scope": STRIPE,
        "since": since,
        "looked_at": looked_at,
        "repaired": [vars(one.found) for one in repairs],
        "needs_person": [vars(found) for found in people],
    }


def ripe(page: Page, until: datetime | None) -> list[Object]:
    """Return what of a page should have reached us by now."""
    if until is None:
        return page.objects
    return [found for found in page.objects if found.get("created", 0) <= until.timestamp()]


def start_of(phase: Phase, since: datetime, now: datetime) -> int:
    """Return the Unix time from which a list is read: events cannot be listed for longer than a month."""
    return int((max(since, now - EVENTS_REACH) if phase.name == "events" else since).timestamp())


@job("partner.reconcile")
def reconcile_partner(run: JobRun) -> None:
    """Compare a partner's roster with ours, where the partner can list it."""
    known = run.read(lambda session: reconciliation.load(session, run.subject_id))
    partner = get_partner(known.scope)
    if Capability.BULK_PROGRESS in partner.capabilities:
        try:
            compare(run, known, partner)
        except errors.NotFound:
            log.warning("[Reconcile] the partner has no list of its seats after all", partner=known.scope)
    run.finally_write(lambda session: reconciliation.finish(session, known.id))


def compare(run: JobRun, known: Reconciliation, partner: Partner) -> None:
    """Read the roster, give back what should not be there, and list what does not agree."""
    if known.phase != "look_up":
        read_roster(run, known, partner)
    shared = played_by_sandbox()
    types = shared if known.scope in shared else [known.scope]
    if Capability.UNENROLL in partner.capabilities:
        while run.checkpoint(partial(rosters.release_listed, run=known)) == rosters.BATCH:
            pass
        look_up(run, known, partner, types)
    take_over(run, known, partner, types)
    run.checkpoint(
        partial(_observe, known=known, kind="seat_unknown", find=partial(rosters.find_unknown, types=types))
    )
    run.checkpoint(partial(_observe, known=known, kind="seat_missing", find=rosters.find_missing))


def read_roster(run: JobRun, known: Reconciliation, partner: Partner) -> None:
    """Keep every page of the roster, from where a killed run stopped."""
    start = known.place if known.phase == "roster" else None
    for _, page in iter_progress(partner, start, ROSTER_PAGE):
        run.checkpoint(partial(_keep_page, known=known, page=page))


def look_up(run: JobRun, known: Reconciliation, partner: Partner, types: Collection[str]) -> None:
    """Look whether seats that nobody knows belong to enrolments whose seats were given back before we knew them all.

    A worker that was frozen while it took a seat may take it after another one looked, found none and was done.
    """
    place = known.place if known.phase == "look_up" else None
    if Capability.ENROLL not in partner.capabilities:
        return
    while run.read(partial(rosters.find_unknown, run=known, types=types, most=1)):
        batch = run.read(partial(rosters.next_given_back, run=known, after=place))
        for place in batch:
            seat_id = _find_by_reference(run, partner, place)
            run.checkpoint(
                partial(_release_late, known=known, types=types, enrollment_id=place, seat_id=seat_id)
            )
        if len(batch) < rosters.BATCH:
            return


def take_over(run: JobRun, known: Reconciliation, partner: Partner, types: Collection[str]) -> None:
    """Look whether seats that nobody knows are the ones of active enrolments whose seats are not listed."""
    if Capability.ENROLL not in partner.capabilities:
        return
    if not run.read(partial(rosters.find_unknown, run=known, types=types, most=1)):
        return
    for missing in run.read(partial(rosters.find_missing, run=known)):
        seat_id = _find_by_reference(run, partner, missing.subject_id)
        if seat_id is not None:
            run.checkpoint(
                partial(
                    rosters.adopt, run=known, types=types, enrollment_id=missing.subject_id, seat_id=seat_id
                )
            )


def _revive(session: Session, *, known: Reconciliation) -> int:
    reconciliation.save_place(session, known.id, STUCK, None)
    return stripe_repairs.revive(session, known.id, known.since)


def _observe(
    session: Session,
    *,
    known: Reconciliation,
    kind: str,
    find: Callable[[Session, Reconciliation], list[Found]],
) -> None:
    findings.observe(session, known.id, known.scope, kind, find(session, known))


def _keep_page(session: Session, *, known: Reconciliation, page: ProgressPage) -> None:
    ids = [item.external_enrollment_id for item in page.items] + [id for id, _ in page.rejected]
    rosters.keep_page(session, known, ids)
    phase = "look_up" if page.next_cursor is None else "roster"
    reconciliation.save_place(session, known.id, phase, page.next_cursor, len(ids))


def _find_by_reference(run: JobRun, partner: Partner, enrollment_id: str) -> str | None:
    """Return the seat that the partner has by our reference, None where there is none or only a person could tell."""
    enrollment = run.read(partial(enrollments.load, enrollment_id=enrollment_id))
    try:
        return find_seat(partner, replace(enrollment, external_enrollment_id=None))
    except errors.NeedsPerson as error:
        log.warning("[Reconcile] not looked up", enrollment_id=enrollment_id, code=error.code)
        return None


def _release_late(
    session: Session,
    *,
    known: Reconciliation,
    types: Collection[str],
    enrollment_id: str,
    seat_id: str | None,
) -> None:
    """Release the seat that was found, where no other enrolment has it."""
    if seat_id is not None and rosters.find_unknown(session, known, types, seat_id=seat_id):
        rosters.release(session, known, enrollment_id, seat_id)
    reconciliation.save_place(session, known.id, "look_up", enrollment_id)
