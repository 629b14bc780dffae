"""What staff stored for a provider: its address and options, its credentials, its policies."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Numeric, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, WithTimes


class PartnerConnection(WithTimes, Base):
    """One row for each kind of partner for which something is stored. What it says wins over file and environment."""

    __tablename__ = "partner_connections"
    __table_args__ = (
        CheckConstraint("sync_interval > 0", name="sync_interval"),
        CheckConstraint("complete_at > 0 AND complete_at <= 100", name="complete_at"),
    )

    provider_type: Mapped[str] = mapped_column(primary_key=True)
    base_url: Mapped[str | None]
    options: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    # Policies. None: what the adapter, or the setting, says.
    adopt_by_email: Mapped[bool | None]
    # Seconds between two syncs of its progress.
    sync_interval: Mapped[int | None]
    # Per cent from which on a seat counts as completed. None: when the partner says so.
    complete_at: Mapped[Decimal | None] = mapped_column(Numeric(5, 2))
    # Rises with every change, of the secrets too: processes look at it to make their adapters anew.
    version: Mapped[int] = mapped_column(server_default=text("1"))
    updated_by: Mapped[str | None]
    reason: Mapped[str | None]


class PartnerSecret(Base):
    """One credential of a partner: sealed (`domain.secrets`), or the name under which the environment holds it."""

    __tablename__ = "partner_secrets"
    __table_args__ = (CheckConstraint("num_nonnulls(env_name, sealed) = 1", name="one_source"),)

    provider_type: Mapped[str] = mapped_column(
        ForeignKey("partner_connections.provider_type"), primary_key=True
    )
    name: Mapped[str] = mapped_column(primary_key=True)
    env_name: Mapped[str | None]
    sealed: Mapped[str | None]
    # The last four hex digits of its SHA-256: enough to tell whether it is the one that somebody holds.
    fingerprint: Mapped[str | None]
    set_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    set_by: Mapped[str]
