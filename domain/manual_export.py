"""Open work items as a file for the partner's bulk upload; who exported what, and when, stays with the items."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from domain import manual_csv, staff
from domain.enrollments import account_reference

# Items in one file.
MOST = 5_000

EXPORT = text(
    """
    WITH wanted AS (
        SELECT i.id FROM manual_work_items i JOIN partner_lms_providers p ON p.id = i.provider_id
        WHERE p.provider_type = :partner AND i.state = 'open' AND i.kind = 'set_up'
            AND (:again OR i.exported_at IS NULL)
        ORDER BY i.created_at, i.id LIMIT :most FOR UPDATE OF i
    ), marked AS (
        UPDATE manual_work_items SET exported_at = now(), exported_by = :actor, updated_at = now()
        WHERE id IN (SELECT id FROM wanted)
    )
    SELECT i.id AS item_id, i.enrollment_id, i.created_at AS opened_at, e.student_id, u.email, u.name,
        coalesce(c.external_course_code, c.course_code) AS course_code, c.course_name
    FROM wanted JOIN manual_work_items i ON i.id = wanted.id
    JOIN partner_lms_enrollments e ON e.id = i.enrollment_id
    JOIN users u ON u.id = e.student_id
    JOIN partner_courses c ON c.id = i.course_id
    ORDER BY i.created_at, i.id
    """
)


def export(
    session: Session,
    partner: str,
    columns: Mapping[str, str],
    *,
    actor: str,
    reason: str | None = None,
    again: bool = False,
) -> tuple[str, int]:
    """Return (the file, its number of rows) of seats to be set up, and mark them; with `again` also those marked before.

    `columns` are the headings, each with the field that stands below it (`partners/manual/adapter.py`).
    """
    values = {"partner": partner, "again": again, "most": MOST, "actor": actor}
    found = [_fields(row) for row in session.execute(EXPORT, values).mappings()]
    staff.record(
        session,
        actor=actor,
        action="manual.export",
        subject=("partner", partner),
        reason=reason,
        detail={"items": len(found), "again": again},
    )
    rows = [[fields[name] for name in columns.values()] for fields in found]
    return manual_csv.write(list(columns), rows), len(found)


def _fields(row: Mapping[Any, Any]) -> dict[str, object]:
    first, _, last = row["name"].strip().rpartition(" ")
    return {
        **row,
        "opened_at": row["opened_at"].isoformat(timespec="seconds"),
        "reference": account_reference(str(row["student_id"])),
        "first_name": first or last,
        "last_name": last if first else "",
    }
