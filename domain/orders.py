"""Who bought what: a checkout's metadata, checked against the database."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from db import lean

REQUIRED_KEYS = {
    "studentId": "the uuid of a row in users",
    "partnerId": "the uuid of a row in partner_lms_providers",
    "courseId": "the uuid of a row in partner_courses",
}
OPTIONAL_KEYS = ("programId", "amounts")
# Several courses in one session: their uuids in `courseId`, separated by commas; `partnerId` once or as many.
LISTED_KEYS = ("partnerId", "courseId")
# Those of the named rows that exist, and which partner offers the course.
NAMED = lean.Statement(
    "named_in_order",
    """
    SELECT named.*, c.id AS course, c.provider_id AS offered_by
    FROM (
        SELECT (SELECT id FROM users WHERE id = {student}) AS student,
            (SELECT id FROM partner_lms_providers WHERE id = {provider}) AS provider
    ) AS named LEFT JOIN partner_courses c ON c.id = {course}
    """,
    student="uuid",
    provider="uuid",
    course="uuid",
)


@dataclass(frozen=True)
class Order:
    """Who gets a seat in what: ids that were checked to exist and to belong together."""

    student_id: str
    provider_id: str
    course_id: str
    program_id: str | None
    amount: int | None = None


@dataclass(frozen=True)
class Problem:
    """Why an order cannot be placed. `code` is stable, `message` says which key and what was expected."""

    code: str
    message: str
    student_id: str | None = None
    provider_id: str | None = None
    course_id: str | None = None


def place(session: Session, metadata: dict[str, Any]) -> list[Order] | Problem:
    """Check a checkout's metadata; return its orders, or the first thing that is wrong and what was expected."""
    problem = _check_shape(metadata)
    if problem is not None:
        return problem
    courses, partners = _split(metadata["courseId"]), _split(metadata["partnerId"])
    if len(set(courses)) < len(courses):
        return Problem("wrong_metadata", "metadata.courseId names a course twice")
    if len(partners) == 1:
        partners *= len(courses)
    amounts = _amounts(metadata.get("amounts"), len(courses))
    if len(partners) != len(courses) or amounts is None:
        listed = (
            "metadata.partnerId has to name one partner, or as many as there are courses; amounts as many"
        )
        return Problem("wrong_metadata", listed)
    program = metadata.get("programId")
    program_id = str(uuid.UUID(program)) if program else None
    orders = []
    for course, partner, amount in zip(courses, partners, amounts, strict=True):
        found = _place_one(session, str(uuid.UUID(metadata["studentId"])), partner, course)
        if isinstance(found, Problem):
            return found
        orders.append(Order(*found, program_id, amount))
    return orders


def _place_one(
    session: Session, student_id: str, provider_id: str, course_id: str
) -> tuple[str, str, str] | Problem:
    found = lean.execute(
        session, NAMED, {"student": student_id, "provider": provider_id, "course": course_id}
    ).one()
    known: dict[str, str | None] = {
        "student_id": found.student,
        "provider_id": found.provider,
        "course_id": found.course,
    }
    if found.student is None:
        return Problem("unknown_student", f"metadata.studentId {student_id} is not in users", **known)
    if found.provider is None:
        return Problem(
            "unknown_partner", f"metadata.partnerId {provider_id} is not in partner_lms_providers", **known
        )
    if found.course is None:
        return Problem("unknown_course", f"metadata.courseId {course_id} is not in partner_courses", **known)
    if found.offered_by != provider_id:
        message = (
            f"metadata.courseId {course_id} belongs to partner {found.offered_by}, not to metadata.partnerId"
        )
        return Problem("wrong_partner", f"{message} {provider_id}", **known)
    return student_id, provider_id, course_id


def _check_shape(metadata: dict[str, Any]) -> Problem | None:
    for key, expected in REQUIRED_KEYS.items():
        value = metadata.get(key)
        if value is None or value == "":
            return Problem("missing_metadata", f"metadata.{key} is missing: expected {expected}")
        values = value.split(",") if key in LISTED_KEYS and isinstance(value, str) else [value]
        if not all(is_uuid(one.strip() if isinstance(one, str) else one) for one in values):
            return Problem("wrong_metadata", f"metadata.{key} is not a uuid: expected {expected}")
    program = metadata.get("programId")
    if program and not is_uuid(program):
        return Problem(
            "wrong_metadata", "metadata.programId is not a uuid: leave it out or give the program's uuid"
        )
    return None


def _split(value: str) -> list[str]:
    """Return the uuids of a list in their one spelling."""
    return [str(uuid.UUID(part.strip())) for part in value.split(",")]


def _amounts(value: Any, count: int) -> list[int | None] | None:
    """Return what each course cost; None for a list that does not fit."""
    if not value:
        return [None] * count
    parts = str(value).split(",")
    if len(parts) != count or not all(part.strip().isdecimal() for part in parts):
        return None
    return [int(part) for part in parts]


def is_uuid(value: Any) -> bool:
    """Say whether a value is the text of a uuid."""
    if not isinstance(value, str):
        return False
    try:
        uuid.UUID(value)
    except ValueError:
        return False
    return True
