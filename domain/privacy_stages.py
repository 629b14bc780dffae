"""The stages of an erasure: what is linked to a person by a key, then texts in which their address may stand.

Each batch is one transaction that also says how far it came. A stage that is done again finds nothing to do.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from domain import users
from domain.errors import NotFound
from domain.privacy_register import BY_NAME, DELETED, MASKED, SEATS, Table, with_people
from domain.privacy_words import MARK, address_marks, mask_payload, pattern, replace

# Rows changed, and blocks of a table (8 KiB each) that are searched, in one transaction.
BATCH = 500
BLOCKS = 2_000
ROLES = ("student", "service", "ops")
FIRST = str(uuid.UUID(int=0))

STATE = text("SELECT * FROM erasures WHERE user_id = CAST(:user AS uuid) FOR UPDATE")
PROGRESS = text(
    """
    UPDATE erasures SET stage = :stage, place = :place, updated_at = now(),
        counts = counts || jsonb_build_object(CAST(:done AS text),
            coalesce((counts ->> CAST(:done AS text))::bigint, 0) + :rows)
    WHERE user_id = CAST(:user AS uuid)
    """
)
FINISH = text(
    "UPDATE erasures SET finished_at = now(), words = NULL, stage = 'done', place = NULL, updated_at = now()"
    " WHERE user_id = CAST(:user AS uuid)"
)
PAID_IDS = text(
    f"""
    SELECT p.checkout_session_id AS id FROM payments p JOIN payment_lines l ON l.payment_id = p.id
        WHERE l.enrollment_id IN ({SEATS})
    UNION SELECT p.payment_intent_id FROM payments p JOIN payment_lines l ON l.payment_id = p.id
        WHERE l.enrollment_id IN ({SEATS}) AND p.payment_intent_id IS NOT NULL
    UNION SELECT c.id FROM payment_charges c JOIN payments p ON p.payment_intent_id = c.payment_intent_id
        JOIN payment_lines l ON l.payment_id = p.id WHERE l.enrollment_id IN ({SEATS})
    """  # noqa: S608
)
EVENTS = text(
    """
    SELECT id, source, payload FROM inbox_events t
    WHERE t.ctid >= CAST(:low AS tid) AND t.ctid < CAST(:high AS tid) AND (
        EXISTS (SELECT FROM unnest(CAST(:marks AS text[])) AS m (word)
            WHERE position(m.word IN lower(encode(t.payload, 'escape'))) > 0)
        OR EXISTS (SELECT FROM partner_lms_enrollments e WHERE e.student_id = CAST(:user AS uuid)
            AND t.source = 'partner:' || e.provider_id AND e.external_enrollment_id = ANY(t.subjects))
    )
    """
)
SIZE = text("SELECT pg_relation_size(CAST(:table AS regclass)) / current_setting('block_size')::bigint")
TEXT_ANSWERS = text(
    """
    SELECT t.id, t.answers, t.marks, v.questions FROM quiz_attempts t
    JOIN quiz_versions v ON v.quiz_id = t.quiz_id AND v.version = t.quiz_version
    WHERE t.user_id = CAST(:user AS uuid) AND t.id > CAST(:place AS uuid) ORDER BY t.id LIMIT :batch FOR UPDATE OF t
    """
)
FILES = text("SELECT id FROM assignment_files WHERE user_id = CAST(:user AS uuid) ORDER BY id LIMIT :batch")
FORGET_FILES = text("DELETE FROM assignment_files WHERE id = ANY(CAST(:ids AS uuid[]))")
REVOKE = text(
    "UPDATE certificates SET status = 'revoked', revoked_at = now(), updated_at = now()"
    " WHERE user_id = CAST(:user AS uuid) AND status = 'valid'"
)
LEGACY_ADDRESSES = text(
    "SELECT legacy_id FROM legacy_ids WHERE id = CAST(:user AS uuid) AND position('@' IN legacy_id) > 0"
)


@dataclass(frozen=True)
class Person:
    """Whose data it is. `addresses` are the e-mail address and ids of older systems that are addresses."""

    id: str
    email: str
    name: str
    addresses: tuple[str, ...]

    @property
    def names(self) -> dict[str, Any]:
        """Return the values that the register's conditions name."""
        callers = [f"{role}:{self.id}" for role in ROLES]
        callers += [f"{role}:{address}" for role in ROLES for address in self.addresses]
        return {
            "user": self.id,
            "emails": [address.lower() for address in self.addresses],
            "callers": [hashlib.sha256(caller.encode()).hexdigest() for caller in callers],
            "events": [],
        }


