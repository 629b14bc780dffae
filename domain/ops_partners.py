"""Partners for people: how one does, what was called last, and pausing, resuming and limiting it with a reason."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from domain import partner_connections, partner_health, staff
from domain.errors import NotPossible
from domain.ops_enrollment import Stale, Who

Row = dict[str, Any]

STATE = text(
    """
    SELECT t.partner, CASE WHEN s.paused_at IS NOT NULL THEN 'paused' WHEN s.open_until > now() THEN 'open'
            WHEN s.opened > 0 THEN 'probing' ELSE 'ok' END AS state,
        s.paused_reason, s.paused_by, s.paused_at, coalesce(s.failures, 0) AS failures, coalesce(s.opened, 0) AS opened,
        s.open_until, s.concurrency, s.rate_per_second, coalesce(s.burst, 1) AS burst,
        (SELECT count(*) FROM jobs WHERE jobs.partner = t.partner AND jobs.state = 'ready') AS waiting
    FROM (SELECT CAST(:partner AS text) AS partner) AS t LEFT JOIN partner_states s USING (partner)
    """
)
LOCK = text(
    """
    INSERT INTO partner_states AS s (partner) VALUES (:partner) ON CONFLICT (partner) DO UPDATE SET partner = s.partner
    """
)
CALLS = text(
    """
    SELECT id, at, method, path_template, status, outcome, duration_ms, attempt, subject_id FROM partner_calls
    WHERE partner = :partner AND (CAST(:at AS timestamptz) IS NULL OR (at, id) < (:at, CAST(:last AS bigint)))
    ORDER BY at DESC, id DESC LIMIT :limit
    """
)
LAST_ACTIONS = text(
    """
    SELECT created_at, actor, action, reason, detail FROM staff_actions WHERE subject_id = :partner AND subject_type = 'partner'
    ORDER BY created_at DESC, id DESC LIMIT 10
    """
)
SYNCS = text(
    """
    SELECT p.provider_name, s.finished_at, s.next_due_at, s.last_calls, s.last_changed, s.last_failed
    FROM partner_lms_providers p LEFT JOIN partner_sync_states s ON s.provider_id = p.id
    WHERE p.provider_type = :partner ORDER BY p.provider_name LIMIT 20
    """
)
CONNECTED = text(
    """
    SELECT c.provider_type, c.version, c.base_url, (SELECT coalesce(array_agg(name), '{}') FROM partner_secrets s
        WHERE s.provider_type = c.provider_type) AS secrets
    FROM partner_connections c WHERE c.provider_type = ANY(:types)
    """
)


def show(session: Session, partner: str) -> Row:
    """Return how a partner does and what it is allowed, what staff did last, its syncs, and its version."""
    found = dict(session.execute(STATE, {"partner": partner}).one()._mapping)
    return {
        **found,
        "version": _version(found),
        "actions": [dict(row._mapping) for row in session.execute(LAST_ACTIONS, {"partner": partner})],
        "syncs": [dict(row._mapping) for row in session.execute(SYNCS, {"partner": partner})],
    }


def list_connected(session: Session, partners: list[str]) -> dict[str, Row]:
    """Return, by partner, version, address and the names of credentials of what staff stored; never a value."""
    rows = session.execute(CONNECTED, {"types": partners})
    return {row.provider_type: dict(row._mapping) for row in rows}


def list_calls(
    session: Session, partner: str, *, at: datetime | None, last: int | None, limit: int
) -> list[Row]:
    """Return calls to a partner, the newest first: templates of paths and outcomes, never bodies."""
    values = {"partner": partner, "at": at, "last": last, "limit": limit}
    return [dict(row._mapping) for row in session.execute(CALLS, values)]


def pause(session: Session, partner: str, who: Who) -> None:
    """Ask nothing of a partner until it is resumed; raise `Stale`, or `NotPossible` when it is paused already."""
    _lock(session, partner, who)
    if not partner_health.pause(session, partner, by=who.actor, reason=who.reason):
        raise NotPossible(f"{partner} is paused already")
    _record(session, "partner.pause", partner, who)


def resume(session: Session, partner: str, who: Who) -> None:
    """Lift a pause and close the circuit; raise `Stale`, or `NotPossible` when there is nothing to lift."""
    _lock(session, partner, who)
    if not partner_health.resume(session, partner):
        raise NotPossible(f"{partner} is neither paused nor left alone")
    _record(session, "partner.resume", partner, who)


def limit(session: Session, partner: str, who: Who, changes: Mapping[str, Any]) -> None:
    """Set `concurrency`, `rate_per_second` and `burst`; None takes one away. Raises `Stale`. Callers checked the bounds."""
    _lock(session, partner, who)
    by = partner_connections.Who(who.actor, who.reason)
    partner_connections.set_policies(session, partner, changes, who=by)


def record_check(
    session: Session, partner: str, *, actor: str, reason: str, outcome: str, said: str | None
) -> None:
    """Write down that a partner was called to see whether it answers: `outcome` is ok or an error's code."""
    staff.record(
        session,
        actor=actor,
        action="partner.check",
        subject=("partner", partner),
        reason=reason,
        detail={"outcome": outcome, "said": said},
    )


def _lock(session: Session, partner: str, who: Who) -> None:
    """Lock the partner's row, made where there was none; raise `Stale` where it is not what the person saw."""
    session.execute(LOCK, {"partner": partner})
    found = dict(session.execute(STATE, {"partner": partner}).one()._mapping)
    if _version(found) != who.version:
        raise Stale(f"{partner} has changed")


def _version(found: Row) -> str:
    """Return a name of what staff decide about: the pause, the circuit, the limits. Failures alone change nothing."""
    paused, rate = found["paused_at"], found["rate_per_second"]
    words = (
        paused.isoformat() if paused else "-",
        found["opened"],
        found["concurrency"] or "-",
        f"{rate:g}" if rate else "-",
        found["burst"],
    )
    return ":".join(map(str, words))


def _record(session: Session, action: str, partner: str, who: Who) -> None:
    staff.record(session, actor=who.actor, action=action, subject=("partner", partner), reason=who.reason)
