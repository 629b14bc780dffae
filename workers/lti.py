"""Tells the LTI adapter which tools are registered: adapters know no database, so a process attaches this at its start."""

from __future__ import annotations

from db.session import transaction
from domain import lti
from partners.lti.adapter import Target, use_directory


def attach() -> None:
    """Have this process's LTI adapters find registered tools in the database."""
    use_directory(find_target)


def find_target(provider_type: str, course_code: str | None) -> Target | None:
    """Return where a course of a provider type is launched, None where no tool is registered for it."""
    with transaction() as session:
        place = lti.find_place(session, provider_type, course_code)
    return None if place is None else target_of(place)


def target_of(place: lti.Place) -> Target:
    """Return a place as the adapter takes it."""
    tool, link = place.tool, place.link
    return Target(
        tool.id,
        tool.client_id,
        tool.deployment_id,
        tool.login_url or "",
        place.target,
        None if link is None else link.id,
    )
