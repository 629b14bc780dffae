"""Certificates of our own courses: who has earned one, issuing it once, checking it, taking it back.

A course is done when all of it that is published and required is done: lessons, quizzes, assignments. What is added to
a course later takes no certificate away; only a reversal of what was done does.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from db import jobs
from domain import counters, staff
from domain.certificate_codes import Mistyped, make_code, read_code
from domain.certificate_review import COURSE_OF, QUEUE, find_undone
from domain.errors import DomainError, NotFound, NotPossible
from domain.student_view import decode_cursor

ISSUE = "certificates.issue"
EARNED = "certificates.earned"
# Characters of a code as somebody may type it.
TYPED_MAX = 100
LAST = (datetime.fromisoformat("9999-01-01T00:00:00+00:00"), "ffffffff-ffff-ffff-ffff-ffffffffffff")

# What of a course is published and required, and whether somebody has done it.
ITEMS = """
    SELECT EXISTS (
        SELECT 1 FROM lesson_progress p WHERE p.lesson_id = l.id AND p.user_id = CAST(:user AS uuid)
    ) AS done FROM lessons l WHERE l.course_id = CAST(:course AS uuid) AND l.published
    UNION ALL SELECT EXISTS (
        SELECT 1 FROM quiz_attempts t
        WHERE t.quiz_id = q.id AND t.user_id = CAST(:user AS uuid) AND t.state = 'graded' AND t.passed
    ) FROM quizzes q WHERE q.course_id = CAST(:course AS uuid) AND q.is_published AND q.required
    UNION ALL SELECT EXISTS (
        SELECT 1 FROM assignment_submissions s
        WHERE s.assignment_id = a.id AND s.user_id = CAST(:user AS uuid) AND s.passed
    ) FROM assignments a WHERE a.course_id = CAST(:course AS uuid) AND a.is_published AND a.required
"""
ELIGIBLE = text(
    f"""
    SELECT coalesce(bool_and(done), false) AND EXISTS (
        SELECT 1 FROM enrollments e JOIN courses c ON c.id = e.course_id AND c.deleted_at IS NULL
        WHERE e.user_id = CAST(:user AS uuid) AND e.course_id = CAST(:course AS uuid)
    ) FROM ({ITEMS}) AS items
    """  # noqa: S608
)
LEARNED = text(
    f"SELECT t.user_id, {COURSE_OF.format(entry='t')} AS course_id FROM xp_transactions t WHERE t.id = :entry"  # noqa: S608
)
# Before the user's row, as completing a lesson does: a course that is being deleted holds its row, then its learners'.
LOCK_COURSE = text("SELECT 1 FROM courses WHERE id = CAST(:course AS uuid) FOR KEY SHARE")
LOCK_USER = text("SELECT name FROM users WHERE id = :user FOR NO KEY UPDATE")
MAKE = text(
    """
    INSERT INTO certificates (user_id, course_id, certificate_url, verification_code, name, course_title, hours,
        expires_at)
    SELECT :user, c.id, '/verify/' || :code, :code, :name, c.title, c.estimated_hours,
        coalesce(CAST(:expires_at AS timestamptz), now() + c.certificate_days * interval '1 day')
    FROM courses c WHERE c.id = :course
    ON CONFLICT (user_id, course_id) WHERE status = 'valid' DO NOTHING
    RETURNING id
    """
)
CERTIFICATES = """
    SELECT id, user_id, course_id, certificate_url, verification_code, status, name, course_title, hours, issued_at,
        expires_at, revoked_at FROM certificates
