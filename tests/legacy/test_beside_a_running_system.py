"""The older system goes on writing, transactions commit late, the import is killed: nothing is lost, nothing doubled."""

from __future__ import annotations

import contextlib
import random
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest

from db.session import transaction
from domain import xp
from domain.legacy import checks, importing
from domain.legacy.source import Source
from domain.xp_errors import CompletedBefore
from tests.conftest import Database
from tests.legacy.conftest import OldSystem, oddities, take_over, total_of
from tests.stack import Stack, rows, scalar, wait_until
from tests.xp.conftest import CURVE, assert_proven

USERS, CHAPTERS = 12, 6


def test_a_row_that_commits_late_is_found_in_the_overlap(old: OldSystem, proven: Database) -> None:
    _, chapters = old.course(2)
    late = psycopg2.connect(old.url)
    with late.cursor() as cursor:
        cursor.execute(
            'INSERT INTO "UserProgress" VALUES (%s, %s, %s, true, now(), now())',
            ("late", "user_a", chapters[0]),
        )
        old.complete("user_a", chapters[1])
        take_over(old, overlap=60)
        assert total_of("user_a") == 50
    late.commit()
    late.close()
    take_over(old, overlap=60)
    assert total_of("user_a") == 300


@contextmanager
def writing(old: OldSystem, chapters: list[str]) -> Iterator[threading.Event]:
    """Complete chapters at random, some of them twice or back and forth, until told to stop. Set once it is done."""
    stop, wrote = threading.Event(), threading.Event()
    chance = random.Random(7)

    def write() -> None:
        connection = psycopg2.connect(old.url)
        connection.autocommit = True
        with connection.cursor() as cursor:
            for number in range(10_000):
                user, chapter = f"user_{chance.randrange(USERS)}", chance.choice(chapters)
                cursor.execute(
                    'UPDATE "UserProgress" SET "isCompleted" = true, "updatedAt" = now()'
                    ' WHERE "userId" = %s AND "chapterId" = %s',
                    (user, chapter),
                )
                if cursor.rowcount == 0:
                    cursor.execute(
                        'INSERT INTO "UserProgress" VALUES (%s, %s, %s, %s, now(), now())',
                        (f"live-{number}", user, chapter, chance.random() < 0.7),
                    )
                if number == 20:
                    wrote.set()
                if stop.is_set():
                    break
        connection.close()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert wrote.wait(30)
        yield stop
    finally:
        stop.set()
        thread.join()


def expected(old: OldSystem) -> dict[str, int]:
    """Return what everybody should have, computed by the older system's database in another way."""
    return dict(
        old.run(
            """
            WITH done AS (
                SELECT DISTINCT "userId", "chapterId", c."courseId" FROM "UserProgress" p
                JOIN "Chapter" c ON c.id = p."chapterId" WHERE p."isCompleted"
            ), courses AS (
                SELECT "userId", "courseId" FROM done GROUP BY 1, 2
                HAVING count(*) = (SELECT count(*) FROM "Chapter" c WHERE c."courseId" = done."courseId")
            )
            SELECT "userId", (count(*) * 50 + 200 * (
                SELECT count(*) FROM courses WHERE courses."userId" = done."userId"
            ))::int FROM done GROUP BY 1
            """
        )
    )


def imported() -> dict[str, int]:
    return dict(
        rows(
            "SELECT m.legacy_id, u.total_xp::int FROM legacy_ids m JOIN users u ON u.id = m.id"
            " WHERE m.table_name = 'User' AND u.total_xp > 0"
        )
    )


