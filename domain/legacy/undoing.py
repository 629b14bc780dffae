"""Taking an import back, in reverse order: XP and progress, enrolments, then the rows that it made.

The ledger forgets nothing, so entries are reversed. What live use stands on stays: users with entries, courses that
somebody earned in. It stays mapped, so a later import finds it again. May be killed and run again at any point.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from domain import staff
from domain.errors import NotFound
from domain.legacy.importing import PREPARE, STATEMENT_TIMEOUT, Transaction, tell_counters
from domain.legacy.sql import REASON, UNDONE
from domain.levels import Curve

USERS = 500
ROWS = 1_000
FIRST = "00000000-0000-0000-0000-000000000000"
# What an import made, in the order in which it goes.
MADE = (
    ("Attachment", "attachments"),
    ("Chapter", "lessons"),
    ("Course", "courses"),
    ("Category", "categories"),
    ("User", "users"),
)

NEXT_USERS = text(
    """
    SELECT DISTINCT id FROM legacy_ids WHERE source = :source AND table_name = 'User' AND id > :after
    ORDER BY id LIMIT :limit
    """
)
LIVE = text(
    """
    SELECT u.email, t.* FROM xp_transactions t JOIN users u ON u.id = t.user_id
    WHERE t.user_id = ANY(CAST(:users AS uuid[])) AND NOT (t.reason = :reason AND t.transport_key = 'legacy:' || :source)
        AND t.reason <> :undone
    ORDER BY t.user_id, t.seq
    """
)
LOCK = text("SELECT 1 FROM users WHERE id = ANY(CAST(:users AS uuid[])) ORDER BY id FOR NO KEY UPDATE")
STANDING = text(
    """
    CREATE TEMP TABLE standing ON COMMIT DROP AS
    SELECT a.* FROM xp_transactions a
    WHERE a.user_id = ANY(CAST(:users AS uuid[])) AND a.kind = 'award' AND a.reason = :reason
        AND a.transport_key = 'legacy:' || :source
        AND NOT EXISTS (SELECT 1 FROM xp_transactions r WHERE r.reverses_id = a.id)
    """
)
REVERSE = text(
    """
    INSERT INTO xp_batch (user_id, kind, amount, source_type, source_id, category, reason, description, reverses_id)
    SELECT user_id, 'reversal', -amount, source_type, source_id, category, :undone, 'The import was undone', id
    FROM standing ORDER BY user_id, seq DESC
    """
)
FORGET = text(
    """
    DELETE FROM lesson_progress p USING standing s
    WHERE s.source_type = 'LESSON' AND p.user_id = s.user_id AND p.lesson_id = CAST(s.source_id AS uuid)
    """
)
RECOUNT = text(
    """
    WITH gone AS (
        SELECT s.user_id, coalesce(l.course_id, CAST(s.source_id AS uuid)) AS course_id, sum(s.amount) AS xp
        FROM standing s LEFT JOIN lessons l ON s.source_type = 'LESSON' AND l.id = CAST(s.source_id AS uuid)
        WHERE s.source_type IN ('LESSON', 'COURSE') GROUP BY 1, 2
    ), found AS (
        SELECT g.*, lessons.count AS lessons, done.count AS done FROM gone g
        CROSS JOIN LATERAL (
            SELECT count(*) FROM lessons l WHERE l.course_id = g.course_id AND l.published
        ) AS lessons
        CROSS JOIN LATERAL (
            SELECT count(*) FROM lesson_progress p JOIN lessons l ON l.id = p.lesson_id AND l.published
            WHERE p.user_id = g.user_id AND p.course_id = g.course_id
        ) AS done
    )
    UPDATE enrollments e SET xp_earned = e.xp_earned - f.xp,
        completion_percentage = CASE WHEN f.lessons = 0 THEN 0 ELSE f.done * 100 / f.lessons END,
        completed_at = CASE WHEN f.lessons > 0 AND f.done = f.lessons THEN e.completed_at END
    FROM found f WHERE e.user_id = f.user_id AND e.course_id = f.course_id
    """
)
# Live awards that stood on what is gone: those that followed from it, and courses that are not complete any more.
FOLLOWING = text(
    """
    SELECT DISTINCT ON (a.user_id, a.seq) a.id FROM standing s JOIN xp_transactions a ON (
        (a.caused_by_id = s.id AND a.revocable)
        OR (a.user_id = s.user_id AND a.source_type = 'COURSE' AND a.kind = 'award' AND EXISTS (
            SELECT 1 FROM enrollments e WHERE e.user_id = a.user_id AND e.course_id = CAST(a.source_id AS uuid)
                AND e.completed_at IS NULL
        ))
    ) WHERE NOT EXISTS (SELECT 1 FROM xp_transactions r WHERE r.reverses_id = a.id) ORDER BY a.user_id, a.seq
    """
)
XP_REVERSE = text(
    "SELECT entries FROM xp_reverse(CAST(:id AS uuid), :reason, 'The import was undone', NULL, :curve)"
)
COUNT_REVERSED = text("SELECT count(*) FROM standing")
EMPTY_ENROLLMENTS = text(
    """
    SELECT e.id FROM enrollments e
    WHERE e.legacy_source = :source AND e.user_id = ANY(CAST(:users AS uuid[])) AND e.xp_earned = 0
        AND NOT EXISTS (SELECT 1 FROM lesson_progress p WHERE p.user_id = e.user_id AND p.course_id = e.course_id)
        AND NOT EXISTS (SELECT 1 FROM certificates c WHERE c.user_id = e.user_id AND c.course_id = e.course_id)
    ORDER BY e.id
    """
)
MAPPED = text(
    """
    SELECT m.legacy_id, m.id, m.made FROM legacy_ids m
    WHERE m.source = :source AND m.table_name = :table AND m.legacy_id > :after ORDER BY m.legacy_id LIMIT :limit
    """
)
UNMAP = text(
    "DELETE FROM legacy_ids WHERE source = :source AND table_name = :table AND legacy_id = ANY(:ids)"
)
UNMAP_REFERENCES = text(
    """
    DELETE FROM legacy_ids WHERE (source, table_name, legacy_id) IN (
        SELECT source, table_name, legacy_id FROM legacy_ids
        WHERE source = :source AND table_name IN ('MuxData', 'StripeCustomer', 'Purchase') LIMIT :limit
    )
    """
)
# The import linked these people to their issuer when it made them; they are not linked by a sign-in of their own.
UNLINK = text(
    """
    DELETE FROM identities i USING legacy_ids m WHERE m.source = :source AND m.table_name = 'User' AND m.made
        AND m.id = ANY(CAST(:ids AS uuid[])) AND i.user_id = m.id AND i.subject = m.legacy_id
        AND i.created_at = m.created_at
    """
)
# Which columns of which tables name rows of ours. Rows that are named stay, also where deleting them would cascade:
# the import must not take live rows with it. What the triggers of live updates write may go.
REFERENCES = text(
    """
    SELECT f.conrelid::regclass::text AS relation,
        string_agg(format('r.%I = t.%I', mine.attname, theirs.attname), ' AND ') AS same
    FROM pg_constraint f CROSS JOIN LATERAL unnest(f.conkey, f.confkey) AS pair(mine, theirs)
    JOIN pg_attribute mine ON mine.attrelid = f.conrelid AND mine.attnum = pair.mine
    JOIN pg_attribute theirs ON theirs.attrelid = f.confrelid AND theirs.attnum = pair.theirs
    WHERE f.contype = 'f' AND f.confrelid = CAST(:ours AS regclass)
        AND f.conrelid <> 'enrollment_changes'::regclass
    GROUP BY f.oid, f.conrelid ORDER BY 1, 2
    """
)
FORGET_STATE = (
    text("DELETE FROM legacy_tables WHERE source = :source"),
    text("DELETE FROM legacy_oddities WHERE source = :source"),
    text(
        "DELETE FROM legacy_sources s WHERE name = :source"
        " AND NOT EXISTS (SELECT 1 FROM legacy_ids m WHERE m.source = s.name)"
    ),
)


@dataclass(frozen=True)
class Undone:
    """One batch: what it was about, how many rows went, how many stay because live use stands on them."""

    what: str
    gone: int
    kept: int = 0


@dataclass(frozen=True)
class Undo:
    """Which import to take back, and who wants it why."""

    name: str
    curve: Curve
    actor: str
    reason: str


def live_entries(transaction: Transaction, name: str) -> Iterator[dict[str, Any]]:
    """Yield the entries of the source's people that no import made, with their addresses; raise `NotFound`."""
    for users in _user_pages(transaction, name):
        with transaction() as session:
            values = {"users": users, "source": name, "reason": REASON, "undone": UNDONE}
            found = [dict(row._mapping) for row in session.execute(LIVE, values)]
        yield from found