@dataclass(frozen=True)
class Turn:
    """What a batch is done with: the person, from where on, and what is searched for."""

    person: Person
    place: str | None
    revoke_certificates: bool


# A batch returns how many rows it changed, and where the next one begins; None when the stage is done.
Stage = Callable[[Session, Turn], tuple[int, str | None]]


def next_files(session: Session, user_id: str) -> list[str]:
    """Return files that are to be deleted from the store before `advance` forgets their rows."""
    found = session.execute(FILES, {"user": user_id, "batch": BATCH}).scalars()
    return [str(file_id) for file_id in found]


def forget_files(session: Session, file_ids: Sequence[str]) -> None:
    """Forget files that the store does not have any more."""
    session.execute(FORGET_FILES, {"ids": list(file_ids)})


def advance(session: Session, user_id: str) -> bool:
    """Do one batch of an erasure and note how far it came; False when nothing is left to do."""
    state = session.execute(STATE, {"user": user_id}).one_or_none()
    if state is None:
        raise NotFound(f"nobody asked for an erasure of {user_id}")
    if state.finished_at is not None:
        return False
    stages = _stages()
    names = list(stages)
    stage = state.stage if state.stage in stages else names[0]
    rows, place = stages[stage](session, Turn(_told(state), state.place, state.revoke_certificates))
    if place is None and stage == names[-1]:
        session.execute(PROGRESS, _progress(user_id, stage, None, stage, rows))
        session.execute(FINISH, {"user": user_id})
        return False
    after = stage if place is not None else names[names.index(stage) + 1]
    session.execute(PROGRESS, _progress(user_id, after, place, stage, rows))
    return True


def events_of(session: Session, person: Person) -> Iterator[str]:
    """Yield the ids of the stored events that are about a person, in short reads."""
    ids = _paid_ids(session, person)
    for low in range(0, _blocks(session, "inbox_events"), BLOCKS):
        for row in _events(session, person, ids, low):
            if is_about(row, person, ids):
                yield str(row.id)


def _stages() -> dict[str, Stage]:
    """Return the stages in their order: what is linked to the person by a key, then texts in which an address may stand."""
    found: dict[str, Stage] = {"certificates revoked": _revoke_certificates, "inbox_events": _mask_events}
    tables = {table.name: table for table in with_people()}
    # What finds them goes after them.
    last = ("legacy_oddities", "legacy_ids")
    own = [name for name in tables if tables[name].searched]
    found |= {f"texts of {name}": _clean_own(tables[name]) for name in own}
    found["quiz answers"] = _mask_answers
    for name in [*(name for name in tables if name not in last), *last]:
        if name not in ("assignment_files", "inbox_events") and (
            tables[name].erase == DELETED or (tables[name].erase == MASKED and tables[name].masks)
        ):
            found[name] = _loop(tables[name])
    return found | {f"search {table.name}": _search(table) for table in BY_NAME.values() if table.searched}


def _loop(table: Table) -> Stage:
    def stage(session: Session, turn: Turn) -> tuple[int, str | None]:
        changed = change_batch(session, table, turn.person.names)
        return changed, "more" if changed == BATCH else None

    return stage


