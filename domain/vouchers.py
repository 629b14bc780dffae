"""Pools of vouchers: a code goes to one enrolment, and once anybody saw it, never to another.

Codes are sealed at rest. A keyed fingerprint tells whether a code came before, and nothing else about it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from domain import alerts, secrets, staff
from domain.errors import NotFound, NotPossible
from settings import get_settings

CODE_MAX = 200
CODE = r"^[!-~]([ -~]*[!-~])?$"
# Rows written in one transaction.
BATCH = 500
LEVELS = ("ok", "low", "empty")

FREE = "enrollment_id IS NULL AND retired_at IS NULL AND (expires_at IS NULL OR expires_at > now())"
TAKE = text(
    f"""
    UPDATE vouchers SET enrollment_id = :enrollment, taken_at = now(), updated_at = now()
    WHERE id = (
        SELECT id FROM vouchers WHERE course_id = :course AND {FREE}
        ORDER BY expires_at, created_at, id LIMIT 1 FOR UPDATE SKIP LOCKED
    )
    RETURNING id
    """  # noqa: S608 - our own constant
)
HELD = text("SELECT id FROM vouchers WHERE enrollment_id = :enrollment AND spent_at IS NULL")
ENSURE_POOL = text("INSERT INTO voucher_pools (course_id) VALUES (:course) ON CONFLICT DO NOTHING")
LOCK_POOL = text("SELECT low_water, level FROM voucher_pools WHERE course_id = :course FOR UPDATE")
COUNT_FREE = text(
    f"SELECT count(*) FROM (SELECT 1 FROM vouchers WHERE course_id = :course AND {FREE} LIMIT :most) AS free"  # noqa: S608
)
INSERT = text(
    """
    INSERT INTO vouchers (provider_id, course_id, sealed_code, fingerprint, label, expires_at)
    SELECT c.provider_id, c.id, v.sealed, v.fingerprint, :label, v.expires_at
    FROM partner_courses c, unnest(
        CAST(:sealed AS text[]), CAST(:fingerprints AS text[]), CAST(:expires AS timestamptz[])
    ) AS v(sealed, fingerprint, expires_at)
    WHERE c.id = :course
    ON CONFLICT (provider_id, fingerprint) DO NOTHING RETURNING id
    """
)
# Only while the seat is the student's: a page that is opened during a refund shows nothing, or keeps the code from
# going back to the pool.
SHOW = text(
    """
    UPDATE vouchers v SET revealed_at = coalesce(v.revealed_at, now()), updated_at = now()
    FROM partner_lms_enrollments e
    WHERE v.enrollment_id = :enrollment AND v.spent_at IS NULL AND e.id = v.enrollment_id
        AND e.student_id = :student AND e.status IN ('active', 'completed')
    RETURNING v.sealed_code, v.taken_at, v.expires_at
    """
)
GIVE_BACK = text(
    """
    UPDATE vouchers SET enrollment_id = NULL, taken_at = NULL, updated_at = now()
    WHERE enrollment_id = :enrollment AND spent_at IS NULL AND revealed_at IS NULL RETURNING id
    """
)
OUTDATED = text(
    """
    SELECT v.id, v.sealed_code FROM vouchers v JOIN partner_courses c ON c.provider_id = v.provider_id
    WHERE c.id = :course AND left(v.fingerprint, :length) <> :prefix ORDER BY v.id LIMIT :limit FOR UPDATE OF v
    """
)
RENEW = text(
    """
    UPDATE vouchers SET fingerprint = v.fingerprint
    FROM unnest(CAST(:ids AS uuid[]), CAST(:fingerprints AS text[])) AS v(id, fingerprint) WHERE vouchers.id = v.id
    """
)


@dataclass(frozen=True)
class Code:
    """A code that is added, and until when it can be used (None: no end)."""

    code: str
    expires_at: datetime | None = None


@dataclass(frozen=True)
class Shown:
    """A code that somebody may see."""

    code: str
    taken_at: datetime
    expires_at: datetime | None


def add(session: Session, course_id: str, codes: Sequence[Code], *, label: str | None = None) -> int:
    """Put codes into a course's pool; return how many are new. Those that came before, for any course, are left out.

    Raises `NotFound`, `secrets.NoKeys` or `secrets.NotOurs`. The pool stays locked, so that nobody finds it empty meanwhile.
    """
    if not session.scalar(text("SELECT 1 FROM partner_courses WHERE id = :id"), {"id": course_id}):
        raise NotFound(f"there is no partner course {course_id}")
    lock_pool(session, course_id)
    _renew_fingerprints(session, course_id)
    values = {
        "course": course_id,
        "label": label,
        "sealed": [secrets.seal(code.code) for code in codes],
        "fingerprints": [_fingerprint(code.code) for code in codes],
        "expires": [code.expires_at for code in codes],
    }
    return len(session.execute(INSERT, values).all())


def take(session: Session, course_id: str, enrollment_id: str) -> str | None:
    """Give the enrolment a voucher and return its id, None when the pool is empty. The pool stays locked.

    Two callers never get the same one; an enrolment that holds one already cannot get another.
    """
    found = take_free(session, course_id, enrollment_id)
    if found is None:
        # What others hold locked is theirs; who adds some now waits until this has been written down.
        lock_pool(session, course_id)
        found = take_free(session, course_id, enrollment_id)
    note_level(session, course_id)
    return found


def take_free(session: Session, course_id: str, enrollment_id: str) -> str | None:
    """Give the enrolment a voucher that nobody else has locked; None where there is none. Leaves the level to the caller."""
    taken = session.scalar(TAKE, {"course": course_id, "enrollment": enrollment_id})
    return None if taken is None else str(taken)


def find_held(session: Session, enrollment_id: str) -> str | None:
    """Return the voucher that an enrolment holds, None without one."""
    found = session.scalar(HELD, {"enrollment": enrollment_id})
    return None if found is None else str(found)


def show(session: Session, enrollment_id: str, student_id: str) -> Shown | None:
    """Return the code of a student's own open seat, which is from now on seen; None where it holds none."""
    row = session.execute(SHOW, {"enrollment": enrollment_id, "student": student_id}).one_or_none()
    return None if row is None else Shown(secrets.unseal(row.sealed_code), row.taken_at, row.expires_at)


