"""Row policies for Supabase: what a student reads of our tables through PostgREST, which is their own rows and no more.

PostgREST connects people as the roles `authenticated` and `anon`. Where neither exists, nothing is done here. Usher's
own role owns the tables and is not held to policies. `service_role`, a key of the operator's servers, bypasses them by
an attribute that Supabase gave it, and is left as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

POLICY = "usher_own_rows"
STUDENT = "authenticated"
STRANGER = "anon"
# Made by migration 0006: the user that the request's claims stand for.
CALLER = "usher_user_id()"


@dataclass(frozen=True)
class Visible:
    """What a student reads of a table: these columns, of the rows in which `owner` is their id and `condition` holds."""

    owner: str
    names: str
    condition: str = "true"

    @property
    def columns(self) -> list[str]:
        return self.names.split()


VISIBLE = {
    "users": Visible(
        "id",
        "id email name time_zone locale wants_streak_mail wants_progress_mail visible_to_others total_xp level highest_level created_at updated_at",
    ),
    "partner_lms_enrollments": Visible(
        "student_id",
        "id student_id provider_id course_id program_id status progress_percentage enrolled_at completed_at"
        " created_at updated_at",
    ),
    "partner_certificates": Visible(
        "student_id",
        "id student_id enrollment_id partner_id certificate_number certificate_url verification_url issued_date"
        " expiration_date created_at",
        # It does not stand while the seat that it was earned in is not paid for.
        "revoked_at IS NULL",
    ),
    "enrollments": Visible(
        "user_id",
        "id user_id course_id enrolled_at started_at completed_at completion_percentage xp_earned",
    ),
    "lesson_progress": Visible("user_id", "id user_id lesson_id course_id completed_at"),
    "xp_transactions": Visible(
        "user_id",
        "id seq user_id kind amount source_type source_id category reason description generation reverses_id"
        " caused_by_id base factor breakdown balance_after occurred_at created_at",
    ),
    "user_streaks": Visible(
        "user_id",
        "id user_id current_streak longest_streak last_activity_date freezes_used freezes_available as_of updated_at",
    ),
    "user_achievements": Visible("user_id", "id user_id achievement_id tier unlocked_at"),
    # Marks, grades and feedback are told by the API, which knows from when on.
    "quiz_attempts": Visible(
        "user_id", "id user_id quiz_id number state started_at deadline_at submitted_at created_at"
    ),
    "assignment_submissions": Visible(
        "user_id",
        "id user_id assignment_id state version number content file_urls late submitted_at created_at updated_at",
    ),
    "assignment_extensions": Visible("user_id", "assignment_id user_id due_date updated_at"),
    "assignment_files": Visible(
        "user_id", "id user_id assignment_id name media_type size attached_at created_at"
    ),
    "certificates": Visible(
        "user_id",
        "id user_id course_id certificate_url verification_code status name course_title hours issued_at expires_at"
        " revoked_at created_at",
    ),
}

# Nobody reads these through PostgREST. The catalogue, and what depends on more than whose row it is (questions, marks,
# lessons of a course that one is not enrolled in), is for the API to tell.
HIDDEN = frozenset(
    """
    achievement_versions achievements assignment_submission_versions assignments attachments categories courses lessons
    partner_courses partner_lms_providers questions quiz_accommodations quiz_versions quizzes xp_multipliers

    enrollment_changes partner_lms_enrollment_failures streak_freeze_grants streak_rest_days user_activity_days
    user_counters user_zone_changes

    api_tokens erasure_accounts erasures feature_flags idempotency_keys identities inbox_events job_steps jobs legacy_ids legacy_oddities
    legacy_sources legacy_tables lti_invites lti_keys lti_launches lti_line_items lti_links lti_scores lti_seen_tokens
    lti_tools partner_calls partner_connections partner_secrets partner_states partner_sync_states payment_charges
    payment_disputes payment_lines payment_refunds payments rate_limits reconciliation_findings reconciliation_pages reconciliations
    replay_batches replay_items scheduled_runs staff_actions usher_alembic_version
    worker_nodes alerts counted_figures counted_until partner_call_counts queue_states

    manual_work_items voucher_pools vouchers
    """.split()  # noqa: SIM905
)

ROLES = text("SELECT rolname FROM pg_roles WHERE rolname IN (:student, :stranger) ORDER BY rolname")
READY = text(f"SELECT to_regprocedure('{CALLER}') IS NOT NULL")
TABLES = text(
    """
    SELECT c.relname, c.relrowsecurity AS enabled,
        EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = :policy) AS has_policy,
        EXISTS (SELECT FROM unnest(CAST(:roles AS text[])) AS r(name) WHERE has_table_privilege(
            r.name, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')) AS too_much,
        ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) AS columns
    FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
        AND c.relname = ANY(:names) ORDER BY c.relname
    """
)
HELD = text("SELECT row_security_active(to_regclass('users'))")


def apply(connection: Connection) -> int:
    """Enable row security on our tables, and let students read their own rows; return how many tables that were.

    0 where Supabase's roles do not exist. One transaction for each table; doing it again changes nothing. Needs the
    tables' owner.
    """
    roles = find_roles(connection)
    tables = _tables(connection, roles) if roles else {}
    connection.commit()
    for name, columns in tables.items():
        for statement in _statements(name, columns, roles):
            connection.execute(text(statement))
        connection.commit()
    return len(tables)


def find_roles(connection: Connection) -> list[str]:
    """Return which of the roles exist that PostgREST gives to people; none before migration 0006."""
    if not connection.scalar(READY):
        return []
    return list(connection.scalars(ROLES, {"student": STUDENT, "stranger": STRANGER}))


def find_open(connection: Connection) -> list[str]:
    """Return the tables of ours that are not protected as decided here; none where the roles do not exist."""
    roles = find_roles(connection)
    if not roles:
        return []
    rows = connection.execute(TABLES, _names(roles))
    return [
        row.relname
        for row in rows
        if not row.enabled or row.too_much or row.has_policy != (row.relname in VISIBLE and STUDENT in roles)
    ]


def is_held(connection: Connection) -> bool:
    """Say whether the connection's own role is held to policies, and so sees next to nothing."""
    return bool(connection.scalar(HELD))


def _tables(connection: Connection, roles: list[str]) -> dict[str, list[str]]:
    return {row.relname: row.columns for row in connection.execute(TABLES, _names(roles))}


def _names(roles: list[str]) -> dict[str, object]:
    return {"names": [*VISIBLE, *HIDDEN], "policy": POLICY, "roles": roles}


def _statements(name: str, columns: list[str], roles: list[str]) -> list[str]:
    """Return what protects a table. Older Supabase projects granted everything on every new table: that is taken back."""
    visible = VISIBLE.get(name)
    statements = [
        f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY",
        f"REVOKE ALL ON {name} FROM PUBLIC, {', '.join(roles)}",
        f"DROP POLICY IF EXISTS {POLICY} ON {name}",
    ]
    if visible is None or STUDENT not in roles:
        return statements
    granted = ", ".join(column for column in visible.columns if column in columns)
    return [
        *statements,
        f"GRANT EXECUTE ON FUNCTION {CALLER} TO {STUDENT}",
        f"GRANT SELECT ({granted}) ON {name} TO {STUDENT}",
        # The sub-select is evaluated once, not for each row.
        (
            f"CREATE POLICY {POLICY} ON {name} FOR SELECT TO {STUDENT}"
            f" USING ({visible.owner} = (SELECT {CALLER}) AND {visible.condition})"
        ),
    ]
