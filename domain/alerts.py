"""What staff have to hear about at once, and once."""

from __future__ import annotations

import uuid

from sqlalchemy import text
from sqlalchemy.orm import Session

from db import jobs
from domain import notices, xp_checks

TELL_STAFF = "mail.staff"
# Seconds for which a run goes on before its mail counts what it found.
RUN_GATHERS = 300.0

ADD_VOUCHERS = "Order more, then: usher vouchers add (see its --help). Who waits gets one at once, the longest waiting first.\n"
WORDS = {
    "partner_paused": (
        "{0} is paused",
        (
            "The partner {0} refused our credentials, so nothing is asked of it until they work again:\n\n{reason}\n\n"
            "Paid students of this partner wait and lose nothing. Correct the credentials, then: usher partner resume {0} --actor YOUR-ADDRESS\n"
        ),
    ),
    "xp_drift": (
        "XP totals differed from the ledger",
        (
            "The nightly proof found users whose XP total or level was not what their ledger says. The ledger counts, "
            "and the totals follow it again. {reason}\n\n"
            "Nothing in Usher does this by itself: look for somebody who wrote to the database by hand, or for a "
            "trigger that was switched off. Each repair is in staff_actions (xp.repair); usher xp verify looks again.\n"
        ),
    ),
    "vouchers_low": (
        "vouchers run low",
        f"The vouchers of a course run low.\n\n{{reason}}\n\n{ADD_VOUCHERS}",
    ),
    "vouchers_empty": (
        "no vouchers are left",
        f"A course has no vouchers left; who buys it waits.\n\n{{reason}}\n\n{ADD_VOUCHERS}",
    ),
    "enrollment_failed": (
        "paid students of {0} have no seat",
        (
            "What was tried for them at {0} has failed for good, so somebody has to look.\n\n{reason}\n\n"
            "Put the cause right and replay them: the console, Failures; or: usher failures list, usher failures retry ID\n"
        ),
    ),
    "manual_work": (
        "{0} has work for a person",
        "A student of {0} waits for a person.\n\n{reason}\n\nSee: usher manual list --partner {0}\n",
    ),
}
POOL = text(
    """
    SELECT c.course_name, c.course_code, p.provider_type,
        (SELECT count(*) FROM vouchers WHERE course_id = c.id AND enrollment_id IS NULL AND retired_at IS NULL
            AND (expires_at IS NULL OR expires_at > now())) AS free,
        (SELECT count(*) FROM manual_work_items WHERE course_id = c.id AND state = 'open' AND cause = 'no_voucher')
            AS waiting
    FROM partner_courses c JOIN partner_lms_providers p ON p.id = c.provider_id WHERE c.id = :course
    """
)
# The newest open failure of each partner: a mail about it is about the older ones, too.
NEWEST_FAILURES = text(
    """
    SELECT DISTINCT ON (p.provider_type) p.provider_type, f.id
    FROM partner_lms_enrollment_failures f JOIN partner_lms_providers p ON p.id = f.provider_id
    WHERE f.final AND f.resolved_at IS NULL ORDER BY p.provider_type, f.created_at DESC, f.id DESC
    """
)
OPEN_FAILURES = text(
    """
    SELECT coalesce(f.step, '-') AS step, coalesce(f.error_code, '-') AS code, count(*) AS number,
        min(f.enrollment_id::text) AS example
    FROM partner_lms_enrollment_failures f JOIN partner_lms_providers p ON p.id = f.provider_id
    WHERE p.provider_type = :partner AND f.final AND f.resolved_at IS NULL
    GROUP BY 1, 2 ORDER BY number DESC, 1, 2 LIMIT 10
    """
)
OPEN_WORK = text(
    """
    SELECT count(*) FROM manual_work_items i JOIN partner_lms_providers p ON p.id = i.provider_id
    WHERE p.provider_type = :partner AND i.state = 'open'
    """
)


def tell_staff(session: Session, what: str) -> None:
    """Ask for a mail to staff about `kind:name`. The same thing is told again only when it happened anew."""
    key = f"{what}:{uuid.uuid4()}"
    jobs.enqueue(session, jobs.Enqueue(TELL_STAFF, key, queue="mail", subject_id=str(uuid.uuid4())))


def tell_once(session: Session, key: str, subject_id: str) -> None:
    """Ask for a mail to staff under a key `kind:name:occasion`, once for ever."""
    jobs.enqueue(session, jobs.Enqueue(TELL_STAFF, key, queue="mail", subject_id=subject_id), once=True)


def tell_of_drift(session: Session, run: str) -> None:
    """Ask for one mail about what a run of the XP proof repairs, in the transaction of a repair."""
    wanted = jobs.Enqueue(
        TELL_STAFF, f"xp_drift:nightly:{run}", queue="mail", subject_id=run, delay=RUN_GATHERS
    )
    jobs.enqueue(session, wanted, once=True)


def compose(session: Session, key: str) -> tuple[str, str]:
    """Return subject and text of a mail to staff."""
    kind, name, occasion = key.split(":", 2)
    if kind == "alert":
        notice = notices.compose(session, name, occasion)
        return notice.summary, notice.text
    subject, body = WORDS[kind]
    if kind == "xp_drift":
        reason = xp_checks.describe_run(session, occasion)
    elif kind.startswith("vouchers_"):
        reason = _describe_pool(session, name)
    elif kind == "enrollment_failed":
        reason = _describe_failures(session, name)
    elif kind == "manual_work":
        reason = f"Open at this partner now: {session.scalar(OPEN_WORK, {'partner': name})}."
    else:
        paused = text("SELECT paused_reason FROM partner_states WHERE partner = :p")
        reason = session.scalar(paused, {"p": name}) or "(resumed meanwhile)"
    return subject.format(name), body.format(name, reason=reason)


def _describe_failures(session: Session, partner: str) -> str:
    lines = [
        f"{row.number} at {row.step} ({row.code}), for example enrolment {row.example}"
        for row in session.execute(OPEN_FAILURES, {"partner": partner})
    ]
    return "\n".join(lines) or "(All of them have been dealt with meanwhile.)"


def _describe_pool(session: Session, course_id: str) -> str:
    pool = session.execute(POOL, {"course": course_id}).one()
    return (
        f"{pool.course_name} ({pool.provider_type}, {pool.course_code}): {pool.free} free now, "
        f"{pool.waiting} students waiting."
    )
