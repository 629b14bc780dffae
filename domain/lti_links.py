"""Resource links: what of a tool was chosen for a course."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from db.models import LtiLink, LtiTool, PartnerCourse


class ContentItem(Protocol):
    """What makes a link."""

    @property
    def title(self) -> str: ...
    @property
    def url(self) -> str | None: ...
    @property
    def custom(self) -> dict[str, str]: ...
    @property
    def line_item(self) -> dict[str, Any] | None: ...


def store(session: Session, tool: LtiTool, course_id: str, items: Sequence[ContentItem]) -> list[LtiLink]:
    """Add what was chosen for a course. From now on its first item is what students open; earlier links stay."""
    links = [
        LtiLink(
            tool_id=tool.id,
            course_id=course_id,
            url=item.url,
            title=item.title,
            position=position,
            custom=dict(item.custom),
            line_item=item.line_item,
        )
        for position, item in enumerate(items)
    ]
    session.add_all(links)
    session.flush()
    return links


def list_links(session: Session, limit: int) -> list[tuple[LtiLink, str, str]]:
    """Return the newest links, each with its tool's client id and its course's code."""
    rows = session.execute(
        select(LtiLink, LtiTool.client_id, PartnerCourse.course_code)
        .join(LtiTool, LtiTool.id == LtiLink.tool_id)
        .join(PartnerCourse, PartnerCourse.id == LtiLink.course_id)
        .order_by(LtiLink.created_at.desc(), LtiLink.position, LtiLink.id)
        .limit(limit)
    )
    return [(link, client_id, code) for link, client_id, code in rows]


def remove(session: Session, link_id: str) -> bool:
    """Forget a link; its line items and their scores stay. Return whether there was one."""
    found = session.execute(delete(LtiLink).where(LtiLink.id == link_id).returning(LtiLink.id))
    return found.one_or_none() is not None
