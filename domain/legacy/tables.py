"""Which tables of an older system are read, in which order, and what becomes of their rows."""

from __future__ import annotations

import re
from dataclasses import dataclass

from domain.legacy import progress, totals
from domain.legacy.sql import map_ids, mapped, note, place_users


@dataclass(frozen=True)
class Table:
    """A table of the older system. `statements` place a staged batch; they run in one transaction, in this order.

    `key` is the order in which rows are read; a batch never ends between rows with the same first part of it.
    `catches_up`: later passes read what changed only. `curable`: reasons that may be gone at the next pass. `moved`: SQL
    of the users whose XP or progress the batch changed.
    """

    name: str
    columns: tuple[str, ...]
    needed: tuple[str, ...]
    statements: tuple[str, ...]
    key: tuple[str, ...] = ("id",)
    catches_up: bool = False
    curable: tuple[str, ...] = ()
    moved: str | None = None

    @property
    def staged(self) -> list[str]:
        """Return the columns' names in `stage`: snake_case."""
        return [snake(name) for name in self.columns]


def snake(name: str) -> str:
    """Return userId as user_id, totalXP as total_xp."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


CHANGED = "coalesce(CAST(s.updated_at AS timestamptz), CAST(s.created_at AS timestamptz), now())"
CREATED = "coalesce(CAST(s.created_at AS timestamptz), now())"
REWARD = "least(greatest(coalesce(CAST(s.xp_reward AS numeric), {default}), 0), 1000000)::integer"
NUMBER_IS_ODD = "coalesce(CAST(s.xp_reward AS numeric) NOT BETWEEN 0 AND 1000000, false)"
# A row that nobody edited here since it was read may be brought up to date.
SAME = "t.updated_at = CAST(m.payload->>'updatedAt' AS timestamptz)"
REMEMBER = """
    UPDATE legacy_ids m SET payload = jsonb_strip_nulls(jsonb_build_object({values}))
    FROM stage s WHERE m.source = :source AND m.table_name = '{table}' AND m.legacy_id = s.id
"""

USER = Table(
    "User",
    ("id", "email", "name"),
    ("id",),
    (
        *place_users("id", "email", "name"),
        note(
            "User",
            "'no_usable_address'",
            "'has an address that cannot exist until a real one is set'",
            f"FROM stage s JOIN {mapped('User', 's.id', 'm')} JOIN users u ON u.id = m.id"
            " WHERE u.email LIKE 'legacy-%@usher.invalid'",
        ),
        note(
            "User",
            "'shared_address'",
            "'the same person as ' || other.legacy_id",
            f"FROM stage s JOIN {mapped('User', 's.id', 'm')} JOIN legacy_ids other ON other.id = m.id"
            " AND other.source = :source AND other.table_name = 'User' AND other.legacy_id < s.id",
        ),
    ),
)
CATEGORY = Table(
    "Category",
    ("id", "name"),
    ("id", "name"),
    (
        map_ids("Category", "categories"),
        f"""
        INSERT INTO categories (id, name) SELECT m.id, coalesce(s.name, '')
        FROM stage s JOIN {mapped("Category", "s.id", "m")} WHERE m.payload = '{{}}' ON CONFLICT (id) DO NOTHING
        """,  # noqa: S608
        f"""
        UPDATE categories t SET name = s.name, updated_at = now() FROM stage s JOIN {mapped("Category", "s.id", "m")}
        WHERE t.id = m.id AND t.name = m.payload->>'name' AND t.name <> s.name
        """,  # noqa: S608
        REMEMBER.format(table="Category", values="'name', coalesce(s.name, '')"),
    ),
)
COURSE_VALUES = f"""
    coalesce(s.title, '') AS title, coalesce(s.description, '') AS description, s.image_url,
    CASE WHEN lower(s.difficulty) IN ('beginner', 'intermediate', 'advanced') THEN lower(s.difficulty)
        ELSE 'beginner' END AS difficulty,
    least(greatest(CAST(s.estimated_hours AS numeric), 0), 999999) AS hours, {REWARD.format(default=200)} AS reward,
    coalesce(s.is_published, 'false') = 'true' AS published, {CREATED} AS created, {CHANGED} AS changed
