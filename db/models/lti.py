"""LTI, where we are the platform: our keys, the tools, their launches, links, line items, scores, and spent tokens."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, Numeric, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, Id, WithCreated, WithId, WithTimes, one_of

LTI_VERSIONS = ("1.3", "1.1")
# Points as line items and scores count them.
Points = Numeric(14, 5)
NO_TEXTS, NO_OBJECT = text("'{}'::text[]"), text("'{}'::jsonb")


class LtiKey(Base):
    """One of our signing keys. The newest that is not retired signs; retired ones stay published for a while."""

    __tablename__ = "lti_keys"

    kid: Mapped[str] = mapped_column(primary_key=True)
    public_jwk: Mapped[dict[str, Any]]
    # PEM, sealed by `domain.secrets`.
    private_key_encrypted: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    retired_at: Mapped[datetime | None]


class LtiTool(WithId, WithTimes, Base):
    """A tool that is registered with us: where its launches begin and end, and how it signs."""

    __tablename__ = "lti_tools"
    __table_args__ = (
        CheckConstraint(one_of("lti_version", LTI_VERSIONS), name="lti_version"),
        CheckConstraint(
            "lti_version <> '1.1' OR (consumer_key IS NOT NULL AND secret_encrypted IS NOT NULL)",
            name="consumer",
        ),
    )

    provider_id: Mapped[Id] = mapped_column(ForeignKey("partner_lms_providers.id"), index=True)
    name: Mapped[str] = mapped_column(server_default=text("''"))
    lti_version: Mapped[str] = mapped_column(server_default=text("'1.3'"))
    # For 1.1 both are made up, so that a tool is named the same way in either version.
    client_id: Mapped[str] = mapped_column(unique=True)
    deployment_id: Mapped[str]
    login_url: Mapped[str | None]
    target_link_uri: Mapped[str]
    deep_linking_url: Mapped[str | None]
    redirect_uris: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=NO_TEXTS)
    # How the tool's own signatures are checked: fetched, given as a set, or given as one PEM.
    jwks_url: Mapped[str | None]
    public_jwks: Mapped[dict[str, Any] | None]
    public_key: Mapped[str | None]
    consumer_key: Mapped[str | None]
    secret_encrypted: Mapped[str | None]
    custom: Mapped[dict[str, Any]] = mapped_column(server_default=NO_OBJECT)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=NO_TEXTS)
    active: Mapped[bool] = mapped_column(server_default=text("true"))


class LtiInvite(WithId, WithCreated, Base):
    """A one-time leave to register a tool by itself. Only the SHA-256 of the token is kept."""

    __tablename__ = "lti_invites"

    token_hash: Mapped[str] = mapped_column(unique=True)
    provider_id: Mapped[Id] = mapped_column(ForeignKey("partner_lms_providers.id"))
    expires_at: Mapped[datetime]
    tool_id: Mapped[Id | None] = mapped_column(ForeignKey("lti_tools.id"))


class LtiLaunch(WithId, Base):
    """One click that a tool took up: the hint of each click is good once."""

    __tablename__ = "lti_launches"
    __table_args__ = (Index("ix_lti_launches_issued_at", "issued_at"),)

    tool_id: Mapped[Id] = mapped_column(ForeignKey("lti_tools.id"))
    # Both null where staff choose content (deep linking), who need no user row.
    enrollment_id: Mapped[Id | None] = mapped_column(
        ForeignKey("partner_lms_enrollments.id", ondelete="CASCADE"), index=True
    )
    user_id: Mapped[Id | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    # A positive integer in text: Moodle's tool reads no other.
    login_hint: Mapped[str] = mapped_column(unique=True)
    nonce: Mapped[str | None]
    state: Mapped[str | None]
    message_type: Mapped[str]
    issued_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    expires_at: Mapped[datetime]


class LtiLink(WithId, WithTimes, Base):
    """A resource link: what of a tool stands for a course of ours. Chosen by deep linking, or made by hand."""

    __tablename__ = "lti_links"
    __table_args__ = (Index("ix_lti_links_course_id_created_at", "course_id", "created_at"),)

    tool_id: Mapped[Id] = mapped_column(ForeignKey("lti_tools.id"), index=True)
    course_id: Mapped[Id] = mapped_column(ForeignKey("partner_courses.id"))
    # None: the tool's own target.
    url: Mapped[str | None]
    title: Mapped[str]
    # Of what was chosen together, the first one is what a student's launch opens.
    position: Mapped[int] = mapped_column(server_default=text("0"))
    custom: Mapped[dict[str, Any]] = mapped_column(server_default=NO_OBJECT)
    # The line item that came with the content item (Deep Linking 2.0), as the tool wrote it.
    line_item: Mapped[dict[str, Any] | None]


class LtiLineItem(WithId, WithCreated, Base):
    """A column of marks of one tool in one course (AGS 2.0)."""

    __tablename__ = "lti_line_items"
    __table_args__ = (
        CheckConstraint("score_maximum > 0", name="score_maximum"),
        Index("ix_lti_line_items_tool_id_course_id", "tool_id", "course_id"),
    )

    tool_id: Mapped[Id] = mapped_column(ForeignKey("lti_tools.id"))
    link_id: Mapped[Id | None] = mapped_column(ForeignKey("lti_links.id", ondelete="SET NULL"), index=True)
    course_id: Mapped[Id] = mapped_column(ForeignKey("partner_courses.id"), index=True)
    label: Mapped[str]
    score_maximum: Mapped[Decimal] = mapped_column(Points)
    resource_id: Mapped[str | None]
    tag: Mapped[str | None]
    start_at: Mapped[datetime | None]
    end_at: Mapped[datetime | None]
    # Made by us at a launch. A tool that makes its own ones may never score it, so it must not hold up completion.
    ours: Mapped[bool] = mapped_column(server_default=text("false"))


class LtiScore(WithId, Base):
    """The latest score of one student in one line item, by the tool's clock."""

    __tablename__ = "lti_scores"
    __table_args__ = (UniqueConstraint("line_item_id", "user_id"),)

    line_item_id: Mapped[Id] = mapped_column(ForeignKey("lti_line_items.id", ondelete="CASCADE"))
    user_id: Mapped[Id] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    enrollment_id: Mapped[Id | None] = mapped_column(
        ForeignKey("partner_lms_enrollments.id", ondelete="CASCADE"), index=True
    )
    score_given: Mapped[Decimal | None] = mapped_column(Points)
    score_maximum: Mapped[Decimal | None] = mapped_column(Points)
    activity_progress: Mapped[str]
    grading_progress: Mapped[str]
    comment: Mapped[str | None]
    scored_at: Mapped[datetime]
    received_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class LtiSeenToken(Base):
    """A nonce or `jti` of a tool that was used, kept until it could not be used anyway."""

    __tablename__ = "lti_seen_tokens"
    __table_args__ = (Index("ix_lti_seen_tokens_expires_at", "expires_at"),)

    tool_id: Mapped[Id] = mapped_column(ForeignKey("lti_tools.id", ondelete="CASCADE"), primary_key=True)
    jti: Mapped[str] = mapped_column(primary_key=True)
    expires_at: Mapped[datetime]
