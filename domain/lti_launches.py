"""Launches that tools take up: each click is good once, each nonce is good once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from db.models import LtiLineItem, LtiLink, LtiTool, PartnerCourse, PartnerEnrollment, User
from domain.enrollments import account_reference
from domain.student_view import LAUNCHABLE

# Characters of a nonce or token id that is kept as it is.
LONGEST = 200
# Points of a line item that we make ourselves, for tools that report to the link they were launched by.
SCORE_MAXIMUM = Decimal(100)

SPEND = text(
    """
    INSERT INTO lti_seen_tokens (tool_id, jti, expires_at) VALUES (:tool, :jti, :expires_at)
    ON CONFLICT (tool_id, jti) DO NOTHING RETURNING 1
    """
)
TAKE_UP = text(
    """
    INSERT INTO lti_launches (tool_id, enrollment_id, user_id, login_hint, nonce, state, message_type, issued_at,
        used_at, expires_at)
    VALUES (:tool_id, :enrollment_id, :user_id, :login_hint, :nonce, :state, :message_type, :issued_at, now(),
        :expires_at)
    ON CONFLICT (login_hint) DO NOTHING RETURNING id
    """
)
LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")


@dataclass(frozen=True)
class Seat:
    """Whose enrolment of which course a launch is for."""

    enrollment_id: str
    student_id: str
    sub: str
    name: str
    email: str
    course_id: str
    course_code: str
    course_name: str


def spend(session: Session, tool_id: str, kind: str, value: str, expires_at: datetime) -> bool:
    """Use up a tool's nonce or token id; return whether it is used for the first time.

    `kind` keeps values of different meaning apart. It is remembered until `expires_at`; refuse what is older yourself.
    """
    # An index entry has to stay small, whatever a tool sends.
    short = value if len(value) <= LONGEST else hashlib.sha256(value.encode()).hexdigest()
    values = {"tool": tool_id, "jti": f"{kind}:{short}", "expires_at": expires_at}
    return session.execute(SPEND, values).one_or_none() is not None


def take_up(
    session: Session,
    tool_id: str,
    *,
    login_hint: str,
    nonce: str,
    state: str | None,
    message_type: str,
    issued_at: datetime,
    expires_at: datetime,
    seat: Seat | None = None,
) -> str | None:
    """Note that a click became a launch; return the launch's id, None where the click was used before."""
    values = {
        "tool_id": tool_id,
        "enrollment_id": None if seat is None else seat.enrollment_id,
        "user_id": None if seat is None else seat.student_id,
        "login_hint": login_hint,
        "nonce": nonce,
        "state": state,
        "message_type": message_type,
        "issued_at": issued_at,
        "expires_at": expires_at,
    }
    found = session.execute(TAKE_UP, values).scalar_one_or_none()
    return None if found is None else str(found)


def find_seat(session: Session, tool: LtiTool, enrollment_id: str) -> Seat | None:
    """Return the enrolment, None where it cannot be opened now, or is not of the tool's provider."""
    row = session.execute(
        select(PartnerEnrollment, PartnerCourse, User)
        .join(PartnerCourse, PartnerCourse.id == PartnerEnrollment.course_id)
        .join(User, User.id == PartnerEnrollment.student_id)
        .where(
            PartnerEnrollment.id == enrollment_id,
            PartnerEnrollment.provider_id == tool.provider_id,
            PartnerEnrollment.status.in_(sorted(LAUNCHABLE)),
        )
    ).one_or_none()
    if row is None:
        return None
    enrollment, course, user = row
    return Seat(
        enrollment.id,
        enrollment.student_id,
        account_reference(enrollment.student_id),
        user.name or user.email,
        user.email,
        course.id,
        course.external_course_code or course.course_code,
        course.course_name,
    )


def find_link(session: Session, tool: LtiTool, link_id: str) -> LtiLink | None:
    """Return a link of the tool, None where there is none any more."""
    return session.scalars(
        select(LtiLink).where(LtiLink.id == link_id, LtiLink.tool_id == tool.id)
    ).one_or_none()


def line_item_for(
    session: Session, tool: LtiTool, course_id: str, course_name: str, link: LtiLink | None
) -> str:
    """Return the id of the line item of a link, or of the course where it has no link; made where it is missing."""
    link_id = None if link is None else link.id
    found = _line_item(session, tool.id, course_id, link_id)
    if found is not None:
        return found
    session.execute(LOCK, {"name": f"usher.lti_line_item:{tool.id}:{course_id}:{link_id}"})
    again = _line_item(session, tool.id, course_id, link_id)
    return again or _make(session, tool.id, course_id, course_name, link)


def _line_item(session: Session, tool_id: str, course_id: str, link_id: str | None) -> str | None:
    return session.scalars(
        select(LtiLineItem.id)
        .where(
            LtiLineItem.tool_id == tool_id,
            LtiLineItem.course_id == course_id,
            LtiLineItem.link_id.is_not_distinct_from(link_id),
        )
        .order_by(LtiLineItem.created_at, LtiLineItem.id)
        .limit(1)
    ).one_or_none()


def _make(session: Session, tool_id: str, course_id: str, course_name: str, link: LtiLink | None) -> str:
    template = (None if link is None else link.line_item) or {}
    item = LtiLineItem(
        tool_id=tool_id,
        course_id=course_id,
        link_id=None if link is None else link.id,
        label=template.get("label") or (course_name if link is None else link.title),
        score_maximum=Decimal(str(template.get("scoreMaximum") or SCORE_MAXIMUM)),
        resource_id=template.get("resourceId"),
        tag=template.get("tag"),
        ours=True,
    )
    session.add(item)
    session.flush()
    return item.id
