"""What revision 0013 adds to the database's side of the XP ledger: entries by the thousand. Frozen: a change is a new revision.

`xp_open_batch()` makes a temporary table `xp_batch`; inserting into it posts the entries, all of them in one statement,
with the users locked in the order of their ids and each balance computed from the one before. The ledger's own triggers
stay as they are for everybody else: they step aside only for what comes out of a trigger, which is this one.
"""

from __future__ import annotations

POST_BATCH = """
CREATE FUNCTION xp_post_batch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM users WHERE id IN (SELECT user_id FROM added) ORDER BY id FOR NO KEY UPDATE;
    WITH ordered AS (
        SELECT a.*, u.total_xp + sum(a.amount) OVER (PARTITION BY a.user_id ORDER BY a.n) AS balance
        FROM added a LEFT JOIN users u ON u.id = a.user_id ORDER BY a.user_id, a.n
    ), posted AS (
        INSERT INTO xp_transactions (seq, user_id, kind, amount, base, source_type, source_id, category, reason,
            description, business_key, generation, transport_key, reverses_id, revocable, balance_after, occurred_at)
        SELECT nextval('xp_transactions_seq'), user_id, kind, amount, amount, source_type, source_id, category, reason,
            description, business_key, generation, transport_key, reverses_id, revocable, balance, occurred_at
        FROM ordered
        RETURNING user_id, amount, balance_after
    ), moved AS (
        SELECT user_id, sum(amount) AS amount, max(balance_after) AS highest FROM posted GROUP BY user_id
    )
    UPDATE users u SET total_xp = u.total_xp + moved.amount,
        level = xp_level((u.total_xp + moved.amount)::bigint, xp_curve()),
        highest_level = greatest(u.highest_level, xp_level(moved.highest, xp_curve()))
    FROM moved WHERE u.id = moved.user_id;
    RETURN NULL;
END $$
"""
OPEN_BATCH = """
CREATE FUNCTION xp_open_batch() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    CREATE TEMP TABLE xp_batch (
        n bigint GENERATED ALWAYS AS IDENTITY,
        user_id uuid NOT NULL, kind text NOT NULL, amount integer NOT NULL, source_type text NOT NULL, source_id text,
        category text NOT NULL, reason text NOT NULL, description text NOT NULL DEFAULT '', business_key text,
        generation integer NOT NULL DEFAULT 0, transport_key text, reverses_id uuid, revocable boolean NOT NULL DEFAULT true,
        occurred_at timestamptz NOT NULL DEFAULT now()
    ) ON COMMIT DROP;
    CREATE TRIGGER xp_post_batch AFTER INSERT ON xp_batch REFERENCING NEW TABLE AS added
        FOR EACH STATEMENT EXECUTE FUNCTION xp_post_batch();
END $$
"""
ROW_TRIGGERS = (
    (
        "CREATE OR REPLACE TRIGGER xp_ledger_before BEFORE INSERT ON xp_transactions"
        " FOR EACH ROW {when}EXECUTE FUNCTION xp_ledger_before()"
    ),
    (
        "CREATE OR REPLACE TRIGGER xp_ledger_after AFTER INSERT ON xp_transactions"
        " FOR EACH ROW {when}EXECUTE FUNCTION xp_ledger_after()"
    ),
)
NOT_FROM_A_TRIGGER = "WHEN (pg_trigger_depth() = 0) "
