"""Erasures as tasks: a person's rows batch by batch, and their account at each partner."""

from __future__ import annotations

from functools import partial

import structlog

from domain import files, privacy_accounts, privacy_stages
from partners.base import Capability, Partner, Student
from partners.registry import get_partner, provider_types
from settings import get_settings
from workers.job import JobRun, StepResult, job
from workers.verdict import Later

log = structlog.get_logger("tasks.privacy")


@job("privacy.erase")
def erase(run: JobRun) -> None:
    """Erase what is left of a person, from where the last attempt came; then have partners do the same."""
    user_id, store = run.subject_id, get_settings().file_store()
    while loose := run.read(lambda session: privacy_stages.next_files(session, user_id)):
        for file_id in loose:
            files.remove(store, file_id)
        run.checkpoint(partial(privacy_stages.forget_files, file_ids=loose))
    while run.checkpoint(lambda session: privacy_stages.advance(session, user_id)):
        pass
    run.finally_write(lambda session: privacy_accounts.start(session, user_id, provider_types()))
    log.info("[Privacy] erased", user_id=user_id)


@job("privacy.erase_account")
def erase_account(run: JobRun) -> None:
    """Have a partner erase an account, and look whether it is gone; where it cannot, a person has to ask there."""
    account = run.read(lambda session: privacy_accounts.load(session, run.subject_id))
    if account.state == "gone":
        return
    if account.walking:
        raise Later("a seat of this account is being given back")
    partner = get_partner(account.provider_type)
    if not {Capability.ERASE, Capability.ACCOUNTS} <= partner.capabilities:
        run.finally_write(lambda session: privacy_accounts.leave_to_staff(session, account.id))
        return
    student = Student(account.reference, "", "")
    found = partner.find_account(student)
    if found is not None:
        run.step("erase", partial(_erase_at, partner, found.id))
    if partner.find_account(student) is None:
        run.finally_write(lambda session: privacy_accounts.close(session, account.id))
    else:
        run.finally_write(lambda session: privacy_accounts.leave_to_staff(session, account.id))


def _erase_at(partner: Partner, account_id: str) -> StepResult:
    partner.erase_account(account_id)
    return {}