def run(transaction: Transaction, wanted: Undo) -> Iterator[Undone]:
    """Take an import back batch by batch; yield what each did. Raises `NotFound` where there was none."""
    for users in _user_pages(transaction, wanted.name):
        with transaction() as session:
            entries = _reverse(session, wanted, users)
        yield Undone("XP entries", entries)
        with transaction() as session:
            ids = [
                str(id) for id in session.scalars(EMPTY_ENROLLMENTS, {"source": wanted.name, "users": users})
            ]
            gone = _delete(session, "enrollments", ids)
        yield Undone("enrolments", len(gone), len(ids) - len(gone))
    yield from _unmake(transaction, wanted.name)
    with transaction() as session:
        for statement in FORGET_STATE:
            session.execute(statement, {"source": wanted.name})
        subject = ("legacy_source", wanted.name)
        staff.record(session, actor=wanted.actor, action="legacy.undo", subject=subject, reason=wanted.reason)


def _user_pages(transaction: Transaction, name: str) -> Iterator[list[str]]:
    with transaction() as session:
        if not session.scalar(text("SELECT 1 FROM legacy_sources WHERE name = :name"), {"name": name}):
            raise NotFound(f"nothing was imported under the name {name}")
    after = FIRST
    while True:
        with transaction() as session:
            values = {"source": name, "after": after, "limit": USERS}
            page = [str(id) for id in session.scalars(NEXT_USERS, values)]
        if page:
            yield page
        if len(page) < USERS:
            return
        after = page[-1]