"""
COURSE = Table(
    "Course",
    (
        *("id", "createdById", "title", "description", "imageUrl", "price", "isPublished", "isFree"),
        *(
            "categoryId",
            "difficulty",
            "estimatedHours",
            "xpReward",
            "prerequisites",
            "createdAt",
            "updatedAt",
        ),
    ),
    ("id", "title", "isPublished"),
    (
        map_ids("Course", "courses"),
        note(
            "Course",
            "'edited_here'",
            "'was changed in Usher since; the older system''s later change was not taken'",
            f"FROM stage s JOIN {mapped('Course', 's.id', 'm')} JOIN courses t ON t.id = m.id"
            f" WHERE m.made AND m.payload <> '{{}}' AND NOT {SAME}"
            f" AND {CHANGED} <> CAST(m.payload->>'updatedAt' AS timestamptz)",
        ),
        note(
            "Course",
            "'unpublished_course'",
            "'was taken over unpublished; progress in it waits until it is published'",
            "FROM stage s WHERE coalesce(s.is_published, 'false') <> 'true'",
        ),
        note("Course", "'xp_reward_out_of_range'", "s.xp_reward", f"FROM stage s WHERE {NUMBER_IS_ODD}"),
        f"""
        INSERT INTO courses (id, title, description, image_url, category_id, difficulty, estimated_hours, xp_reward,
            published, created_at, updated_at)
        SELECT m.id, v.title, v.description, v.image_url, t.id, v.difficulty, v.hours, v.reward, v.published, v.created,
            v.changed
        FROM (SELECT s.id, s.category_id, {COURSE_VALUES} FROM stage s) AS v JOIN {mapped("Course", "v.id", "m")}
        LEFT JOIN {mapped("Category", "v.category_id", "k")} LEFT JOIN categories t ON t.id = k.id
        WHERE m.payload = '{{}}' ON CONFLICT (id) DO NOTHING
        """,  # noqa: S608
        f"""
        UPDATE courses t SET title = v.title, description = v.description, image_url = v.image_url,
            difficulty = v.difficulty, estimated_hours = v.hours, xp_reward = v.reward, published = v.published,
            updated_at = v.changed
        FROM (SELECT s.id, {COURSE_VALUES} FROM stage s) AS v JOIN {mapped("Course", "v.id", "m")}
        WHERE t.id = m.id AND m.made AND m.payload <> '{{}}' AND {SAME} AND t.updated_at <> v.changed
            AND t.deleted_at IS NULL
        """,  # noqa: S608
        REMEMBER.format(
            table="Course",
            values=f"'updatedAt', {CHANGED}, 'price', s.price, 'isFree', s.is_free, 'createdById', s.created_by_id,"
            " 'prerequisites', s.prerequisites",
        ),
    ),
)
LOST_COURSE = f"""FROM stage s LEFT JOIN {mapped("Course", "s.course_id", "k")} LEFT JOIN courses c ON c.id = k.id
    WHERE c.id IS NULL"""
DROP_LOST = f"DELETE FROM stage WHERE id IN (SELECT s.id {LOST_COURSE})"  # noqa: S608
ATTACHMENT = Table(
    "Attachment",
    ("id", "name", "url", "courseId", "createdAt", "updatedAt"),
    ("id", "name", "url", "courseId"),
    (
        note("Attachment", "'deleted_course'", "s.course_id", LOST_COURSE),
        DROP_LOST,
        map_ids("Attachment", "attachments"),
        # Names are unique within a course here; the second of a name carries a part of its id.
        f"""
        INSERT INTO attachments (id, course_id, name, url, created_at, updated_at)
        SELECT m.id, k.id, CASE WHEN row_number() OVER (PARTITION BY k.id, s.name ORDER BY s.id) > 1 OR EXISTS (
                SELECT 1 FROM attachments a WHERE a.course_id = k.id AND a.name = s.name
            ) THEN s.name || ' (' || right(s.id, 8) || ')' ELSE s.name END,
            coalesce(s.url, ''), {CREATED}, {CHANGED}
        FROM (SELECT id, coalesce(name, id) AS name, url, course_id, created_at, updated_at FROM stage) AS s
        JOIN {mapped("Attachment", "s.id", "m")} JOIN {mapped("Course", "s.course_id", "k")}
        WHERE m.payload = '{{}}' ON CONFLICT DO NOTHING
        """,  # noqa: S608
        REMEMBER.format(table="Attachment", values="'name', s.name, 'url', s.url"),
    ),
)
CHAPTER_VALUES = f"""
    coalesce(s.title, '') AS title, coalesce(s.description, '') AS description, s.video_url,
    coalesce(CAST(s.position AS integer), 0) AS position, {REWARD.format(default=50)} AS reward,
    coalesce(s.is_published, 'false') = 'true' AS published, {CREATED} AS created, {CHANGED} AS changed
