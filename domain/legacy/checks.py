"""Whether an import is complete: every row of the older system is placed or named, and the XP add up. Changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from domain import xp_checks
from domain.errors import NotFound
from domain.legacy import progress
from domain.legacy.importing import Options, Transaction, batches, present, stage
from domain.legacy.source import Source
from domain.legacy.tables import PROGRESS, TOTALS, Table

# Of each row of the batch, what became of it, and of the XP that it should have given.
LOOK = text(
    """
    WITH pairs AS (
        SELECT j.user_id, j.lesson_id, j.course_id, j.xp_reward, last.base FROM judged j
        LEFT JOIN LATERAL (
            SELECT a.base FROM xp_transactions a WHERE a.user_id = j.user_id
                AND a.business_key = 'lesson:' || j.lesson_id ORDER BY a.generation DESC LIMIT 1
        ) AS last ON true
        WHERE j.done AND j.reason IS NULL
    ), finished AS (
        SELECT e.user_id, e.course_id, k.xp_reward, last.base
        FROM (SELECT user_id, course_id, count(*) AS done FROM pairs GROUP BY user_id, course_id) AS e
        JOIN courses k ON k.id = e.course_id
        LEFT JOIN LATERAL (
            SELECT a.base FROM xp_transactions a WHERE a.user_id = e.user_id
                AND a.business_key = 'course:' || e.course_id ORDER BY a.generation DESC LIMIT 1
        ) AS last ON true
        WHERE e.done = (SELECT count(*) FROM lessons l WHERE l.course_id = e.course_id AND l.published)
    )
    SELECT (SELECT count(*) FROM judged WHERE reason IS NULL AND NOT done) AS not_completed,
        (SELECT count(*) FROM judged WHERE reason IS NOT NULL) AS odd,
        (SELECT count(*) FROM judged j WHERE j.reason IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM legacy_oddities o
            WHERE o.source = :source AND o.table_name = 'UserProgress' AND o.legacy_id = j.id
        )) AS odd_and_not_named,
        (SELECT count(base) FROM pairs) AS placed,
        (SELECT count(*) FROM pairs WHERE base IS NULL) AS missing,
        (SELECT count(*) FROM finished) AS courses,
        (SELECT count(*) FROM finished WHERE base IS NULL) AS courses_missing,
        (SELECT coalesce(sum(xp_reward), 0) FROM (SELECT xp_reward FROM pairs UNION ALL SELECT xp_reward FROM finished) AS due)
            AS xp_due,
        (SELECT coalesce(sum(base), 0) FROM (SELECT base FROM pairs UNION ALL SELECT base FROM finished) AS given)
            AS xp_given
    """
)
PLACED = text(
    """
    SELECT (SELECT count(*) FROM legacy_ids WHERE source = :source AND table_name = :table) AS mapped,
        coalesce((SELECT sum(count) FROM (
            SELECT max(o.count) AS count FROM legacy_oddities o
            WHERE o.source = :source AND o.table_name = :table AND o.reason <> 'naive_times' AND NOT EXISTS (
                SELECT 1 FROM legacy_ids m
                WHERE m.source = :source AND m.table_name = :table AND m.legacy_id = o.legacy_id
            ) GROUP BY o.legacy_id
        ) AS left_out), 0) AS odd
    """
)
KNOWN = text("SELECT 1 FROM legacy_sources WHERE name = :source")
REPORT = text(
    """
    SELECT table_name, reason, sum(count)::bigint AS rows, min(created_at) AS first_seen,
        (array_agg(legacy_id || CASE WHEN detail = '' THEN '' ELSE ' (' || detail || ')' END ORDER BY legacy_id))[1:3]
            AS examples
    FROM legacy_oddities WHERE source = :source GROUP BY table_name, reason ORDER BY table_name, reason
    """
)
PASSES = text(
    """
    SELECT table_name, pass_number, rows_read, rows_total, rows_placed, began_at, finished_at FROM legacy_tables
    WHERE source = :source ORDER BY created_at, table_name
    """
)
ODD_ROWS = text(
    """
    SELECT table_name, legacy_id, reason, detail, count, created_at, seen_at FROM legacy_oddities
    WHERE source = :source AND reason = :reason ORDER BY table_name, legacy_id
    """
)


@dataclass(frozen=True)
class Check:
    """One comparison: what the older system says, what is here, and whether that is in order."""

    table: str
    check: str
    expected: int
    found: int

    @property
    def ok(self) -> bool:
        """Say whether both agree."""
        return self.expected == self.found


def validate(transaction: Transaction, source: Source, options: Options) -> Iterator[Check]:
    """Yield comparisons of counts and sums. While the older system is written to, run an import right before."""
    with transaction() as session:
        _known(session, options.name)
    for table in present(source):
        if table == PROGRESS:
            yield from _progress(transaction, source, options)
        elif table not in TOTALS:
            yield _count(transaction, source, options, table)
    yield _totals(transaction, options)


def report(session: Session, name: str) -> dict[str, list[dict[str, Any]]]:
    """Return how far each table was read, and what was odd, counted by reason with examples; raise `NotFound`."""
    _known(session, name)
    return {
        "tables": [dict(row._mapping) for row in session.execute(PASSES, {"source": name})],
        "odd": [dict(row._mapping) for row in session.execute(REPORT, {"source": name})],
    }


def odd_rows(session: Session, name: str, reason: str) -> Iterator[dict[str, Any]]:
    """Yield every row that was noted for a reason."""
    _known(session, name)
    found = session.execute(ODD_ROWS, {"source": name, "reason": reason}).yield_per(1_000)
    return (dict(row._mapping) for row in found)


def _known(session: Session, name: str) -> None:
    if session.execute(KNOWN, {"source": name}).one_or_none() is None:
        raise NotFound(f"nothing was imported under the name {name}")


def _count(transaction: Transaction, source: Source, options: Options, table: Table) -> Check:
    rows = source.count(table.name)
    with transaction() as session:
        found = session.execute(PLACED, {"source": options.name, "table": table.name}).one()
    mapped = int(found.mapped)
    if table.name == "User":  # Ids that other tables name are mapped too.
        mapped = min(mapped, rows)
    return Check(table.name, "rows placed or named", rows, mapped + int(found.odd))


def _progress(transaction: Transaction, source: Source, options: Options) -> Iterator[Check]:
    names, rows = {"source": options.name}, source.count(PROGRESS.name)
    sums: Counter[str] = Counter()
    for batch in batches(source.read(PROGRESS.name, PROGRESS.columns, PROGRESS.key), options.batch, PROGRESS):
        with transaction() as session:
            stage(session, PROGRESS, batch)
            session.execute(text(progress.JUDGE), names)
            looked = session.execute(LOOK, names).one()
            sums.update({name: int(value) for name, value in looked._mapping.items()})
    sums["null"] = source.count_without(PROGRESS.name, "id")
    parts = ("not_completed", "odd", "placed", "missing", "null")
    yield Check(PROGRESS.name, "rows", rows, sum(sums[part] for part in parts))
    yield Check(PROGRESS.name, "completed chapters without XP", 0, sums["missing"])
    yield Check(PROGRESS.name, "completed courses without XP", 0, sums["courses_missing"])
    yield Check(PROGRESS.name, "odd rows that are not named", 0, sums["odd_and_not_named"])
    yield Check(PROGRESS.name, "XP", sums["xp_due"], sums["xp_given"])


def _totals(transaction: Transaction, options: Options) -> Check:
    """Compare every total with its ledger."""
    after: str | None = xp_checks.FIRST
    differ = 0
    while after is not None:
        with transaction() as session:
            chunk = xp_checks.compare(session, options.curve, after)
        differ, after = differ + len(chunk.drifts), chunk.next_after
    return Check("users", "totals that differ from the ledger", 0, differ)
