"""A seat's life: opened by a payment, walked to the partner, active, failed, suspended, revoked, restored.

One job walks one enrolment to whatever it should be (`enrollment.walk`), so taking a seat and giving it back never run
side by side. Every write of the walk is guarded by status and generation: what was revoked meanwhile stays revoked.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from db import jobs, lean
from domain import failures, users, xp_partners
from domain.errors import NoLongerWanted, NotFound, NotPossible

WALK = "enrollment.walk"
SEND_MAIL = "mail.send"
STEPS = ("account", "seat", "launch_check")

INSERT = lean.Statement(
    "open_enrollment",
    """
    INSERT INTO partner_lms_enrollments (provider_id, student_id, course_id, program_id, correlation_id)
    VALUES ({provider_id}, {student_id}, {course_id}, {program_id}, {correlation_id})
    ON CONFLICT (student_id, course_id) DO NOTHING
    RETURNING id
    """,
    provider_id="uuid",
    student_id="uuid",
    course_id="uuid",
    program_id="uuid",
    correlation_id="text",
)
WITH_ALL = """
    SELECT e.id, e.status, e.generation, e.student_id, e.provider_id, e.course_id, e.program_id, e.correlation_id,
        e.external_account_id, e.external_enrollment_id, e.released_at IS NOT NULL AS released,
        u.email, u.name, p.provider_type, p.provider_name, p.active AS provider_active,
        c.course_name, c.active AS course_active, coalesce(c.external_course_code, c.course_code) AS course_code
    FROM partner_lms_enrollments e
    JOIN users u ON u.id = e.student_id
    JOIN partner_lms_providers p ON p.id = e.provider_id
    JOIN partner_courses c ON c.id = e.course_id
"""
LOAD_MANY = lean.Statement(
    "load_enrollments", f"{WITH_ALL} WHERE e.id = ANY({{ids}}) ORDER BY e.id", ids="uuid[]"
)
LOCK = lean.Statement("lock_enrollment", f"{WITH_ALL} WHERE e.id = {{id}} FOR UPDATE OF e", id="uuid")
# What became of enrolments since they were read.
LOOK_AGAIN = lean.Statement(
    "look_again",
    "SELECT id, status, generation FROM partner_lms_enrollments WHERE id = ANY({ids})",
    ids="uuid[]",
)
# Over many enrolments at once; a later generation than the one that was read has its own seat.
RECORD_ACCOUNTS = lean.Statement(
    "record_accounts",
    """
    UPDATE partner_lms_enrollments e SET external_account_id = given.value, updated_at = now()
    FROM jsonb_to_recordset({rows}) AS given(id uuid, generation int, value text)
    WHERE e.id = given.id AND e.generation = given.generation
    """,
    rows="jsonb",
)
RECORD_SEATS = lean.Statement(
    "record_seats",
    """
    UPDATE partner_lms_enrollments e SET external_enrollment_id = given.value, enrolled_at = now(), updated_at = now()
    FROM jsonb_to_recordset({rows}) AS given(id uuid, generation int, value text)
    WHERE e.id = given.id AND e.generation = given.generation
    """,
    rows="jsonb",
)
ACTIVATE = lean.Statement(
    "activate_enrollments",
    """
    UPDATE partner_lms_enrollments e SET launch_checked_at = now(), failure_reason = NULL, updated_at = now(),
        status = CASE WHEN e.completed_at IS NULL THEN 'active' ELSE 'completed' END
    FROM jsonb_to_recordset({rows}) AS given(id uuid, generation int)
    WHERE e.id = given.id AND e.generation = given.generation AND e.status = 'pending'
    RETURNING e.id
    """,
    rows="jsonb",
)


@dataclass(frozen=True)
class Enrollment:
    """An enrolment with all that its walk needs to know."""

    id: str
    status: str
    generation: int
    student_id: str
    provider_id: str
    course_id: str
    program_id: str | None
    correlation_id: str | None
    external_account_id: str | None
    external_enrollment_id: str | None
    released: bool
    email: str
    name: str
    provider_type: str
    provider_name: str
    provider_active: bool
    course_name: str
    course_active: bool
    course_code: str

    @property
    def account_reference(self) -> str:
        """Our name for the student at the partner: constant, unique, and not an e-mail address."""
        return account_reference(self.student_id)

    @property
    def seat_reference(self) -> str:
        """Our name for this seat at the partner; a seat that is opened anew is another one."""
        return f"usher-{self.id}" if self.generation == 1 else f"usher-{self.id}-{self.generation}"

    def key(self, step: str) -> str:
        """Return the idempotency key of a step: the same for every attempt at it."""
        return f"{self.id}:{self.generation}:{step}"

    def step(self, name: str) -> str:
        """Return a step's name in the timeline; a seat that is opened anew takes its steps anew."""
        return name if self.generation == 1 else f"{name} ({self.generation})"


