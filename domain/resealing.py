"""Rotation: everything that is sealed in the database is sealed anew with the newest key, in batches.

A run that was killed is simply started again: what the newest key sealed already is only looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import text
from sqlalchemy.orm import Session

from domain import secrets

# Rows of one transaction.
BATCH = 500


@dataclass(frozen=True)
class Place:
    """A column that holds sealed texts, and its rows' key as an SQL expression of this type."""

    table: str
    column: str
    key: str = "id"
    type: str = "uuid"


@dataclass
class Count:
    """What a rotation did in one place: rows sealed anew, rows that were current, and the keys of what no key opens."""

    resealed: int = 0
    current: int = 0
    unreadable: list[str] = field(default_factory=list)


# Every column of the models that is called `sealed...` or `..._encrypted` (held by tests/partners/test_connections.py).
PLACES = (
    Place("partner_secrets", "sealed", "provider_type || '/' || name", "text"),
    Place("lti_keys", "private_key_encrypted", "kid", "text"),
    Place("lti_tools", "secret_encrypted"),
    Place("manual_work_items", "sealed_access_code"),
    Place("vouchers", "sealed_code"),
)


def reseal_batch(session: Session, place: Place, after: str | None, count: Count) -> str | None:
    """Look at the next rows behind the key `after`; return the last one's key, None where there are no more."""
    rows = session.execute(
        text(
            f"SELECT {place.key} AS key, {place.column} AS sealed FROM {place.table}"  # noqa: S608
            f" WHERE {place.column} IS NOT NULL AND (CAST(:after AS text) IS NULL"
            f" OR {place.key} > CAST(CAST(:after AS text) AS {place.type})) ORDER BY {place.key} LIMIT :batch"
        ),
        {"after": after, "batch": BATCH},
    ).all()
    changes: list[tuple[str, str, str]] = []
    for row in rows:
        if secrets.is_current(row.sealed):
            count.current += 1
            continue
        try:
            changes.append((str(row.key), row.sealed, secrets.reseal(row.sealed)))
        except secrets.NotOurs:
            count.unreadable.append(str(row.key))
    count.resealed += _write(session, place, changes)
    return str(rows[-1].key) if rows else None


def _write(session: Session, place: Place, changes: list[tuple[str, str, str]]) -> int:
    """Write what was sealed anew, unless somebody set another secret meanwhile; return how many rows."""
    if not changes:
        return 0
    keys, old, new = (list(values) for values in zip(*changes, strict=True))
    written = session.execute(
        text(
            f"UPDATE {place.table} SET {place.column} = v.new"  # noqa: S608
            " FROM unnest(CAST(:keys AS text[]), CAST(:old AS text[]), CAST(:new AS text[])) AS v(key, old, new)"
            f" WHERE {place.key} = CAST(v.key AS {place.type}) AND {place.column} = v.old RETURNING 1"
        ),
        {"keys": keys, "old": old, "new": new},
    )
    return len(written.all())
