"""Progress of an older system: completed chapters become completed lessons, ledger entries and enrolments' percentages.

The entries have the business keys of live awards, `lesson:{id}` and `course:{id}`, so whatever was paid is not paid
again, by neither side. An award that staff reversed stays reversed. Multipliers are not applied: history is not priced.
"""

from __future__ import annotations

from domain.legacy.sql import REASON, UNDONE, mapped, note

CURABLE = ("deleted_chapter", "unpublished_chapter", "unpublished_course", "deleted_course")

# Courses against their deletion, users in the order of their ids: what `xp_complete_lesson` locks, in its order.
LOCK_COURSES = f"""
    SELECT 1 FROM courses WHERE id IN (
        SELECT l.course_id FROM stage s JOIN {mapped("Chapter", "s.chapter_id", "m")} JOIN lessons l ON l.id = m.id
    ) ORDER BY id FOR KEY SHARE
"""  # noqa: S608
LOCK_USERS = "SELECT 1 FROM users WHERE id IN (SELECT user_id FROM judged) ORDER BY id FOR NO KEY UPDATE"
JUDGE = f"""
    CREATE TEMP TABLE judged ON COMMIT DROP AS
    SELECT s.id, u.id AS user_id, l.id AS lesson_id, l.course_id, l.xp_reward, done.done,
        least(coalesce(CAST(s.updated_at AS timestamptz), CAST(s.created_at AS timestamptz), now()), now()) AS at,
        CASE WHEN s.user_id IS NULL THEN 'null_user' WHEN s.chapter_id IS NULL THEN 'null_chapter'
            WHEN l.id IS NULL THEN 'deleted_chapter'
            WHEN row_number() OVER (
                PARTITION BY u.id, coalesce(l.id::text, s.chapter_id) ORDER BY done.done DESC, s.updated_at, s.id
            ) > 1 THEN 'duplicate_progress'
            WHEN NOT done.done THEN NULL
            WHEN k.deleted_at IS NOT NULL THEN 'deleted_course'
            WHEN NOT k.published THEN 'unpublished_course'
            WHEN NOT l.published THEN 'unpublished_chapter' END AS reason
    FROM stage s CROSS JOIN LATERAL (SELECT coalesce(s.is_completed, 'false') = 'true' AS done) AS done
    LEFT JOIN {mapped("User", "s.user_id", "u")} LEFT JOIN {mapped("Chapter", "s.chapter_id", "m")}
    LEFT JOIN lessons l ON l.id = m.id LEFT JOIN courses k ON k.id = l.course_id
"""  # noqa: S608
NOTE = note(
    "UserProgress",
    "s.reason",
    "'user ' || coalesce(t.user_id, '-') || ', chapter ' || coalesce(t.chapter_id, '-')",
    "FROM judged s JOIN stage t ON t.id = s.id WHERE s.reason IS NOT NULL",
)
# What was paid stays paid, in the older system as here.
NOTE_TAKEN_BACK = note(
    "UserProgress",
    "'completion_taken_back'",
    "'was completed when it was read before; the XP stay'",
    "FROM judged s JOIN lesson_progress p ON p.user_id = s.user_id AND p.lesson_id = s.lesson_id"
    " WHERE NOT s.done AND s.reason IS NULL",
)
# No award was ever made under the key, or the last one was taken back together with an import.
UNPAID = f"""
    LEFT JOIN LATERAL (
        SELECT a.generation, r.reason FROM xp_transactions a LEFT JOIN xp_transactions r ON r.reverses_id = a.id
        WHERE a.user_id = {{user}} AND a.business_key = {{key}} ORDER BY a.generation DESC LIMIT 1
    ) AS last ON true
    WHERE (last.generation IS NULL OR last.reason = '{UNDONE}')
"""  # noqa: S608
FRESH = f"""
    CREATE TEMP TABLE fresh ON COMMIT DROP AS
    SELECT j.user_id, j.lesson_id, j.course_id, j.xp_reward, j.at, coalesce(last.generation + 1, 0) AS generation
    FROM judged j {UNPAID.format(user="j.user_id", key="'lesson:' || j.lesson_id")} AND j.done AND j.reason IS NULL
"""  # noqa: S608
ENROLL = """
    INSERT INTO enrollments (user_id, course_id, enrolled_at, legacy_source)
    SELECT user_id, course_id, min(at), :source FROM fresh GROUP BY user_id, course_id ORDER BY user_id, course_id
    ON CONFLICT (user_id, course_id) DO NOTHING
"""
COMPLETE = """
    INSERT INTO lesson_progress (user_id, lesson_id, course_id, completed_at)
    SELECT user_id, lesson_id, course_id, at FROM fresh ORDER BY user_id, lesson_id
    ON CONFLICT (user_id, lesson_id) DO NOTHING
"""
COUNT = """
    CREATE TEMP TABLE counted ON COMMIT DROP AS
    WITH touched AS (
        SELECT user_id, course_id, min(at) AS first, max(at) AS last, sum(xp_reward) AS xp FROM fresh
        GROUP BY user_id, course_id
    ), sizes AS (
        SELECT l.course_id, count(*) AS lessons FROM lessons l
        WHERE l.published AND l.course_id IN (SELECT course_id FROM touched) GROUP BY l.course_id
    )
    SELECT t.*, count(l.id) * 100 / sizes.lessons AS percentage FROM touched t JOIN sizes USING (course_id)
    JOIN lesson_progress p ON p.user_id = t.user_id AND p.course_id = t.course_id
    JOIN lessons l ON l.id = p.lesson_id AND l.published
    GROUP BY t.user_id, t.course_id, t.first, t.last, t.xp, sizes.lessons
"""
FINISHED = f"""
    CREATE TEMP TABLE finished ON COMMIT DROP AS
    SELECT c.user_id, c.course_id, c.last AS at, k.xp_reward, coalesce(last.generation + 1, 0) AS generation
    FROM counted c JOIN courses k ON k.id = c.course_id
    {UNPAID.format(user="c.user_id", key="'course:' || c.course_id")} AND c.percentage = 100
"""  # noqa: S608
POST = f"""
    INSERT INTO xp_batch (user_id, kind, amount, source_type, source_id, category, reason, description, business_key,
        generation, transport_key, occurred_at)
    SELECT user_id, 'award', xp_reward, kind, source_id::text, kind, '{REASON}', '', lower(kind) || ':' || source_id,
        generation, 'legacy:' || :source, at
    FROM (
        SELECT user_id, lesson_id AS source_id, 'LESSON' AS kind, xp_reward, generation, at FROM fresh
        UNION ALL SELECT user_id, course_id, 'COURSE', xp_reward, generation, at FROM finished
    ) AS paid
    ORDER BY user_id, at, kind DESC
"""  # noqa: S608
ADVANCE = """
    UPDATE enrollments e SET xp_earned = e.xp_earned + c.xp + coalesce(f.xp_reward, 0),
        started_at = least(e.started_at, c.first), completion_percentage = c.percentage,
        completed_at = CASE WHEN c.percentage = 100 THEN coalesce(e.completed_at, c.last) END
    FROM counted c LEFT JOIN finished f ON f.user_id = c.user_id AND f.course_id = c.course_id
    WHERE e.user_id = c.user_id AND e.course_id = c.course_id
"""
MOVED = "SELECT DISTINCT user_id FROM fresh ORDER BY user_id"
STATEMENTS = (
    LOCK_COURSES,
    JUDGE,
    LOCK_USERS,
    "ANALYZE judged",
    NOTE,
    NOTE_TAKEN_BACK,
    FRESH,
    "ANALYZE fresh",
    ENROLL,
    COMPLETE,
    COUNT,
    FINISHED,
    POST,
    ADVANCE,
)