def _reverse(session: Session, wanted: Undo, users: list[str]) -> int:
    """Reverse what was imported for some users, with what followed from it; return how many entries that made."""
    values = {"users": users, "source": wanted.name, "reason": REASON, "undone": UNDONE}
    session.execute(PREPARE, {"curve": wanted.curve.spec, "timeout": str(STATEMENT_TIMEOUT)})
    for statement in (LOCK, STANDING, REVERSE, FORGET, RECOUNT):
        session.execute(statement, values)
    made = int(session.execute(COUNT_REVERSED).scalar_one())
    for id in session.scalars(FOLLOWING).all():
        found = session.execute(XP_REVERSE, {"id": id, "reason": UNDONE, "curve": wanted.curve.spec})
        made += int(found.scalar_one())
    tell_counters(session, "SELECT DISTINCT user_id FROM standing ORDER BY user_id")
    return made


def _unmake(transaction: Transaction, name: str) -> Iterator[Undone]:
    """Delete the rows that the import made and nothing stands on, with their mapping."""
    while _forget_references(transaction, name):
        pass
    for table, ours in MADE:
        after = ""
        while True:
            with transaction() as session:
                values = {"source": name, "table": table, "after": after, "limit": ROWS}
                page = session.execute(MAPPED, values).all()
                made = [str(row.id) for row in page if row.made]
                if ours == "users":
                    session.execute(UNLINK, {"source": name, "ids": made})
                gone = _delete(session, ours, made)
                forgotten = [row.legacy_id for row in page if not row.made or str(row.id) in gone]
                session.execute(UNMAP, {"source": name, "table": table, "ids": forgotten})
            if page:
                yield Undone(ours, len(gone), len(made) - len(gone))
            if len(page) < ROWS:
                break
            after = page[-1].legacy_id


def _forget_references(transaction: Transaction, name: str) -> bool:
    with transaction() as session:
        done = session.execute(UNMAP_REFERENCES, {"source": name, "limit": ROWS})
        return bool(done.rowcount)  # type: ignore[attr-defined]


def _delete(session: Session, ours: str, ids: list[str]) -> set[str]:
    """Delete those of these rows that no other row names; return their ids."""
    references = session.execute(REFERENCES, {"ours": ours}).all()
    free = "".join(
        f" AND NOT EXISTS (SELECT 1 FROM {found.relation} r WHERE {found.same})"  # noqa: S608
        for found in references
    )
    statement = f"DELETE FROM {ours} t WHERE t.id = ANY(CAST(:ids AS uuid[])){free} RETURNING t.id"  # noqa: S608
    return {str(id) for id in session.scalars(text(statement), {"ids": ids})}
