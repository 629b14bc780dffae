"""A tool's columns of marks (AGS 2.0) and who is in its courses (NRPS 2.0). A tool sees its own provider's courses only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from db.models import LtiTool
from domain.enrollments import account_reference
from domain.errors import NotFound

CONTEXT = text(
    """
    SELECT id, course_code AS label, course_name AS title FROM partner_courses
    WHERE id = :course AND provider_id = :provider
    """
)
COLUMNS = "id, tool_id, course_id, link_id, label, score_maximum, resource_id, tag, start_at, end_at"
LIST = text(
    f"""
    SELECT {COLUMNS} FROM lti_line_items
    WHERE tool_id = :tool AND course_id = :course
        AND (CAST(:link AS uuid) IS NULL OR coalesce(link_id, course_id) = CAST(:link AS uuid))
        AND (CAST(:resource AS text) IS NULL OR resource_id = :resource)
        AND (CAST(:tag AS text) IS NULL OR tag = :tag)
        AND (CAST(:after AS uuid) IS NULL OR id > CAST(:after AS uuid))
    ORDER BY id LIMIT :limit
    """  # noqa: S608 - our own names
)
FIND = text(
    f"SELECT {COLUMNS} FROM lti_line_items WHERE id = :id AND tool_id = :tool AND course_id = :course"  # noqa: S608
)
INSERT = text(
    f"""
    INSERT INTO lti_line_items (tool_id, course_id, link_id, label, score_maximum, resource_id, tag, start_at, end_at)
    VALUES (:tool, :course, :link, :label, :maximum, :resource, :tag, :start, :end) RETURNING {COLUMNS}
    """  # noqa: S608
)
UPDATE = text(
    f"""
    UPDATE lti_line_items SET link_id = coalesce(CAST(:link AS uuid), link_id), label = :label, score_maximum = :maximum,
        resource_id = :resource, tag = :tag, start_at = :start, end_at = :end
    WHERE id = :id AND tool_id = :tool AND course_id = :course RETURNING {COLUMNS}
    """  # noqa: S608
)
DELETE = text(
    "DELETE FROM lti_line_items WHERE id = :id AND tool_id = :tool AND course_id = :course RETURNING id"
)
# Where nothing was chosen for a course, the course itself is the link of its launches.
LINK = text("SELECT 1 FROM lti_links WHERE id = :link AND tool_id = :tool AND course_id = :course")
# Seats that are paid for and open are Active; money that went back takes the seat away (Deleted); all else waits.
MEMBERS = text(
    """
    SELECT e.id, e.student_id, u.name, u.email,
        CASE WHEN e.status IN ('active', 'completed') THEN 'Active' WHEN e.status = 'revoked' THEN 'Deleted'
            ELSE 'Inactive' END AS status
    FROM partner_lms_enrollments e JOIN users u ON u.id = e.student_id
    WHERE e.course_id = :course AND e.provider_id = :provider
        AND (CAST(:after AS uuid) IS NULL OR e.id > CAST(:after AS uuid))
    ORDER BY e.id LIMIT :limit
    """
)


class UnknownContext(NotFound):
    """The tool has no such course."""

    code = "lti_context_not_found"


class UnknownLink(NotFound):
    """The tool has no such resource link in this course."""

    code = "lti_link_not_found"


class UnknownLineItem(NotFound):
    """The tool has no such line item in this course."""

    code = "lti_line_item_not_found"


@dataclass(frozen=True)
class Context:
    """A course as LTI calls it."""

    id: str
    label: str
    title: str


@dataclass(frozen=True)
class LineItem:
    """A column of marks of one tool in one course."""

    id: str
    tool_id: str
    course_id: str
    link_id: str | None
    label: str
    score_maximum: Decimal
    resource_id: str | None
    tag: str | None
    start_at: datetime | None
    end_at: datetime | None


@dataclass(frozen=True)
class Member:
    """A student with an enrolment of the course. `id` is the enrolment's; `reference` is what launches call the student."""

    id: str
    reference: str
    status: Literal["Active", "Inactive", "Deleted"]
    name: str
    email: str


