"""A total of an older system that has no ledger: what it holds beyond the rows that were placed opens the ledger."""

from __future__ import annotations

from domain.legacy.sql import REASON, UNDONE, mapped, note

# What was ever given for rows of this source, live or by an import, and for its totals. What staff reversed counts as
# given: it must not come back this way.
GIVEN = f"""
    SELECT coalesce(sum(a.amount), 0) AS xp FROM xp_transactions a
    WHERE a.user_id = u.id AND a.kind = 'award' AND (
        (a.source_type = 'LEGACY' AND a.source_id = :source)
        OR (a.source_type IN ('LESSON', 'COURSE') AND EXISTS (
            SELECT 1 FROM legacy_ids m WHERE m.source = :source
                AND m.id = CASE WHEN a.source_type IN ('LESSON', 'COURSE') THEN CAST(a.source_id AS uuid) END
        ))
    ) AND NOT EXISTS (SELECT 1 FROM xp_transactions r WHERE r.reverses_id = a.id AND r.reason = '{UNDONE}')
"""  # noqa: S608
MOVED = "SELECT DISTINCT user_id FROM owed WHERE amount BETWEEN 1 AND 2147483647 ORDER BY user_id"


def statements(table: str) -> tuple[str, ...]:
    """Return SQL that opens ledgers with the staged totals of a table, or adds by what they grew since."""
    return (
        f"""
        SELECT 1 FROM users WHERE id IN (
            SELECT u.id FROM stage s JOIN {mapped("User", "s.user_id", "u")}
        ) ORDER BY id FOR NO KEY UPDATE
        """,  # noqa: S608
        f"""
        CREATE TEMP TABLE owed ON COMMIT DROP AS
        SELECT s.user_id AS id, u.id AS user_id, s.total, s.total - given.xp AS amount
        FROM (SELECT user_id, max(CAST(total_xp AS numeric))::bigint AS total FROM stage GROUP BY user_id) AS s
        JOIN {mapped("User", "s.user_id", "u")} CROSS JOIN LATERAL ({GIVEN}) AS given
        """,  # noqa: S608
        note(
            table,
            "'total_below_entries'",
            "'the total is ' || s.total || ', the rows that were placed are ' || (s.total - s.amount)",
            "FROM owed s WHERE s.amount < 0",
        ),
        note(table, "'total_too_large'", "s.total::text", "FROM owed s WHERE s.amount > 2147483647"),
        f"""
        INSERT INTO xp_batch (user_id, kind, amount, source_type, source_id, category, reason, description,
            business_key, generation, transport_key)
        SELECT o.user_id, 'award', o.amount, 'LEGACY', :source, 'LEGACY', '{REASON}', 'Opening balance', named.key,
            (SELECT count(*) FROM xp_transactions a WHERE a.user_id = o.user_id AND a.business_key = named.key),
            'legacy:' || :source
        FROM owed o CROSS JOIN LATERAL (SELECT 'legacy:' || :source || ':' || o.total AS key) AS named
        WHERE o.amount BETWEEN 1 AND 2147483647 ORDER BY o.user_id
        """,  # noqa: S608
    )
