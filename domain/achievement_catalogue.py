"""Which achievements there are: making and editing them in versions, trying one out, showing a version to everybody."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from sqlalchemy import text
from sqlalchemy.orm import Session

from db import jobs
from domain import achievements, counters, xp
from domain.conditions import Condition, Measure, leaves, to_sql
from domain.course_fields import Description, Line, Slug, XpReward, check_text
from domain.errors import DomainError, NotFound
from domain.flags import enabled
from domain.levels import Curve

BACKFILL = "achievements.backfill"
# Tiers above the first.
MORE_TIERS = 9
# Users looked at in one transaction of a backfill, and by one dry run.
CHUNK = 500
SAMPLE = 20_000

COLUMNS = (
    "id, code, version, name, description, icon, category, condition, xp_reward, tiers, revocable, is_active,"
    " backfilled_at, created_at, updated_at"
)
LIST = text(
    f"""
    SELECT {COLUMNS}, (
        SELECT count(DISTINCT u.user_id) FROM user_achievements u WHERE u.achievement_id = a.id
    ) AS holders
    FROM achievements a WHERE code > :after ORDER BY code LIMIT :limit
    """  # noqa: S608
)
FIND = text(
    f"""
    SELECT {COLUMNS}, (
        SELECT count(DISTINCT u.user_id) FROM user_achievements u WHERE u.achievement_id = a.id
    ) AS holders
    FROM achievements a WHERE id = :id
    """  # noqa: S608
)
INSERT = text(
    """
    INSERT INTO achievements (code, name, description, icon, category, condition, xp_reward, tiers, counters, revocable,
        is_active)
    VALUES (:code, :name, :description, :icon, :category, CAST(:condition AS jsonb), :xp_reward,
        CAST(:tiers AS jsonb), :counters, :revocable, :is_active)
    ON CONFLICT (code) DO NOTHING RETURNING id
    """
)
UPDATE = text(
    """
    UPDATE achievements SET version = version + 1, name = :name, description = :description, icon = :icon,
        category = :category, condition = CAST(:condition AS jsonb), xp_reward = :xp_reward,
        tiers = CAST(:tiers AS jsonb), counters = :counters, revocable = :revocable, is_active = :is_active,
        backfill_after = NULL, backfilled_at = NULL, updated_at = now()
    WHERE id = :id RETURNING version
    """
)
KEEP = text(
    """
    INSERT INTO achievement_versions (achievement_id, version, definition)
    VALUES (:id, :version, CAST(:definition AS jsonb))
    """
)
# Not FOR UPDATE: whoever unlocks it refers to it meanwhile.
LOCK = text(
    """
    SELECT a.version, a.code, a.backfill_after, a.backfilled_at, a.is_active, v.definition
    FROM achievements a JOIN achievement_versions v ON v.achievement_id = a.id AND v.version = a.version
    WHERE a.id = :id FOR NO KEY UPDATE OF a
    """
)
PROGRESS = text(
    """
    UPDATE achievements SET backfill_after = CAST(:after AS uuid),
        backfilled_at = CASE WHEN CAST(:after AS uuid) IS NULL THEN now() END
    WHERE id = :id
    """
)


class Unknown(NotFound):
    """There is no such achievement."""


class CodeTaken(DomainError):
    """Another achievement has this code."""

    code = "code_taken"


class StaleVersion(DomainError):
    """Somebody else has edited it meanwhile; `version` is the one that holds now."""

    code = "stale_version"

    def __init__(self, version: int) -> None:
        self.version = version
        super().__init__(f"version {version} holds now")


class TierDefinition(BaseModel):
    """A higher tier: what it takes and gives."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True)

    condition: Condition
    xp_reward: XpReward = 0


class Definition(TierDefinition):
    """What an achievement is. `condition` and `xp_reward` are those of tier 1."""

    name: Line
    description: Description = ""
    icon: Annotated[str, Field(max_length=200), AfterValidator(check_text)] = ""
    category: Slug
    tiers: Annotated[list[TierDefinition], Field(max_length=MORE_TIERS)] = []
    revocable: bool = False
    is_active: bool = True

    def columns(self) -> dict[str, Any]:
        """Return it as it is stored: JSON throughout, with the names of all its counters."""
        plain = self.model_dump(exclude={"condition", "tiers"})
        measures = {leaf.measure for part in (self, *self.tiers) for leaf in leaves(part.condition.when)}
        return {
            **plain,
            "condition": self.condition.to_json(),
            "tiers": [
                {"condition": tier.condition.to_json(), "xp_reward": tier.xp_reward} for tier in self.tiers
            ],
            "counters": sorted({measure.counter for measure in measures}),
        }


@dataclass(frozen=True)
class Trial:
    """How many of the `checked` users would unlock each tier. `users` is how many there are."""

    users: int
    checked: int
    unlocks: list[int]


def create(session: Session, code: str, definition: Definition) -> str:
    """Make an achievement and show it to everybody; return its id. Raises `CodeTaken`."""
    columns = definition.columns()
    made = session.scalar(INSERT, {**_stored(columns), "code": code})
    if made is None:
        raise CodeTaken(f"there is an achievement {code}")
    _keep(session, str(made), 1, columns)
    return str(made)


