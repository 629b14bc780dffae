"""Who was erased, how far that came, and which accounts at partners go with them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, Id, WithId, WithTimes, one_of

ACCOUNT_STATES = ("asking", "by_hand", "gone")


class Erasure(WithTimes, Base):
    """One user's erasure. `stage` and `place` say how far it came; `words` is what is searched for, null once it is done."""

    __tablename__ = "erasures"

    user_id: Mapped[Id] = mapped_column(ForeignKey("users.id"), primary_key=True)
    actor: Mapped[str]
    reason: Mapped[str]
    revoke_certificates: Mapped[bool] = mapped_column(server_default=text("false"))
    words: Mapped[list[Any] | None]
    stage: Mapped[str] = mapped_column(server_default=text("''"))
    # The last row of a table that a stage goes through; null where the stage begins.
    place: Mapped[str | None]
    # Rows deleted or changed, by stage.
    counts: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    finished_at: Mapped[datetime | None]


class ErasureAccount(WithId, WithTimes, Base):
    """An erased user's account at a partner: the partner is asked by a job, or by a person where it cannot be called."""

    __tablename__ = "erasure_accounts"
    __table_args__ = (
        UniqueConstraint("user_id", "provider_id"),
        CheckConstraint(one_of("state", ACCOUNT_STATES), name="state"),
        Index("ix_erasure_accounts_open", "created_at", "id", postgresql_where=text("state <> 'gone'")),
    )

    user_id: Mapped[Id] = mapped_column(ForeignKey("users.id"))
    provider_id: Mapped[Id] = mapped_column(ForeignKey("partner_lms_providers.id"))
    # The partner's id of the account; null once it is gone, and where we never learned it.
    account_id: Mapped[str | None]
    state: Mapped[str]
    closed_by: Mapped[str | None]
    closed_at: Mapped[datetime | None]
