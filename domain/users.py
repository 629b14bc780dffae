"""People: how a user comes into being, and what a usable e-mail address, name and time zone are."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from zoneinfo import available_timezones

from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db.models import User

EMAIL_MAX = 254
NAME_MAX = 200
# Plausible, not proven: one @, no white space, no brackets, quotes or separators that mean something in a mail header.
LOCAL = r"[^\s@<>()\[\]\\,;:\".\x00-\x1f\x7f]+"
EMAIL = re.compile(rf"{LOCAL}(\.{LOCAL})*@([^\W_]([\w-]*[^\W_])?\.)+[^\W_]([\w-]*[^\W_])?")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# One line of text, as a schema says it: no control characters, no line separators.
LINE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"
# The address that an erased user's row carries.
ERASED = re.compile(r"erased-[0-9a-f-]{36}@usher\.invalid")
EMAIL_INDEX = "uq_users_email_lower"

UPSERT = text(
    """
    INSERT INTO users (id, email, name, time_zone)
    VALUES (:id, :email, coalesce(:name, ''), coalesce(:time_zone, 'UTC'))
    ON CONFLICT (id) DO UPDATE SET email = excluded.email, name = coalesce(:name, users.name),
        time_zone = coalesce(:time_zone, users.time_zone), updated_at = now()
        WHERE users.email <> 'erased-' || users.id || '@usher.invalid'
    RETURNING id, email, name, time_zone, created_at, updated_at, xmax = 0 AS created
    """
)


class EmailTaken(Exception):
    """Another user has this e-mail address."""


class UserErased(ValueError):
    """The row is kept under a pseudonym, and is nobody any more."""

    def __init__(self) -> None:
        super().__init__("the user with this id was erased; take a new id")


@dataclass
class Import:
    """What an import did. `rejected` holds (row number from 1, reason) of rows that were left out."""

    created: int = 0
    updated: int = 0
    rejected: list[tuple[int, str]] = field(default_factory=list)


def normalize_email(raw: str) -> str:
    """Return the address without surrounding white space; raise `ValueError` where it cannot be one."""
    email = raw.strip()
    if len(email) > EMAIL_MAX or EMAIL.fullmatch(email) is None:
        raise ValueError("must be an e-mail address, such as ada@example.com")
    return email


def clean_name(raw: str) -> str:
    """Return the name without surrounding white space; raise `ValueError` for one that is too long or has line breaks."""
    name = raw.strip()
    if len(name) > NAME_MAX or CONTROL.search(name):
        raise ValueError(f"must be one line of at most {NAME_MAX} characters")
    return name


def check_time_zone(name: str) -> str:
    """Return the name of a time zone as IANA has it; raise `ValueError` for any other."""
    if name not in time_zones():
        raise ValueError("must be an IANA time zone, such as Europe/Vienna")
    return name


def is_erased(email: str) -> bool:
    """Say whether an address is the pseudonym of somebody who was erased."""
    return ERASED.fullmatch(email) is not None


def find_by_email(session: Session, email: str) -> User | None:
    """Return the user with this address in any case of letters, None where there is none."""
    return session.scalars(
        select(User).where(func.lower(User.email) == func.lower(email.strip()))
    ).one_or_none()


def upsert_user(
    session: Session, user_id: str, email: str, name: str | None = None, time_zone: str | None = None
) -> tuple[User, bool]:
    """Make the user, or bring it up to date (None leaves a value as it is); return it, and whether it is new.

    Raises `EmailTaken` when the address belongs to another id (the transaction stays usable), `UserErased`.
    """
    values = {"id": user_id, "email": email, "name": name, "time_zone": time_zone}
    try:
        with session.begin_nested():
            row = session.execute(UPSERT, values).one_or_none()
    except IntegrityError as error:
        if EMAIL_INDEX not in str(error.orig):
            raise
        raise EmailTaken from None
    if row is None:
        raise UserErased
    user = User(id=str(row.id), email=row.email, name=row.name, time_zone=row.time_zone)
    user.created_at, user.updated_at = row.created_at, row.updated_at
    return user, row.created


def import_users(session: Session, rows: Iterable[Mapping[str, str | None]]) -> Import:
    """Upsert rows of `email` and optional `id`, `name`, `time_zone` (or `timeZone`); a bad row does not stop the others.

    Without an id, the user with that address is meant, or a new one.
    """
    result = Import()
    for number, row in enumerate(rows, 1):
        try:
            created = _import_one(session, row)
        except (ValueError, EmailTaken) as error:
            result.rejected.append((number, str(error) or "the e-mail address belongs to another user"))
        else:
            result.created += created
            result.updated += not created
    return result


def _import_one(session: Session, row: Mapping[str, str | None]) -> bool:
    email = normalize_email(row.get("email") or "")
    name, zone = row.get("name"), row.get("time_zone") or row.get("timeZone")
    _, created = upsert_user(
        session,
        _row_id(session, row.get("id"), email),
        email,
        clean_name(name) if name else None,
        check_time_zone(zone) if zone else None,
    )
    return created


def _row_id(session: Session, given: str | None, email: str) -> str:
    if given:
        try:
            return str(uuid.UUID(given.strip()))
        except ValueError:
            raise ValueError("the id must be a uuid") from None
    known = find_by_email(session, email)
    return str(uuid.uuid4()) if known is None else known.id


@lru_cache(maxsize=1)
def time_zones() -> frozenset[str]:
    """Return the names of all time zones."""
    # Some systems list their own setting among the zones; PostgreSQL does not know it, and it is none.
    return frozenset(available_timezones() - {"localtime"})
