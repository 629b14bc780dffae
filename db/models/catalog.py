"""Partners and what they teach (seed C)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sqlalchemy import ForeignKey, Numeric, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, Id, WithId, WithTimes


class PartnerProvider(WithId, WithTimes, Base):
    """A partner platform. `provider_type` names the adapter that speaks to it."""

    __tablename__ = "partner_lms_providers"

    provider_name: Mapped[str]
    provider_type: Mapped[str]
    website_url: Mapped[str | None]
    support_email: Mapped[str | None]
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", server_default=text("'{}'::jsonb"))


class PartnerCourse(WithId, WithTimes, Base):
    """A course of a partner. `external_course_code` is the partner's own id; without one, `course_code` is sent."""

    __tablename__ = "partner_courses"
    __table_args__ = (UniqueConstraint("provider_id", "course_code"),)

    provider_id: Mapped[Id] = mapped_column(ForeignKey("partner_lms_providers.id"))
    course_name: Mapped[str]
    course_code: Mapped[str]
    external_course_code: Mapped[str | None]
    description: Mapped[str | None]
    hours: Mapped[Decimal | None] = mapped_column(Numeric(8, 2))
    level: Mapped[str | None]
    credential_type: Mapped[str | None]
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", server_default=text("'{}'::jsonb"))
