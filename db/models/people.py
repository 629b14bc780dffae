"""Students and staff."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, WithId, WithTimes


class User(WithId, WithTimes, Base):
    """A person. The id is the one that a checkout's metadata carries as `studentId`."""

    __tablename__ = "users"

    email: Mapped[str]
    name: Mapped[str] = mapped_column(server_default=text("''"))
    time_zone: Mapped[str] = mapped_column(server_default=text("'UTC'"))
    # Caches of the XP ledger, moved by its triggers only: the sum of the entries, its level, the highest one ever.
    total_xp: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    level: Mapped[int] = mapped_column(server_default=text("0"))
    highest_level: Mapped[int] = mapped_column(server_default=text("0"))


Index("uq_users_email_lower", func.lower(User.email), unique=True)
