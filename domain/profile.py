"""Who somebody is and where they stand: two reads of their own rows, whatever the size of the tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.models.enrollment import ENROLLMENT_STATUSES
from domain.errors import NotFound
from domain.levels import Curve, Standing, stand

PROFILE = text(
    """
    SELECT id, email, name, time_zone, total_xp, highest_level, created_at, updated_at FROM users WHERE id = :id
    """
)
UPDATE = text(
    """
    UPDATE users SET name = coalesce(:name, name), time_zone = coalesce(:time_zone, time_zone), updated_at = now()
    WHERE id = :id AND (name, time_zone) <> (coalesce(:name, name), coalesce(:time_zone, time_zone))
    """
)
PREFERENCES = text(
    """
    SELECT email, name, time_zone, locale, wants_streak_mail, wants_progress_mail, visible_to_others
    FROM users WHERE id = :id
    """
)
SAVE_PREFERENCES = text(
    """
    UPDATE users SET wants_streak_mail = :wants_streak_mail, wants_progress_mail = :wants_progress_mail,
        visible_to_others = :visible_to_others, updated_at = now()
    WHERE id = :id AND (wants_streak_mail, wants_progress_mail, visible_to_others)
        <> (:wants_streak_mail, :wants_progress_mail, :visible_to_others)
    """
)
SAVE_LOCALE = text(
    "UPDATE users SET locale = :locale, updated_at = now() WHERE id = :id AND locale IS DISTINCT FROM :locale"
)
# Each count walks an index that begins with the user's id.
COUNTS = text(
    """
    SELECT u.total_xp, u.highest_level,
        (SELECT count(*) FROM lesson_progress p WHERE p.user_id = u.id) AS lessons,
        (SELECT count(*) FROM enrollments e WHERE e.user_id = u.id) AS own,
        (SELECT count(completed_at) FROM enrollments e WHERE e.user_id = u.id) AS own_completed,
        (
            SELECT coalesce(jsonb_object_agg(found.status, found.seats), '{}') FROM (
                SELECT status, count(*) AS seats FROM partner_lms_enrollments WHERE student_id = u.id GROUP BY status
            ) AS found
        ) AS partner
    FROM users u WHERE u.id = :id
    """
)


@dataclass(frozen=True)
class Profile:
    """A user, with their level."""

    id: str
    email: str
    name: str
    time_zone: str
    standing: Standing
    highest_level: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class Preferences:
    """What somebody prefers: mails beyond those that a purchase needs, and whether other learners may see them."""

    wants_streak_mail: bool
    wants_progress_mail: bool
    visible_to_others: bool


@dataclass(frozen=True)
class Stats:
    """Where a student stands, and how many enrolments they have by status: of partners, and of our own courses."""

    standing: Standing
    highest_level: int
    lessons_completed: int
    partner: dict[str, int]
    own: dict[str, int]

    @property
    def courses_completed(self) -> int:
        """Return how many courses are completed, partners' and our own."""
        return self.partner["completed"] + self.own["completed"]


def read_profile(session: Session, curve: Curve, user_id: str) -> Profile:
    """Return a user's profile; raise `NotFound`."""
    row = session.execute(PROFILE, {"id": user_id}).one_or_none()
    if row is None:
        raise NotFound(f"there is no user {user_id}")
    return Profile(
        id=str(row.id),
        email=row.email,
        name=row.name,
        time_zone=row.time_zone,
        standing=stand(curve, int(row.total_xp)),
        highest_level=row.highest_level,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def update_profile(session: Session, user_id: str, *, name: str | None, time_zone: str | None) -> None:
    """Change what somebody may change about themselves; None leaves a value as it is."""
    session.execute(UPDATE, {"id": user_id, "name": name, "time_zone": time_zone})


def read_settings(session: Session, user_id: str) -> dict[str, Any]:
    """Return what somebody may change about themselves, with their e-mail address; raise `NotFound`."""
    row = session.execute(PREFERENCES, {"id": user_id}).one_or_none()
    if row is None:
        raise NotFound(f"there is no user {user_id}")
    return dict(row._mapping)


def save_preferences(session: Session, user_id: str, wanted: Preferences) -> None:
    """Change what somebody prefers."""
    session.execute(SAVE_PREFERENCES, {"id": user_id, **vars(wanted)})


def save_locale(session: Session, user_id: str, locale: str | None) -> None:
    """Change the language of somebody's pages and mails; None: what their browser asks for, English in mails."""
    session.execute(SAVE_LOCALE, {"id": user_id, "locale": locale})


def read_stats(session: Session, curve: Curve, user_id: str) -> Stats:
    """Return a student's figures; raise `NotFound`."""
    row = session.execute(COUNTS, {"id": user_id}).one_or_none()
    if row is None:
        raise NotFound(f"there is no user {user_id}")
    return Stats(
        standing=stand(curve, int(row.total_xp)),
        highest_level=row.highest_level,
        lessons_completed=row.lessons,
        partner={status: row.partner.get(status, 0) for status in ENROLLMENT_STATUSES},
        own={"active": row.own - row.own_completed, "completed": row.own_completed},
    )
