"""A row for every table, whatever the tables are: made up from what the database says of columns, keys and checks."""

from __future__ import annotations

import re
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, text

COLUMNS = text(
    """
    SELECT c.relname, a.attname, format_type(a.atttypid, NULL) AS type, a.attnotnull AND NOT a.atthasdef
        AND a.attidentity = '' AND a.attgenerated = '' AS needed
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace ORDER BY c.relname, a.attnum
    """
)
CONSTRAINTS = text(
    """
    SELECT f.conrelid::regclass::text AS relation, f.contype AS type, f.confrelid::regclass::text AS parent,
        pg_get_constraintdef(f.oid) AS definition,
        ARRAY(SELECT attname::text FROM unnest(f.conkey) WITH ORDINALITY k(n, i)
            JOIN pg_attribute ON attrelid = f.conrelid AND attnum = n ORDER BY i) AS columns,
        ARRAY(SELECT attname::text FROM unnest(f.confkey) WITH ORDINALITY k(n, i)
            JOIN pg_attribute ON attrelid = f.confrelid AND attnum = n ORDER BY i) AS theirs
    FROM pg_constraint f WHERE f.contype IN ('c', 'f') AND f.connamespace = 'public'::regnamespace
    """
)
ONE_OF = re.compile(r"\((\w+) = ANY \(ARRAY\['([^']*)'::text")
BY_TYPE: dict[str, Any] = {
    "boolean": True,
    "jsonb": "{}",
    "date": "2026-11-21",
    "timestamp with time zone": "2026-11-21 12:00+00",
}
# Where columns depend on each other in a way that only the code knows.
TOGETHER: dict[str, dict[str, Any]] = {
    "xp_transactions": {"kind": "award", "business_key": "lesson:x"},
    "xp_multipliers": {"factor": 20_000, "ends_at": "2026-12-21 12:00+00"},
    "streak_rest_days": {"last_date": "2026-11-21"},
    "questions": {"type": "essay"},
    "partner_secrets": {"env_name": "X"},
}
NOT_OURS = {"usher_alembic_version"}

Statement = tuple[str, dict[str, Any]]


@dataclass
class Filler:
    """Fills the tables of one database; `statements` are the inserts that did, in an order that works."""

    connection: Connection
    statements: list[Statement] = field(default_factory=list)

    def fill(self) -> list[str]:
        """Insert a row into each table that has none; return the tables' names."""
        columns: dict[str, list[Any]] = defaultdict(list)
        for row in self.connection.execute(COLUMNS):
            if row.relname not in NOT_OURS:
                columns[row.relname].append(row)
        constraints = self.connection.execute(CONSTRAINTS).all()
        waiting = {table for table in columns if self._row(table) is None}
        filled: list[str] = []
        while waiting:
            ready = [
                table for table in sorted(waiting) if not self._parents(table, columns, constraints) & waiting
            ]
            assert ready, f"tables that need each other: {waiting}"
            for table in ready:
                self._insert(table, columns[table], [row for row in constraints if row.relation == table])
            waiting -= set(ready)
            filled += ready
        return filled

    def _row(self, table: str) -> Any:
        return self.connection.execute(text(f"SELECT * FROM {table} LIMIT 1")).mappings().one_or_none()

    def _parents(self, table: str, columns: dict[str, list[Any]], constraints: Any) -> set[str]:
        needed = {row.attname for row in columns[table] if row.needed}
        return {
            row.parent
            for row in constraints
            if row.relation == table and row.type == "f" and needed & set(row.columns) and row.parent != table
        }

    def _insert(self, table: str, columns: list[Any], constraints: list[Any]) -> None:
        needed = [row for row in columns if row.needed or (row.attname == "id" and row.type == "uuid")]
        values = {row.attname: self._make_up(row.type, table) for row in needed}
        for row in constraints:
            found = ONE_OF.search(row.definition) if row.type == "c" else None
            if found and found[1] in values:
                values[found[1]] = found[2]
        for row in constraints:
            if row.type == "f" and set(row.columns) <= values.keys():
                parent = self._row(row.parent)
                values |= {mine: parent[theirs] for mine, theirs in zip(row.columns, row.theirs, strict=True)}
        names = {row.attname for row in columns}
        values |= {name: value for name, value in TOGETHER.get(table, {}).items() if name in names}
        types = {row.attname: row.type for row in columns}
        places = ", ".join(f"CAST(:{name} AS {types[name]})" for name in values)
        quoted = ", ".join(f'"{name}"' for name in values)
        statement = f"INSERT INTO {table} ({quoted}) VALUES ({places})"
        self.connection.execute(text(statement), values)
        self.statements.append((statement, values))

    def _make_up(self, kind: str, table: str) -> Any:
        if kind == "uuid":
            return str(uuid.uuid4())
        if kind == "text":
            return f"{table}-1"
        return "{}" if kind.endswith("[]") else BY_TYPE.get(kind, 1)