def account_reference(student_id: str) -> str:
    """Return our name for a student at every partner."""
    return f"usher-{student_id}"


def open_enrollment(
    session: Session,
    *,
    student_id: str,
    provider_id: str,
    course_id: str,
    program_id: str | None,
    correlation_id: str | None,
) -> str:
    """Insert the enrolment of a student in a course, or adopt the one that exists; return its id."""
    found = lean.execute(
        session,
        INSERT,
        {
            "provider_id": provider_id,
            "student_id": student_id,
            "course_id": course_id,
            "program_id": program_id,
            "correlation_id": correlation_id,
        },
    ).scalar()
    if found is None:
        existing = session.execute(
            text(
                "SELECT id FROM partner_lms_enrollments WHERE student_id = :student AND course_id = :course"
            ),
            {"student": student_id, "course": course_id},
        )
        found = existing.scalar_one()
    return str(found)


def load(session: Session, enrollment_id: str) -> Enrollment:
    """Return an enrolment with its student, provider and course; raise `NotFound`."""
    found = load_many(session, [enrollment_id])
    if not found:
        raise NotFound(f"there is no enrolment {enrollment_id}")
    return found[0]


def load_many(session: Session, ids: Collection[str]) -> list[Enrollment]:
    """Return those of these enrolments that exist, in id order."""
    return [Enrollment(**row._asdict()) for row in lean.execute(session, LOAD_MANY, {"ids": list(ids)})]


def load_by_id(session: Session, ids: Collection[str]) -> dict[str, Enrollment]:
    """Return those of these enrolments that exist by their ids."""
    return {enrollment.id: enrollment for enrollment in load_many(session, ids)}


def lock(session: Session, enrollment_id: str) -> Enrollment:
    """Lock an enrolment's row until the transaction ends, and return it; raise `NotFound`."""
    found = lean.execute(session, LOCK, {"id": enrollment_id}).one_or_none()
    if found is None:
        raise NotFound(f"there is no enrolment {enrollment_id}")
    return Enrollment(**found._asdict())


def find_obstacle(enrollment: Enrollment, partner_types: Collection[str]) -> tuple[str, str] | None:
    """Return (code, reason) when nobody can be enrolled here at present, None when all is well."""
    if users.is_erased(enrollment.email):
        return "student_erased", "the student was erased: refund, or have them buy it as somebody new"
    if not enrollment.provider_active:
        return "inactive_partner", f"partner {enrollment.provider_name} is not active"
    if not enrollment.course_active:
        return "inactive_course", f"course {enrollment.course_name} ({enrollment.course_code}) is not active"
    if enrollment.provider_type not in partner_types:
        known = ", ".join(sorted(partner_types))
        return (
            "no_adapter",
            f"no adapter speaks provider_type {enrollment.provider_type!r}; there are {known}",
        )
    return None


def begin(session: Session, enrollment: Enrollment, partner_types: Collection[str]) -> None:
    """Start a pending enrolment's walk, unless it has one already; fail it readably where nobody can be enrolled."""
    if enrollment.status != "pending":
        return
    obstacle = find_obstacle(enrollment, partner_types)
    if obstacle is None:
        start_walk(session, enrollment, once=True)
        return
    code, message = obstacle
    fail(session, enrollment, step="load", code=code, message=message, retry_count=0)


def start_walk(session: Session, enrollment: Enrollment, *, once: bool = False) -> None:
    """Ask for the enrolment's walk; one that ended becomes due anew, one that is running will look once more."""
    jobs.enqueue(
        session,
        jobs.Enqueue(
            kind=WALK,
            business_key=enrollment.id,
            queue=f"enroll.{enrollment.provider_type}",
            subject_id=enrollment.id,
            partner=enrollment.provider_type,
            correlation_id=enrollment.correlation_id,
        ),
        once=once,
    )


def are_wanted(session: Session, enrollments: Sequence[Enrollment]) -> list[bool]:
    """Say of each of these enrolments whether it is still what it was when it was read."""
    ids = [enrollment.id for enrollment in enrollments]
    found = lean.execute(session, LOOK_AGAIN, {"ids": ids})
    now = {str(row.id): (row.status, row.generation) for row in found}
    return [now[enrollment.id] == (enrollment.status, enrollment.generation) for enrollment in enrollments]


