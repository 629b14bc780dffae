"""Which table and column holds what of whom, why it is kept, and what an erasure makes of it.

Every column of every table stands here, which a test holds against the schema. Exports and erasures follow it, and
`docs/privacy.md` shows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

DELETED, MASKED, KEPT, NOBODY = "deleted", "masked", "kept", "nobody's"
NEVER = "false"

SEATS = "SELECT id FROM partner_lms_enrollments WHERE student_id = CAST(:user AS uuid)"
PAID = f"SELECT payment_id FROM payment_lines WHERE enrollment_id IN ({SEATS})"  # noqa: S608
INTENTS = f"SELECT payment_intent_id FROM payments WHERE id IN ({PAID})"  # noqa: S608
# Ids of what is theirs, which jobs, calls and the audit are about.
THEIRS = f"""
    SELECT CAST(:user AS uuid) UNION ALL {SEATS}
    UNION ALL SELECT id FROM certificates WHERE user_id = CAST(:user AS uuid)
    UNION ALL SELECT id FROM assignment_submissions WHERE user_id = CAST(:user AS uuid)
    UNION ALL SELECT id FROM quiz_attempts WHERE user_id = CAST(:user AS uuid)
    UNION ALL SELECT id FROM manual_work_items WHERE enrollment_id IN ({SEATS})
    UNION ALL SELECT id FROM vouchers WHERE enrollment_id IN ({SEATS})
    UNION ALL SELECT event_id FROM payments WHERE id IN ({PAID})
    UNION ALL SELECT id FROM erasure_accounts WHERE user_id = CAST(:user AS uuid)
