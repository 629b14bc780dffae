"""Whom the claims of a PostgREST request stand for, which row policies compare with

The policies themselves are `db.policies`: they are applied after every migration, where Supabase's roles exist.

Revision: 0006, after 0005
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# The same people as `domain.identities`: issuer and subject decide; a subject that is a user's id is that user.
# Tables are bound when the function is made, so no search path can lead it elsewhere.
CALLER = """
CREATE FUNCTION usher_user_id() RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
BEGIN ATOMIC
    WITH claims AS (
        SELECT coalesce(said ->> 'iss', 'supabase') AS issuer, said ->> 'sub' AS subject
        FROM (SELECT nullif(current_setting('request.jwt.claims', true), '')::jsonb AS said) AS request
    )
    SELECT coalesce(
        (SELECT i.user_id FROM identities i JOIN claims c ON i.issuer = c.issuer AND i.subject = c.subject),
        (SELECT u.id FROM users u JOIN claims c ON u.id = CASE
            WHEN c.subject ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN c.subject::uuid END)
    );
END
"""
DROP_POLICIES = """
DO $$ DECLARE found record; BEGIN
    FOR found IN SELECT polrelid::regclass AS name FROM pg_policy WHERE polname = 'usher_own_rows' LOOP
        EXECUTE format('DROP POLICY usher_own_rows ON %s', found.name);
    END LOOP;
END $$
"""


def upgrade() -> None:
    op.execute(CALLER)
    op.execute("REVOKE ALL ON FUNCTION usher_user_id() FROM PUBLIC")


def downgrade() -> None:
    # Row security stays on: without a policy nobody but us reads anything.
    op.execute(DROP_POLICIES)
    op.execute("DROP FUNCTION usher_user_id()")