def change_batch(session: Session, table: Table, names: dict[str, Any]) -> int:
    """Delete or mask up to a batch of somebody's rows; return how many that were."""
    condition, statement = table.rows, f"DELETE FROM {table.name} t"  # noqa: S608
    if table.erase == MASKED:
        masks = table.masks
        columns, made = ", ".join(f"t.{name}" for name in masks), ", ".join(masks.values())
        condition = f"({condition}) AND ROW({columns}) IS DISTINCT FROM ROW({made})"
        settings = ", ".join(f"{name} = {value}" for name, value in masks.items())
        statement = f"UPDATE {table.name} t SET {settings}"  # noqa: S608
    found = f"SELECT t.ctid FROM {table.name} t WHERE {condition} LIMIT {BATCH} FOR UPDATE"  # noqa: S608
    result = session.execute(text(f"{statement} WHERE t.ctid = ANY(ARRAY({found})) RETURNING 1"), names)
    return len(result.all())


def _revoke_certificates(session: Session, turn: Turn) -> tuple[int, str | None]:
    if not turn.revoke_certificates:
        return 0, None
    return len(session.execute(text(f"{REVOKE.text} RETURNING 1"), turn.person.names).all()), None


def _mask_events(session: Session, turn: Turn) -> tuple[int, str | None]:
    """Mask the personal part of what Stripe sent about them; a partner's event is read by its `subjects` alone."""
    low, changed = int(turn.place or 0), 0
    ids = _paid_ids(session, turn.person)
    for row in _events(session, turn.person, ids, low):
        payload = bytes(row.payload)
        masked = mask_payload(payload) if row.source == "stripe" else b"{}"
        if masked != payload and is_about(row, turn.person, ids):
            session.execute(
                text("UPDATE inbox_events SET payload = :masked WHERE id = :id"),
                {"masked": masked, "id": row.id},
            )
            changed += 1
    return changed, _next(session, "inbox_events", low)


def _mask_answers(session: Session, turn: Turn) -> tuple[int, str | None]:
    """Empty what was written in answers, and what people wrote about it. Points stay: a short text that was right, too."""
    values = {"user": turn.person.id, "place": turn.place or FIRST, "batch": BATCH}
    found, changed = session.execute(TEXT_ANSWERS, values).all(), 0
    for row in found:
        written = {item["id"] for item in row.questions if item["type"] == "essay"} | {
            item["id"]
            for item in row.questions
            if item["type"] == "short_text" and row.marks.get(item["id"], {}).get("earned", "0") == "0"
        }
        answers = {name: "" if name in written and value else value for name, value in row.answers.items()}
        marks = {
            name: {key: value for key, value in mark.items() if key in ("earned", "by")}
            for name, mark in row.marks.items()
        }
        if (answers, marks) != (row.answers, row.marks):
            session.execute(
                text(
                    "UPDATE quiz_attempts SET answers = CAST(:answers AS jsonb), marks = CAST(:marks AS jsonb)"
                    " WHERE id = :id"
                ),
                {"answers": json.dumps(answers), "marks": json.dumps(marks), "id": row.id},
            )
            changed += 1
    return changed, str(found[-1].id) if len(found) == BATCH else None


def _clean_own(table: Table) -> Stage:
    """Take address and name out of the texts of rows that are about the person."""

    def stage(session: Session, turn: Turn) -> tuple[int, str | None]:
        low = int(turn.place or 0)
        changed = _clean(session, table, turn.person, low, own=True)
        return changed, _next(session, table.name, low)

    return stage


def _search(table: Table) -> Stage:
    """Take the address out of the texts of anybody's rows. A name is left there: others may bear it."""

    def stage(session: Session, turn: Turn) -> tuple[int, str | None]:
        low = int(turn.place or 0)
        changed = _clean(session, table, turn.person, low, own=False) if turn.person.addresses else 0
        return changed, _next(session, table.name, low) if turn.person.addresses else None

    return stage


