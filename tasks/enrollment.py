"""The walk of one enrolment to what it should be, checkpoint by checkpoint: active, locked, or given back."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import structlog
from sqlalchemy.orm import Session

from db import trace
from db.jobs import Claim
from domain import enrollments
from domain.enrollments import Enrollment
from domain.errors import NotFound
from partners.base import Capability, Click, Partner, Redirect, Student
from partners.manual.adapter import ManualPartner
from partners.registry import get_partner, provider_types
from settings import get_settings
from tasks.manual import close_by_hand, take_by_hand
from workers.commits import Together, Write
from workers.job import JobRun, StepResult, job
from workers.outcome import Failure
from workers.verdict import GiveUp

log = structlog.get_logger("tasks.enrollment")

Save = Callable[[StepResult], Write]


def record_failure(session: Session, held: Claim, failure: Failure) -> None:
    """Write the failed attempt down; after the last one the enrolment waits for a person."""
    enrollments.fail(
        session,
        enrollments.load(session, held.subject_id),
        step=failure.step,
        code=failure.code,
        message=failure.message,
        retry_count=failure.retry_count,
        final=failure.final,
        job_id=held.id,
    )


def first_step(_held: Claim, enrollment: Enrollment) -> str | None:
    """Return the step with which a new enrolment's walk begins; None where that has to be found out first."""
    partner = get_partner.known(enrollment.provider_type)
    if enrollment.status != "pending" or partner is None or Capability.ACCOUNTS not in partner.capabilities:
        return None
    return None if enrollments.find_obstacle(enrollment, provider_types()) else enrollment.step("account")


@job("enrollment.walk", on_failure=record_failure, load=enrollments.load_by_id, opening=first_step)
def walk(run: JobRun) -> None:
    """Bring one enrolment to what it should be, starting at the first step that is missing.

    Pending: account, seat, launch check, active. Suspended: locked at the partner. Revoked: given back.
    """
    enrollment: Enrollment | None = run.subject
    if enrollment is None:
        raise NotFound(f"there is no enrolment {run.subject_id}")
    if enrollment.status == "pending":
        obstacle = enrollments.find_obstacle(enrollment, provider_types())
        if obstacle is not None:
            raise GiveUp(obstacle[1])
        partner = get_partner(enrollment.provider_type)
        if isinstance(partner, ManualPartner):
            take_by_hand(run, enrollment, partner)
        else:
            take(run, enrollment, partner)
    elif enrollment.status in ("suspended", "revoked") and run.has_begun:
        partner = get_partner(enrollment.provider_type)
        if isinstance(partner, ManualPartner):
            close_by_hand(run, enrollment, partner)
        else:
            close = lock_seat if enrollment.status == "suspended" else give_back
            close(run, enrollment, partner)


def take(run: JobRun, enrollment: Enrollment, partner: Partner) -> None:
    """Do the steps that this partner has, then activate."""

    def step(
        name: str, call: Callable[[], StepResult], save: Save | None = None, *, leaves_nothing: bool = False
    ) -> StepResult:
        wanted = None if leaves_nothing else Together(enrollments.are_wanted, enrollment)
        return run.step(enrollment.step(name), call, save, wanted=wanted, leaves_nothing=leaves_nothing)

    def save_seat(result: StepResult) -> Write:
        return Together(enrollments.record_seats, (enrollment, result["id"]))

    # A partner without accounts knows the student by our reference.
    account_id, seat_id = enrollment.account_reference, ""
    if Capability.ACCOUNTS in partner.capabilities:
        look = _has_to_look(run, enrollment, partner, "account")
        account = step(
            "account",
            lambda: take_account(partner, enrollment, look=look),
            lambda result: Together(enrollments.record_accounts, (enrollment, result["id"])),
        )
        account_id = account["id"]
    if Capability.ENROLL in partner.capabilities:
        look = _has_to_look(run, enrollment, partner, "seat")
        seat_id = step("seat", lambda: take_seat(partner, enrollment, account_id, look=look), save_seat)["id"]
    elif Capability.JIT_ON_LAUNCH in partner.capabilities:
        # The first click makes the seat: until then, and for looking it up, it goes by our reference.
        seat = step(
            "seat", lambda: {"id": enrollment.seat_reference, "made": "at the first launch"}, save_seat
        )
        seat_id = seat["id"]
    if enrollment.generation > 1 and Capability.SUSPEND in partner.capabilities:
        step("unlock", lambda: set_lock(partner, seat_id, locked=False))
    if Capability.SSO in partner.capabilities:
        step("launch_check", lambda: check_launch(partner, enrollment, seat_id), leaves_nothing=True)
    run.finally_write(activation(enrollment))
    log.info(
        "[autoEnrollPartnerCourse] enrolled", enrollment_id=enrollment.id, partner=enrollment.provider_type
    )


