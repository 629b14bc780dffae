"""What is forgotten, and when. Every table that grows has a rule here, or a reason to be kept.

Kept for as long as the enrolment exists: the enrolment itself, its payments and their facts, and the job that walks it
with its steps, since a refund years later has to know what was taken; work items and vouchers for the same reason.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from domain import live
from domain.privacy_access import LOOK_UP
from settings import get_settings

# Rows deleted in one transaction, so that no lock is held for long.
BATCH = 5_000


@dataclass(frozen=True)
class Rule:
    """Rows of `table` older than `days` by `age`, where `condition` holds, are forgotten."""

    table: str
    key: str
    age: str
    days: int
    condition: str = "true"


def rules(
    *,
    inbox: int,
    jobs: int,
    failures: int,
    partner_calls: int,
    staff_actions: int = 2557,
    access_log: int = 365,
) -> list[Rule]:
    """Return the rules; the arguments are days."""
    return [
        Rule("scheduled_runs", "(job, slot)", "slot", 7),
        Rule("worker_nodes", "node", "seen_at", 7),
        # Not before they are in the counts that /metrics tells.
        Rule(
            "partner_calls",
            "id",
            "at",
            partner_calls,
            "at < (SELECT until FROM counted_until WHERE name = 'partner_calls')",
        ),
        Rule("alerts", "id", "resolved_at", 90),
        Rule(
            "jobs",
            "id",
            "updated_at",
            jobs,
            "state = 'done' AND kind NOT IN ('enrollment.walk', 'mail.send', 'mail.notice')",
        ),
        # A mail's job is what keeps the same mail from being sent twice.
        Rule(
            "jobs",
            "id",
            "updated_at",
            max(jobs, 400),
            "state = 'done' AND kind IN ('mail.send', 'mail.notice')",
        ),
        Rule("inbox_events", "id", "received_at", inbox, "state IN ('done', 'ignored')"),
        Rule(
            "partner_lms_enrollment_failures",
            "id",
            "created_at",
            failures,
            "resolved_at IS NOT NULL OR NOT final",
        ),
        Rule("idempotency_keys", "(caller, key)", "created_at", 2),
        Rule("enrollment_changes", "(user_id, xid, id)", "changed_at", live.KEPT_DAYS),
        # A launch's click and a tool's tokens are dead within hours: nothing forgotten here can be used again.
        Rule("lti_launches", "id", "issued_at", 30),
        Rule("lti_seen_tokens", "(tool_id, jti)", "expires_at", 1),
        Rule("lti_invites", "id", "expires_at", 30),
        Rule("replay_batches", "id", "created_at", failures, "finished_at IS NOT NULL"),
        Rule("staff_actions", "id", "created_at", staff_actions, f"action <> '{LOOK_UP}'"),
        Rule("staff_actions", "id", "created_at", access_log, f"action = '{LOOK_UP}'"),
    ]


# Tables without a rule, and why. Rows that go with others' are named with theirs.
SEAT = "as long as the seat: a refund years later has to know what was taken"
MONEY = "as long as payments have to be accountable"
LEARNED = "as long as the user: the XP ledger stands on it"
CATALOGUE = "as long as it is offered; grows by hand"
SETTING = "how things stand now; one row for each"
KEPT = {
    "users": "until erased",
    "identities": "until erased",
    "api_tokens": "until erased; one that expired or was revoked opens nothing",
    **dict.fromkeys(
        ["partner_lms_enrollments", "partner_certificates", "manual_work_items", "vouchers", "lti_scores"],
        SEAT,
    ),
    **dict.fromkeys(
        ["payments", "payment_lines", "payment_charges", "payment_refunds", "payment_disputes"], MONEY
    ),
    "job_steps": "with their job",
    "replay_items": "with their replay",
    "reconciliation_pages": "until the comparison that gathers them ends",
    **dict.fromkeys(
        ["reconciliations", "reconciliation_findings"], "90 days after they ended (tasks/reconcile.py)"
    ),
    **dict.fromkeys(
        """
        enrollments lesson_progress quiz_attempts quiz_accommodations assignment_submissions
        assignment_submission_versions assignment_extensions user_achievements user_counters user_streaks
        user_activity_days streak_freeze_grants streak_rest_days user_zone_changes
        """.split(),  # noqa: SIM905
        LEARNED,
    ),
    "assignment_files": "as long as the hand-in; those never handed in, seven days",
    "certificates": "for ever: whoever is shown one can check it",
    "xp_transactions": "for ever: the ledger is append-only",
    "erasures": "for ever: shows that it was done; holds ids and who asked",
    "erasure_accounts": "for ever: shows that it was done; without the account's id once it is gone",
    "legacy_oddities": "until the older system is switched off and the import undone or accepted",
    "legacy_ids": "for ever: an import must know what it brought",
    **dict.fromkeys(
        """
        achievements achievement_versions assignments attachments categories courses lessons lti_line_items lti_links
        lti_tools partner_courses partner_lms_providers questions quiz_versions quizzes voucher_pools xp_multipliers
        """.split(),  # noqa: SIM905
        CATALOGUE,
    ),
    **dict.fromkeys(
        """
        counted_figures counted_until feature_flags legacy_sources legacy_tables partner_call_counts partner_connections
        partner_secrets partner_states partner_sync_states queue_states rate_limits
        """.split(),  # noqa: SIM905
        SETTING,
    ),
    "lti_keys": "one or two in use; grows with each rotation",
}


def in_force() -> list[Rule]:
    """Return the rules by the settings."""
    settings = get_settings()
    return rules(
        inbox=settings.inbox_days,
        jobs=settings.jobs_days,
        failures=settings.failures_days,
        partner_calls=settings.partner_calls_days,
        staff_actions=settings.staff_actions_days,
        access_log=settings.access_log_days,
    )


def kept_for() -> dict[str, str]:
    """Return in words how long the rows of each table are kept."""
    words = dict(KEPT)
    for rule in in_force():
        told = f"{rule.days} days"
        words[rule.table] = f"{words[rule.table]}, {told}" if rule.table in words else told
    return words


def forget_batch(session: Session, rule: Rule) -> int:
    """Delete up to a batch of what a rule names; return how many rows went."""
    deleted = session.execute(
        text(
            f"DELETE FROM {rule.table} WHERE {rule.key} IN (SELECT {rule.key.strip('()')} FROM {rule.table}"  # noqa: S608
            f" WHERE {rule.age} < now() - :days * interval '1 day' AND ({rule.condition}) LIMIT :batch) RETURNING 1"
        ),
        {"days": rule.days, "batch": BATCH},
    )
    return len(deleted.all())