"""
CHAPTER = Table(
    "Chapter",
    (
        *(
            "id",
            "title",
            "description",
            "videoUrl",
            "position",
            "isPublished",
            "isFree",
            "courseId",
            "xpReward",
        ),
        *("createdAt", "updatedAt"),
    ),
    ("id", "title", "isPublished", "courseId"),
    (
        note("Chapter", "'deleted_course'", "s.course_id", LOST_COURSE),
        DROP_LOST,
        map_ids("Chapter", "lessons"),
        note(
            "Chapter",
            "'edited_here'",
            "'was changed in Usher since; the older system''s later change was not taken'",
            f"FROM stage s JOIN {mapped('Chapter', 's.id', 'm')} JOIN lessons t ON t.id = m.id"
            f" WHERE m.made AND m.payload <> '{{}}' AND NOT {SAME}"
            f" AND {CHANGED} <> CAST(m.payload->>'updatedAt' AS timestamptz)",
        ),
        note(
            "Chapter",
            "'moved_to_another_course'",
            "'stays in the course that it was in'",
            f"FROM stage s JOIN {mapped('Chapter', 's.id', 'm')} JOIN {mapped('Course', 's.course_id', 'k')}"
            " JOIN lessons t ON t.id = m.id WHERE t.course_id <> k.id",
        ),
        note("Chapter", "'xp_reward_out_of_range'", "s.xp_reward", f"FROM stage s WHERE {NUMBER_IS_ODD}"),
        f"""
        INSERT INTO lessons (id, course_id, title, description, video_url, position, xp_reward, published, created_at,
            updated_at)
        SELECT m.id, k.id, v.title, v.description, v.video_url, v.position, v.reward, v.published, v.created, v.changed
        FROM (SELECT s.id, s.course_id, {CHAPTER_VALUES} FROM stage s) AS v JOIN {mapped("Chapter", "v.id", "m")}
        JOIN {mapped("Course", "v.course_id", "k")} WHERE m.payload = '{{}}' ON CONFLICT (id) DO NOTHING
        """,  # noqa: S608
        f"""
        UPDATE lessons t SET title = v.title, description = v.description, video_url = v.video_url,
            position = v.position, xp_reward = v.reward, published = v.published, updated_at = v.changed
        FROM (SELECT s.id, {CHAPTER_VALUES} FROM stage s) AS v JOIN {mapped("Chapter", "v.id", "m")}
        WHERE t.id = m.id AND m.made AND m.payload <> '{{}}' AND {SAME} AND t.updated_at <> v.changed
        """,  # noqa: S608
        REMEMBER.format(table="Chapter", values=f"'updatedAt', {CHANGED}, 'isFree', s.is_free"),
    ),
)
MUX = Table(
    "MuxData",
    ("id", "assetId", "playbackId", "chapterId"),
    ("id", "chapterId"),
    (
        note(
            "MuxData",
            "'deleted_chapter'",
            "coalesce(s.chapter_id, '')",
            f"FROM stage s LEFT JOIN {mapped('Chapter', 's.chapter_id', 'c')} WHERE c.id IS NULL",
        ),
        f"""
        INSERT INTO legacy_ids (source, table_name, legacy_id, id, made, payload)
        SELECT :source, 'MuxData', s.id, c.id, false,
            jsonb_strip_nulls(jsonb_build_object('assetId', s.asset_id, 'playbackId', s.playback_id))
        FROM stage s JOIN {mapped("Chapter", "s.chapter_id", "c")}
        ON CONFLICT (source, table_name, legacy_id) DO UPDATE SET id = excluded.id, payload = excluded.payload
        """,  # noqa: S608
    ),
)
STRIPE_CUSTOMER = Table(
    "StripeCustomer",
    ("id", "userId", "stripeCustomerId", "createdAt", "updatedAt"),
    ("id", "userId", "stripeCustomerId"),
    (
        note("StripeCustomer", "'null_user'", "''", "FROM stage s WHERE s.user_id IS NULL"),
        *place_users(),
        f"""
        INSERT INTO legacy_ids (source, table_name, legacy_id, id, made, payload)
        SELECT :source, 'StripeCustomer', s.id, u.id, false,
            jsonb_strip_nulls(jsonb_build_object('stripeCustomerId', s.stripe_customer_id, 'createdAt', s.created_at))
        FROM stage s JOIN {mapped("User", "s.user_id", "u")}
        ON CONFLICT (source, table_name, legacy_id) DO UPDATE SET id = excluded.id, payload = excluded.payload
        """,  # noqa: S608
    ),
)
PURCHASE = Table(
    "Purchase",
    ("id", "userId", "courseId", "createdAt", "updatedAt"),
    ("id", "userId", "courseId"),
    (
        note(
            "Purchase",
            """CASE WHEN s.user_id IS NULL THEN 'null_user' WHEN s.course_id IS NULL THEN 'null_course'
                WHEN c.id IS NULL OR c.deleted_at IS NOT NULL THEN 'deleted_course' ELSE 'unpublished_course' END""",
            "CASE WHEN c.id IS NOT NULL AND c.deleted_at IS NULL THEN 'enrolled all the same' ELSE '' END",
            f"FROM stage s LEFT JOIN {mapped('Course', 's.course_id', 'k')} LEFT JOIN courses c ON c.id = k.id"
            " WHERE s.user_id IS NULL OR c.id IS NULL OR c.deleted_at IS NOT NULL OR NOT c.published",
        ),
        *place_users(),
        f"""
        SELECT 1 FROM courses WHERE id IN (
            SELECT k.id FROM stage s JOIN {mapped("Course", "s.course_id", "k")}
        ) ORDER BY id FOR KEY SHARE
        """,  # noqa: S608
        f"""
        INSERT INTO enrollments (user_id, course_id, enrolled_at, legacy_source)
        SELECT u.id, c.id, min({CREATED}), :source
        FROM stage s JOIN {mapped("User", "s.user_id", "u")} JOIN {mapped("Course", "s.course_id", "k")}
        JOIN courses c ON c.id = k.id AND c.deleted_at IS NULL
        GROUP BY u.id, c.id ORDER BY u.id, c.id ON CONFLICT (user_id, course_id) DO NOTHING
        """,  # noqa: S608
        f"""
        INSERT INTO legacy_ids (source, table_name, legacy_id, id, made, payload)
        SELECT :source, 'Purchase', s.id, e.id, false, jsonb_strip_nulls(jsonb_build_object('createdAt', s.created_at))
        FROM stage s JOIN {mapped("User", "s.user_id", "u")} JOIN {mapped("Course", "s.course_id", "k")}
        JOIN enrollments e ON e.user_id = u.id AND e.course_id = k.id
        ON CONFLICT (source, table_name, legacy_id) DO UPDATE SET id = excluded.id
        """,  # noqa: S608
        note(
            "Purchase",
            "'duplicate_purchase'",
            "'of ' || other.legacy_id",
            f"FROM stage s JOIN {mapped('Purchase', 's.id', 'm')} JOIN legacy_ids other ON other.id = m.id"
            " AND other.source = :source AND other.table_name = 'Purchase' AND other.legacy_id < s.id",
        ),
    ),
    catches_up=True,
    curable=("deleted_course", "unpublished_course"),
)
PROGRESS = Table(
    "UserProgress",
    ("id", "userId", "chapterId", "isCompleted", "createdAt", "updatedAt"),
    ("id", "userId", "chapterId", "isCompleted"),
    (*place_users(), *progress.STATEMENTS),
    key=("userId", "id"),
    catches_up=True,
    curable=progress.CURABLE,
    moved=progress.MOVED,
)
# Seed B's profile, and seed D's table of totals where its plan was begun: the first that there is.
TOTALS = tuple(
    Table(
        name,
        ("userId", "totalXP"),
        ("userId", "totalXP"),
        (*place_users(), *totals.statements(name)),
        key=("userId",),
        moved=totals.MOVED,
    )
    for name in ("UserProfile", "UserXP")
)
TABLES = (USER, CATEGORY, COURSE, ATTACHMENT, CHAPTER, MUX, PURCHASE, STRIPE_CUSTOMER, PROGRESS, *TOTALS)