def activation(enrollment: Enrollment) -> Write:
    """Return the write that opens the course; what is opened anew asks for more than others, and is written alone."""
    opened = (enrollment, trace.current.get())
    if enrollment.generation > 1:
        return lambda session: enrollments.activate(session, [opened])
    return Together(enrollments.activate, opened)


def lock_seat(run: JobRun, enrollment: Enrollment, partner: Partner) -> None:
    """Lock a suspended seat at a partner that can; elsewhere our own launch is closed, and that is all there is."""
    if Capability.SUSPEND not in partner.capabilities:
        return

    def lock() -> StepResult:
        seat_id = find_seat(partner, enrollment)
        return {"id": None} if seat_id is None else set_lock(partner, seat_id, locked=True)

    run.step(enrollment.step("lock"), lock)
    log.info("[autoEnrollPartnerCourse] suspended", enrollment_id=enrollment.id)


def give_back(run: JobRun, enrollment: Enrollment, partner: Partner) -> None:
    """Give a revoked seat back to the partner, also one whose id we never learned."""

    def release() -> StepResult:
        seat_id = find_seat(partner, enrollment)
        if seat_id is None:
            return {"id": None}
        if Capability.UNENROLL in partner.capabilities:
            partner.unenroll(seat_id)
        elif Capability.SUSPEND in partner.capabilities:
            partner.suspend(seat_id, suspended=True)
        elif Capability.JIT_ON_LAUNCH in partner.capabilities:
            return {"id": seat_id, "closed": "here: the partner makes seats at our launches only"}
        else:
            raise GiveUp(f"partner {enrollment.provider_name} cannot take a seat back by itself: ask them to")
        return {"id": seat_id}

    run.step(
        enrollment.step("release"),
        release,
        lambda result: lambda session: enrollments.record_release(session, enrollment),
    )
    log.info("[autoEnrollPartnerCourse] released", enrollment_id=enrollment.id)


def set_lock(partner: Partner, seat_id: str, *, locked: bool) -> StepResult:
    """Lock a seat or open it."""
    partner.suspend(seat_id, suspended=locked)
    return {"id": seat_id}


def find_seat(partner: Partner, enrollment: Enrollment) -> str | None:
    """Return the partner's id of the seat: the one we stored, else the one that is found by our reference."""
    if enrollment.external_enrollment_id is not None:
        return enrollment.external_enrollment_id
    if Capability.ENROLL not in partner.capabilities:
        return None
    account_id = enrollment.account_reference
    if Capability.ACCOUNTS in partner.capabilities:
        account = partner.find_account(_student(enrollment))
        if account is None:
            return None
        account_id = account.id
    seat = partner.find_enrollment(account_id, enrollment.course_code)
    return None if seat is None else seat.id


def take_account(partner: Partner, enrollment: Enrollment, *, look: bool) -> StepResult:
    """Find the student's account at the partner, or make it; look for it first where it may be there."""
    student = _student(enrollment)
    account = partner.find_account(student) if look else None
    if account is not None:
        return {"id": account.id, "adopted": True}
    account = partner.create_account(student, key=f"usher:{enrollment.student_id}:account")
    return {"id": account.id, "adopted": account.adopted}


def take_seat(partner: Partner, enrollment: Enrollment, account_id: str, *, look: bool) -> StepResult:
    """Find the account's seat in the course, or take one; look for it first where it may be there."""
    seat = partner.find_enrollment(account_id, enrollment.course_code) if look else None
    if seat is not None:
        return {"id": seat.id, "adopted": True}
    seat = partner.enroll_in_course(
        account_id,
        enrollment.course_code,
        student=_student(enrollment),
        reference=enrollment.seat_reference,
        key=enrollment.key("seat"),
    )
    return {"id": seat.id, "adopted": seat.adopted}


def _has_to_look(run: JobRun, enrollment: Enrollment, partner: Partner, step: str) -> bool:
    """Return whether a step looks up before it creates.

    Not where nobody ever began it and the partner itself refuses to make the same thing twice: there the creation finds
    what exists.
    """
    return not (
        Capability.REFUSES_TWICE in partner.capabilities
        and enrollment.generation == 1
        and run.is_first(enrollment.step(step))
    )


def check_launch(partner: Partner, enrollment: Enrollment, seat_id: str) -> StepResult:
    """Mint a launch to see that one click will work, and throw it away: launch URLs are never stored."""
    return_url = f"{get_settings().app_url}/dashboard"
    click = Click(
        enrollment.id,
        _student(enrollment),
        enrollment.course_code,
        return_url,
        enrollment.key("launch_check"),
    )
    launch = partner.launch(seat_id, click)
    if isinstance(launch, Redirect):
        return {"launch": "redirect", "host": urlsplit(launch.url).hostname}
    return {"launch": "form_post", "host": urlsplit(launch.action).hostname}


def _student(enrollment: Enrollment) -> Student:
    return Student(enrollment.account_reference, enrollment.email, enrollment.name or enrollment.email)