def test_a_writer_that_keeps_writing_is_caught_up_with(old: OldSystem, proven: Database) -> None:
    chapters = [chapter for _ in range(3) for chapter in old.course(CHAPTERS // 3)[1]]
    with writing(old, chapters) as stop:
        for _ in range(4):
            take_over(old, batch=30, overlap=5)
        stop.set()
    take_over(old, batch=30, overlap=5)
    assert imported() == expected(old)
    assert oddities() == []


def test_a_killed_import_goes_on_where_it_was(
    old: OldSystem, database: Database, usher_env: dict[str, str], tmp_path: Path
) -> None:
    chapters = [chapter for _ in range(2) for chapter in old.course(2)[1]]
    for number in range(USERS):
        old.complete(f"user_{number:02}", *chapters)
    # Somebody in the middle has been seen before; a lock on their row stops the import there.
    middle = f"user_{USERS // 2:02}"
    course = scalar("INSERT INTO users (email) VALUES ('middle@example.com') RETURNING id")
    rows(
        "INSERT INTO identities (issuer, subject, user_id) VALUES ('i', :s, :u) RETURNING 1",
        s=middle,
        u=course,
    )
    holder = psycopg2.connect(database.url)
    with holder.cursor() as cursor:
        cursor.execute("SELECT 1 FROM users WHERE email = 'middle@example.com' FOR UPDATE")
    stack = Stack(usher_env, tmp_path)
    command = [sys.executable, "-m", "cli.main", "legacy", "import", "--source", old.url, "--batch", "8"]
    command += ["--issuer", "i", "--name", "old"]
    try:
        stack.start("import", command)
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        wait_until(lambda: scalar(waiting) > 0, 60, lambda: stack.log("import").read_text())
        stack.kill("import", signal.SIGKILL)
    finally:
        stack.stop()
        holder.close()
    read, cursor_at = rows("SELECT rows_read, cursor FROM legacy_tables WHERE table_name = 'UserProgress'")[0]
    assert 0 < read < USERS * 4
    assert cursor_at[0] < middle
    assert_proven()
    assert take_over(old) > 0
    assert scalar("SELECT rows_read FROM legacy_tables WHERE table_name = 'UserProgress'") == USERS * 4
    assert imported() == expected(old)
    assert set(imported().values()) == {4 * 50 + 2 * 200}
    assert_proven()


def test_live_awards_during_an_import_are_all_kept(old: OldSystem, proven: Database) -> None:
    chapters = [chapter for _ in range(2) for chapter in old.course(2)[1]]
    for number in range(USERS):
        old.complete(f"user_{number}", chapters[0])
    take_over(old)
    people = [str(id) for (id,) in rows("SELECT id FROM users ORDER BY id DESC")]
    (course, lesson) = rows(
        "SELECT l.course_id, l.id FROM lessons l JOIN legacy_ids m ON m.id = l.id WHERE m.legacy_id = :c",
        c=chapters[1],
    )[0]

    def award() -> None:
        for person in people:
            wanted = xp.Award(person, "referral:x:1", 10, "REFERRAL", "x", "REFERRAL", "referred")
            with transaction() as session:
                xp.award(session, CURVE, wanted)
            with transaction() as session, contextlib.suppress(CompletedBefore):
                xp.complete_lesson(session, CURVE, xp.Completion(person, str(course), str(lesson)))

    for number in range(USERS):
        old.complete(f"user_{number}", *chapters[1:])
    thread = threading.Thread(target=award)
    thread.start()
    take_over(old, batch=5, overlap=60)
    thread.join()
    assert set(imported().values()) == {4 * 50 + 2 * 200 + 10}
    assert rows("SELECT DISTINCT completion_percentage, xp_earned FROM enrollments") == [(100, 300)]


def test_of_two_imports_at_once_one_gives_way(old: OldSystem, proven: Database) -> None:
    for number in range(USERS):
        old.complete(f"user_{number}", *old.course(1)[1])
    options = importing.Options("old", CURVE, batch=2)
    with Source(old.url, "public", "UTC") as one, Source(old.url, "public", "UTC") as other:
        first = importing.run(transaction, one, options)
        while next(first).table != "UserProgress":
            pass
        assert [step for step in importing.run(transaction, other, options) if step.table == "UserProgress"]
        with pytest.raises(importing.OtherImport):
            list(first)
    assert imported() == expected(old)


def test_a_row_that_becomes_a_duplicate_later_is_named(old: OldSystem, proven: Database) -> None:
    _, chapters = old.course(1)
    old.complete("user_a", *chapters)
    take_over(old)
    (second,) = old.complete("user_a", *chapters)
    take_over(old)
    assert oddities() == [("UserProgress", second, "duplicate_progress")]
    with Source(old.url, "public", "UTC") as source:
        options = importing.Options("old", CURVE)
        assert [check for check in checks.validate(transaction, source, options) if not check.ok] == []
