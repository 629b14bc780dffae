"""What there is to buy and for whom, by the ids that a checkout's metadata carries."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

OFFERED = text(
    """
    SELECT p.id, p.provider_type, c.id AS course_id, c.course_code
    FROM partner_lms_providers p LEFT JOIN partner_courses c ON c.provider_id = p.id AND c.active
    WHERE p.active ORDER BY p.provider_type, p.id, c.course_code
    """
)


def count(session: Session) -> dict[str, int]:
    """Return how many students, partners and courses there are."""
    tables = {
        "students": "users",
        "partners": "partner_lms_providers",
        "courses": "partner_courses",
    }
    return {
        name: session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()  # noqa: S608 - our own names
        for name, table in tables.items()
    }


def list_catalog(session: Session) -> dict[str, list[dict[str, Any]]]:
    """Return all students and the active partners with their active courses,."""
    students = session.execute(text("SELECT id, email FROM users ORDER BY created_at, email"))
    partners: dict[str, dict[str, Any]] = {}
    for row in session.execute(OFFERED):
        partner = partners.setdefault(
            str(row.id), {"id": str(row.id), "providerType": row.provider_type, "courses": []}
        )
        if row.course_id is not None:
            partner["courses"].append({"id": str(row.course_id), "courseCode": row.course_code})
    return {
        "students": [{"id": str(row.id), "email": row.email} for row in students],
        "partners": list(partners.values()),
    }