def record_accounts(session: Session, taken: Sequence[tuple[Enrollment, str]]) -> None:
    """Save the partner's account ids, whatever became of the enrolments meanwhile: giving back needs them too."""
    lean.execute(session, RECORD_ACCOUNTS, {"rows": _rows(taken)})


def record_seats(session: Session, taken: Sequence[tuple[Enrollment, str]]) -> None:
    """Save the partner's enrolment ids and when the seats were taken, whatever became of the enrolments meanwhile."""
    lean.execute(session, RECORD_SEATS, {"rows": _rows(taken)})


def record_release(session: Session, enrollment: Enrollment) -> None:
    """Save that the partner has the seat back."""
    _write(session, enrollment, "released_at = now()")
    failures.resolve_for_enrollments(session, [enrollment.id])


def activate(session: Session, opened: Sequence[tuple[Enrollment, str | None]]) -> None:
    """Open courses to their students and ask for the mails that say so: never before access was confirmed.

    Each enrolment comes with the trace that it belongs to. A course that was completed before it was suspended is
    completed again. Raises `NoLongerWanted` where one of them is not pending any more.
    """
    seats = [enrollment for enrollment, _ in opened]
    written = lean.execute(session, ACTIVATE, {"rows": _rows([(seat, None) for seat in seats])}).scalars()
    missing = {seat.id for seat in seats} - {str(id) for id in written}
    if missing:
        raise NoLongerWanted(f"not pending any more: enrolment {', '.join(missing)}")
    failures.resolve_for_enrollments(session, [seat.id for seat in seats])
    mails = [_mail(seat, "welcome" if seat.generation == 1 else "restored") for seat in seats]
    jobs.enqueue_once(session, mails, [trace for _, trace in opened])
    for seat in seats:
        if seat.generation > 1:
            xp_partners.ask(session, seat.id, seat.correlation_id)


def revoke(session: Session, enrollment: Enrollment) -> None:
    """Take a seat away: the money went back. The walk gives it back to the partner; the certificate does not stand."""
    _set_status(session, enrollment, "revoked")
    session.execute(
        text(
            "UPDATE partner_certificates SET revoked_at = now() WHERE enrollment_id = :id AND revoked_at IS NULL"
        ),
        {"id": enrollment.id},
    )
    start_walk(session, enrollment)
    xp_partners.ask(session, enrollment.id, enrollment.correlation_id)
    tell(session, enrollment, "revoked")


def suspend(session: Session, enrollment: Enrollment) -> None:
    """Close a seat while the payment is disputed. The walk locks it at partners that can."""
    _set_status(session, enrollment, "suspended")
    start_walk(session, enrollment)


def restore(session: Session, enrollment: Enrollment) -> None:
    """Open a suspended or revoked seat anew: a new generation is walked, which adopts what is still there.

    Where the seat had been given back, what was learned in it is gone and progress starts afresh.
    """
    session.execute(
        text(
            """
            UPDATE partner_lms_enrollments SET status = 'pending', generation = generation + 1, failure_reason = NULL,
                released_at = NULL, updated_at = now(),
                external_enrollment_id = CASE WHEN released_at IS NULL THEN external_enrollment_id END,
                completed_at = CASE WHEN released_at IS NULL THEN completed_at END,
                progress_percentage = CASE WHEN released_at IS NULL THEN progress_percentage ELSE 0 END,
                progress_updated_at = CASE WHEN released_at IS NULL THEN progress_updated_at END
            WHERE id = :id
            """
        ),
        {"id": enrollment.id},
    )
    session.execute(
        text("UPDATE partner_certificates SET revoked_at = NULL WHERE enrollment_id = :id"),
        {"id": enrollment.id},
    )
    start_walk(session, enrollment)


def fail(
    session: Session,
    enrollment: Enrollment,
    *,
    step: str | None,
    code: str,
    message: str,
    retry_count: int,
    final: bool = True,
    job_id: str | None = None,
) -> None:
    """Record a failed attempt; where it was the last one, the enrolment waits as `failed` for a person."""
    failures.record(
        session,
        enrollment_id=enrollment.id,
        student_id=enrollment.student_id,
        provider_id=enrollment.provider_id,
        course_id=enrollment.course_id,
        program_id=enrollment.program_id,
        job_id=job_id,
        step=step,
        code=code,
        message=message,
        retry_count=retry_count,
        final=final,
    )
    if final:
        session.execute(
            text(
                "UPDATE partner_lms_enrollments SET status = 'failed', failure_reason = :reason, updated_at = now()"
                " WHERE id = :id AND status = 'pending'"
            ),
            {"id": enrollment.id, "reason": message},
        )


