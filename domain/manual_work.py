"""What people do at partners without an API: one work item for each generation of an enrolment, or a voucher instead.

    paid -> voucher ------------------------------> active
         -> item open (by hand, or an empty pool) -> staff complete it, or vouchers are added -> active
                                                  -> staff refuse it -> failed
    money back -> item open: cancelled | voucher never seen: back into its pool | else: an item "give back"

Whoever changes an item holds its enrolment's row, so the walk, staff and a refund take turns.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from domain import alerts, enrollments, secrets, staff, vouchers
from domain.enrollments import Enrollment
from domain.errors import DomainError, NoLongerWanted, NotFound, NotPossible

USHER = "usher"
# Students who get a voucher in one transaction when a pool was filled up.
BATCH = 200

# An item that was refused is opened anew when its enrolment is replayed.
OPEN = text(
    """
    INSERT INTO manual_work_items (enrollment_id, generation, kind, cause, provider_id, course_id, usual_hours)
    VALUES (:enrollment, :generation, :kind, :cause, :provider, :course, :hours)
    ON CONFLICT (enrollment_id, generation, kind) DO UPDATE SET state = 'open', cause = excluded.cause,
        usual_hours = excluded.usual_hours, closed_at = NULL, closed_by = NULL, note = NULL, exported_at = NULL,
        exported_by = NULL, version = manual_work_items.version + 1, updated_at = now()
    WHERE manual_work_items.state <> 'open'
    RETURNING id
    """
)
OTHERS = text(
    "SELECT EXISTS (SELECT 1 FROM manual_work_items WHERE provider_id = :provider AND state = 'open' AND id <> :id)"
)
CLOSE = text(
    """
    UPDATE manual_work_items SET state = :state, closed_at = now(), closed_by = :by, note = :note,
        version = version + 1, updated_at = now()
    WHERE enrollment_id = :enrollment AND kind = :kind AND state = 'open'
    """
)
FINISH = text(
    """
    UPDATE manual_work_items SET state = :state, closed_at = now(), closed_by = :by, note = :note,
        access_url = :url, sealed_access_code = :code, version = version + 1, updated_at = now()
    WHERE id = :id
    """
)
WAITING = text(
    """
    SELECT i.enrollment_id FROM manual_work_items i JOIN partner_lms_enrollments e ON e.id = i.enrollment_id
    WHERE i.course_id = :course AND i.state = 'open' AND i.cause = 'no_voucher'
        AND e.status = 'pending' AND e.generation = i.generation
    ORDER BY i.created_at, i.id LIMIT :limit FOR UPDATE OF e, i SKIP LOCKED
    """
)
POOLS = text("SELECT course_id FROM voucher_pools ORDER BY course_id")
ACCESS = text(
    """
    SELECT i.access_url, i.sealed_access_code
    FROM manual_work_items i JOIN partner_lms_enrollments e ON e.id = i.enrollment_id
    WHERE i.enrollment_id = :enrollment AND e.student_id = :student AND e.status IN ('active', 'completed')
        AND i.kind = 'set_up' AND i.state = 'done' AND (i.access_url IS NOT NULL OR i.sealed_access_code IS NOT NULL)
    ORDER BY i.generation DESC LIMIT 1
    """
)


class Stale(DomainError):
    """Somebody else changed the work item meanwhile; `version` is its version now."""

    code = "stale_version"

    def __init__(self, version: int) -> None:
        self.version = version
        super().__init__(f"the work item is at version {version}")


class SeatTaken(DomainError):
    """Another enrolment at this partner has the same partner's id."""

    code = "seat_id_taken"


@dataclass(frozen=True)
class Way:
    """How seats come about at a partner: whether from vouchers, and how many hours a person usually takes."""

    vouchers: bool
    usual_hours: int


@dataclass(frozen=True)
class Done:
    """What staff say they did. Where the partner has no id for the seat, our own reference stands for it."""

    note: str
    account_id: str | None = None
    enrollment_id: str | None = None
    access_url: str | None = None
    access_code: str | None = None


@dataclass(frozen=True)
class HandOut:
    """How a student gets in: codes are secrets. `use_by` is the end of the voucher, None where it has none."""

    code: str | None
    access_url: str | None
    use_by: datetime | None