def find_context(session: Session, tool: LtiTool, course_id: str) -> Context:
    """Return a course of the tool's own provider; raise `UnknownContext` for any other."""
    row = session.execute(CONTEXT, {"course": course_id, "provider": tool.provider_id}).one_or_none()
    if row is None:
        raise UnknownContext(f"the tool has no course {course_id}")
    return Context(**row._mapping)


def list_line_items(
    session: Session,
    tool: LtiTool,
    course_id: str,
    *,
    limit: int,
    after: str | None = None,
    link_id: str | None = None,
    resource_id: str | None = None,
    tag: str | None = None,
) -> list[LineItem]:
    """Return up to `limit` of the tool's line items of a course, in id order; raise `UnknownContext`."""
    find_context(session, tool, course_id)
    values = {"link": link_id, "resource": resource_id, "tag": tag, "after": after, "limit": limit}
    rows = session.execute(LIST, {"tool": tool.id, "course": course_id, **values})
    return [_line_item(row) for row in rows]


def find_line_item(session: Session, tool: LtiTool, course_id: str, line_item_id: str) -> LineItem:
    """Return a line item of the tool; raise `UnknownLineItem` for any other."""
    values = {"id": line_item_id, "tool": tool.id, "course": course_id}
    row = session.execute(FIND, values).one_or_none()
    if row is None:
        raise UnknownLineItem(f"the tool has no line item {line_item_id}")
    return _line_item(row)


def add_line_item(session: Session, tool: LtiTool, course_id: str, fields: dict[str, Any]) -> LineItem:
    """Make a line item and return it; raise `UnknownContext`, or `UnknownLink` for a foreign link.

    `fields`: label, maximum, link, resource, tag, start, end.
    """
    find_context(session, tool, course_id)
    link = find_link(session, tool, course_id, fields["link"])
    values = {"tool": tool.id, "course": course_id, **fields, "link": link}
    return _line_item(session.execute(INSERT, values).one())


def change_line_item(
    session: Session, tool: LtiTool, course_id: str, line_item_id: str, fields: dict[str, Any]
) -> LineItem:
    """Replace a line item's fields (without a link it keeps its own) and return it; raise `UnknownLink`, `UnknownLineItem`."""
    link = find_link(session, tool, course_id, fields["link"])
    values = {"id": line_item_id, "tool": tool.id, "course": course_id, **fields, "link": link}
    row = session.execute(UPDATE, values).one_or_none()
    if row is None:
        raise UnknownLineItem(f"the tool has no line item {line_item_id}")
    return _line_item(row)


def delete_line_item(session: Session, tool: LtiTool, course_id: str, line_item_id: str) -> None:
    """Delete a line item with its scores; raise `UnknownLineItem`. The progress that came of them stays."""
    values = {"id": line_item_id, "tool": tool.id, "course": course_id}
    if session.execute(DELETE, values).one_or_none() is None:
        raise UnknownLineItem(f"the tool has no line item {line_item_id}")


def list_members(
    session: Session, tool: LtiTool, course_id: str, *, limit: int, after: str | None = None
) -> Sequence[Member]:
    """Return up to `limit` members of a course of the tool's provider, in the order of their enrolments' ids."""
    values = {"course": course_id, "provider": tool.provider_id, "after": after, "limit": limit}
    return [
        Member(row.id, account_reference(row.student_id), row.status, row.name, row.email)
        for row in session.execute(MEMBERS, values)
    ]


def find_link(session: Session, tool: LtiTool, course_id: str, link_id: str | None) -> str | None:
    """Return the id of a link of the tool in the course, None for the course itself; raise `UnknownLink` for others."""
    if link_id in (None, course_id):
        return None
    if session.execute(LINK, {"link": link_id, "tool": tool.id, "course": course_id}).one_or_none() is None:
        raise UnknownLink(f"the tool has no link {link_id} in this course")
    return link_id


def _line_item(row: Row[Any]) -> LineItem:
    return LineItem(**row._mapping)
