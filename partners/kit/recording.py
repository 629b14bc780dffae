"""Keeps what a partner really answered, without what must not be kept, for offline tests and as proof of a check."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from partners.base import Student
from partners.hooks import Exchange
from partners.redaction import redact

# What may be kept of an answer's headers: what steers a client.
HEADERS = ("content-type", "link", "retry-after", "location", "ratelimit-reset", "x-rate-limit-remaining")
EMAIL = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+@[\w.-]+")
SAFE_EMAIL = "student@example.org"


class Recording:
    """Appends exchanges to a file, one JSON object per line. Credentials and people are taken out before it is written."""

    def __init__(self, path: Path, student: Student) -> None:
        self.path, self._student, self.count = path, student, 0

    def __call__(self, exchange: Exchange) -> None:
        """Keep an exchange."""
        record = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "request": {
                "method": exchange.method,
                "path": exchange.path_template.format_map(dict(exchange.path_args)),
                **_given("query", exchange.params),
                **_given("json", exchange.json),
                **_given("form", exchange.form),
            },
            "response": {
                "status": exchange.status,
                "headers": {
                    name.lower(): value for name, value in exchange.headers.items() if name.lower() in HEADERS
                },
                "body": _read(exchange.body),
            },
        }
        safe = self._clean(record, exchange)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(safe, ensure_ascii=False, default=str) + "\n")
        self.count += 1

    def _clean(self, value: Any, exchange: Exchange) -> Any:
        if isinstance(value, Mapping):
            return {key: self._clean(item, exchange) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._clean(item, exchange) for item in value]
        if not isinstance(value, str):
            return value
        for secret in exchange.secrets:
            value = value.replace(secret, "[redacted]")
        value = EMAIL.sub(SAFE_EMAIL, value).replace(self._student.name, "Student Name")
        return redact(value) if SAFE_EMAIL not in value and "://" in value else value


def _given(name: str, value: Any) -> dict[str, Any]:
    return {name: value} if value else {}


def _read(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body.decode("utf-8", "replace")
