"""Erasing one person: the row stays under a pseudonym, so that the ledger's totals and payments still add up.

Asking is one transaction: it closes every way in, and from then on the row carries the pseudonym. A job does the rest,
stage by stage and batch by batch; each batch commits how far it came. A stage that is done again finds nothing to do.
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

from db import jobs
from domain import enrollments, staff, users
from domain.errors import DomainError, NotFound, NotPossible
from domain.privacy_register import BY_NAME, DELETED, MASKED, SEATS, Table, with_people
from domain.privacy_words import MARK, address_marks, mask_payload, pattern, replace

ERASE = "privacy.erase"
ERASE_ACCOUNT = "privacy.erase_account"
QUEUE = "control"
# Rows changed, and blocks of a table (8 KiB each) that are searched, in one transaction.
BATCH = 500
BLOCKS = 2_000
# Seats for which somebody has paid and which they may still use, or wait for.
OPEN = ("pending", "active", "suspended", "failed")
ROLES = ("student", "service", "ops")

FIND = text("SELECT id, email, name FROM users WHERE id = CAST(:id AS uuid)")
LOCK = text("SELECT id, email, name FROM users WHERE id = CAST(:id AS uuid) FOR UPDATE")
OPEN_SEATS = text(
    "SELECT e.id, e.status, c.course_name, p.provider_name FROM partner_lms_enrollments e"
    " JOIN partner_courses c ON c.id = e.course_id JOIN partner_lms_providers p ON p.id = e.provider_id"
    " WHERE e.student_id = CAST(:user AS uuid) AND e.status = ANY(:open) ORDER BY e.created_at, e.id"
)
# Few wait, so their bodies can be searched.
WAITING = text(
    """
    SELECT external_id FROM inbox_events t WHERE state IN ('waiting', 'failed')
        AND EXISTS (SELECT FROM unnest(CAST(:marks AS text[])) AS m (word)
            WHERE position(m.word IN lower(encode(t.payload, 'escape'))) > 0)
    ORDER BY received_at LIMIT 20
    """
)
LEGACY_ADDRESSES = text(
    "SELECT legacy_id FROM legacy_ids WHERE id = CAST(:user AS uuid) AND position('@' IN legacy_id) > 0"
)
BEGIN = text(
    """
    INSERT INTO erasures (user_id, actor, reason, revoke_certificates, words)
    VALUES (CAST(:user AS uuid), :actor, :reason, :revoke, CAST(:words AS jsonb))
    ON CONFLICT (user_id) DO UPDATE SET stage = '', place = NULL, finished_at = NULL, updated_at = now(),
        revoke_certificates = erasures.revoke_certificates OR excluded.revoke_certificates,
        words = coalesce(erasures.words, '[]'::jsonb)
    """
)
ACCOUNTS = text(
    """
    INSERT INTO erasure_accounts (user_id, provider_id, account_id, state)
    SELECT CAST(:user AS uuid), e.provider_id, max(e.external_account_id), 'asking'
    FROM partner_lms_enrollments e WHERE e.student_id = CAST(:user AS uuid)
    GROUP BY e.provider_id ON CONFLICT (user_id, provider_id) DO NOTHING
    """
)
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
    f"""
    SELECT id, source, payload FROM inbox_events t
    WHERE t.ctid >= CAST(:low AS tid) AND t.ctid < CAST(:high AS tid) AND (
        EXISTS (SELECT FROM unnest(CAST(:marks AS text[])) AS m (word)
            WHERE position(m.word IN lower(encode(t.payload, 'escape'))) > 0)
        OR EXISTS (SELECT FROM partner_lms_enrollments e WHERE e.student_id = CAST(:user AS uuid)
            AND t.source = 'partner:' || e.provider_id AND e.external_enrollment_id = ANY(t.subjects))
    )
    """  # noqa: S608
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
MAILS = text(
    f"""
    UPDATE jobs SET state = 'done', finished_at = now(), updated_at = now()
    WHERE kind IN ('mail.send', 'mail.notice') AND state IN ('ready', 'failed', 'parked') AND subject_id IN (
        SELECT CAST(:user AS uuid) UNION ALL {SEATS}
        UNION ALL SELECT id FROM certificates WHERE user_id = CAST(:user AS uuid))
    """  # noqa: S608
)
FIRST = str(uuid.UUID(int=0))


class Blocked(NotPossible):
    """Something open stands in the way of an erasure."""

    code = "erasure_blocked"


class Ambiguous(DomainError):
    """What was given is neither an address nor an id."""

    code = "person_unknown"


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
class Line:
    """What an erasure does with a table: how many rows, which columns of theirs, and why the rest stays."""

    table: str
    rows: int
    fate: str
    columns: str
    why: str


@dataclass(frozen=True)
class Plan:
    """What an erasure would do. `blocks` says what has to be settled first, `partners` who is asked to do the same."""

    user_id: str
    lines: list[Line]
    partners: list[str]
    blocks: list[str]


def find(session: Session, given: str) -> Person:
    """Return the person with this id or e-mail address; raise `NotFound`."""
    try:
        user_id = str(uuid.UUID(given))
    except ValueError:
        user = users.find_by_email(session, given)
        if user is None:
            raise NotFound("there is no user with this id or address") from None
        user_id = user.id
    row = session.execute(FIND, {"id": user_id}).one_or_none()
    if row is None:
        raise NotFound("there is no user with this id or address")
    return _person(session, row)


def plan(session: Session, person: Person) -> Plan:
    """Return what an erasure would do; nothing changes."""
    lines = []
    names = {**person.names, "events": list(events_of(session, person))}
    for table in with_people():
        count = f"SELECT count(*) FROM {table.name} t WHERE {table.rows}"  # noqa: S608
        rows = int(session.execute(text(count), names).scalar_one())
        if rows:
            lines.append(Line(table.name, rows, table.erase, ", ".join(table.personal), table.why))
    partners = session.execute(
        text(
            "SELECT DISTINCT p.provider_name FROM partner_lms_enrollments e JOIN partner_lms_providers p"
            " ON p.id = e.provider_id WHERE e.student_id = CAST(:user AS uuid) ORDER BY 1"
        ),
        names,
    )
    return Plan(person.id, lines, list(partners.scalars()), find_blocks(session, person))


def find_blocks(session: Session, person: Person) -> list[str]:
    """Return what stands in the way of an erasure, in words."""
    seats = session.execute(OPEN_SEATS, {"user": person.id, "open": list(OPEN)})
    found = [
        f"enrolment {row.id} ({row.course_name} at {row.provider_name}) is {row.status}: a paid seat. Refund or revoke"
        " it first, or force"
        for row in seats
    ]
    marks = [*_event_marks(person.addresses), person.id]
    waiting = session.execute(WAITING, {"marks": marks})
    return found + [f"event {row.external_id} waits for a person: complete it, or force" for row in waiting]


def ask(
    session: Session,
    person: Person,
    *,
    actor: str,
    reason: str,
    force: bool = False,
    revoke_certificates: bool = False,
) -> str:
    """Close every way in, give the row its pseudonym, and ask for the rest; return the job's id.

    Open seats are revoked where it is forced. Asked again, the job goes through everything again. Raises `Blocked`,
    `NotFound`.
    """
    row = session.execute(LOCK, {"id": person.id}).one_or_none()
    if row is None:
        raise NotFound("there is no user with this id or address")
    person = _person(session, row)
    blocks = find_blocks(session, person)
    if blocks and not force:
        raise Blocked("; ".join(blocks))
    _close_seats(session, person)
    words = [] if users.is_erased(person.email) else [*person.addresses, {"name": person.name}]
    values = {"user": person.id, "actor": actor, "reason": reason, "revoke": revoke_certificates}
    session.execute(BEGIN, {**values, "words": json.dumps(words)})
    for name in ("identities", "api_tokens"):
        _batch(session, BY_NAME[name], person.names)
    session.execute(MAILS, {"user": person.id})
    session.execute(ACCOUNTS, {"user": person.id})
    _batch(session, BY_NAME["users"], person.names)
    staff.record(
        session,
        actor=actor,
        action="privacy.erase",
        subject=("user", person.id),
        reason=reason,
        detail={"forced": force, "revoke_certificates": revoke_certificates, "blocks": len(blocks)},
    )
    return jobs.enqueue(session, jobs.Enqueue(ERASE, person.id, QUEUE, subject_id=person.id))


# The job


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
    marks, words = _all_event_marks(session, person), pattern(person.addresses)
    for low in range(0, _blocks(session, "inbox_events"), BLOCKS):
        for row in _events(session, person, marks, low):
            if _is_theirs(row, marks, words):
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
        changed = _batch(session, table, turn.person.names)
        return changed, "more" if changed == BATCH else None

    return stage


def _batch(session: Session, table: Table, names: dict[str, Any]) -> int:
    """Delete or mask up to a batch of somebody's rows; return how many that were."""
    condition, statement = table.rows, f"DELETE FROM {table.name} t"
    if table.erase == MASKED:
        masks = table.masks
        columns, made = ", ".join(f"t.{name}" for name in masks), ", ".join(masks.values())
        condition = f"({condition}) AND ROW({columns}) IS DISTINCT FROM ROW({made})"
        settings = ", ".join(f"{name} = {value}" for name, value in masks.items())
        statement = f"UPDATE {table.name} t SET {settings}"
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
    marks, words = _all_event_marks(session, turn.person), pattern(turn.person.addresses)
    for row in _events(session, turn.person, marks, low):
        payload = bytes(row.payload)
        masked = mask_payload(payload) if row.source == "stripe" else b"{}"
        if masked != payload and _is_theirs(row, marks, words):
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


def _events(session: Session, person: Person, marks: list[str], low: int) -> Sequence[Any]:
    return session.execute(EVENTS, {"user": person.id, "marks": marks, **_range(low)}).all()


def _is_theirs(row: Any, marks: list[str], words: Any) -> bool:
    """Say whether an event that holds one of the marks is theirs: an address may be the end of somebody else's."""
    if row.source != "stripe":
        return True
    said = bytes(row.payload).decode("utf-8", "replace")
    ids = [mark for mark in marks if "@" not in mark and "%40" not in mark]
    return any(mark in said.lower() for mark in ids) or words.search(said) is not None


def _all_event_marks(session: Session, person: Person) -> list[str]:
    paid = session.execute(PAID_IDS, {"user": person.id}).scalars()
    return [*_event_marks(person.addresses), person.id, *(id.lower() for id in paid)]


def _event_marks(addresses: Sequence[str]) -> list[str]:
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


def _close_seats(session: Session, person: Person) -> None:
    for row in session.execute(OPEN_SEATS, {"user": person.id, "open": list(OPEN)}).all():
        enrollments.revoke(session, enrollments.lock(session, str(row.id)))


def _person(session: Session, row: Any) -> Person:
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
