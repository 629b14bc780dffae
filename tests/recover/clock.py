"""Having time pass for a whole database: everything in it moves into the past, and PostgreSQL's clock stays as it is.

What decides in Usher is how long ago something was or how long it is until then, by `now()` of PostgreSQL. So moving every
stored time back is the same to it as waiting, at any speed, and nothing has to pretend to be a clock. Days (`date`) stay:
what follows the calendar of a time zone, such as streaks, is not moved.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from db.session import get_engine

# The times of each table, and whether one of them is part of a unique key: then a row must not come to where the next
# one still is, and all of them take a detour.
COLUMNS = text(
    """
    SELECT c.relname AS table, array_agg(a.attname::text) AS columns,
        bool_or(EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND a.attnum = ANY(i.indkey)))
            AS is_key
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace
        AND a.atttypid = 'timestamptz'::regtype AND a.attgenerated = ''
    GROUP BY c.oid, c.relname ORDER BY c.relname
    """
)
DETOUR = "interval '1000 years'"


def pass_time(*, hours: float) -> None:
    """Move every time in the database back by this much, as if nobody had done anything meanwhile."""
    with get_engine().begin() as connection:
        # Triggers guard the ledger against changes like these, and would stamp what is touched.
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        for table, columns, is_key in connection.execute(COLUMNS).all():
            if is_key:
                _move(connection, table, columns, f"- {DETOUR} - :hours * interval '1 hour'", hours)
                _move(connection, table, columns, f"+ {DETOUR}", hours)
            else:
                _move(connection, table, columns, "- :hours * interval '1 hour'", hours)


def _move(connection: Connection, table: str, columns: list[str], by: str, hours: float) -> None:
    moved = ", ".join(f'"{name}" = "{name}" {by}' for name in columns)
    connection.execute(text(f'UPDATE "{table}" SET {moved}'), {"hours": hours})
