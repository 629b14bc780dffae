"""What the sandbox partner holds: accounts, seats, progress, and the journal that keeps them over a restart.

A million enrolments have to fit into memory, so records use slots, share their strings and hold times as Unix
seconds. Nothing here knows HTTP.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections import OrderedDict
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

# Real partners forget idempotency keys after a day or so; this one forgets by count to bound its memory.
KEYS_KEPT = 200_000

_encode = json.JSONEncoder(separators=(",", ":")).encode


class Account:
    """A person at the partner, and the seats that are not deleted."""

    __slots__ = ("email", "id", "name", "reference", "seats")

    def __init__(self, id: str, reference: str, email: str, name: str) -> None:
        self.id, self.reference, self.email, self.name = id, reference, email, name
        self.seats: list[Enrollment] = []

    def seat_in(self, course_code: str) -> Enrollment | None:
        """Return the live seat in a course, None where there is none. A person has few seats: a scan is fine."""
        return next((seat for seat in self.seats if seat.course_code == course_code), None)


class Enrollment:
    """A seat. `position` is where its latest change stands in the list of changes; -1 once it is deleted."""

    __slots__ = (
        "account",
        "completed_at",
        "course_code",
        "id",
        "percentage",
        "position",
        "reference",
        "updated_at",
    )

    def __init__(self, id: str, account: Account, course_code: str, reference: str, at: float) -> None:
        self.id, self.account, self.reference = id, account, reference
        self.course_code = sys.intern(course_code)
        self.percentage: float = 0
        self.updated_at = at
        self.completed_at: float | None = None
        self.position = -1

    @property
    def deleted(self) -> bool:
        """Return whether the seat was given back."""
        return self.position < 0

    @property
    def status(self) -> str:
        """Return `active`, `completed` or `deleted`."""
        if self.deleted:
            return "deleted"
        return "active" if self.completed_at is None else "completed"


class State:
    """Everything the partner holds. With a journal, every change is on disk before it is answered."""

    def __init__(self, journal: Path | None = None) -> None:
        self._journal_path = journal
        self._journal: int | None = None
        self._start_empty()
        if journal is not None:
            self._replay(journal)
            self._journal = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            if not self._lines_replayed:
                self._write({"op": "born", "epoch": self.epoch})

    def _start_empty(self) -> None:
        self.epoch = secrets.token_hex(4)
        # Ids never repeat between two lives of the sandbox: a caller may still hold ids of the last one.
        self._run = secrets.token_hex(4)
        self._made = 0
        self._lines_replayed = 0
        self.accounts: dict[str, Account] = {}
        self.accounts_by_reference: dict[str, Account] = {}
        self.enrollments: dict[str, Enrollment] = {}
        self.enrollments_by_reference: dict[str, Enrollment] = {}
        self.live_enrollments = 0
        self._changes: list[Enrollment] = []
        self._answers: OrderedDict[str, tuple[str, dict[str, Any]]] = OrderedDict()

    def close(self) -> None:
        """Close the journal."""
        if self._journal is not None:
            os.close(self._journal)
            self._journal = None

    def reset(self) -> None:
        """Forget everything, the journal included. Cursors and ids handed out so far mean nothing afterwards."""
        self._start_empty()
        if self._journal is not None:
            os.ftruncate(self._journal, 0)
            self._write({"op": "born", "epoch": self.epoch})

    # Changes

    def add_account(self, reference: str, email: str, name: str) -> Account:
        """Make an account. The caller has checked that the reference is free."""
        line = {
            "op": "account",
            "id": self._new_id("acc"),
            "reference": reference,
            "email": email,
            "name": name,
        }
        self._write(line)
        return self._apply_account(line)

    def add_enrollment(self, account: Account, course_code: str, reference: str, at: float) -> Enrollment:
        """Take a seat. The caller has checked that the account has none in this course."""
        line = {
            "op": "enrollment",
            "id": self._new_id("enr"),
            "account_id": account.id,
            "course_code": course_code,
            "reference": reference,
            "at": at,
        }
        self._write(line)
        return self._apply_enrollment(line)

    def move(
        self, enrollment: Enrollment, percentage: float, updated_at: float, completed_at: float | None
    ) -> None:
        """Set a live seat's progress, forwards or backwards."""
        line = {
            "op": "progress",
            "id": enrollment.id,
            "percentage": percentage,
            "updated_at": updated_at,
            "completed_at": completed_at,
        }
        self._write(line)
        self._apply_progress(line)

    def delete(self, enrollment: Enrollment) -> None:
        """Give a seat back, which frees the pair of account and course. A second time changes nothing."""
        if not enrollment.deleted:
            line = {"op": "delete", "id": enrollment.id}
            self._write(line)
            self._apply_delete(line)

    def forget(self, account: Account) -> None:
        """Forget who an account's person is, and give back its seats. The journal keeps what was written to it."""
        for seat in list(account.seats):
            self.delete(seat)
        if account.email:
            line = {"op": "forget", "id": account.id}
            self._write(line)
            self._apply_forget(line)

    # Idempotency keys

    def answer_for(self, key: str, digest: str) -> dict[str, Any] | None:
        """Return the first answer to a key, None for a new key; raise `ValueError` where the request differs."""
        kept = self._answers.get(key)
        if kept is None:
            return None
        if kept[0] != digest:
            raise ValueError("this Idempotency-Key was used with another request")
        return kept[1]

    def keep_answer(self, key: str, digest: str, answer: dict[str, Any]) -> None:
        """Remember the answer to a key, forgetting the oldest when there are too many."""
        line = {"op": "answer", "key": key, "digest": digest, "answer": answer}
        self._write(line)
        self._apply_answer(line)

    # What changed

    def changes_since(self, cursor: str | None, limit: int) -> tuple[list[Enrollment], str | None]:
        """Return up to `limit` live seats in the order of their latest change, and the cursor for the rest.

        The cursor is None on the last page. A cursor of an earlier life of the sandbox starts at the beginning.
        Raises `ValueError` for what is not a cursor.
        """
        page: list[Enrollment] = []
        for position in range(self._position(cursor), len(self._changes)):
            enrollment = self._changes[position]
            if enrollment.position != position:
                continue  # It changed again later, or is deleted.
            if len(page) == limit:
                return page, f"{self.epoch}.{position}"
            page.append(enrollment)
        return page, None

    def _position(self, cursor: str | None) -> int:
        if not cursor:
            return 0
        epoch, _, position = cursor.partition(".")
        if not position.isdecimal():
            raise ValueError("since is not a cursor of this partner")
        return int(position) if epoch == self.epoch else 0

    # The journal

    def _write(self, line: dict[str, Any]) -> None:
        # One unbuffered write a line: what was answered survives the death of this process.
        if self._journal is not None:
            os.write(self._journal, _encode(line).encode() + b"\n")

    def _replay(self, path: Path) -> None:
        if not path.exists():
            return
        apply = {
            "account": self._apply_account,
            "enrollment": self._apply_enrollment,
            "progress": self._apply_progress,
            "delete": self._apply_delete,
            "forget": self._apply_forget,
            "answer": self._apply_answer,
            "born": self._apply_born,
        }
        for line in _whole_lines(path):
            self._lines_replayed += 1
            apply[line["op"]](line)

    def _apply_born(self, line: dict[str, Any]) -> None:
        self.epoch = line["epoch"]

    def _apply_account(self, line: dict[str, Any]) -> Account:
        account = Account(line["id"], line["reference"], line["email"], line["name"])
        self.accounts[account.id] = account
        self.accounts_by_reference[account.reference] = account
        return account

    def _apply_enrollment(self, line: dict[str, Any]) -> Enrollment:
        account = self.accounts[line["account_id"]]
        enrollment = Enrollment(line["id"], account, line["course_code"], line["reference"], line["at"])
        self.enrollments[enrollment.id] = enrollment
        self.enrollments_by_reference[enrollment.reference] = enrollment
        account.seats.append(enrollment)
        self.live_enrollments += 1
        self._touch(enrollment)
        return enrollment

    def _apply_progress(self, line: dict[str, Any]) -> None:
        enrollment = self.enrollments[line["id"]]
        enrollment.percentage = line["percentage"]
        enrollment.updated_at = line["updated_at"]
        enrollment.completed_at = line["completed_at"]
        self._touch(enrollment)

    def _apply_delete(self, line: dict[str, Any]) -> None:
        enrollment = self.enrollments[line["id"]]
        enrollment.account.seats.remove(enrollment)
        enrollment.position = -1
        self.live_enrollments -= 1

    def _apply_forget(self, line: dict[str, Any]) -> None:
        account = self.accounts[line["id"]]
        account.email = account.name = ""
        self.accounts_by_reference.pop(account.reference, None)

    def _apply_answer(self, line: dict[str, Any]) -> None:
        self._answers[line["key"]] = (line["digest"], line["answer"])
        if len(self._answers) > KEYS_KEPT:
            self._answers.popitem(last=False)

    def _touch(self, enrollment: Enrollment) -> None:
        enrollment.position = len(self._changes)
        self._changes.append(enrollment)

    def _new_id(self, kind: str) -> str:
        self._made += 1
        return f"{kind}_{self._run}_{self._made}"


def fingerprint(path: str, body: dict[str, Any]) -> str:
    """Return a short digest of a request: equal for equal paths and bodies, in whatever order the fields stand."""
    return blake2b(f"{path}\n{json.dumps(body, sort_keys=True)}".encode(), digest_size=9).hexdigest()


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the journal's lines. A last line without its end was torn by a crash: it is cut off the file."""
    whole = 0
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            if not raw.endswith(b"\n"):
                break
            try:
                line = json.loads(raw)
            except ValueError:
                raise ValueError(f"line {number} of {path} is not readable") from None
            yield line
            whole += len(raw)
    if whole < path.stat().st_size:
        os.truncate(path, whole)