def edit(session: Session, achievement_id: str, version: int, definition: Definition) -> bool:
    """Make the next version of an achievement; False where nothing differs. Raises `Unknown` or `StaleVersion`.

    Whoever has unlocked a tier keeps it, and what a revocable one takes stays what it was then.
    """
    row = session.execute(LOCK, {"id": achievement_id}).one_or_none()
    if row is None:
        raise Unknown(f"there is no achievement {achievement_id}")
    if row.version != version:
        raise StaleVersion(row.version)
    columns = definition.columns()
    if columns == row.definition:
        return False
    following = session.scalar(UPDATE, {**_stored(columns), "id": achievement_id})
    _keep(session, achievement_id, int(following or 0), columns)
    return True


def find(session: Session, achievement_id: str) -> dict[str, Any]:
    """Return an achievement with the number of its holders; raise `Unknown`."""
    row = session.execute(FIND, {"id": achievement_id}).one_or_none()
    if row is None:
        raise Unknown(f"there is no achievement {achievement_id}")
    return dict(row._mapping)


def list_all(session: Session, *, limit: int, after: str = "") -> list[dict[str, Any]]:
    """Return achievements, those that are not active too, in the order of their codes, after a code."""
    return [dict(row._mapping) for row in session.execute(LIST, {"after": after, "limit": limit})]


def try_out(session: Session, definition: Definition, code: str | None = None) -> Trial:
    """Count who would unlock it now, tier by tier, from the facts; who has a tier of `code` already is not counted.

    Looks at `SAMPLE` users at most; their ids are random.
    """
    names: dict[str, Any] = {"code": code, "limit": SAMPLE, "after": counters.FIRST}
    tiers = [
        f"count(*) FILTER (WHERE {_open_sql(part.condition, number, names)})"
        for number, part in enumerate((definition, *definition.tiers), 1)
    ]
    statement = f"SELECT count(*), {', '.join(tiers)} FROM ({_chunk_sql()}) AS u"  # noqa: S608
    checked, *unlocks = session.execute(text(statement), names).one()
    users = session.scalar(text("SELECT count(*) FROM users"))
    return Trial(int(users or 0), checked, unlocks)


def backfill_batch(session: Session, curve: Curve, achievement_id: str, chunk: int = CHUNK) -> bool:
    """Show the current version to some more of those who were there before it; False where everybody has seen it.

    It may stop between any two batches. An edit meanwhile begins anew. While achievements are switched off, nobody sees
    it: `usher achievements rebuild` makes up for that.
    """
    row = session.execute(LOCK, {"id": achievement_id}).one_or_none()
    if (
        row is None
        or row.backfilled_at is not None
        or not row.is_active
        or not enabled(session, "achievements")
    ):
        return False
    after = row.backfill_after or counters.FIRST
    last, ids = _candidates(session, row, str(after), chunk)
    for user_id in ids:
        counters.lock(session, user_id)
        if achievements.unlock(session, curve, user_id, (), only=achievement_id):
            counters.note(session, user_id, achievements.MOVED)
            achievements.follow(session, curve, user_id, counters.recount(session, user_id))
    session.execute(PROGRESS, {"id": achievement_id, "after": last})
    return last is not None


def ask_backfill(session: Session, achievement_id: str) -> None:
    """Ask for the current version to be shown to everybody."""
    jobs.enqueue(session, jobs.Enqueue(BACKFILL, achievement_id, xp.QUEUE, subject_id=achievement_id))


def _candidates(session: Session, row: Any, after: str, chunk: int) -> tuple[str | None, list[str]]:
    """Return the last user of a chunk (None: it was the last chunk) and those in it who have earned an open tier."""
    names: dict[str, Any] = {"code": row.code, "limit": chunk, "after": after}
    parts = (row.definition, *row.definition["tiers"])
    earned = [
        _open_sql(Condition.model_validate(part["condition"]), number, names)
        for number, part in enumerate(parts, 1)
    ]
    statement = f"SELECT u.id, ({' OR '.join(earned)}) AS earned FROM ({_chunk_sql()}) AS u ORDER BY u.id"  # noqa: S608
    found = session.execute(text(statement), names).all()
    last = str(found[-1].id) if len(found) == chunk else None
    return last, [str(user.id) for user in found if user.earned]


def _chunk_sql() -> str:
    return "SELECT id FROM users WHERE id > CAST(:after AS uuid) ORDER BY id LIMIT :limit"


def _open_sql(condition: Condition, number: int, names: dict[str, Any]) -> str:
    """Return the SQL that says whether user `u` has earned a tier and does not have it."""

    def count(measure: Measure) -> str:
        return counters.count_sql(measure, "u.id", names)

    return f"""
        {to_sql(condition.when, count)} AND NOT EXISTS (
            SELECT 1 FROM user_achievements h JOIN achievements held ON held.id = h.achievement_id
            WHERE h.user_id = u.id AND held.code = CAST(:code AS text) AND h.tier = {number}
        )
    """  # noqa: S608


def _stored(columns: dict[str, Any]) -> dict[str, Any]:
    return {
        name: json.dumps(value) if name in ("condition", "tiers") else value
        for name, value in columns.items()
    }


def _keep(session: Session, achievement_id: str, version: int, columns: dict[str, Any]) -> None:
    """Keep a version as it was made, and show it to everybody."""
    session.execute(KEEP, {"id": achievement_id, "version": version, "definition": json.dumps(columns)})
    if columns["is_active"]:
        ask_backfill(session, achievement_id)