def reveal(session: Session, voucher_id: str, *, actor: str, reason: str) -> str:
    """Return a held voucher's code to staff, which is audited. Raises `NotFound`, or `NotPossible` while it is nobody's."""
    row = session.execute(
        text(
            "UPDATE vouchers SET revealed_at = coalesce(revealed_at, now()), updated_at = now()"
            " WHERE id = :id AND enrollment_id IS NOT NULL RETURNING sealed_code, enrollment_id"
        ),
        {"id": voucher_id},
    ).one_or_none()
    if row is None:
        _find(session, voucher_id)
        raise NotPossible(f"voucher {voucher_id} is nobody's: only a code that was handed out can be shown")
    code = secrets.unseal(row.sealed_code)
    _record(session, "voucher.reveal", voucher_id, actor, reason, {"enrollment": str(row.enrollment_id)})
    return code


def give_back(session: Session, enrollment_id: str) -> bool:
    """Put the enrolment's voucher back into its pool, if nobody ever saw its code; say whether it went back."""
    return session.scalar(GIVE_BACK, {"enrollment": enrollment_id}) is not None


def spend(session: Session, enrollment_id: str) -> None:
    """Note that the voucher which the enrolment held, and which somebody saw, has ended with it."""
    session.execute(
        text(
            "UPDATE vouchers SET spent_at = now(), updated_at = now()"
            " WHERE enrollment_id = :enrollment AND spent_at IS NULL AND revealed_at IS NOT NULL"
        ),
        {"enrollment": enrollment_id},
    )


def retire(session: Session, voucher_id: str, *, actor: str, reason: str) -> None:
    """Take a voucher that is nobody's out of its pool for good. Raises `NotFound`, or `NotPossible` for any other."""
    course = session.scalar(
        text(
            "UPDATE vouchers SET retired_at = now(), updated_at = now()"
            " WHERE id = :id AND enrollment_id IS NULL AND retired_at IS NULL RETURNING course_id"
        ),
        {"id": voucher_id},
    )
    if course is None:
        _find(session, voucher_id)
        raise NotPossible(f"voucher {voucher_id} was handed out or retired before")
    note_level(session, str(course))
    _record(session, "voucher.retire", voucher_id, actor, reason, {"course": str(course)})


def lock_pool(session: Session, course_id: str) -> Any:
    """Lock a course's pool until the transaction ends, made where it is new; return its row."""
    session.execute(ENSURE_POOL, {"course": course_id})
    return session.execute(LOCK_POOL, {"course": course_id}).one()


def set_low_water(session: Session, course_id: str, low_water: int) -> None:
    """Say at how many free vouchers a pool counts as low."""
    lock_pool(session, course_id)
    session.execute(
        text("UPDATE voucher_pools SET low_water = :low, updated_at = now() WHERE course_id = :course"),
        {"course": course_id, "low": low_water},
    )
    note_level(session, course_id)


def note_level(session: Session, course_id: str) -> None:
    """Compare a pool with its marks and tell staff, once, when it fell below one. Takers queue for this, so none is missed."""
    pool = lock_pool(session, course_id)
    free = session.scalar(COUNT_FREE, {"course": course_id, "most": pool.low_water + 1}) or 0
    level = "empty" if free == 0 else "low" if free <= pool.low_water else "ok"
    if level == pool.level:
        return
    session.execute(
        text("UPDATE voucher_pools SET level = :level, updated_at = now() WHERE course_id = :course"),
        {"course": course_id, "level": level},
    )
    if LEVELS.index(level) > LEVELS.index(pool.level):
        alerts.tell_staff(session, f"vouchers_{level}:{course_id}")


def _renew_fingerprints(session: Session, course_id: str) -> None:
    """Bring the fingerprints of a partner's codes under the newest key, so that one that came before is known again."""
    prefix = _fingerprint("").partition(":")[0]
    wanted = {"course": course_id, "prefix": prefix, "length": len(prefix), "limit": BATCH}
    while found := session.execute(OUTDATED, wanted).all():
        renewed = [_fingerprint(secrets.unseal(row.sealed_code)) for row in found]
        session.execute(RENEW, {"ids": [row.id for row in found], "fingerprints": renewed})


def _fingerprint(code: str) -> str:
    """Return the keyed fingerprint of a code, beginning with that of the key; raise `secrets.NoKeys`."""
    keys = get_settings().credentials_keys
    if not keys:
        raise secrets.NoKeys
    key = keys[0].get_secret_value().encode()
    names = [hmac.new(key, part.encode(), hashlib.sha256).hexdigest() for part in ("key", f"voucher:{code}")]
    return f"{names[0][:12]}:{names[1]}"


def _find(session: Session, voucher_id: str) -> None:
    if not session.scalar(text("SELECT 1 FROM vouchers WHERE id = :id"), {"id": voucher_id}):
        raise NotFound(f"there is no voucher {voucher_id}")


def _record(
    session: Session, action: str, voucher_id: str, actor: str, reason: str, detail: dict[str, Any]
) -> None:
    subject = ("voucher", voucher_id)
    staff.record(session, actor=actor, action=action, subject=subject, reason=reason, detail=detail)
