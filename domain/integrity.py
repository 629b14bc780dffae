"""What has to hold between rows and no constraint can hold: looked at in batches, changing nothing (seed D's 6.2)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

CHUNK = 2_000
EXAMPLES = 5
FIRST = str(uuid.UUID(int=0))
READ_ONLY = text("SET TRANSACTION READ ONLY")

# The award stands: nothing reversed it.
STANDING = "NOT EXISTS (SELECT 1 FROM xp_transactions r WHERE r.reverses_id = {}.id)"
# Completed lessons of an enrolment, as a percentage of the published ones.
DONE = """(
    SELECT count(p.id) * 100 / greatest(count(*), 1) FROM lessons l
    LEFT JOIN lesson_progress p ON p.lesson_id = l.id AND p.user_id = t.user_id
    WHERE l.course_id = t.course_id AND l.published
)"""


@dataclass(frozen=True)
class Rule:
    """`wrong` is what must hold of no row `t` of the table, `name` says it in words."""

    name: str
    table: str
    wrong: str


RULES = (
    Rule(
        "XP totals that are not the sum of the ledger or its last balance",
        "users",
        "(t.total_xp, t.total_xp) IS DISTINCT FROM ("
        " (SELECT coalesce(sum(x.amount), 0)::bigint FROM xp_transactions x WHERE x.user_id = t.id),"
        " coalesce((SELECT x.balance_after FROM xp_transactions x WHERE x.user_id = t.id ORDER BY x.seq DESC LIMIT 1), 0))",
    ),
    Rule(
        "ledger entries that do not go on from the balance before them",
        "xp_transactions",
        # The audit row of a repair begins anew.
        "t.source_type <> 'RECALCULATION' AND t.balance_after - t.amount <> coalesce(("
        " SELECT p.balance_after FROM xp_transactions p WHERE p.user_id = t.user_id AND p.seq < t.seq"
        " ORDER BY p.seq DESC LIMIT 1), 0)",
    ),
    Rule(
        "standing awards for a lesson or course that does not exist",
        "xp_transactions",
        f"""t.kind = 'award' AND CASE t.source_type
            WHEN 'LESSON' THEN NOT EXISTS (SELECT 1 FROM lessons l WHERE l.id = CAST(t.source_id AS uuid))
            WHEN 'COURSE' THEN NOT EXISTS (SELECT 1 FROM courses c WHERE c.id = CAST(t.source_id AS uuid))
            ELSE false END AND {STANDING.format("t")}""",  # noqa: S608
    ),
    Rule(
        "completed lessons without their XP",
        "lesson_progress",
        f"""NOT EXISTS (SELECT 1 FROM xp_transactions a WHERE a.user_id = t.user_id
            AND a.business_key = 'lesson:' || t.lesson_id AND {STANDING.format("a")})""",  # noqa: S608
    ),
    Rule(
        "enrolments that are completed and not at 100 %, or the reverse",
        "enrollments",
        "(t.completed_at IS NOT NULL) <> (t.completion_percentage = 100)",
    ),
    # More than that is in order: lessons were added since. They count at the next completion.
    Rule(
        "enrolments with a lower percentage than their completed lessons",
        "enrollments",
        f"t.completion_percentage < {DONE}",
    ),
    Rule(
        "prerequisites that name no course",
        "courses",
        "EXISTS (SELECT 1 FROM unnest(t.prerequisites) AS wanted(id)"
        " WHERE NOT EXISTS (SELECT 1 FROM courses c WHERE c.id = wanted.id))",
    ),
    Rule(
        "valid certificates of a course that was not completed",
        "certificates",
        "t.status = 'valid' AND t.course_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM enrollments e"
        " WHERE e.user_id = t.user_id AND e.course_id = t.course_id AND e.completed_at IS NOT NULL)",
    ),
    Rule(
        "quiz attempts beyond the limit",
        "quiz_attempts",
        "t.state <> 'void' AND (SELECT count(*) FROM quiz_attempts a WHERE a.user_id = t.user_id"
        "  AND a.quiz_id = t.quiz_id AND a.state <> 'void' AND a.number <= t.number)"
        " > (SELECT q.max_attempts FROM quizzes q WHERE q.id = t.quiz_id) + (SELECT coalesce(sum(x.extra_attempts), 0)"
        "  FROM quiz_accommodations x WHERE x.user_id = t.user_id AND (x.quiz_id = t.quiz_id OR x.quiz_id IS NULL))",
    ),
    Rule(
        "graded quiz attempts that passed below the passing score, or failed above it",
        "quiz_attempts",
        "t.state = 'graded' AND t.passed IS DISTINCT FROM (t.earned * 100 >= t.passing_score * t.possible)",
    ),
    Rule(
        "assignments that passed without a grade",
        "assignment_submissions",
        "t.passed AND (t.graded_at IS NULL OR t.score IS NULL)",
    ),
    Rule(
        "streaks that are longer than the longest",
        "user_streaks",
        "t.current_streak > t.longest_streak",
    ),
    Rule(
        "active partner enrolments without a seat at the partner",
        "partner_lms_enrollments",
        "t.status = 'active' AND t.external_enrollment_id IS NULL",
    ),
)
# What an index build that broke off, or a constraint that was added without a look at the rows, leaves behind.
SCHEMA = text(
    """
    SELECT 'index ' || indexrelid::regclass || ' is not valid' AS wrong FROM pg_index
    JOIN pg_class c ON c.oid = indrelid WHERE NOT indisvalid AND c.relnamespace = current_schema()::regnamespace
    UNION ALL SELECT 'constraint ' || conname || ' was never checked' FROM pg_constraint
    WHERE NOT convalidated AND connamespace = current_schema()::regnamespace AND contype <> 'n'
    """
)
EXISTS = text("SELECT to_regclass(:table) IS NOT NULL")


@dataclass(frozen=True)
class Finding:
    """How one rule came out: rows that were looked at, how many break it, some of their ids."""

    name: str
    table: str
    rows: int
    wrong: int
    examples: list[str]


def check_all(
    transaction: Callable[[], AbstractContextManager[Session]], chunk: int = CHUNK
) -> Iterator[Finding]:
    """Yield how each rule comes out. Each chunk is a read-only transaction of its own: nothing is held up.

    A row that changes between two chunks is seen once, as it is then. Tables that do not exist yet are left out.
    """
    with transaction() as session:
        session.execute(READ_ONLY)
        found = [str(wrong) for wrong in session.scalars(SCHEMA)]
        present = {
            rule.table for rule in RULES if session.execute(EXISTS, {"table": rule.table}).scalar_one()
        }
    yield Finding("indexes and constraints that do not hold", "", 0, len(found), found[:EXAMPLES])
    for rule in RULES:
        if rule.table in present:
            yield _check(transaction, rule, chunk)


def _check(transaction: Callable[[], AbstractContextManager[Session]], rule: Rule, chunk: int) -> Finding:
    page = text(f"SELECT id FROM {rule.table} WHERE id > :after ORDER BY id LIMIT :limit")  # noqa: S608
    look = text(
        f"SELECT t.id FROM {rule.table} t WHERE t.id = ANY(CAST(:ids AS uuid[])) AND ({rule.wrong}) ORDER BY t.id"  # noqa: S608
    )
    after, rows, count, wrong = FIRST, 0, 0, list[str]()
    while True:
        with transaction() as session:
            session.execute(READ_ONLY)
            ids = [str(id) for id in session.scalars(page, {"after": after, "limit": chunk})]
            broken = [str(id) for id in session.scalars(look, {"ids": ids})] if ids else []
        rows, count = rows + len(ids), count + len(broken)
        wrong += broken[: EXAMPLES - len(wrong)]
        if len(ids) < chunk:
            return Finding(rule.name, rule.table, rows, count, wrong)
        after = ids[-1]
