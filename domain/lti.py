"""LTI tools: which are registered, and what of them stands for a course."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, or_, select, text
from sqlalchemy.orm import Session

from db.models import LtiInvite, LtiLink, LtiTool, PartnerCourse, PartnerProvider
from domain.errors import NotFound, NotPossible

# Days for which a leave to register is good.
INVITE_DAYS = 7


class Taken(NotPossible):
    """Another tool has this client id."""

    code = "lti_client_id_taken"


@dataclass(frozen=True)
class Registration:
    """What is known of a tool of LTI 1.3. One of the three ways to check its signatures is needed for services."""

    name: str
    login_url: str
    target_link_uri: str
    redirect_uris: Sequence[str]
    client_id: str | None = None
    deployment_id: str = "1"
    deep_linking_url: str | None = None
    jwks_url: str | None = None
    public_jwks: dict[str, Any] | None = None
    public_key: str | None = None
    custom: Mapping[str, Any] = field(default_factory=dict)
    scopes: Sequence[str] = ()


@dataclass(frozen=True)
class Place:
    """A tool, and what of it stands for a course; without a link, the tool itself."""

    tool: LtiTool
    link: LtiLink | None

    @property
    def target(self) -> str:
        """Return the address that is launched."""
        chosen = None if self.link is None else self.link.url
        return chosen or self.tool.target_link_uri


def find_provider(session: Session, provider_type: str) -> PartnerProvider:
    """Return the provider of a type, the oldest where there are several; raise `NotFound`."""
    found = session.scalars(
        select(PartnerProvider)
        .where(PartnerProvider.provider_type == provider_type)
        .order_by(PartnerProvider.created_at, PartnerProvider.id)
        .limit(1)
    ).one_or_none()
    if found is None:
        raise NotFound(f"there is no partner of the type {provider_type!r}; make its row first")
    return found


def register(session: Session, provider_id: str, given: Registration) -> LtiTool:
    """Make a tool; raise `Taken` where its client id is another one's. Without a client id it gets a random one."""
    client_id = given.client_id or uuid.uuid4().hex
    if find_tool(session, client_id, active=False) is not None:
        raise Taken(f"the client id {client_id} belongs to a tool that is registered")
    tool = LtiTool(
        provider_id=provider_id,
        name=given.name,
        client_id=client_id,
        deployment_id=given.deployment_id,
        login_url=given.login_url,
        target_link_uri=given.target_link_uri,
        deep_linking_url=given.deep_linking_url,
        redirect_uris=list(given.redirect_uris),
        jwks_url=given.jwks_url,
        public_jwks=given.public_jwks,
        public_key=given.public_key,
        custom=dict(given.custom),
        scopes=list(given.scopes),
    )
    session.add(tool)
    session.flush()
    return tool


def find_tool(session: Session, client_id: str, *, active: bool = True) -> LtiTool | None:
    """Return a tool of LTI 1.3 by its client id, None where there is none, or it is switched off."""
    if "\0" in client_id:  # No text that PostgreSQL could hold.
        return None
    query = select(LtiTool).where(LtiTool.client_id == client_id, LtiTool.lti_version == "1.3")
    return session.scalars(query.where(LtiTool.active) if active else query).one_or_none()


def list_tools(session: Session) -> list[tuple[LtiTool, str]]:
    """Return every tool with its provider's type, oldest first."""
    rows = session.execute(
        select(LtiTool, PartnerProvider.provider_type)
        .join(PartnerProvider, PartnerProvider.id == LtiTool.provider_id)
        .order_by(LtiTool.created_at, LtiTool.id)
    )
    return [(tool, provider_type) for tool, provider_type in rows]


def set_active(session: Session, client_id: str, *, active: bool) -> bool:
    """Switch a tool on or off; return whether there is one."""
    tool = find_tool(session, client_id, active=False)
    if tool is not None:
        tool.active = active
    return tool is not None


def find_place(session: Session, provider_type: str, course_code: str | None) -> Place | None:
    """Return where a course of a provider type is launched, None where no tool is registered for it.

    The code is the one that partners are told. What was chosen last for the course counts, its first item; without
    a choice, and for `course_code` None, the tool itself. Of several tools the newest one counts.
    """
    course = None if course_code is None else _course(session, provider_type, course_code)
    if course is not None:
        row = session.execute(
            select(LtiTool, LtiLink)
            .join(LtiLink, LtiLink.tool_id == LtiTool.id)
            .where(LtiLink.course_id == course, LtiTool.active, LtiTool.lti_version == "1.3")
            .order_by(LtiLink.created_at.desc(), LtiLink.position, LtiLink.id)
            .limit(1)
        ).one_or_none()
        if row is not None:
            return Place(*row)
    tool = session.scalars(
        select(LtiTool)
        .join(PartnerProvider, PartnerProvider.id == LtiTool.provider_id)
        .where(PartnerProvider.provider_type == provider_type, LtiTool.active, LtiTool.lti_version == "1.3")
        .order_by(LtiTool.created_at.desc(), LtiTool.id)
        .limit(1)
    ).one_or_none()
    return None if tool is None else Place(tool, None)


def find_course(session: Session, tool: LtiTool, course_id: str) -> PartnerCourse | None:
    """Return a course of the tool's provider, None where there is none."""
    return session.scalars(
        select(PartnerCourse).where(
            PartnerCourse.id == course_id, PartnerCourse.provider_id == tool.provider_id
        )
    ).one_or_none()


def invite(session: Session, provider_id: str) -> str:
    """Return a token with which one tool may register itself within `INVITE_DAYS`. It is shown only now."""
    plain = secrets.token_urlsafe(32)
    expires_at = func.now() + text(f"interval '{INVITE_DAYS} days'")
    session.add(LtiInvite(token_hash=_hash(plain), provider_id=provider_id, expires_at=expires_at))
    return plain


def take_invite(session: Session, plain: str) -> LtiInvite | None:
    """Return the invitation, locked, None where it is unknown, expired or used. The caller sets its tool."""
    return session.scalars(
        select(LtiInvite)
        .where(
            LtiInvite.token_hash == _hash(plain),
            LtiInvite.tool_id.is_(None),
            LtiInvite.expires_at > func.now(),
        )
        .with_for_update()
    ).one_or_none()


def _course(session: Session, provider_type: str, course_code: str) -> str | None:
    return session.scalars(
        select(PartnerCourse.id)
        .join(PartnerProvider, PartnerProvider.id == PartnerCourse.provider_id)
        .where(
            PartnerProvider.provider_type == provider_type,
            or_(
                PartnerCourse.external_course_code == course_code,
                PartnerCourse.external_course_code.is_(None) & (PartnerCourse.course_code == course_code),
            ),
        )
        .order_by(PartnerCourse.id)
        .limit(1)
    ).one_or_none()


def _hash(plain: str) -> str:
    # The token has 256 random bits, so nothing slower than one SHA-256 is needed.
    return hashlib.sha256(plain.encode()).hexdigest()
