"""What a student has done, counted: the numbers that achievements and streaks stand on.

`user_counters` is a cache. A counter is marked as stale in the transaction in which a fact behind it changed, and
counted anew from the facts, under the lock of the user's row: a count that is late, repeated or out of order ends at
the same number. A count only grows until a fact is taken back, by a reversal for example.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from db import jobs
from db.models.achievements import COUNTERS
from domain import streak_store, xp
from domain.conditions import Measure

SETTLE = "gamification.settle"
# Before every user's id.
FIRST = "00000000-0000-0000-0000-000000000000"
# What every entry of the ledger moves.
OF_XP = ("level", "xp.season", "xp.total")
# What an award of a source says of other counters, and the sources that mean that the student was active at that time.
# Quizzes and assignments tell it themselves: their awards come when somebody has graded them.
OF_SOURCE = {
    # The last lesson completes its course, whose own award has no job.
    "LESSON": ("courses.completed", "lessons.completed"),
    "COURSE": ("courses.completed",),
    "PARTNER_ENROLLMENT": ("courses.completed",),
    "CHALLENGE": ("challenges.completed",),
    "REFERRAL": ("referrals.qualified",),
}
ACTIVE_SOURCES = frozenset({"USER_PROBLEM_ATTEMPT", "LESSON", "PARTNER_ENROLLMENT"})

STANDING = "NOT EXISTS (SELECT 1 FROM xp_transactions r WHERE r.reverses_id = t.id)"
# What is one figure of a user. Seasons are counted by their time only; all of them together is the total.
FIGURES = {
    "xp.season": "SELECT greatest(f.total_xp, 0) FROM users f WHERE f.id = {user}",
    "xp.total": "SELECT greatest(f.total_xp, 0) FROM users f WHERE f.id = {user}",
    "level": "SELECT f.highest_level FROM users f WHERE f.id = {user}",
    "streak.longest": "SELECT f.longest_streak FROM user_streaks f WHERE f.user_id = {user}",
}
# The facts behind the others: when, in which course, how much.
FACTS = {
    "xp.season": "SELECT t.occurred_at, NULL::uuid, t.amount FROM xp_transactions t WHERE t.user_id = {user}",
    "lessons.completed": "SELECT p.completed_at, p.course_id, 1 FROM lesson_progress p WHERE p.user_id = {user}",
    "courses.completed": """
        SELECT e.completed_at, e.course_id, 1 FROM enrollments e
        WHERE e.user_id = {user} AND e.completed_at IS NOT NULL
        UNION ALL SELECT e.completed_at, e.course_id, 1 FROM partner_lms_enrollments e
        WHERE e.student_id = {user} AND e.status = 'completed'
    """,
    "quizzes.passed": """
        SELECT min(a.submitted_at), q.course_id, 1 FROM quiz_attempts a JOIN quizzes q ON q.id = a.quiz_id
        WHERE a.user_id = {user} AND a.state = 'graded' AND a.passed GROUP BY q.id
    """,
    "quizzes.perfect": """
        SELECT min(a.submitted_at), q.course_id, 1 FROM quiz_attempts a JOIN quizzes q ON q.id = a.quiz_id
        WHERE a.user_id = {user} AND a.state = 'graded' AND a.earned = a.possible AND a.possible > 0 GROUP BY q.id
    """,
    "assignments.passed": """
        SELECT s.graded_at, a.course_id, 1 FROM assignment_submissions s JOIN assignments a ON a.id = s.assignment_id
        WHERE s.user_id = {user} AND s.passed
    """,
    "assignments.on_time": """
        SELECT s.graded_at, a.course_id, 1 FROM assignment_submissions s JOIN assignments a ON a.id = s.assignment_id
        WHERE s.user_id = {user} AND s.passed AND NOT s.late
    """,
    "certificates.earned": (
        "SELECT c.issued_at, c.course_id, 1 FROM certificates c WHERE c.user_id = {user} AND c.status = 'valid'"
    ),
    "days.active": "SELECT d.active_at, NULL::uuid, 1 FROM user_activity_days d WHERE d.user_id = {user}",
    "referrals.qualified": f"""
        SELECT t.occurred_at, NULL::uuid, 1 FROM xp_transactions t WHERE t.user_id = {{user}} AND t.kind = 'award'
            AND t.source_type = 'REFERRAL' AND split_part(t.business_key, ':', 3) = 'referrer' AND {STANDING}
    """,  # noqa: S608
    "challenges.completed": f"""
        SELECT t.occurred_at, NULL::uuid, 1 FROM xp_transactions t WHERE t.user_id = {{user}} AND t.kind = 'award'
            AND t.source_type = 'CHALLENGE' AND {STANDING}
    """,  # noqa: S608
    "achievements.unlocked": """
        SELECT min(u.unlocked_at), NULL::uuid, 1 FROM user_achievements u WHERE u.user_id = {user}
        GROUP BY u.achievement_id
    """,
}
SUM = "SELECT sum(f.amount) FROM ({facts}) AS f(at, course, amount){where}"
# The largest sum of a window of so many days that ends with a fact.
MOST_OF_DAYS = """
    SELECT max(w.total) FROM (
        SELECT sum(f.amount) OVER (
            ORDER BY f.at RANGE BETWEEN interval '{days} days' - interval '1 microsecond' PRECEDING AND CURRENT ROW
        ) AS total FROM ({facts}) AS f(at, course, amount){where}
    ) AS w
