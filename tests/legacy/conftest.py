"""The older system of seed D: its tables as Prisma makes them, and people who learn in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any

import psycopg2
import pytest

from db.session import transaction
from domain import levels
from domain.legacy import importing
from domain.legacy.source import Source
from tests.cli.conftest import usher
from tests.conftest import Database
from tests.stack import rows, scalar
from tests.xp.conftest import assert_proven

# As in the seed; `updatedAt` is set by the application, times have no zone, nothing is unique but the ids.
SCHEMA = """
    CREATE TABLE "Course" ("id" TEXT PRIMARY KEY, "createdById" TEXT, "title" TEXT NOT NULL, "description" TEXT,
        "imageUrl" TEXT, "price" DOUBLE PRECISION, "isPublished" BOOLEAN NOT NULL DEFAULT false,
        "isFree" BOOLEAN NOT NULL DEFAULT false, "categoryId" TEXT,
        "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, "updatedAt" TIMESTAMP(3) NOT NULL);
    CREATE TABLE "Category" ("id" TEXT PRIMARY KEY, "name" TEXT NOT NULL);
    CREATE TABLE "Attachment" ("id" TEXT PRIMARY KEY, "name" TEXT NOT NULL, "url" TEXT NOT NULL, "courseId" TEXT NOT NULL,
        "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, "updatedAt" TIMESTAMP(3) NOT NULL);
    CREATE TABLE "Chapter" ("id" TEXT PRIMARY KEY, "title" TEXT NOT NULL, "description" TEXT, "videoUrl" TEXT,
        "position" INTEGER NOT NULL, "isPublished" BOOLEAN NOT NULL DEFAULT false, "isFree" BOOLEAN NOT NULL DEFAULT false,
        "courseId" TEXT NOT NULL, "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
        "updatedAt" TIMESTAMP(3) NOT NULL);
    CREATE TABLE "MuxData" ("id" TEXT PRIMARY KEY, "assetId" TEXT NOT NULL, "playbackId" TEXT, "chapterId" TEXT NOT NULL);
    CREATE TABLE "UserProgress" ("id" TEXT, "userId" TEXT, "chapterId" TEXT,
        "isCompleted" BOOLEAN DEFAULT false, "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
        "updatedAt" TIMESTAMP(3));
    CREATE TABLE "Purchase" ("id" TEXT PRIMARY KEY, "userId" TEXT, "courseId" TEXT,
        "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, "updatedAt" TIMESTAMP(3) NOT NULL);
    CREATE TABLE "StripeCustomer" ("id" TEXT PRIMARY KEY, "userid" TEXT NOT NULL, "stripeCustomerId" TEXT NOT NULL,
        "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, "updatedAt" TIMESTAMP(3) NOT NULL);
"""


@dataclass
class OldSystem:
    """The older system's database. Ids count up, so that tests can name them."""

    url: str

    def __post_init__(self) -> None:
        self._numbers = count(1)

    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run SQL in a transaction of its own; return the rows, if any."""
        connection = psycopg2.connect(self.url)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def insert(self, table: str, **values: Any) -> str:
        """Insert a row, changed now; return its id."""
        values = {"id": f"{table.lower()}-{next(self._numbers)}", **values}
        columns = ", ".join(f'"{name}"' for name in values)
        if table not in ("Category", "MuxData", "User", "UserProfile") and "updatedAt" not in values:
            values["updatedAt"] = "now"
            columns += ', "updatedAt"'
        places = ", ".join(["%s"] * len(values))
        self.run(f'INSERT INTO "{table}" ({columns}) VALUES ({places})', *values.values())
        return str(values["id"])

    def course(self, chapters: int, *, published: bool = True) -> tuple[str, list[str]]:
        """Insert a course with published chapters; return their ids."""
        course = self.insert("Course", title="Course", isPublished=published)
        return course, [
            self.insert("Chapter", title=f"Chapter {n}", position=n, isPublished=True, courseId=course)
            for n in range(chapters)
        ]

    def complete(self, user: str | None, *chapters: str | None, done: bool = True) -> list[str]:
        """Insert progress of somebody; return the rows' ids."""
        return [
            self.insert("UserProgress", userId=user, chapterId=chapter, isCompleted=done)
            for chapter in chapters
        ]


@pytest.fixture
def old(empty_database: Database) -> OldSystem:
    """An empty older system, in a database of its own."""
    system = OldSystem(empty_database.url)
    system.run(SCHEMA)
    return system


def take_over(
    old: OldSystem, *, batch: int = 7, overlap: float = 0.0, zone: str = "UTC", issuer: str | None = None
) -> int:
    """Import, in small batches and by default without an overlap; return how many rows were read."""
    options = importing.Options("old", levels.SQRT, issuer, batch, overlap=timedelta(seconds=overlap))
    with Source(old.url, "public", zone) as source:
        read: dict[str, int] = {}
        for step in importing.run(transaction, source, options):
            read[step.table] = step.read
    return sum(read.values())


def total_of(user: str) -> int:
    """Return somebody's XP by the id that the older system has for them."""
    return int(
        scalar(
            "SELECT u.total_xp FROM users u JOIN legacy_ids m ON m.id = u.id AND m.table_name = 'User'"
            " WHERE m.legacy_id = :user",
            user=user,
        )
    )


def oddities() -> list[tuple[str, str, str]]:
    """Return what was noted of rows: table, id, reason."""
    return rows(
        "SELECT table_name, legacy_id, reason FROM legacy_oddities WHERE reason <> 'naive_times' ORDER BY 1, 2, 3"
    )


@pytest.fixture
def proven(database: Database) -> Iterator[Database]:
    """A database in which the totals are proven when the test is over."""
    yield database
    assert_proven()


__all__ = ["usher"]