def replay(
    session: Session, enrollment_id: str, *, partner_types: Collection[str], from_step: str | None = None
) -> None:
    """Replay an enrolment whose walk was given up. With `from_step`, that step and those after it are looked up anew.

    Raises `NotFound`, or `NotPossible` when nothing was given up, the step is unknown, or the obstacle is still there.
    """
    enrollment = lock(session, enrollment_id)
    if enrollment.status != "failed" and not _walk_was_given_up(session, enrollment_id):
        raise NotPossible(
            f"enrolment {enrollment_id} is {enrollment.status}, only what was given up can be replayed"
        )
    if from_step is not None and from_step not in STEPS:
        raise NotPossible(f"there is no step {from_step!r}; the steps are {', '.join(STEPS)}")
    obstacle = find_obstacle(enrollment, partner_types) if enrollment.status == "failed" else None
    if obstacle is not None:
        raise NotPossible(f"nothing would change: {obstacle[1]}")
    session.execute(
        text(
            "UPDATE partner_lms_enrollments SET status = 'pending', failure_reason = NULL, updated_at = now()"
            " WHERE id = :id AND status = 'failed'"
        ),
        {"id": enrollment_id},
    )
    if from_step is not None:
        steps = [enrollment.step(name) for name in STEPS[STEPS.index(from_step) :]]
        _forget_steps(session, enrollment_id, steps)
    start_walk(session, enrollment)


def release_again(session: Session, enrollment_id: str, seat_id: str) -> bool:
    """Have the seat that the partner still has given back once more; False when nothing of it was given back, or it is wanted again."""
    enrollment = lock(session, enrollment_id)
    if enrollment.status != "revoked" or not enrollment.released:
        return False
    _write(session, enrollment, "released_at = NULL, external_enrollment_id = :seat", seat=seat_id)
    start_walk(session, enrollment)
    # Begun, outcome unknown: also where the steps that led here were tidied away with their job.
    session.execute(
        text(
            "INSERT INTO job_steps (job_id, step, token) SELECT id, :step, token FROM jobs"
            " WHERE kind = :kind AND business_key = :key"
            " ON CONFLICT (job_id, step) DO UPDATE SET state = 'started'"
        ),
        {"kind": WALK, "key": enrollment_id, "step": enrollment.step("release")},
    )
    return True


def tell(session: Session, enrollment: Enrollment, template: str) -> None:
    """Ask for a mail to the student, once for each generation of the seat."""
    jobs.enqueue(session, _mail(enrollment, template), once=True)


def _mail(enrollment: Enrollment, template: str) -> jobs.Enqueue:
    return jobs.Enqueue(
        kind=SEND_MAIL,
        business_key=f"{template}:{enrollment.id}:{enrollment.generation}",
        queue="mail",
        subject_id=enrollment.id,
        correlation_id=enrollment.correlation_id,
    )


def _walk_was_given_up(session: Session, enrollment_id: str) -> bool:
    state = session.scalar(
        text("SELECT state FROM jobs WHERE kind = :kind AND business_key = :key"),
        {"kind": WALK, "key": enrollment_id},
    )
    return state in ("failed", "parked")


def _forget_steps(session: Session, enrollment_id: str, steps: list[str]) -> None:
    """Set steps back to `started`: their outcome counts as unknown, so the walk looks them up before it creates."""
    session.execute(
        text(
            "UPDATE job_steps SET state = 'started' FROM jobs WHERE jobs.id = job_steps.job_id"
            " AND jobs.kind = :kind AND jobs.business_key = :key AND job_steps.step = ANY(:steps)"
        ),
        {"kind": WALK, "key": enrollment_id, "steps": steps},
    )


def _set_status(session: Session, enrollment: Enrollment, status: str) -> None:
    session.execute(
        text("UPDATE partner_lms_enrollments SET status = :status, updated_at = now() WHERE id = :id"),
        {"id": enrollment.id, "status": status},
    )


def _rows(values: Sequence[tuple[Enrollment, str | None]]) -> str:
    """Return what the statements over many enrolments take: the generation that was read, and a value for each."""
    return json.dumps([{"id": e.id, "generation": e.generation, "value": value} for e, value in values])


def _write(session: Session, enrollment: Enrollment, assignment: str, **values: Any) -> None:
    """Write to the generation that was read; a later one has its own seat."""
    session.execute(
        text(
            f"UPDATE partner_lms_enrollments SET {assignment}, updated_at = now()"  # noqa: S608 - our own constants
            " WHERE id = :id AND generation = :generation"
        ),
        {"id": enrollment.id, "generation": enrollment.generation, **values},
    )
