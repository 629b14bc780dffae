"""Progress and certificates, pulled from the partners on schedule."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextvars import copy_context
from functools import partial

import structlog
from sqlalchemy.orm import Session

from db.session import transaction
from domain import progress
from domain.errors import NotFound as NoSuchSeat
from domain.progress import Report, SyncState, Target
from partners import errors
from partners.base import Capability, Partner, Progress, ProgressPage, iter_progress
from partners.registry import get_partner, provider_types
from settings import get_settings
from workers.job import JobRun, job, periodic
from workers.verdict import GiveUp

log = structlog.get_logger("tasks.progress")

# Seats in one page of a bulk call.
PAGE = 500
# Seats claimed at once where each needs a call of its own, and how many of those calls run side by side.
BATCH = 100
SIDE_BY_SIDE = 8
# The share of its lease after which a batch that is being asked about renews it.
RENEW_AFTER = 1 / 3
# Seconds before a seat that could not be read with the others is tried alone.
SINGLE_DELAY = 30.0


@periodic("progress.schedule")
def schedule() -> None:
    """Ask for the sync of every partner whose turn it is."""
    with transaction() as session:
        progress.schedule_due(session, interval=get_settings().sync_interval, partner_types=provider_types())


@job("progress.sync")
def sync(run: JobRun) -> None:
    """Pull one partner's progress: by its bulk call where it has one, else seat by seat."""
    state = run.read(lambda session: progress.begin(session, run.subject_id))
    partner = get_partner(state.provider_type)
    if not {Capability.PROGRESS, Capability.BULK_PROGRESS} & partner.capabilities:
        log.info("[syncSingleEnrollment] the partner tells by itself", partner=state.provider_type)
        return
    if state.bulk and Capability.BULK_PROGRESS in partner.capabilities:
        try:
            sync_in_bulk(run, state, partner)
        except errors.NotFound:
            log.warning("[syncSingleEnrollment] no bulk call after all", partner=state.provider_type)
            sync_one_by_one(run, state, partner)
        except errors.Refused:
            # Perhaps our place is no longer one that the partner knows: the next pass begins at the beginning.
            run.checkpoint(lambda session: progress.forget_place(session, state.provider_id))
            raise
    else:
        sync_one_by_one(run, state, partner)
    run.finally_write(lambda session: progress.finish(session, state.provider_id))


@job("progress.sync_one")
def sync_one(run: JobRun) -> None:
    """Pull the progress of one enrolment."""
    try:
        target = run.read(lambda session: progress.load_target(session, run.subject_id))
    except NoSuchSeat as error:
        raise GiveUp(str(error)) from None
    partner = get_partner(target.provider_type)
    if target.status != "active" or Capability.PROGRESS not in partner.capabilities:
        return
    answer = partner.get_progress(target.external_enrollment_id)
    run.finally_write(lambda session: _apply_one(session, target, answer))


@job("progress.certificate")
def fetch_certificate(run: JobRun) -> None:
    """Fetch the certificate of a completed enrolment; ask again later while the partner is still making it."""
    target = run.read(lambda session: progress.load_target(session, run.subject_id))
    partner = get_partner(target.provider_type)
    if Capability.CERTIFICATE not in partner.capabilities:
        run.finally_write(lambda session: progress.tell_completed(session, target.id))
        return
    found = partner.get_certificate(target.external_enrollment_id)
    if found is None:
        raise errors.NotReadyYet("the partner has no certificate yet")
    run.finally_write(
        lambda session: progress.save_certificate(
            session,
            target.id,
            number=found.number,
            url=found.url,
            verification_url=found.verification_url,
            issued_at=found.issued_at,
            expires_at=found.expires_at,
        )
    )


def sync_in_bulk(run: JobRun, state: SyncState, partner: Partner) -> None:
    """Page through what changed since the last time, or through the whole feed, going on where a killed run stopped."""
    for cursor, page in iter_progress(partner, state.cursor, PAGE):
        for external_id, reason in page.rejected:
            log.warning(
                "[syncSingleEnrollment] unreadable", external_enrollment_id=external_id, reason=reason
            )
        changed = run.checkpoint(partial(_save_page, state=state, cursor=cursor, page=page))
        log.info(
            "[syncSingleEnrollment] page", partner=state.provider_type, seats=len(page.items), changed=changed
        )


def sync_one_by_one(run: JobRun, state: SyncState, partner: Partner) -> None:
    """Ask about every active seat, batch by batch, going on where a killed run stopped."""
    position = state.position
    while batch := run.read(
        partial(progress.next_batch, provider_id=state.provider_id, after=position, limit=BATCH)
    ):
        reports, failed = ask_side_by_side(run, partner, batch)
        changed = run.checkpoint(
            partial(_save_batch, state=state, batch=batch, reports=reports, failed=failed)
        )
        position = batch[-1].id
        log.info(
            "[syncSingleEnrollment] batch", partner=state.provider_type, changed=changed, failed=len(failed)
        )


def ask_side_by_side(run: JobRun, partner: Partner, batch: list[Target]) -> tuple[list[Report], list[Target]]:
    """Return what the partner says of a batch, and those seats that could not be read.

    Raises what concerns the partner as a whole: wrong credentials, a request to slow down.
    """
    reports: list[Report] = []
    failed: list[Target] = []
    pause = RENEW_AFTER * get_settings().job_lease
    renew_at = time.monotonic() + pause
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        # Each thread gets a copy of the job's context, and with it the shared rate limit.
        calls = {
            pool.submit(copy_context().run, partner.get_progress, target.external_enrollment_id): target
            for target in batch
        }
        try:
            for call in as_completed(calls):
                _sort_answer(call, calls[call], reports, failed)
                if time.monotonic() > renew_at:
                    run.checkpoint(lambda session: None)
                    renew_at = time.monotonic() + pause
        except errors.PartnerError:
            pool.shutdown(cancel_futures=True)
            raise
    return reports, failed


def _save_page(session: Session, *, state: SyncState, cursor: str | None, page: ProgressPage) -> int:
    reports = [_report(item) for item in page.items]
    changed = progress.apply(session, state.provider_id, state.provider_type, reports)
    # The cursor that this page was asked with is kept, not the next one: on the last page there is no next one, and
    # reading one page again changes nothing.
    progress.save_place(
        session, state.provider_id, cursor=cursor, calls=1, changed=changed, failed=len(page.rejected)
    )
    return changed


def _save_batch(
    session: Session, *, state: SyncState, batch: list[Target], reports: list[Report], failed: list[Target]
) -> int:
    changed = progress.apply(session, state.provider_id, state.provider_type, reports)
    progress.ask_single(session, failed, SINGLE_DELAY)
    progress.save_place(
        session,
        state.provider_id,
        position=batch[-1].id,
        calls=len(batch),
        changed=changed,
        failed=len(failed),
    )
    return changed


def _sort_answer(call: Future[Progress], target: Target, reports: list[Report], failed: list[Target]) -> None:
    try:
        reports.append(_report(call.result()))
    except (errors.CredentialsWrong, errors.RateLimited):
        raise
    except errors.PartnerError as error:
        log.warning("[syncSingleEnrollment] failed", enrollment_id=target.id, code=error.code)
        failed.append(target)


def _apply_one(session: Session, target: Target, answer: Progress) -> None:
    changed = progress.apply(session, target.provider_id, target.provider_type, [_report(answer)])
    log.info("[syncSingleEnrollment] synced", enrollment_id=target.id, changed=changed)


def _report(item: Progress) -> Report:
    return Report(
        item.external_enrollment_id, item.percentage, item.completed, item.updated_at, item.completed_at
    )