def _clean(session: Session, table: Table, person: Person, low: int, *, own: bool) -> int:
    names = [person.name] if own else []
    words = pattern(person.addresses, names)
    marks = address_marks(person.addresses) + [name.lower() for name in names if name]
    columns = table.searched.split()
    told = ", ".join(f't."{name}"::text' for name in columns)
    values = {**person.names, **_range(low), "marks": marks}
    rows = session.execute(
        text(
            f"SELECT t.ctid::text AS at, {', '.join(f't.{name}' for name in columns)} FROM {table.name} t"  # noqa: S608
            " WHERE t.ctid >= CAST(:low AS tid) AND t.ctid < CAST(:high AS tid)"
            f" AND {table.rows if own else 'true'} AND EXISTS (SELECT FROM unnest(CAST(:marks AS text[])) AS m (word)"
            f" WHERE position(m.word IN lower(concat_ws(' ', {told}))) > 0) FOR UPDATE"
        ),
        values,
    ).all()
    return sum(_rewrite(session, table, row, columns, words) for row in rows)


def _rewrite(session: Session, table: Table, row: Any, columns: list[str], words: Any) -> bool:
    """Write a row's texts without the words; False where they only stand in other words."""
    was = {name: getattr(row, name) for name in columns}
    now = {name: replace(value, words) for name, value in was.items()}
    changed = {name: value for name, value in now.items() if value != was[name]}
    if not changed:
        return False
    settings = ", ".join(
        f"{name} = CAST(:{name} AS jsonb)" if isinstance(value, dict) else f"{name} = :{name}"
        for name, value in changed.items()
    )
    values = {
        name: json.dumps(value) if isinstance(value, dict) else value for name, value in changed.items()
    }
    session.execute(
        text(f"UPDATE {table.name} SET {settings} WHERE ctid = CAST(:at AS tid)"),  # noqa: S608
        {**values, "at": row.at},
    )
    return True


def _events(session: Session, person: Person, ids: list[str], low: int) -> Sequence[Any]:
    marks = [*event_marks(person.addresses), *(id.lower() for id in ids)]
    return session.execute(EVENTS, {"user": person.id, "marks": marks, **_range(low)}).all()


def is_about(row: Any, person: Person, ids: Sequence[str]) -> bool:
    """Say whether an event names one of the ids or the person: an address that was found may end somebody else's."""
    if row.source != "stripe":
        return True
    said = bytes(row.payload).decode("utf-8", "replace")
    return any(id in said for id in ids) or pattern(person.addresses).search(said) is not None


def _paid_ids(session: Session, person: Person) -> list[str]:
    """Return the ids under which Stripe speaks of what they paid, and their own."""
    return [person.id, *session.execute(PAID_IDS, {"user": person.id}).scalars()]


def event_marks(addresses: Sequence[str]) -> list[str]:
    """Return addresses as PostgreSQL's `encode(..., 'escape')` shows them."""
    return ["".join(map(_escaped, mark)) for mark in address_marks(addresses)]


def _escaped(letter: str) -> str:
    if letter == "\\":
        return "\\\\"
    return letter if letter.isascii() else "".join(f"\\{byte:03o}" for byte in letter.encode())


def _range(low: int) -> dict[str, str]:
    return {"low": f"({low},0)", "high": f"({low + BLOCKS},0)"}


def _next(session: Session, table: str, low: int) -> str | None:
    return str(low + BLOCKS) if low + BLOCKS < _blocks(session, table) else None


def _blocks(session: Session, table: str) -> int:
    return int(session.execute(SIZE, {"table": table}).scalar_one())


def as_person(session: Session, row: Any) -> Person:
    if users.is_erased(row.email):
        return Person(str(row.id), row.email, "", ())
    old = session.execute(LEGACY_ADDRESSES, {"user": row.id}).scalars()
    return Person(str(row.id), row.email, row.name, tuple(dict.fromkeys([row.email, *old])))


def _told(state: Any) -> Person:
    """Return the person as they were when the erasure was asked for."""
    addresses = tuple(word for word in state.words or () if isinstance(word, str))
    name = next((word["name"] for word in state.words or () if isinstance(word, dict)), "")
    return Person(str(state.user_id), MARK, name, addresses)


def _progress(user_id: str, stage: str, place: str | None, done: str, rows: int) -> dict[str, Any]:
    return {"user": user_id, "stage": stage, "place": place, "done": done, "rows": rows}
