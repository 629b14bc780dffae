"""Revision 0012 on a database with courses in it: up, down and up again."""

from __future__ import annotations

from sqlalchemy import Engine, text

from db.migrate import downgrade, upgrade
from tests.conftest import Database


def courses(engine: Engine, columns: str) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        return [
            tuple(row) for row in connection.execute(text(f"SELECT {columns} FROM courses ORDER BY title"))
        ]


def test_rows_that_are_there_get_slugs_and_survive_both_ways(empty_database: Database) -> None:
    engine = empty_database.engine
    upgrade(engine, "0011")
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO courses (title) SELECT 'Course ' || n FROM generate_series(1, 3) n")
        )
        connection.execute(
            text("INSERT INTO lessons (course_id, title) SELECT id, 'L' FROM courses, generate_series(1, 2)")
        )
    before = courses(engine, "id, title, xp_reward")
    upgrade(engine, "0012")
    assert len({slug for (slug,) in courses(engine, "slug")}) == 3
    assert set(courses(engine, "version, category_id")) == {(1, None)}
    with engine.begin() as connection:
        category = "INSERT INTO categories (slug, name) VALUES ('a', 'A') RETURNING id"
        connection.execute(
            text(f"WITH made AS ({category}) UPDATE courses SET category_id = made.id FROM made")
        )
        connection.execute(
            text("INSERT INTO attachments (course_id, name, url) SELECT id, 'A', 'https://a' FROM courses")
        )
        connection.execute(text("INSERT INTO feature_flags (name, enabled) VALUES ('quizzes', false)"))
    downgrade(engine, "0011")
    assert courses(engine, "id, title, xp_reward") == before
    upgrade(engine, "0012")
    assert courses(engine, "id, title, xp_reward") == before
