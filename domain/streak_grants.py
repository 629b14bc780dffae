"""What staff may do for streaks: give a freeze, and name rest days, for one student or for everybody."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from domain import counters, streak_store
from domain.errors import DomainError, NotFound, NotPossible
from domain.streaks import BACKFILL_DAYS, DAY, FREEZES

COLUMNS = "id, user_id, weekday, first_date, last_date, created_at"
GRANT = text("INSERT INTO streak_freeze_grants (user_id, granted_on) VALUES (:user, :on)")
REST = text(
    f"""
    INSERT INTO streak_rest_days (user_id, weekday, first_date, last_date) VALUES (:user, :weekday, :first, :last)
    RETURNING {COLUMNS}
    """  # noqa: S608
)
LIST = text(
    f"""
    SELECT {COLUMNS} FROM streak_rest_days
    WHERE CAST(:at AS timestamptz) IS NULL OR (created_at, id) < (CAST(:at AS timestamptz), CAST(:id AS uuid))
    ORDER BY created_at DESC, id DESC LIMIT :limit
    """  # noqa: S608
)
FIND = text("SELECT first_date, last_date FROM streak_rest_days WHERE id = :id FOR UPDATE")
# One that has not begun goes; the dates that an earlier one covered stay covered.
DROP = text("DELETE FROM streak_rest_days WHERE id = :id")
END = text("UPDATE streak_rest_days SET last_date = :last WHERE id = :id")


class WrongDate(DomainError):
    """A date on which this cannot be done; `field` is the one that is wrong."""

    code = "wrong_date"

    def __init__(self, field: str, reason: str) -> None:
        self.field = field
        super().__init__(reason)


def grant_freeze(session: Session, user_id: str, on: date | None = None) -> streak_store.Standing:
    """Give a student a freeze as of a date (None: today), and return where the streak stands then.

    It may be dated up to a week back, so that it covers what was missed since. Raises `NotFound`, `WrongDate`, or
    `NotPossible` where the student has as many as there may be.
    """
    if not counters.lock(session, user_id):
        raise NotFound(f"there is no user {user_id}")
    before = streak_store.look(session, user_id)
    day = on or before.today
    if not before.today - BACKFILL_DAYS * DAY <= day <= before.today:
        raise WrongDate("date", f"must be one of the last {BACKFILL_DAYS} days, until the student's today")
    if before.state.freezes_available >= FREEZES:
        raise NotPossible(f"the student has {FREEZES} freezes, the most that there may be")
    session.execute(GRANT, {"user": user_id, "on": day})
    return _follow(session, user_id)


def add_rest(
    session: Session, user_id: str | None, weekday: int | None, first: date, last: date | None, now: datetime
) -> dict[str, Any]:
    """Name rest days, for one student or for everybody (None), and return them.

    For everybody they begin tomorrow or later: nobody's past changes. For one student they may begin a week ago.
    Raises `NotFound` or `WrongDate`.
    """
    earliest = now.date() + DAY if user_id is None else now.date() - BACKFILL_DAYS * DAY
    if first < earliest:
        raise WrongDate("first_date", f"must be {earliest} or later")
    if last is not None and last < first:
        raise WrongDate("last_date", "must not be before firstDate")
    if last is None and weekday is None:
        raise WrongDate("last_date", "is needed without a weekday")
    if user_id is not None and not counters.lock(session, user_id):
        raise NotFound(f"there is no user {user_id}")
    values = {"user": user_id, "weekday": weekday, "first": first, "last": last}
    made = dict(session.execute(REST, values).one()._mapping)
    if user_id is not None:
        _follow(session, user_id)
    return made


def end_rest(session: Session, rest_id: str, now: datetime) -> None:
    """End rest days with tomorrow (UTC), or drop those that begin later; what they covered stays covered.

    Raises `NotFound`, or `NotPossible` for those that have ended.
    """
    row = session.execute(FIND, {"id": rest_id}).one_or_none()
    if row is None:
        raise NotFound(f"there are no rest days {rest_id}")
    # Somewhere it is tomorrow already.
    last = now.date() + DAY
    if row.last_date is not None and row.last_date <= last:
        raise NotPossible("they end by tomorrow as it is")
    if row.first_date > last:
        session.execute(DROP, {"id": rest_id})
    else:
        session.execute(END, {"id": rest_id, "last": last})


def list_rest(session: Session, *, limit: int, at: datetime | None, last: str | None) -> list[dict[str, Any]]:
    """Return rest days, newest first, after a time of creation and an id."""
    rows = session.execute(LIST, {"limit": limit, "at": at, "id": last})
    return [dict(row._mapping) for row in rows]


def _follow(session: Session, user_id: str) -> streak_store.Standing:
    """Bring the cache up to date, and have what follows looked at."""
    streak_store.refresh(session, [user_id])
    counters.changed(session, user_id, "streak.longest")
    return streak_store.look(session, user_id)
