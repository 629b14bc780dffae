"""People who sign in elsewhere: which of our users an issuer's subject is, decided once and then remembered."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from domain.users import clean_name, find_by_email, normalize_email

FIND = text("SELECT user_id FROM identities WHERE issuer = :issuer AND subject = :subject")
# Either index may object, the id's or the address's; the caller looks which.
CREATE = text(
    "INSERT INTO users (id, email, name) VALUES (:id, :email, :name) ON CONFLICT DO NOTHING RETURNING id"
)
LINK = text(
    """
    INSERT INTO identities (issuer, subject, user_id) VALUES (:issuer, :subject, :user_id)
    ON CONFLICT (issuer, subject) DO NOTHING
    """
)


@dataclass(frozen=True)
class Person:
    """What a proven session says of somebody. `email` counts only where the issuer vouches for it."""

    issuer: str
    subject: str
    email: str | None = None
    email_verified: bool = False
    name: str = ""
    role: str = "student"


def find_user(session: Session, person: Person) -> str | None:
    """Return the id of the user that the person is, None for somebody who was not seen before."""
    found = session.execute(FIND, {"issuer": person.issuer, "subject": person.subject}).scalar_one_or_none()
    return None if found is None else str(found)


def sign_in(session: Session, person: Person) -> str | None:
    """Return the id of the person's user, linked or made at the first sign-in.

    None where nothing vouches for an address: an unproven one would open somebody else's rows.
    """
    known = find_user(session, person)
    if known is not None:
        return known
    email = verified_email(person)
    return None if email is None else _link(session, person, email)


def verified_email(person: Person) -> str | None:
    """Return the address that the issuer vouches for, None where there is none or it cannot be one."""
    if not person.email_verified or person.email is None:
        return None
    try:
        return normalize_email(person.email)
    except ValueError:
        return None


def _link(session: Session, person: Person, email: str) -> str | None:
    user = find_by_email(session, email)
    user_id = _create(session, person, email) if user is None else user.id
    session.execute(LINK, {"issuer": person.issuer, "subject": person.subject, "user_id": user_id})
    # Another request of the same person may have been first; what is stored decides.
    return find_user(session, person)


def _create(session: Session, person: Person, email: str) -> str:
    """Return the id of a new user. The subject is that id where it can be: Supabase's policies compare with it."""
    for user_id in (_as_uuid(person.subject), str(uuid.uuid4())):
        if user_id is None:
            continue
        made = session.execute(CREATE, {"id": user_id, "email": email, "name": _name(person)})
        if made.scalar_one_or_none() is not None:
            return user_id
        user = find_by_email(session, email)
        if user is not None:  # Somebody else made the user since we looked.
            return user.id
    raise RuntimeError("a user could neither be made nor found")


def _as_uuid(subject: str) -> str | None:
    try:
        return str(uuid.UUID(subject))
    except ValueError:
        return None


def _name(person: Person) -> str:
    try:
        return clean_name(person.name)
    except ValueError:
        return ""
