"""Walking our own API description, and making a row of one student's in every table that belongs to students."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import (
    ARRAY,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    Date,
    DateTime,
    Numeric,
    Table,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

from api.operations import SIGNED_IN
from db.models import Base

PLACEHOLDER = re.compile(r"{(\w+)}")
SOON = datetime.now(UTC) + timedelta(days=1)
# Values that a table's checks ask for, where one of the right type is not enough.
NEEDED: dict[str, dict[str, Any]] = {
    "xp_transactions": {
        "kind": "adjustment",
        "source_type": "MANUAL_ADJUSTMENT",
        "category": "MANUAL",
        "amount": 5,
        "base": 5,
        "transport_key": "x",
    },
    "streak_rest_days": {"weekday": 1},
    "achievements": {"condition": {"v": 1, "when": {"counter": "certificates.earned", "gte": 1}}},
}


@dataclass(frozen=True)
class Step:
    """One operation of the description."""

    method: str
    path: str
    operation: dict[str, Any]
    schemas: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.method.upper()} {self.path}"

    @cached_property
    def content(self) -> dict[str, Any]:
        """What the body may be, by media type."""
        found: dict[str, Any] = self.operation.get("requestBody", {}).get("content", {})
        return found

    @property
    def takes_id(self) -> bool:
        """Say whether an id is in the path or in the body."""
        return bool(PLACEHOLDER.search(self.path)) or any(
            self._names_id(content["schema"]) for content in self.content.values()
        )

    def address(self, value: str) -> str:
        """Return the path with this value wherever an id goes."""
        return PLACEHOLDER.sub(value, self.path)

    def body(self, value: str, known: dict[str, Any] | None = None) -> Any:
        """Return a JSON body, with this value wherever an id or a text goes, except for properties that are known."""
        content = self.content.get("application/json")
        return None if content is None else self._fill(content["schema"], value, known or {})

    def send(
        self,
        client: FlaskClient,
        value: str,
        headers: dict[str, str],
        known: dict[str, Any] | None = None,
    ) -> Any:
        """Send it with this value everywhere; what is no JSON is sent as it is."""
        media_type = next(iter(self.content), None)
        if media_type in (None, "application/json"):
            more: dict[str, Any] = {} if media_type is None else {"json": self.body(value, known)}
        else:
            more = {"data": value.encode(), "content_type": media_type}
        required = {
            item["name"]: '"1"' if item["name"] == "If-Match" else value
            for item in self.operation.get("parameters", [])
            if item["in"] == "header" and item["required"] and item["name"] not in headers
        }
        return client.open(
            self.address(value), method=self.method.upper(), headers={**required, **headers}, **more
        )

    def _names_id(self, schema: dict[str, Any], depth: int = 4) -> bool:
        found = self._resolve(schema)
        inner = [*found.get("properties", {}).values(), *found.get("anyOf", []), found.get("items")]
        return (
            found.get("format") == "uuid"
            or any(name.endswith("Id") for name in found.get("properties", {}))
            or (
                depth > 0 and any(self._names_id(item, depth - 1) for item in inner if isinstance(item, dict))
            )
        )

    def _resolve(self, schema: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in schema:
            schema = self.schemas[schema["$ref"].rsplit("/", 1)[1]]
        return schema

    def _fill(self, schema: dict[str, Any], value: str, known: dict[str, Any]) -> Any:
        schema = self._resolve(schema)
        if "anyOf" in schema or "oneOf" in schema:
            return self._fill((schema.get("anyOf") or schema["oneOf"])[0], value, known)
        if "const" in schema:
            return schema["const"]
        if schema.get("examples") or schema.get("enum"):
            return (schema.get("examples") or schema["enum"])[0]
        match schema.get("type"):
            case "object":
                return {
                    name: known[name] if name in known else self._fill(item, value, known)
                    for name, item in schema.get("properties", {}).items()
                }
            case "array":
                return [self._fill(schema.get("items", {}), value, known)][: schema.get("maxItems", 1)]
            case "integer" | "number":
                return schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
            case "boolean":
                return True
        if schema.get("format") in ("date", "date-time"):
            return (SOON if schema["format"] == "date-time" else SOON.date()).isoformat()
        return f"https://example.com/{value}" if "https" in schema.get("pattern", "") else value


def steps(client: FlaskClient) -> list[Step]:
    """Return every operation that somebody has to be signed in for."""
    spec = client.get("/openapi.json").get_json()
    return [
        Step(method, path, operation, spec["components"]["schemas"])
        for path, methods in spec["paths"].items()
        for method, operation in methods.items()
        if isinstance(operation, dict) and operation.get("security") == SIGNED_IN
    ]


def owned_tables() -> list[Table]:
    """Return every table that belongs to students, those it refers to first."""
    return [table for table in Base.metadata.sorted_tables if _is_owned(table)]


def owner_of(table: Table) -> str | None:
    """Return the column that says whose a row is, None where another table's row says it."""
    return next((name for name in ("user_id", "student_id") if name in table.columns), None)


def _is_owned(table: Table) -> bool:
    return owner_of(table) is not None or table.name == "assignment_submission_versions"


class Rows:
    """Makes rows of one student's, each once, with what they refer to. Every text that is the student's is the canary."""

    def __init__(self, connection: Connection, user_id: str, canary: str) -> None:
        self.connection, self.user_id, self.canary = connection, user_id, canary
        self.made: dict[str, dict[str, Any]] = {}

    def make(self, table: Table) -> dict[str, Any]:
        """Return the table's row."""
        if table.name not in self.made:
            values = {column.name: self._value(column) for column in table.columns if _asked(column)}
            for key in table.foreign_keys:
                if key.column.table is not table and (not key.parent.nullable or _is_user(key.column)):
                    values[key.parent.name] = self._parent(key.column)
            values |= NEEDED.get(table.name, {})
            statement = table.insert().values(values).returning(*table.columns)
            self.made[table.name] = dict(self.connection.execute(statement).mappings().one())
        return self.made[table.name]

    def ids(self) -> list[str]:
        """Return the ids of what belongs to the student, and their own."""
        own = [self.made[table.name].get("id") for table in owned_tables() if table.name in self.made]
        return [self.user_id, *(item for item in own if isinstance(item, str))]

    def _parent(self, column: Column[Any]) -> Any:
        return self.user_id if _is_user(column) else self.make(column.table)[column.name]

    def _value(self, column: Column[Any]) -> Any:
        listed = _first_of_list(column)
        if listed is not None:
            return listed
        match column.type:
            case Uuid():
                return str(uuid.uuid4())
            case DateTime():
                return SOON
            case Date():
                return date(2026, 11, 21)
            case Boolean():
                return column.name in ("published", "is_published")
            case JSONB() | ARRAY():
                return []
            case Numeric():
                return 1
        if column.type.python_type is int:
            return 1
        return self.canary if _is_owned(column.table) else "shared"


def _asked(column: Column[Any]) -> bool:
    """Say whether a row has to bring the column's value, or should, for its text to hold the canary."""
    if column.computed is not None or column.identity is not None:
        return False
    if column.server_default is None and not column.nullable:
        return True
    return column.name in ("published", "is_published", "title", "description", "feedback", "content", "name")


def _first_of_list(column: Column[Any]) -> str | None:
    """Return the first value of a column that a check holds to a list, None for any other."""
    checks = [item for item in column.table.constraints if isinstance(item, CheckConstraint)]
    found = [re.match(rf"{column.name} IN \('([^']+)'", str(item.sqltext)) for item in checks]
    return next((match[1] for match in found if match), None)


def _is_user(column: Column[Any]) -> bool:
    return column.table.name == "users"
