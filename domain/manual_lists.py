"""What staff look at of partners without an API: work items, pools, vouchers without their codes. Read-only, paged."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from domain.errors import NotFound
from domain.vouchers import FREE

Row = dict[str, Any]

ITEMS = """
    SELECT i.id, i.kind, i.cause, i.state, i.version, i.enrollment_id, i.generation, p.provider_type AS partner,
        u.email AS student, u.name, c.course_code, c.course_name, e.status AS enrollment_status,
        e.external_account_id, e.external_enrollment_id, i.access_url,
        i.sealed_access_code IS NOT NULL AS has_access_code, i.usual_hours, i.note, i.exported_at, i.exported_by,
        i.created_at, i.closed_at, i.closed_by
    FROM manual_work_items i
    JOIN partner_lms_enrollments e ON e.id = i.enrollment_id
    JOIN partner_lms_providers p ON p.id = i.provider_id
    JOIN partner_courses c ON c.id = i.course_id
    JOIN users u ON u.id = e.student_id
"""
POOLS = text(
    f"""
    SELECT c.id AS course_id, p.provider_type AS partner, c.course_code, c.course_name, k.low_water, k.level,
        v.free, v.held, v.spent, v.retired, v.expired, coalesce(i.waiting, 0) AS waiting
    FROM voucher_pools k
    JOIN partner_courses c ON c.id = k.course_id
    JOIN partner_lms_providers p ON p.id = c.provider_id
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE {FREE}) AS free,
            count(*) FILTER (WHERE enrollment_id IS NOT NULL AND spent_at IS NULL) AS held,
            count(*) FILTER (WHERE spent_at IS NOT NULL) AS spent,
            count(*) FILTER (WHERE retired_at IS NOT NULL) AS retired,
            count(*) FILTER (WHERE enrollment_id IS NULL AND retired_at IS NULL AND expires_at <= now()) AS expired
        FROM vouchers WHERE course_id = c.id
    ) AS v
    LEFT JOIN LATERAL (
        SELECT count(*) AS waiting FROM manual_work_items
        WHERE course_id = c.id AND state = 'open' AND cause = 'no_voucher'
    ) AS i ON true
    WHERE (CAST(:partner AS text) IS NULL OR p.provider_type = :partner)
        AND (CAST(:after AS uuid) IS NULL OR c.id > CAST(:after AS uuid))
    ORDER BY c.id LIMIT :limit
    """  # noqa: S608
)
LIST = text(
    f"""
    SELECT id, course_id, label, expires_at, enrollment_id, created_at, taken_at, revealed_at, spent_at, retired_at,
        CASE WHEN retired_at IS NOT NULL THEN 'retired' WHEN spent_at IS NOT NULL THEN 'spent'
            WHEN revealed_at IS NOT NULL THEN 'shown' WHEN enrollment_id IS NOT NULL THEN 'held'
            WHEN {FREE} THEN 'free' ELSE 'expired' END AS state
    FROM vouchers
    WHERE course_id = :course AND (CAST(:at AS timestamptz) IS NULL OR (created_at, id) < (:at, CAST(:last AS uuid)))
    ORDER BY created_at DESC, id DESC LIMIT :limit
    """  # noqa: S608
)


def list_items(
    session: Session,
    *,
    partner: str | None,
    state: str | None,
    kind: str | None,
    limit: int,
    at: datetime | None = None,
    last: str | None = None,
) -> list[Row]:
    """Return work items, the newest first."""
    found = session.execute(
        text(
            f"""{ITEMS} WHERE (CAST(:partner AS text) IS NULL OR p.provider_type = :partner)
                AND (CAST(:state AS text) IS NULL OR i.state = :state)
                AND (CAST(:kind AS text) IS NULL OR i.kind = :kind)
                AND (CAST(:at AS timestamptz) IS NULL OR (i.created_at, i.id) < (:at, CAST(:last AS uuid)))
            ORDER BY i.created_at DESC, i.id DESC LIMIT :limit"""
        ),
        {"partner": partner, "state": state, "kind": kind, "limit": limit, "at": at, "last": last},
    )
    return [dict(row) for row in found.mappings()]


def show_item(session: Session, item_id: str) -> Row:
    """Return one work item; raise `NotFound`."""
    found = session.execute(text(f"{ITEMS} WHERE i.id = :id"), {"id": item_id}).mappings().one_or_none()
    if found is None:
        raise NotFound(f"there is no work item {item_id}")
    return dict(found)


def list_pools(session: Session, *, partner: str | None, limit: int, after: str | None = None) -> list[Row]:
    """Return pools in id order with how many vouchers are in which state, and how many students wait for one."""
    found = session.execute(POOLS, {"partner": partner, "limit": limit, "after": after})
    return [dict(row) for row in found.mappings()]


def list_vouchers(
    session: Session, course_id: str, *, limit: int, at: datetime | None = None, last: str | None = None
) -> list[Row]:
    """Return a course's vouchers, newest first, without their codes."""
    found = session.execute(LIST, {"course": course_id, "limit": limit, "at": at, "last": last})
    return [dict(row) for row in found.mappings()]


def find_courses(session: Session, partner: str, codes: list[str]) -> dict[str, list[str]]:
    """Return the ids of a partner's courses by their codes, ours or the partner's."""
    rows = session.execute(
        text(
            """
            SELECT v.code, c.id FROM unnest(CAST(:codes AS text[])) AS v(code)
            JOIN partner_courses c ON v.code IN (c.course_code, c.external_course_code)
            JOIN partner_lms_providers p ON p.id = c.provider_id AND p.provider_type = :partner
            """
        ),
        {"partner": partner, "codes": codes},
    )
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row.code, []).append(str(row.id))
    return found


def show_pool(session: Session, course_id: str) -> Row | None:
    """Return a partner course with its pool's mark and level (0 and None before it has a pool); None without a course."""
    found = session.execute(
        text(
            """
            SELECT c.id, c.course_name, c.course_code, p.provider_type AS partner, coalesce(k.low_water, 0) AS low_water,
                k.level
            FROM partner_courses c JOIN partner_lms_providers p ON p.id = c.provider_id
            LEFT JOIN voucher_pools k ON k.course_id = c.id WHERE c.id = :id
            """
        ),
        {"id": course_id},
    )
    row = found.mappings().one_or_none()
    return None if row is None else dict(row)