def set_up(session: Session, enrollment: Enrollment, way: Way) -> str | None:
    """Return the id of the enrolment's seat: one it has, or a voucher; None where a person has to make it.

    What it has already is found first, so doing this again changes nothing. Raises `NoLongerWanted`.
    """
    now = _lock_wanted(session, enrollment)
    _close(session, enrollment.id, "give_back", "cancelled", "the seat is wanted again")
    if now.external_enrollment_id is not None:
        return now.external_enrollment_id
    found = vouchers.find_held(session, enrollment.id)
    if found is None and way.vouchers:
        found = vouchers.take(session, enrollment.course_id, enrollment.id)
    if found is None:
        _open(session, enrollment, "set_up", "no_voucher" if way.vouchers else "by_hand", way.usual_hours)
    else:
        _close(session, enrollment.id, "set_up", "done", "a voucher was handed out")
    return found


def take_back(session: Session, enrollment: Enrollment, usual_hours: int) -> None:
    """Undo what a suspended or revoked enrolment had: cancel what is open; put a voucher back, or have a person do it.

    A suspended seat is closed on our side only. Raises `NoLongerWanted`.
    """
    now = _lock_wanted(session, enrollment)
    _close(session, enrollment.id, "set_up", "cancelled", f"the enrolment is {now.status}")
    if now.status == "suspended" or now.released:
        return
    if vouchers.give_back(session, enrollment.id):
        _forget_seat(session, enrollment)
        enrollments.record_release(session, enrollment)
        serve(session, enrollment.course_id)
    elif vouchers.find_held(session, enrollment.id) is not None:
        _open(session, enrollment, "give_back", "voucher", usual_hours)
    elif now.external_enrollment_id is not None:
        _open(session, enrollment, "give_back", "seat", usual_hours)
    else:
        enrollments.record_release(session, enrollment)


def stock(
    session: Session,
    course_id: str,
    codes: list[vouchers.Code],
    *,
    actor: str,
    reason: str | None,
    label: str | None = None,
) -> tuple[int, int]:
    """Add codes to a pool and hand them out to those who wait; return (new codes, students served)."""
    added = vouchers.add(session, course_id, codes, label=label)
    served = serve(session, course_id, max(len(codes), 1))
    staff.record(
        session,
        actor=actor,
        action="voucher.add",
        subject=("partner_course", course_id),
        reason=reason,
        detail={"given": len(codes), "added": added, "served": served, "label": label},
    )
    return added, served


def serve(session: Session, course_id: str, limit: int = BATCH) -> int:
    """Give vouchers to those who have waited the longest, and have their walks go on; return how many."""
    waiting = session.scalars(WAITING, {"course": course_id, "limit": limit}).all()
    served = 0
    for enrollment_id in map(str, waiting):
        if vouchers.take_free(session, course_id, enrollment_id) is None:
            break
        _close(session, enrollment_id, "set_up", "done", "a voucher was added")
        enrollments.start_walk(session, enrollments.load(session, enrollment_id))
        served += 1
    vouchers.note_level(session, course_id)
    return served


def pools(session: Session) -> list[str]:
    """Return the courses that have a pool."""
    return [str(found) for found in session.scalars(POOLS)]


def complete(session: Session, item_id: str, done: Done, *, actor: str, version: int | None = None) -> None:
    """Note what staff did: a seat that was set up is walked on to active; one that was given back is released.

    Raises `NotFound`, `NotPossible` (closed, or not wanted any more), `Stale`, `SeatTaken`.
    """
    item, enrollment = _claim(session, item_id, version)
    wanted = "pending" if item.kind == "set_up" else "revoked"
    if enrollment.status != wanted or enrollment.generation != item.generation:
        raise NotPossible(f"the enrolment is {enrollment.status} now: look at the item again in a moment")
    if item.kind == "set_up":
        _record_seat(session, enrollment, done)
        enrollments.start_walk(session, enrollment)
    else:
        enrollments.record_release(session, enrollment)
        vouchers.spend(session, enrollment.id)
    _finish(session, item_id, "done", actor, done)
    detail = {
        "enrollment": enrollment.id,
        "kind": item.kind,
        "account_id": done.account_id,
        "enrollment_id": done.enrollment_id,
        "access_code": done.access_code is not None,
    }
    _record(session, "manual.complete", item_id, actor, done.note, detail)


def refuse(session: Session, item_id: str, reason: str, *, actor: str, version: int | None = None) -> None:
    """Note that it cannot be done: a seat that was to be set up has its enrolment fail; the refund is staff's to make.

    Raises `NotFound`, `NotPossible`, `Stale`.
    """
    item, enrollment = _claim(session, item_id, version)
    _finish(session, item_id, "refused", actor, Done(reason))
    if item.kind == "set_up" and (enrollment.status, enrollment.generation) == ("pending", item.generation):
        enrollments.fail(
            session, enrollment, step="by_hand", code="refused_by_staff", message=reason, retry_count=0
        )
    _record(
        session, "manual.refuse", item_id, actor, reason, {"enrollment": enrollment.id, "kind": item.kind}
    )


