"""What all tables share: constraint names, ids, and the two timestamps."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from sqlalchemy import DateTime, MetaData, Text, Uuid, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

# Ids are uuids in PostgreSQL and `str` in Python.
Id = Annotated[str, mapped_column(Uuid(as_uuid=False))]


class Base(DeclarativeBase):
    """The declarative base: text is `text`, times are `timestamptz`, dicts are `jsonb`."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = {  # noqa: RUF012
        str: Text,
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB(none_as_null=True),
        list[Any]: JSONB(none_as_null=True),
    }


class WithId:
    id: Mapped[str] = mapped_column(
        Uuid(as_uuid=False), primary_key=True, server_default=text("gen_random_uuid()"), sort_order=-10
    )


class WithCreated:
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), sort_order=90)


class WithTimes(WithCreated):
    updated_at: Mapped[datetime] = mapped_column(
        server_default=func.now(), onupdate=func.now(), sort_order=91
    )


def one_of(column: str, values: tuple[str, ...]) -> str:
    """Return the SQL of a check that holds a text column to a closed list."""
    listed = ", ".join(f"'{value}'" for value in values)
    return f"{column} IN ({listed})"
