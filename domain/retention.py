"""What is forgotten, and when. Every table that grows has a rule here, or a reason to be kept.

Kept for as long as the enrolment exists: the enrolment itself, its payments and their facts, and the job that walks it
with its steps, since a refund years later has to know what was taken; work items and vouchers for the same reason.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from domain import live

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


def rules(*, inbox: int, jobs: int, failures: int, partner_calls: int) -> list[Rule]:
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
    ]


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