def hand_out(
    session: Session, enrollment_id: str, student_id: str, expires_days: int | None
) -> HandOut | None:
    """Return what the student needs to get in, None where the website is enough. Its code counts as seen from now on.

    Raises `secrets.NoKeys` or `secrets.NotOurs` where the code cannot be opened.
    """
    names = {"enrollment": enrollment_id, "student": student_id}
    shown = vouchers.show(session, enrollment_id, student_id)
    if shown is not None:
        ends = [] if expires_days is None else [shown.taken_at + timedelta(days=expires_days)]
        ends += [] if shown.expires_at is None else [shown.expires_at]
        return HandOut(shown.code, None, min(ends, default=None))
    row = session.execute(ACCESS, names).one_or_none()
    if row is None:
        return None
    code = None if row.sealed_access_code is None else secrets.unseal(row.sealed_access_code)
    return HandOut(code, row.access_url, None)


def _lock_wanted(session: Session, enrollment: Enrollment) -> Enrollment:
    now = enrollments.lock(session, enrollment.id)
    if (now.status, now.generation) != (enrollment.status, enrollment.generation):
        raise NoLongerWanted(f"enrolment {enrollment.id} is {now.status} now")
    return now


def _open(session: Session, enrollment: Enrollment, kind: str, cause: str, hours: int) -> None:
    values = {
        "enrollment": enrollment.id,
        "generation": enrollment.generation,
        "kind": kind,
        "cause": cause,
        "provider": enrollment.provider_id,
        "course": enrollment.course_id,
        "hours": hours,
    }
    made = session.scalar(OPEN, values)
    # Of an empty pool staff hear once for all who wait; of other work when there was none before.
    if made is None or cause == "no_voucher":
        return
    if not session.scalar(OTHERS, {"provider": enrollment.provider_id, "id": made}):
        alerts.tell_staff(session, f"manual_work:{enrollment.provider_type}")


def _close(session: Session, enrollment_id: str, kind: str, state: str, note: str) -> None:
    """Close the open item of this kind, if there is one."""
    values = {"enrollment": enrollment_id, "kind": kind, "state": state, "by": USHER, "note": note}
    session.execute(CLOSE, values)


def _claim(session: Session, item_id: str, version: int | None) -> tuple[Any, Enrollment]:
    """Lock an open item and its enrolment, in the order in which everybody does."""
    find = "SELECT enrollment_id, generation, kind, state, version FROM manual_work_items WHERE id = :id"
    found = session.execute(text(find), {"id": item_id}).one_or_none()
    if found is None:
        raise NotFound(f"there is no work item {item_id}")
    enrollment = enrollments.lock(session, str(found.enrollment_id))
    item = session.execute(text(f"{find} FOR UPDATE"), {"id": item_id}).one()
    if version is not None and version != item.version:
        raise Stale(item.version)
    if item.state != "open":
        raise NotPossible(f"the work item is {item.state}")
    return item, enrollment


def _record_seat(session: Session, enrollment: Enrollment, done: Done) -> None:
    if done.account_id is not None:
        enrollments.record_accounts(session, [(enrollment, done.account_id)])
    try:
        with session.begin_nested():
            enrollments.record_seats(session, [(enrollment, done.enrollment_id or enrollment.seat_reference)])
    except IntegrityError:
        raise SeatTaken(
            f"another enrolment has the id {done.enrollment_id} at {enrollment.provider_name}"
        ) from None


def _forget_seat(session: Session, enrollment: Enrollment) -> None:
    """Let the voucher's next enrolment go by its id."""
    session.execute(
        text("UPDATE partner_lms_enrollments SET external_enrollment_id = NULL WHERE id = :id"),
        {"id": enrollment.id},
    )


def _finish(session: Session, item_id: str, state: str, actor: str, done: Done) -> None:
    sealed = None if done.access_code is None else secrets.seal(done.access_code)
    values = {"state": state, "by": actor, "note": done.note, "url": done.access_url, "code": sealed}
    session.execute(FINISH, {"id": item_id, **values})


def _record(
    session: Session, action: str, item_id: str, actor: str, reason: str, detail: dict[str, Any]
) -> None:
    subject = ("manual_work_item", item_id)
    staff.record(session, actor=actor, action=action, subject=subject, reason=reason, detail=detail)
