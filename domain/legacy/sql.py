"""The statements that several tables of an older system share. `stage` holds a batch of its rows, all values as text."""

from __future__ import annotations

# What the import's entries carry, so that they can be told from live ones.
REASON = "legacy_import"
UNDONE = "legacy_undone"


def as_uuid(column: str) -> str:
    """Return SQL of a text as a uuid, null where it is none: an id that can be kept is kept."""
    return f"CASE WHEN {column} ~* '^[0-9a-f]{{8}}-([0-9a-f]{{4}}-){{3}}[0-9a-f]{{12}}$' THEN CAST({column} AS uuid) END"


def map_ids(table: str, target: str) -> str:
    """Return SQL that gives each staged row that is new one of our ids."""
    return f"""
        INSERT INTO legacy_ids (source, table_name, legacy_id, id, made)
        SELECT :source, '{table}', s.id, mine.id, NOT EXISTS (SELECT 1 FROM {target} t WHERE t.id = mine.id)
        FROM stage s CROSS JOIN LATERAL (SELECT coalesce({as_uuid("s.id")}, gen_random_uuid()) AS id) AS mine
        ON CONFLICT (source, table_name, legacy_id) DO NOTHING
    """  # noqa: S608


def mapped(table: str, legacy_id: str, alias: str) -> str:
    """Return a join's right side: our row for an id of the older system."""
    return (
        f"legacy_ids {alias} ON {alias}.source = :source AND {alias}.table_name = '{table}'"
        f" AND {alias}.legacy_id = {legacy_id}"
    )


def note(table: str, reason: str, detail: str, rows: str) -> str:
    """Return SQL that names odd rows; `reason`, `detail` and `rows` (FROM ... WHERE) are SQL over `s.id`."""
    return f"""
        INSERT INTO legacy_oddities (source, table_name, legacy_id, reason, detail)
        SELECT DISTINCT ON (s.id) :source, '{table}', s.id, {reason}, {detail} {rows}
        ON CONFLICT (source, table_name, legacy_id, reason) DO UPDATE SET detail = excluded.detail, seen_at = now()
    """


# Every user id of the batch is one of our users afterwards. Who it is: whom the issuer's subject stands for, the user
# with that very id, the one with that address (an id that is an address is one); else somebody new.
# Somebody without an address gets one that cannot exist.
ADDRESS = "'legacy-' || md5(:source || ':' || w.legacy_id) || '@usher.invalid'"
USABLE = r"'^[^@\s<>()\[\]\\,;:\"]+@[^@\s<>()\[\]\\,;:\"]+\.[^@\s.]+$'"
MAKE_USERS = """
    CREATE TEMP TABLE newcomers ON COMMIT DROP AS
    WITH made AS (
        INSERT INTO users (id, email, name)
        SELECT DISTINCT ON (lower(w.email)) coalesce(w.uuid, gen_random_uuid()), w.email, w.name FROM wanted w
        WHERE NOT EXISTS (
            SELECT 1 FROM identities i WHERE i.issuer = CAST(:issuer AS text) AND i.subject = w.legacy_id
        ) AND NOT EXISTS (SELECT 1 FROM users u WHERE u.id = w.uuid)
        ORDER BY lower(w.email), w.legacy_id
        ON CONFLICT DO NOTHING RETURNING id
    )
    SELECT id FROM made
"""
MAP_USERS = """
    INSERT INTO legacy_ids (source, table_name, legacy_id, id, made)
    SELECT :source, 'User', w.legacy_id, found.id, EXISTS (SELECT 1 FROM newcomers n WHERE n.id = found.id)
    FROM wanted w CROSS JOIN LATERAL (
        SELECT coalesce(
            (SELECT i.user_id FROM identities i WHERE i.issuer = CAST(:issuer AS text) AND i.subject = w.legacy_id),
            (SELECT u.id FROM users u WHERE u.id = w.uuid),
            (SELECT u.id FROM users u WHERE lower(u.email) = lower(w.email))
        ) AS id
    ) AS found
    ON CONFLICT (source, table_name, legacy_id) DO NOTHING
"""
LINK_USERS = """
    INSERT INTO identities (issuer, subject, user_id)
    SELECT :issuer, w.legacy_id, m.id FROM wanted w
    JOIN legacy_ids m ON m.source = :source AND m.table_name = 'User' AND m.legacy_id = w.legacy_id
    WHERE CAST(:issuer AS text) IS NOT NULL
    ON CONFLICT (issuer, subject) DO NOTHING
"""


def place_users(
    user_id: str = "user_id", email: str = "NULL::text", name: str = "NULL::text"
) -> tuple[str, ...]:
    """Return SQL that makes the staged user ids users of ours."""
    wanted = f"""
        CREATE TEMP TABLE wanted ON COMMIT DROP AS
        SELECT DISTINCT ON (w.legacy_id) w.legacy_id, left(coalesce(w.name, ''), 200) AS name,
            CASE WHEN length(w.email) <= 254 AND w.email ~ {USABLE} THEN w.email ELSE {ADDRESS} END AS email,
            {as_uuid("w.legacy_id")} AS uuid
        FROM (
            SELECT {user_id} AS legacy_id, trim(coalesce({email}, {user_id})) AS email, {name} AS name FROM stage
        ) AS w
        WHERE w.legacy_id IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM legacy_ids m
            WHERE m.source = :source AND m.table_name = 'User' AND m.legacy_id = w.legacy_id
        )
    """  # noqa: S608
    return (wanted, MAKE_USERS, MAP_USERS, LINK_USERS)
