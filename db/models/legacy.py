"""What came from an older system: where each of its rows went, how far its import came, what could not be placed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, BigInteger, ForeignKey, Index, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, Id, WithCreated, WithTimes


class LegacySource(WithTimes, Base):
    """An older system by the name that staff gave it."""

    __tablename__ = "legacy_sources"

    name: Mapped[str] = mapped_column(primary_key=True)
    # How its times without a zone are read.
    time_zone: Mapped[str] = mapped_column(server_default=text("'UTC'"))
    # Whose subjects its user ids are, where they are somebody's: people then find their rows at their next sign-in.
    issuer: Mapped[str | None]


class LegacyTable(WithTimes, Base):
    """How far one of its tables was read. A pass reads all rows, or those that changed `since`, from `cursor` on.

    `cursor` is None between two passes; `began_at` is the source's clock at the start of the latest.
    """

    __tablename__ = "legacy_tables"

    source: Mapped[str] = mapped_column(ForeignKey("legacy_sources.name"), primary_key=True)
    table_name: Mapped[str] = mapped_column(primary_key=True)
    pass_number: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    since: Mapped[datetime | None]
    began_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    cursor: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    # Of the latest pass.
    rows_total: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    rows_read: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    rows_placed: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))


class LegacyId(WithCreated, Base):
    """Which of our rows one of its rows became. `made` is false where ours was there before.

    `payload` keeps what has no column of ours: prices, video assets, Stripe customers.
    """

    __tablename__ = "legacy_ids"
    __table_args__ = (Index("ix_legacy_ids_id", "id"),)

    source: Mapped[str] = mapped_column(ForeignKey("legacy_sources.name"), primary_key=True)
    table_name: Mapped[str] = mapped_column(primary_key=True)
    legacy_id: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[Id]
    made: Mapped[bool] = mapped_column(server_default=text("true"))
    payload: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))


class LegacyOddity(WithCreated, Base):
    """A row that could not be placed as it is, and why. `*` as its id is a remark about `count` rows of the table."""

    __tablename__ = "legacy_oddities"

    source: Mapped[str] = mapped_column(ForeignKey("legacy_sources.name"), primary_key=True)
    table_name: Mapped[str] = mapped_column(primary_key=True)
    legacy_id: Mapped[str] = mapped_column(primary_key=True)
    reason: Mapped[str] = mapped_column(primary_key=True)
    detail: Mapped[str] = mapped_column(server_default=text("''"))
    count: Mapped[int] = mapped_column(BigInteger, server_default=text("1"))
    seen_at: Mapped[datetime] = mapped_column(server_default=func.now(), sort_order=91)
