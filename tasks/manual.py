"""Partners without an API: the part of an enrolment's walk that a voucher or a person does."""

from __future__ import annotations

import structlog

from db import trace
from db.session import transaction
from domain import enrollments, manual_work
from domain.enrollments import Enrollment
from domain.manual_work import Way
from partners.manual.adapter import ManualPartner
from workers.commits import Together
from workers.job import JobRun, periodic

log = structlog.get_logger("tasks.manual")


def take_by_hand(run: JobRun, enrollment: Enrollment, partner: ManualPartner) -> None:
    """Activate with a voucher, or with what staff set up; until there is one the job is done and the enrolment waits.

    The voucher is taken in one transaction under the job's fencing token, and found first by every later attempt.
    """
    way = Way(partner.options.mode == "vouchers", partner.options.usual_hours)
    # From here on there is something to undo.
    run.step(enrollment.step("by_hand"), dict)
    seat_id = run.checkpoint(lambda session: manual_work.set_up(session, enrollment, way))
    if seat_id is None:
        log.info("[autoEnrollPartnerCourse] waits for a person", enrollment_id=enrollment.id)
        return
    run.step(
        enrollment.step("seat"),
        lambda: {"id": seat_id},
        lambda result: Together(enrollments.record_seats, (enrollment, result["id"])),
        wanted=Together(enrollments.are_wanted, enrollment),
    )
    run.finally_write(lambda session: enrollments.activate(session, [(enrollment, trace.current.get())]))
    log.info(
        "[autoEnrollPartnerCourse] enrolled", enrollment_id=enrollment.id, partner=enrollment.provider_type
    )


def close_by_hand(run: JobRun, enrollment: Enrollment, partner: ManualPartner) -> None:
    """Undo what a suspended or revoked enrolment had, as far as it does not take a person."""
    run.checkpoint(lambda session: manual_work.take_back(session, enrollment, partner.options.usual_hours))
    log.info("[autoEnrollPartnerCourse] closed", enrollment_id=enrollment.id, status=enrollment.status)


@periodic("manual.sweep")
def sweep() -> None:
    """Hand out vouchers that came back while somebody waits, and notice pools that ran low because codes expired."""
    with transaction() as session:
        courses = manual_work.pools(session)
    for course_id in courses:
        served = manual_work.BATCH
        while served == manual_work.BATCH:
            with transaction() as session:
                served = manual_work.serve(session, course_id)