"""
LOCK = text("SELECT 1 FROM users WHERE id = :user FOR NO KEY UPDATE")
MARK = text(
    """
    INSERT INTO user_counters AS c (user_id, name)
    SELECT CAST(:user AS uuid), names.name FROM unnest(CAST(:names AS text[])) AS names(name) ORDER BY names.name
    ON CONFLICT (user_id, name) DO UPDATE SET stale = true WHERE NOT c.stale
    """
)
# What is nothing needs no row.
REBUILD = text(
    """
    INSERT INTO user_counters AS c (user_id, name, value, stale)
    SELECT CAST(:user AS uuid), found.name, found.value, false
    FROM unnest(CAST(:names AS text[]), CAST(:values AS bigint[])) AS found(name, value)
    WHERE found.value <> 0
        OR EXISTS (SELECT 1 FROM user_counters k WHERE k.user_id = CAST(:user AS uuid) AND k.name = found.name)
    ORDER BY found.name
    ON CONFLICT (user_id, name) DO UPDATE SET value = excluded.value, stale = false, updated_at = now()
    """
)
STALE = text("SELECT name FROM user_counters WHERE user_id = :user AND stale")
FRESH = text("SELECT name, value FROM user_counters WHERE user_id = :user AND NOT stale")
STORE = text(
    """
    UPDATE user_counters c SET value = found.value, stale = false, updated_at = now()
    FROM unnest(CAST(:names AS text[]), CAST(:values AS bigint[])) AS found(name, value)
    WHERE c.user_id = :user AND c.name = found.name
    """
)


def changed(session: Session, user_id: str, *names: str, active_at: datetime | None = None) -> None:
    """Say that facts behind these counters changed, and, with `active_at`, that the student was active then.

    The day is stamped at once, in the zone of that moment; what is more than a week late or ahead is not taken. What
    follows (the streak, achievements) is enqueued in the caller's transaction and worked off later. Takes the user's
    XP row first, as every function of XP does. Nothing happens where there is no such user.
    """
    if note(session, user_id, names, active_at):
        jobs.enqueue(session, jobs.Enqueue(SETTLE, user_id, xp.QUEUE, subject_id=user_id))


def note(session: Session, user_id: str, names: Iterable[str], active_at: datetime | None = None) -> bool:
    """Mark counters as stale and stamp the day, for callers who go on to settle; False where there is no such user."""
    wanted = set(names)
    if unknown := wanted - set(COUNTERS):
        raise ValueError(f"no counters: {', '.join(sorted(unknown))}")
    if not lock(session, user_id):
        return False
    if active_at is not None and streak_store.stamp(session, user_id, active_at):
        wanted |= {"days.active", "streak.longest"}
    if wanted:
        session.execute(MARK, {"user": user_id, "names": sorted(wanted)})
    return True


def lock(session: Session, user_id: str) -> bool:
    """Hold a user's XP row until the transaction ends; False where there is none."""
    return session.execute(LOCK, {"user": user_id}).one_or_none() is not None


def recount(session: Session, user_id: str) -> set[str]:
    """Count what is stale from the facts and return the names. The caller holds the user's row."""
    stale = sorted(session.scalars(STALE, {"user": user_id}))
    if stale:
        found = count(session, user_id, map(Measure, stale))
        names = [measure.counter for measure in found]
        session.execute(STORE, {"user": user_id, "names": names, "values": list(found.values())})
    return set(stale)


def rebuild(session: Session, user_id: str) -> bool:
    """Build a user's counters anew from the facts; return whether one said something else. The caller holds the row."""
    before = {row.name: int(row.value) for row in session.execute(FRESH, {"user": user_id})}
    found = {m.counter: value for m, value in count(session, user_id, map(Measure, COUNTERS)).items()}
    session.execute(REBUILD, {"user": user_id, "names": list(found), "values": list(found.values())})
    return any(before.get(name, 0) != value for name, value in found.items())


def values(session: Session, user_id: str, measures: Iterable[Measure]) -> dict[Measure, int]:
    """Return what these measures are: from the cache where it is fresh, else counted, which changes nothing."""
    wanted = set(measures)
    fresh = {Measure(row.name): int(row.value) for row in session.execute(FRESH, {"user": user_id})}
    known = {measure: fresh[measure] for measure in wanted & fresh.keys()}
    return {**known, **count(session, user_id, wanted - known.keys())}


def count(session: Session, user_id: str, measures: Iterable[Measure]) -> dict[Measure, int]:
    """Count from the facts, in one statement."""
    listed, names = sorted(set(measures), key=str), dict[str, Any](user=user_id)
    if not listed:
        return {}
    columns = [count_sql(measure, "CAST(:user AS uuid)", names) for measure in listed]
    row = session.execute(text("SELECT " + ", ".join(columns)), names).one()
    return dict(zip(listed, map(int, row), strict=True))


def count_sql(measure: Measure, user: str, names: dict[str, Any]) -> str:
    """Return the SQL expression that counts for the user that `user` names; its parameters are added to `names`."""
    if measure.is_whole and measure.counter in FIGURES:
        counted = FIGURES[measure.counter].format(user=user)
    else:
        form = SUM if measure.days is None else MOST_OF_DAYS
        facts = FACTS[measure.counter].format(user=user)
        counted = form.format(facts=facts, where=_where(measure, names), days=measure.days)
    return f"coalesce(({counted}), 0)::bigint"


def _where(measure: Measure, names: dict[str, Any]) -> str:
    limits: Mapping[str, tuple[str, object]] = {
        "course": ("f.course = CAST(:{} AS uuid)", measure.course),
        "start": ("f.at >= CAST(:{} AS timestamptz)", measure.start),
        "end": ("f.at < CAST(:{} AS timestamptz)", measure.end),
    }
    parts = []
    for kind, (form, value) in limits.items():
        if value is not None:
            name = f"{kind}_{len(names)}"
            names[name] = value
            parts.append(form.format(name))
    return f" WHERE {' AND '.join(parts)}" if parts else ""
