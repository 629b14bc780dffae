"""Alembic's entry. `db.migrate` opens the connection, holds the migration lock and sets the timeouts."""

from __future__ import annotations

from alembic import context

from db.migrate import VERSION_TABLE, include_object
from db.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    include_object=include_object,
    compare_server_default=True,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
