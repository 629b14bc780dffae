"""API tokens of programs and staff, whom outside sessions stand for, and what staff did."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, Id, WithCreated, WithId, one_of

ROLES = ("student", "service", "ops")


class ApiToken(WithId, WithCreated, Base):
    """A bearer token. Only the SHA-256 of its random part is kept, so a copied table opens nothing."""

    __tablename__ = "api_tokens"
    __table_args__ = (CheckConstraint(one_of("role", ROLES), name="role"),)

    token_hash: Mapped[str] = mapped_column(unique=True)
    role: Mapped[str]
    subject: Mapped[str]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class LinkedIdentity(WithId, WithCreated, Base):
    """Which user somebody is who signs in elsewhere. An issuer's subject never changes; an e-mail address may."""

    __tablename__ = "identities"
    __table_args__ = (UniqueConstraint("issuer", "subject"),)

    issuer: Mapped[str]
    subject: Mapped[str]
    user_id: Mapped[Id] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)


class StaffAction(WithId, WithCreated, Base):
    """What a person did, to what, and why."""

    __tablename__ = "staff_actions"
    __table_args__ = (
        Index("ix_staff_actions_subject_id", "subject_id"),
        Index("ix_staff_actions_created_at", "created_at"),
    )

    actor: Mapped[str]
    action: Mapped[str]
    subject_type: Mapped[str]
    subject_id: Mapped[str | None]
    reason: Mapped[str | None]
    detail: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