"""  # noqa: S608
JOBS = f"SELECT id FROM jobs WHERE subject_id IN ({THEIRS})"  # noqa: S608
USER = "t.user_id = CAST(:user AS uuid)"
SEAT = f"t.enrollment_id IN ({SEATS})"
INTENT = f"t.payment_intent_id IN ({INTENTS})"
ABOUT = f"t.subject_id IN ({THEIRS})"
# An id of another system is kept, so that it is not taken for somebody new; not so where it is an address.
NO_ADDRESS = (
    "CASE WHEN position('@' IN t.legacy_id) > 0 THEN 'erased-' || md5(random()::text) ELSE t.legacy_id END"
)


@dataclass(frozen=True)
class Table:
    """A table. `rows` is SQL over `t` of the rows that are about `:user`; none where they are about nobody.

    `personal` has the columns with personal data; what an erasure sets them to is SQL, empty where the row goes or is
    masked by a stage of its own. `plain` are the others. An export leaves out `hidden`: secrets, and other people.
    `searched`: texts of people and programs, in which anybody's address may stand.
    """

    name: str
    about: str
    erase: str = NOBODY
    rows: str = NEVER
    why: str = ""
    personal: Mapping[str, str] = field(default_factory=dict)
    plain: str = ""
    hidden: str = ""
    searched: str = ""

    @property
    def columns(self) -> set[str]:
        return {*self.personal, *self.plain.split()}

    @property
    def masks(self) -> dict[str, str]:
        return {name: made for name, made in self.personal.items() if made}


def _deleted(
    name: str, about: str, rows: str, personal: str, plain: str, hidden: str = "", searched: str = ""
) -> Table:
    return Table(name, about, DELETED, rows, "", dict.fromkeys(personal.split(), ""), plain, hidden, searched)


def _masked(
    name: str, about: str, rows: str, why: str, personal: dict[str, str], plain: str, **more: str
) -> Table:
    return Table(name, about, MASKED, rows, why, personal, plain, **more)


def _kept(name: str, about: str, rows: str, why: str, plain: str, **more: str) -> Table:
    return Table(name, about, KEPT, rows, why, {}, plain, **more)


def _nobody(name: str, about: str, plain: str, searched: str = "") -> Table:
    return Table(name, about, plain=plain, searched=searched)


LEDGER = "the XP ledger stands on it; nothing in it names anybody"
ACCOUNTS = "payments stay accountable (tax law); ids, amounts and times only"
AUDIT = "what was done has to stay provable; texts lose the person's words"
TIMES = "created_at updated_at"

TABLES = (
    _masked(
        "users",
        "who somebody is",
        "t.id = CAST(:user AS uuid)",
        "what is kept hangs on the row; it carries a pseudonym and the ledger's totals",
        {
            "email": "'erased-' || t.id || '@usher.invalid'",
            "name": "''",
            "time_zone": "'UTC'",
            "locale": "NULL",
            "wants_streak_mail": "false",
            "wants_progress_mail": "false",
            "visible_to_others": "false",
        },
        f"id total_xp level highest_level {TIMES}",
    ),
    _deleted("identities", "who signs in elsewhere as whom", USER, "issuer subject", "id user_id created_at"),
    _deleted(
        "api_tokens",
        "tokens that open the API",
        "lower(t.subject) = ANY(CAST(:emails AS text[]))",
        "subject token_hash last_used_at",
        "id role expires_at revoked_at created_at",
        hidden="token_hash",
    ),
    _deleted(
        "idempotency_keys",
        "answers, for two days, for requests that are sent again",
        "t.caller = ANY(CAST(:callers AS text[]))",
        "caller key fingerprint headers body",
        "status media_type created_at",
        hidden="caller fingerprint",
        searched="body",
    ),
    _deleted(
        "enrollment_changes",
        "what open pages are told",
        USER,
        "enrollment_id course_id status previous_status changed_at",
        "user_id xid id kind",
    ),
    # Partner seats and money.
    _masked(
        "partner_lms_enrollments",
        "paid seats at partners",
        "t.student_id = CAST(:user AS uuid)",
        "a refund years later has to know what was taken",
        {
            "external_account_id": "NULL",
            "external_certificate_id": "NULL",
            "metadata": "'{}'::jsonb",
            "failure_reason": "NULL",
        },
        "id provider_id student_id course_id program_id status progress_percentage enrolled_at completed_at"
        " external_enrollment_id generation released_at launch_checked_at progress_updated_at correlation_id "
        + TIMES,
        searched="external_enrollment_id",
    ),
    _masked(
        "partner_lms_enrollment_failures",
        "what did not work for a seat",
        f"(t.student_id = CAST(:user AS uuid) OR t.event_id IN (SELECT event_id FROM payments WHERE id IN ({PAID})))",  # noqa: S608
        "how often a partner fails has to stay countable",
        {"error_message": "'[erased]'"},
        "id student_id provider_id course_id program_id retry_count enrollment_id event_id job_id step error_code final"
        " resolved_at created_at",
        searched="error_message",
    ),
    _deleted(
        "partner_certificates",
        "certificates that partners issued",
        "t.student_id = CAST(:user AS uuid)",
        "certificate_number certificate_url verification_url issued_date expiration_date metadata",
        "id enrollment_id student_id partner_id revoked_at created_at",
    ),
    _kept(
        "payments",
        "checkout sessions",
        f"t.id IN ({PAID})",
        ACCOUNTS,
        f"id checkout_session_id payment_intent_id state amount_total currency event_id paid_at {TIMES}",
    ),
    _kept("payment_lines", "what a payment bought", SEAT, ACCOUNTS, "payment_id enrollment_id amount"),
    _kept(
        "payment_charges",
        "charges and what was refunded of them",
        INTENT,
        ACCOUNTS,
        f"id payment_intent_id amount amount_refunded {TIMES}",
    ),
    _kept(
        "payment_refunds",
        "refunds",
        INTENT,
        ACCOUNTS,
        f"id payment_intent_id amount status rank course_id {TIMES}",
    ),
    _kept("payment_disputes", "disputes", INTENT, ACCOUNTS, f"id payment_intent_id status rank {TIMES}"),
    _masked(
        "inbox_events",
        "what Stripe and partners sent",
        "(t.id = ANY(CAST(:events AS uuid[])))",
        f"{ACCOUNTS}; a partner's event loses all of its body",
        {"payload": ""},
        "id source external_id type state reason subjects completion completed_by received_at processed_at",
        hidden="completed_by",
        searched="reason completion completed_by",
    ),
    _masked(
        "jobs",
        "what has to be done",
        ABOUT,
        "a walk's job keeps a seat from being taken twice, a mail's the mail from being sent twice",
        {"last_error": "split_part(t.last_error, ':', 1)", "traceback": "NULL"},
        "id kind business_key queue partner subject_id state rerun attempts claims next_run_at lease_owner token rung_at"
        f" correlation_id traceparent workflow_version finished_at {TIMES}",
        searched="last_error traceback",
    ),
    _masked(
        "job_steps",
        "what jobs did outside",
        f"t.job_id IN ({JOBS})",
        "a step that is done is not done again",
        {"result": "CASE WHEN t.step LIKE 'account%' THEN '{}'::jsonb ELSE t.result END"},
        "job_id step state attempt token started_at finished_at duration_ms",
    ),
    _masked(
        "partner_calls",
        "the audit of calls to partners",
        f"({ABOUT} OR t.job_id IN ({JOBS}))",
        "how a partner answers has to stay countable",
        {"request": "NULL", "answer": "NULL"},
        "id at partner method path_template status outcome duration_ms attempt job_id subject_id",
        searched="request answer",
    ),
    _masked(
        "manual_work_items",
        "what staff do at partners by hand",
        SEAT,
        "a refund years later has to know what was taken",
        {"note": "NULL", "access_url": "NULL", "sealed_access_code": "NULL"},
        "id enrollment_id generation kind cause provider_id course_id state usual_hours exported_at exported_by closed_at"
        f" closed_by version {TIMES}",
        hidden="sealed_access_code exported_by closed_by",
        searched="note access_url exported_by closed_by",
    ),
    _kept(
        "vouchers",
        "codes that open a course",
        SEAT,
        "whether a code was seen decides whether somebody else may get it; the code is the partner's",
        f"id provider_id course_id sealed_code fingerprint label expires_at enrollment_id taken_at revealed_at spent_at"
        f" retired_at {TIMES}",
        hidden="sealed_code fingerprint",
        searched="label",
    ),
    _masked(
        "replay_items",
        "seats in a bulk replay",
        SEAT,
        "a replay counts its seats",
        {"note": "NULL"},
        "batch_id enrollment_id state canary",
    ),
    # LTI.
    _deleted(
        "lti_launches",
        "clicks into tools",
        f"({USER} OR {SEAT})",
        "login_hint nonce state issued_at used_at expires_at",
        "id tool_id enrollment_id user_id message_type",
        hidden="login_hint nonce state",
    ),
    _deleted(
        "lti_scores",
        "what tools reported",
        USER,
        "score_given score_maximum activity_progress grading_progress comment scored_at received_at",
        "id line_item_id user_id enrollment_id",
    ),
    # Own courses.
    _kept(
        "enrollments",
        "enrolments in own courses",
        USER,
        LEDGER,
        "id user_id course_id enrolled_at started_at completed_at completion_percentage xp_earned legacy_source",
    ),
    _kept(
        "lesson_progress",
        "completed lessons",
        USER,
        LEDGER,
        "id user_id lesson_id course_id completed_at",
    ),
    _masked(
        "quiz_attempts",
        "attempts at quizzes",
        USER,
        f"{LEDGER}; of the answers, choices and numbers stay, and short texts that were right",
        {"answers": "", "marks": ""},
        "id user_id quiz_id number state version quiz_version key_version passing_score earned possible passed started_at"
        f" deadline_at saved_at submitted_at graded_at score total_points time_spent completed_at {TIMES}",
    ),
    _deleted(
        "quiz_accommodations",
        "more time or attempts for one student",
        USER,
        "time_factor extra_attempts",
        f"id user_id quiz_id {TIMES}",
    ),
    _masked(
        "assignment_submissions",
        "what was handed in",
        USER,
        LEDGER,
        {"content": "''", "file_urls": "'{}'::text[]", "feedback": "NULL"},
        f"id user_id assignment_id state version number late score passed submitted_at graded_at graded_by {TIMES}",
        hidden="graded_by",
    ),
    _masked(
        "assignment_submission_versions",
        "each hand-in",
        "t.submission_id IN (SELECT id FROM assignment_submissions WHERE user_id = CAST(:user AS uuid))",
        LEDGER,
        {"content": "''", "file_urls": "'{}'::text[]", "feedback": "NULL"},
        "submission_id number late submitted_at score passed graded_at graded_by",
        hidden="graded_by",
    ),
    _deleted(
        "assignment_files",
        "files that were uploaded, here and in the file store",
        USER,
        "name media_type size sha256",
        "id user_id assignment_id stored_at attached_at created_at",
    ),
    _deleted(
        "assignment_extensions",
        "a later due date for one student",
        USER,
        "due_date",
        f"assignment_id user_id granted_by {TIMES}",
        hidden="granted_by",
    ),
    _masked(
        "certificates",
        "certificates of own courses",
        USER,
        "the code stays verifiable, without a name",
        {"name": "''"},
        "id user_id course_id template_id certificate_url verification_code status course_title hours issued_at expires_at"
        f" revoked_at superseded_by_id {TIMES}",
    ),
    _kept(
        "xp_transactions",
        "the XP ledger",
        USER,
        "append-only: totals have to verify; no column names anybody",
        "id seq user_id kind amount source_type source_id category reason description business_key generation transport_key"
        " reverses_id reverses_kind reverses_amount caused_by_id revocable base factor breakdown balance_after occurred_at"
        " created_at",
    ),
    _kept(
        "user_achievements",
        "unlocked achievements",
        USER,
        LEDGER,
        "id user_id achievement_id tier version unlocked_at",
    ),
    _kept("user_counters", "counts of what was done", USER, LEDGER, "user_id name value stale updated_at"),
    _kept(
        "user_streaks",
        "streaks",
        USER,
        LEDGER,
        "id user_id current_streak longest_streak last_activity_date freezes_used freezes_available covered_dates as_of "
        + TIMES,
    ),
    _masked(
        "user_activity_days",
        "days on which something was learned",
        USER,
        LEDGER,
        {"time_zone": "'UTC'"},
        "user_id local_date active_at settled_at created_at",
    ),
    _kept(
        "streak_freeze_grants", "freezes that staff gave", USER, LEDGER, "id user_id granted_on created_at"
    ),
    _kept(
        "streak_rest_days",
        "rest days that staff named",
        USER,
        LEDGER,
        "id user_id weekday first_date last_date created_at",
    ),
    _deleted("user_zone_changes", "moves to another time zone", USER, "changed_at was became", "user_id"),
    # An older system, and the audit.
    _masked(
        "legacy_oddities",
        "rows of an older system that did not fit",
        "t.table_name = 'User' AND (t.source, t.legacy_id) IN (SELECT m.source, m.legacy_id FROM legacy_ids m"
        " WHERE m.id = CAST(:user AS uuid) AND m.table_name = 'User')",
        "what an import left out has to stay countable",
        {"legacy_id": NO_ADDRESS, "detail": "''"},
        "source table_name reason count created_at seen_at",
        searched="legacy_id detail",
    ),
    _masked(
        "legacy_ids",
        "ids that an older system had",
        "t.id = CAST(:user AS uuid)",
        "an import does not take the person for somebody new; an id that is an address is replaced",
        {"legacy_id": NO_ADDRESS, "payload": "'{}'::jsonb"},
        "source table_name id made created_at",
    ),
    _kept(
        "staff_actions",
        "what staff did and whom they looked up",
        f"t.subject_id IN (SELECT id::text FROM ({THEIRS}) AS theirs (id))",  # noqa: S608
        AUDIT,
        "id actor action subject_type subject_id reason detail created_at",
        hidden="actor",
        searched="actor subject_id reason detail",
    ),
    _masked(
        "erasures",
        "who was erased, by whom and why",
        USER,
        "shows that it was done",
        {"words": ""},
        f"user_id actor reason revoke_certificates stage place counts finished_at {TIMES}",
        hidden="actor words",
        searched="actor reason",
    ),
    _masked(
        "erasure_accounts",
        "accounts at partners that go with an erasure",
        USER,
        "until the partner has erased the account; then its id goes",
        {"account_id": ""},
        f"id user_id provider_id state closed_by closed_at {TIMES}",
        hidden="closed_by",
    ),
    # About nobody. What staff wrote is searched for addresses all the same.
    _nobody(
        "replay_batches",
        "bulk replays",
        f"id fingerprint actor reason rate_per_minute state stopped_reason finished_at {TIMES}",
        searched="actor reason stopped_reason",
    ),
    _nobody(
        "reconciliation_findings",
        "what differs from Stripe or a partner",
        "id reconciliation_id scope kind subject_type subject_id message repaired first_seen_at last_seen_at resolved_at",
        searched="message subject_id",
    ),
    _nobody("reconciliation_pages", "seats that a partner listed", "id reconciliation_id external_ids"),
    _nobody(
        "reconciliations",
        "comparisons with Stripe and partners",
        "id scope occasion since phase place looked_at finished_at created_at",
    ),
    _nobody(
        "partner_states",
        "how partners are doing",
        "partner paused_at paused_by paused_reason failures opened open_until concurrency rate_per_second burst updated_at",
        searched="paused_by paused_reason",
    ),
    _nobody(
        "partner_connections",
        "how partners are called",
        f"provider_type base_url options adopt_by_email sync_interval complete_at version updated_by reason {TIMES}",
        searched="updated_by reason",
    ),
    _nobody(
        "partner_secrets",
        "partners' credentials, sealed",
        "provider_type name env_name sealed fingerprint set_at set_by",
        searched="set_by",
    ),
    _nobody(
        "achievements",
        "achievements",
        f"id code version name description icon category condition xp_reward tiers counters revocable is_active backfill_after backfilled_at {TIMES}",
    ),
    _nobody(
        "achievement_versions", "achievements as they were", "achievement_id version definition created_at"
    ),
    _nobody(
        "alerts", "what staff are told", "id kind subject opened_at resolved_at told_at told_until figures"
    ),
    _nobody(
        "assignments",
        "what is asked",
        f"id course_id lesson_id title description due_date grace_seconds allow_late_submission max_points passing_score xp_reward required is_published {TIMES}",
    ),
    _nobody("attachments", "files of courses", f"id course_id name url position {TIMES}"),
    _nobody("categories", "categories of courses", f"id slug name {TIMES}"),
    _nobody("counted_figures", "what was counted for those who watch", "name figures counted_at took"),
    _nobody("counted_until", "how far was counted", "name until"),
    _nobody(
        "courses",
        "own courses",
        f"id slug title description image_url category_id prerequisites difficulty estimated_hours xp_reward certificate_days published version deleted_at {TIMES}",
    ),
    _nobody("feature_flags", "switches", f"name enabled {TIMES}"),
    _nobody("legacy_sources", "older systems", f"name time_zone issuer {TIMES}"),
    _nobody(
        "legacy_tables",
        "how far an import came",
        f"source table_name pass_number since began_at finished_at cursor rows_total rows_read rows_placed {TIMES}",
    ),
    _nobody(
        "lessons",
        "lessons",
        f"id course_id slug title description body video_url position xp_reward published {TIMES}",
    ),
    _nobody("lti_invites", "invitations to tools", "id token_hash provider_id expires_at tool_id created_at"),
    _nobody("lti_keys", "our keys", "kid public_jwk private_key_encrypted created_at retired_at"),
    _nobody(
        "lti_line_items",
        "what tools grade",
        "id tool_id link_id course_id label score_maximum resource_id tag start_at end_at ours created_at",
    ),
    _nobody(
        "lti_links", "places in tools", f"id tool_id course_id url title position custom line_item {TIMES}"
    ),
    _nobody("lti_seen_tokens", "tokens that tools used", "tool_id jti expires_at"),
    _nobody(
        "lti_tools",
        "tools",
        f"id provider_id name lti_version client_id deployment_id login_url target_link_uri deep_linking_url redirect_uris jwks_url public_jwks public_key consumer_key secret_encrypted custom scopes active {TIMES}",
    ),
    _nobody("partner_call_counts", "calls, counted", "partner outcome calls milliseconds"),
    _nobody(
        "partner_courses",
        "partners' courses",
        f"id provider_id course_name course_code external_course_code description hours level credential_type active metadata {TIMES}",
    ),
    _nobody(
        "partner_lms_providers",
        "partners",
        f"id provider_name provider_type website_url support_email active metadata {TIMES}",
    ),
    _nobody(
        "partner_sync_states",
        "how far progress was pulled",
        "provider_id next_due_at cursor position full_at started_at finished_at last_calls last_changed last_failed",
    ),
    _nobody(
        "questions",
        "questions",
        "id quiz_id type question options correct_answer explanation points partial_credit order created_at",
    ),
    _nobody(
        "queue_states", "queues as they were last seen", "queue head_id head_token head_since depth depth_at"
    ),
    _nobody("quiz_versions", "quizzes as they were", "quiz_id version questions created_at"),
    _nobody(
        "quizzes",
        "quizzes",
        f"id course_id lesson_id title description time_limit max_attempts passing_score xp_reward required is_published version answers_released_at {TIMES}",
    ),
    _nobody("rate_limits", "partners' rate limits", "key tat"),
    _nobody("scheduled_runs", "turns of the schedule", "job slot ran_at"),
    _nobody("voucher_pools", "pools of vouchers", f"course_id low_water level {TIMES}"),
    _nobody("worker_nodes", "workers that give signs of life", "node queues connected seen_at"),
    _nobody(
        "xp_multipliers",
        "multipliers of XP",
        f"id name factor starts_at ends_at course_id category source_type active {TIMES}",
    ),
)
BY_NAME = {table.name: table for table in TABLES}


def with_people() -> Iterator[Table]:
    """Yield the tables with rows about somebody."""
    return (table for table in TABLES if table.erase != NOBODY)


def as_markdown(kept_for: Mapping[str, str]) -> str:
    """Return the register as tables; `kept_for` says of each table how long its rows live."""
    lines = ["| table | what | personal data | an erasure | kept |", "|---|---|---|---|---|"]
    for table in with_people():
        personal = ", ".join(f"`{name}`" for name in table.personal) or "ids and times only"
        fate = {
            DELETED: "deletes the rows",
            MASKED: f"empties them: {table.why}",
            KEPT: f"keeps them: {table.why}",
        }
        lines.append(
            f"| `{table.name}` | {table.about} | {personal} | {fate[table.erase]} | {kept_for[table.name]} |"
        )
    nobody = ", ".join(f"`{table.name}`" for table in TABLES if table.erase == NOBODY)
    return "\n".join([*lines, "", f"About nobody: {nobody}."])
