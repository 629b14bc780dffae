"""Files of assignments: a row says whose file it is and for what, the store has what it holds.

Storing takes three short moments: the row is reserved, the store takes the content, the row says so. Whatever ends in
between leaves a row that nobody handed in, and `sweep` deletes both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from domain import assignments, files
from domain.errors import NotFound, NotPossible

# Uploads of one student for one assignment, handed in or not.
UPLOADS_MAX = 50
# Days for which an upload waits to be used in a draft.
LOOSE_DAYS = 7

RESERVE = text(
    """
    INSERT INTO assignment_files (user_id, assignment_id, name, media_type, size, sha256)
    VALUES (:user, :assignment, :name, :media_type, :size, :sha256)
    ON CONFLICT (user_id, assignment_id, sha256, name) DO UPDATE SET created_at = now()
    RETURNING id, name, media_type, size, (SELECT count(*) FROM assignment_files f
        WHERE f.user_id = :user AND f.assignment_id = :assignment AND (f.sha256, f.name) <> (:sha256, :name)) AS others
    """
)
MARK = text(
    "UPDATE assignment_files SET stored_at = coalesce(stored_at, now()) WHERE id = :id AND sha256 <> id::text RETURNING 1"
)
FIND = text(
    "SELECT id, user_id, name, media_type, size FROM assignment_files WHERE id = :id AND stored_at IS NOT NULL"
)
NAMED = text(
    "SELECT id, name, media_type, size FROM assignment_files"
    " WHERE id = ANY(CAST(:ids AS uuid[])) AND stored_at IS NOT NULL"
)
# Files that nobody uses are taken back first, which frees their keys: the same upload later is another row and another
# object, so what is deleted from the store is never what somebody has just put there.
TAKE_BACK = text(
    """
    UPDATE assignment_files SET stored_at = NULL, sha256 = id::text
    WHERE id IN (
        SELECT id FROM assignment_files
        WHERE (attached_at IS NULL OR assignment_id IS NULL)
            AND (assignment_id IS NULL OR created_at < now() - :days * interval '1 day')
        ORDER BY created_at LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    RETURNING id
    """
)
DELETE = text("DELETE FROM assignment_files WHERE id = ANY(CAST(:ids AS uuid[])) AND sha256 = id::text")


class TooManyFiles(NotPossible):
    """The student uploaded as many files for this assignment as are taken."""

    code = "too_many_files"


@dataclass(frozen=True)
class Stored:
    """A file: `name` as it is downloaded, `size` in bytes."""

    id: str
    name: str
    media_type: str
    size: int


def reserve(session: Session, user_id: str, assignment_id: str, *, name: str, content: bytes) -> Stored:
    """Return the row for what a student uploads for an assignment; the same file again has the same row.

    Raises `files.UnknownType`, `TooManyFiles`, `NotFound`, `NotEnrolled`, or `assignments.NotOpen`.
    """
    kind = files.sniff(content)
    assignment = assignments.find(session, user_id, assignment_id)
    if assignment.submission is not None and assignment.submission.state not in assignments.HANDED_IN:
        raise assignments.NotOpen(f"the work is {assignment.submission.state}")
    row = session.execute(
        RESERVE,
        {
            "user": user_id,
            "assignment": assignment_id,
            "name": files.safe_name(name, kind),
            "media_type": kind.media_type,
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        },
    ).one()
    if row.others >= UPLOADS_MAX:
        raise TooManyFiles(f"there are {row.others} files already")
    return Stored(row.id, row.name, row.media_type, row.size)


def mark_stored(session: Session, file_id: str) -> None:
    """Say that the store has it; raise `NotFound` when the row was swept meanwhile."""
    if session.execute(MARK, {"id": file_id}).one_or_none() is None:
        raise NotFound(f"there is no file {file_id}")


def find(session: Session, file_id: str, *, user_id: str | None, staff: bool) -> Stored:
    """Return a file that the caller may read: its student, or staff. Raises `NotFound` for everybody else."""
    row = session.execute(FIND, {"id": file_id}).one_or_none()
    if row is None or not (staff or (user_id is not None and row.user_id == user_id)):
        raise NotFound(f"there is no file {file_id}")
    return Stored(row.id, row.name, row.media_type, row.size)


def list_named(session: Session, file_ids: Sequence[str]) -> dict[str, Stored]:
    """Return the stored files with these ids, by id."""
    return {row.id: Stored(**row._mapping) for row in session.execute(NAMED, {"ids": list(file_ids)})}


def take_back(session: Session, limit: int) -> list[str]:
    """Take back some files that nobody uses, for the store to delete them; one that is half deleted comes again."""
    return [str(id) for id in session.scalars(TAKE_BACK, {"days": LOOSE_DAYS, "limit": limit})]


def forget(session: Session, file_ids: list[str]) -> None:
    """Delete the rows of files that the store does not have any more."""
    session.execute(DELETE, {"ids": file_ids})
