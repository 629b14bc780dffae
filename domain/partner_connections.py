"""What staff store for a kind of partner: address, options, credentials, policies. Credentials are never shown again.

Every change raises the row's version and leaves who made it and why. What is stored wins over file and environment;
workers and api look at it every few seconds (`workers/connections.py`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from domain import partner_health, secrets, staff
from domain.errors import NotFound, NotPossible

# Bounds of the policies: jobs at once; calls per second; calls at once; seconds; per cent.
CONCURRENCY_MAX, RATE_MAX, BURST_MAX = 1000, 10_000, 1000
SYNC_INTERVAL_MIN, SYNC_INTERVAL_MAX = 60, 7 * 86_400
COMPLETE_AT_MIN, COMPLETE_AT_MAX = 1, 100
LIMITS = ("concurrency", "rate_per_second", "burst")
RULES = ("adopt_by_email", "sync_interval", "complete_at")

LOAD = text(
    """
    SELECT c.base_url, c.options, c.adopt_by_email, c.version, coalesce((SELECT jsonb_agg(jsonb_build_object(
        'name', s.name, 'env_name', s.env_name, 'sealed', s.sealed)) FROM partner_secrets s
        WHERE s.provider_type = c.provider_type), '[]') AS secrets
    FROM partner_connections c WHERE c.provider_type = :type
    """
)
# Also takes the row's lock: changes of one partner come one after another.
TOUCH = text(
    """
    INSERT INTO partner_connections AS c (provider_type, updated_by, reason) VALUES (:type, :actor, :reason)
    ON CONFLICT (provider_type) DO UPDATE SET version = c.version + 1, updated_by = excluded.updated_by,
        reason = excluded.reason, updated_at = now()
    RETURNING version
    """
)
SET_SECRET = text(
    """
    INSERT INTO partner_secrets (provider_type, name, env_name, sealed, fingerprint, set_by)
    VALUES (:type, :name, :env_name, :sealed, :fingerprint, :actor)
    ON CONFLICT (provider_type, name) DO UPDATE SET env_name = excluded.env_name, sealed = excluded.sealed,
        fingerprint = excluded.fingerprint, set_at = now(), set_by = excluded.set_by
    """
)
SHOW_SECRETS = text(
    """
    SELECT name, CASE WHEN sealed IS NULL THEN 'environment' ELSE 'stored' END AS source, env_name, fingerprint,
        set_at, set_by
    FROM partner_secrets WHERE provider_type = :type ORDER BY name
    """
)


class StaleVersion(NotPossible):
    """Somebody else changed the connection meanwhile."""

    code = "stale_version"


@dataclass(frozen=True)
class Who:
    """Who makes a change, and why."""

    actor: str
    reason: str


@dataclass(frozen=True)
class StoredSecret:
    """A credential as it is stored: either the name of a setting, or sealed."""

    name: str
    env_name: str | None
    sealed: str | None


@dataclass(frozen=True)
class Stored:
    """What is stored for a partner, to connect with."""

    version: int
    base_url: str | None
    options: dict[str, Any]
    adopt_by_email: bool | None
    secrets: list[StoredSecret]


def load(session: Session, provider_type: str) -> Stored | None:
    """Return what is stored for a partner, None where nothing is."""
    row = session.execute(LOAD, {"type": provider_type}).one_or_none()
    if row is None:
        return None
    found = [StoredSecret(**item) for item in row.secrets]
    return Stored(row.version, row.base_url, row.options, row.adopt_by_email, found)


def show(session: Session, provider_type: str) -> dict[str, Any]:
    """Return what is stored for a partner as people may see it: of credentials never the value. Version 0: nothing is."""
    row = session.execute(
        text(
            "SELECT c.provider_type, c.base_url, coalesce(c.options, '{}'::jsonb) AS options,"
            " coalesce(c.version, 0) AS version, c.updated_at, c.updated_by, c.reason, c.adopt_by_email,"
            " c.sync_interval, c.complete_at, s.concurrency, s.rate_per_second, coalesce(s.burst, 1) AS burst"
            " FROM (SELECT CAST(:type AS text) AS type) t"
            " LEFT JOIN partner_connections c ON c.provider_type = t.type"
            " LEFT JOIN partner_states s ON s.partner = t.type"
        ),
        {"type": provider_type},
    ).one()
    found = dict(row._mapping) | {"provider_type": provider_type}
    policies = {name: found.pop(name) for name in (*LIMITS, *RULES)}
    listed = [dict(item._mapping) for item in session.execute(SHOW_SECRETS, {"type": provider_type})]
    return {**found, "secrets": listed, "policies": policies}


def set_connection(
    session: Session,
    provider_type: str,
    *,
    base_url: str | None,
    options: dict[str, Any],
    who: Who,
    expected: int | None = None,
) -> None:
    """Store address and options, which replace what was stored; `StaleVersion` where that is not version `expected`.

    Callers have checked both (`workers.connections`). Option values may hold anything, so the audit names them only.
    """
    version = _touch(session, provider_type, who)
    if expected is not None and version != expected + 1:
        raise StaleVersion(f"the connection is at version {version - 1}")
    session.execute(
        text(
            "UPDATE partner_connections SET base_url = :base_url, options = CAST(:options AS jsonb)"
            " WHERE provider_type = :type"
        ),
        {"type": provider_type, "base_url": base_url, "options": json.dumps(options)},
    )
    _record(session, "partner.set", provider_type, who, {"base_url": base_url, "options": sorted(options)})


def set_secret(
    session: Session,
    provider_type: str,
    name: str,
    *,
    plain: str | None = None,
    env_name: str | None = None,
    who: Who,
) -> None:
    """Store a credential, sealed, or the setting that holds it. Raises `secrets.NoKeys` where nothing can be sealed."""
    if (plain is None) == (env_name is None):
        raise ValueError("either the credential or the name of its setting")
    sealed = None if plain is None else secrets.seal(plain)
    fingerprint = None if plain is None else fingerprint_of(plain)
    _touch(session, provider_type, who)
    values = {"type": provider_type, "name": name, "env_name": env_name, "sealed": sealed}
    session.execute(SET_SECRET, {**values, "fingerprint": fingerprint, "actor": who.actor})
    detail = {"name": name, "env_name": env_name, "fingerprint": fingerprint}
    _record(session, "partner.secret.set", provider_type, who, detail)


def unset_secret(session: Session, provider_type: str, name: str, *, who: Who) -> None:
    """Forget a stored credential; raise `NotFound` where there is none."""
    gone = session.execute(
        text("DELETE FROM partner_secrets WHERE provider_type = :type AND name = :name RETURNING name"),
        {"type": provider_type, "name": name},
    )
    if gone.one_or_none() is None:
        raise NotFound(f"nothing is stored as {name} of {provider_type}")
    _touch(session, provider_type, who)
    _record(session, "partner.secret.unset", provider_type, who, {"name": name})


def set_policies(session: Session, provider_type: str, changes: Mapping[str, Any], *, who: Who) -> None:
    """Change policies; None stands for what the adapter or the setting says. Callers have checked the bounds."""
    _touch(session, provider_type, who)
    now = show(session, provider_type)["policies"] | dict(changes)
    if any(name in changes for name in LIMITS):
        partner_health.set_limits(
            session,
            provider_type,
            concurrency=now["concurrency"],
            rate_per_second=now["rate_per_second"],
            burst=now["burst"] or 1,
        )
    session.execute(
        text(
            "UPDATE partner_connections SET adopt_by_email = :adopt_by_email, sync_interval = :sync_interval,"
            " complete_at = :complete_at WHERE provider_type = :type"
        ),
        {"type": provider_type, **{name: now[name] for name in RULES}},
    )
    _record(session, "partner.policy", provider_type, who, {name: _plain(changes[name]) for name in changes})


def fingerprint_of(plain: str) -> str:
    """Return the last four hex digits of a credential's SHA-256."""
    return hashlib.sha256(plain.encode()).hexdigest()[-4:]


def _touch(session: Session, provider_type: str, who: Who) -> int:
    values = {"type": provider_type, "actor": who.actor, "reason": who.reason}
    return int(session.execute(TOUCH, values).scalar_one())


def _record(session: Session, action: str, provider_type: str, who: Who, detail: dict[str, Any]) -> None:
    staff.record(
        session,
        actor=who.actor,
        action=action,
        subject=("partner", provider_type),
        reason=who.reason,
        detail=detail,
    )


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int) else float(value)