"""
FIND = text(CERTIFICATES + " WHERE id = CAST(:id AS uuid)")
HELD = text(CERTIFICATES + " WHERE user_id = :user AND course_id = :course AND status = 'valid'")
HOLD = text(CERTIFICATES + " WHERE id = CAST(:id AS uuid) FOR UPDATE")
# Codes that were imported may have any form.
VERIFY = text(CERTIFICATES + " WHERE verification_code IN (:code, :typed) LIMIT 1")
LIST = text(
    CERTIFICATES
    + """ WHERE (CAST(:user AS uuid) IS NULL OR user_id = CAST(:user AS uuid))
        AND (issued_at, id) < (:moment, CAST(:last AS uuid))
    ORDER BY issued_at DESC, id DESC LIMIT :limit"""
)
REVOKE = text(
    "UPDATE certificates SET status = 'revoked', revoked_at = now(), updated_at = now() WHERE id = :id"
)
SUPERSEDE = text("UPDATE certificates SET status = 'superseded', updated_at = now() WHERE id = :id")
POINT_ON = text("UPDATE certificates SET superseded_by_id = :new WHERE id = :id")


class NotValid(NotPossible):
    """The certificate was revoked or superseded before."""

    code = "certificate_not_valid"


class NotEligible(NotPossible):
    """Something of the course that is published and required has not been done."""

    code = "not_eligible"


class NameMissing(NotPossible):
    """The user has no name, and a certificate without one is worth nothing."""

    code = "name_missing"


class HeldBefore(DomainError):
    """The user holds a valid certificate of this course."""

    code = "certificate_held"


@dataclass(frozen=True)
class Certificate:
    """A certificate. `status` as it is stored: `valid`, `revoked` or `superseded`."""

    id: str
    user_id: str
    course_id: str | None
    certificate_url: str
    verification_code: str
    status: str
    name: str
    course_title: str
    hours: Decimal | None
    issued_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    def status_at(self, moment: datetime) -> str:
        """Return `valid`, `expired`, `revoked` or `superseded`. The last two weigh more than a date that has passed."""
        expired = self.status == "valid" and self.expires_at is not None and self.expires_at <= moment
        return "expired" if expired else self.status


def is_eligible(session: Session, user_id: str, course_id: str) -> bool:
    """Say whether somebody who is enrolled has done all of a course that is published and required."""
    return bool(session.execute(ELIGIBLE, {"user": user_id, "course": course_id}).scalar_one())


def follow_award(session: Session, entry_id: str) -> None:
    """Ask for the certificate where this entry of the ledger was the last thing that a course needed."""
    row = session.execute(LEARNED, {"entry": entry_id}).one_or_none()
    if row is None or row.course_id is None or not is_eligible(session, row.user_id, row.course_id):
        return
    jobs.enqueue(
        session, jobs.Enqueue(ISSUE, f"{row.user_id}:{row.course_id}", QUEUE, subject_id=row.user_id)
    )


def issue(session: Session, user_id: str, course_id: str) -> str:
    """Issue the certificate of a course, once, and ask for its mail; return its id.

    Raises `NotFound`, `NotEligible`, `NameMissing`, or `HeldBefore`.
    """
    session.execute(LOCK_COURSE, {"course": course_id})
    row = session.execute(LOCK_USER, {"user": user_id}).one_or_none()
    if row is None:
        raise NotFound(f"there is no user {user_id}")
    if not is_eligible(session, user_id, course_id):
        raise NotEligible(f"course {course_id} is not done")
    return _make(session, user_id, course_id, row.name)


def review(session: Session, user_id: str) -> int:
    """Revoke the certificates whose course was undone by a reversal; return how many."""
    session.execute(LOCK_USER, {"user": user_id})
    undone = find_undone(session, user_id)
    for certificate_id in undone:
        _revoke(session, user_id, certificate_id, actor="usher", reason="completion_reversed")
    return len(undone)


def revoke(session: Session, certificate_id: str, *, actor: str, reason: str) -> Certificate:
    """Revoke a certificate by hand; raise `NotFound` or `NotValid`. The reason goes to the audit only."""
    held = _hold_valid(session, certificate_id)
    _revoke(session, held.user_id, certificate_id, actor=actor, reason=reason)
    return find(session, certificate_id)


def reissue(session: Session, certificate_id: str, *, actor: str, reason: str) -> Certificate:
    """Replace a certificate by one with today's name and title; the end of its validity stays.

    Raises `NotFound`, `NotValid`, `NotPossible` when the course is gone, or `NameMissing`.
    """
    held = _hold_valid(session, certificate_id)
    if held.course_id is None:
        raise NotPossible("the course does not exist any more")
    name = session.execute(LOCK_USER, {"user": held.user_id}).scalar_one()
    session.execute(SUPERSEDE, {"id": certificate_id})
    made = _make(session, held.user_id, held.course_id, name, expires_at=held.expires_at)
    session.execute(POINT_ON, {"id": certificate_id, "new": made})
    _record(session, "certificate.reissue", certificate_id, actor, reason, {"replaced_by": made})
    return find(session, made)


def find(session: Session, certificate_id: str, user_id: str | None = None) -> Certificate:
    """Return a certificate, with `user_id` only one of theirs; raise `NotFound`."""
    row = session.execute(FIND, {"id": certificate_id}).one_or_none()
    if row is None or user_id not in (None, row.user_id):
        raise NotFound(f"there is no certificate {certificate_id}")
    return Certificate(**row._mapping)


def find_valid(session: Session, user_id: str, course_id: str) -> Certificate | None:
    """Return the certificate that a user holds of a course, None without one."""
    row = session.execute(HELD, {"user": user_id, "course": course_id}).one_or_none()
    return None if row is None else Certificate(**row._mapping)


def verify(session: Session, typed: str) -> Certificate | None:
    """Return the certificate with the code that somebody typed, None where there is none."""
    if len(typed) > TYPED_MAX or "\x00" in typed:
        return None
    try:
        code = read_code(typed)
    except Mistyped:
        code = typed
    row = session.execute(VERIFY, {"code": code, "typed": typed}).one_or_none()
    return None if row is None else Certificate(**row._mapping)


def list_for(
    session: Session, user_id: str | None, *, limit: int, cursor: str | None = None
) -> list[Certificate]:
    """Return up to `limit` + 1 certificates, newest first, of one user or of all; raise `InvalidCursor`."""
    moment, last = LAST if cursor is None else decode_cursor(cursor)
    rows = session.execute(LIST, {"user": user_id, "moment": moment, "last": last, "limit": limit + 1})
    return [Certificate(**row._mapping) for row in rows]


def _make(
    session: Session, user_id: str, course_id: str, name: str, expires_at: datetime | None = None
) -> str:
    if not name.strip():
        raise NameMissing(f"user {user_id} has no name")
    values = {"user": user_id, "course": course_id, "name": name.strip(), "expires_at": expires_at}
    made = session.execute(MAKE, {**values, "code": make_code()}).scalar()
    if made is None:
        raise HeldBefore(f"user {user_id} holds a certificate of course {course_id}")
    counters.changed(session, user_id, EARNED)
    jobs.enqueue(session, jobs.Enqueue("mail.send", f"certificate:{made}", "mail", subject_id=str(made)))
    return str(made)


def _hold_valid(session: Session, certificate_id: str) -> Certificate:
    """Lock course, holder and certificate, and return it; raise `NotFound` or `NotValid`."""
    found = find(session, certificate_id)
    session.execute(LOCK_COURSE, {"course": found.course_id})
    session.execute(LOCK_USER, {"user": found.user_id})
    held = Certificate(**session.execute(HOLD, {"id": certificate_id}).one()._mapping)
    if held.status != "valid":
        raise NotValid(f"the certificate is {held.status}")
    return held


def _revoke(session: Session, user_id: str, certificate_id: str, *, actor: str, reason: str) -> None:
    session.execute(REVOKE, {"id": certificate_id})
    counters.changed(session, user_id, EARNED)
    _record(session, "certificate.revoke", certificate_id, actor, reason)


def _record(
    session: Session,
    action: str,
    certificate_id: str,
    actor: str,
    reason: str,
    detail: dict[str, Any] | None = None,
) -> None:
    subject = ("certificate", certificate_id)
    staff.record(session, actor=actor, action=action, subject=subject, reason=reason, detail=detail)
