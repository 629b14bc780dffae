"""Which partners may be asked now: pauses, circuit breakers, limits. One partner's trouble stays its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from db import lean

CREDENTIALS = "credentials"

NOTE_FAILURE = text(
    """
    INSERT INTO partner_states AS s (partner, failures) VALUES (:partner, 1)
    ON CONFLICT (partner) DO UPDATE SET failures = s.failures + 1, updated_at = now(),
        opened = CASE WHEN s.failures + 1 >= :threshold AND coalesce(s.open_until, '-infinity') <= now()
            THEN s.opened + 1 ELSE s.opened END,
        open_until = CASE WHEN s.failures + 1 >= :threshold AND coalesce(s.open_until, '-infinity') <= now()
            THEN now() + least(:cap, :base * power(2, least(s.opened, 20))) * interval '1 second' ELSE s.open_until END
    RETURNING extract(epoch FROM open_until - now()) AS closed_for
    """
)
HEALTH = lean.Statement(
    "health_of_partners",
    "SELECT partner, paused_at IS NOT NULL OR coalesce(open_until > now(), false) AS blocked,"
    " opened > 0 AS probing, concurrency FROM partner_states",
)
TROUBLE = lean.Statement(
    "partner_trouble",
    "SELECT failures > 0 OR open_until IS NOT NULL AS troubled, opened FROM partner_states WHERE partner = {partner}",
    partner="text",
)
NOTE_SUCCESS = text(
    """
    UPDATE partner_states SET failures = 0, opened = 0, open_until = NULL, updated_at = now()
    WHERE partner = :partner AND (failures > 0 OR open_until IS NOT NULL)
    """
)
# Work that was put off because the partner was in trouble comes back at once, spread over some seconds; what the
# partner itself asked to wait for keeps its time.
HURRY = text(
    """
    UPDATE jobs SET next_run_at = now() + random() * least(:spread, 10) * interval '1 second', rung_at = NULL
    WHERE partner = :partner AND state = 'ready' AND next_run_at > now() AND last_error IS NOT NULL
        AND last_error NOT LIKE 'rate_limited%' AND last_error NOT LIKE 'throttled%' AND last_error NOT LIKE 'not_ready%'
    """
)


@dataclass(frozen=True)
class Breaker:
    """When a circuit opens and for how long: `base` seconds the first time, doubling up to `cap`."""

    threshold: int
    base: float
    cap: float


@dataclass(frozen=True)
class Health:
    """What the relay has to know of a partner."""

    partner: str
    blocked: bool
    probing: bool
    concurrency: int | None


def health_of_all(session: Session) -> dict[str, Health]:
    """Return the partners about which there is something to know."""
    rows = lean.execute(session, HEALTH, {})
    return {row.partner: Health(row.partner, row.blocked, row.probing, row.concurrency) for row in rows}


def note_failure(session: Session, partner: str, breaker: Breaker) -> float | None:
    """Count a failure that concerns the partner as a whole; return for how many seconds its circuit is open, else None."""
    seconds = session.execute(
        NOTE_FAILURE,
        {"partner": partner, "threshold": breaker.threshold, "base": breaker.base, "cap": breaker.cap},
    ).scalar_one()
    return None if seconds is None or seconds <= 0 else float(seconds)


def note_success(session: Session, partner: str) -> None:
    """Close the circuit; work that waited for it comes back by itself."""
    state = lean.execute(session, TROUBLE, {"partner": partner}).one_or_none()
    if state is None or not state.troubled:
        return
    session.execute(NOTE_SUCCESS, {"partner": partner})
    if state.opened:
        hurry(session, partner)


def hurry(session: Session, partner: str) -> int:
    """Make work that was put off due now, spread over a few seconds; return how much."""
    waiting = session.scalar(
        text("SELECT count(*) FROM jobs WHERE partner = :p AND state = 'ready' AND next_run_at > now()"),
        {"p": partner},
    )
    session.execute(HURRY, {"partner": partner, "spread": (waiting or 0) / 50})
    return waiting or 0


def pause(session: Session, partner: str, *, by: str, reason: str) -> bool:
    """Ask nothing of a partner until it is resumed; False when it was paused already."""
    session.execute(
        text("INSERT INTO partner_states (partner) VALUES (:partner) ON CONFLICT DO NOTHING"),
        {"partner": partner},
    )
    paused = session.execute(
        text(
            "UPDATE partner_states SET paused_at = now(), paused_by = :by, paused_reason = :reason, updated_at = now()"
            " WHERE partner = :partner AND paused_at IS NULL RETURNING partner"
        ),
        {"partner": partner, "by": by, "reason": reason},
    )
    return paused.one_or_none() is not None


def resume(session: Session, partner: str) -> bool:
    """Lift a pause and close the circuit; waiting work goes on at once. False when there was nothing to lift."""
    resumed = session.execute(
        text(
            "UPDATE partner_states SET paused_at = NULL, paused_by = NULL, paused_reason = NULL, failures = 0,"
            " opened = 0, open_until = NULL, updated_at = now()"
            " WHERE partner = :partner AND (paused_at IS NOT NULL OR open_until IS NOT NULL) RETURNING partner"
        ),
        {"partner": partner},
    )
    if resumed.one_or_none() is None:
        return False
    hurry(session, partner)
    return True


def paused_for_credentials(session: Session) -> list[str]:
    """Return the partners that were paused because they refused our credentials."""
    return list(
        session.scalars(
            text(
                "SELECT partner FROM partner_states WHERE paused_at IS NOT NULL AND paused_reason LIKE :reason"
            ),
            {"reason": f"{CREDENTIALS}%"},
        )
    )


def set_limits(
    session: Session, partner: str, *, concurrency: int | None, rate_per_second: float | None, burst: int
) -> None:
    """Set how many jobs at once and how many calls a second a partner gets; None takes a limit away."""
    session.execute(
        text(
            """
            INSERT INTO partner_states (partner, concurrency, rate_per_second, burst)
            VALUES (:partner, :concurrency, :rate, :burst)
            ON CONFLICT (partner) DO UPDATE SET concurrency = excluded.concurrency, burst = excluded.burst,
                rate_per_second = excluded.rate_per_second, updated_at = now()
            """
        ),
        {"partner": partner, "concurrency": concurrency, "rate": rate_per_second, "burst": burst},
    )


def rates(session: Session) -> dict[str, tuple[float, int]]:
    """Return the partners that have a rate limit: calls per second and burst."""
    rows = session.execute(
        text("SELECT partner, rate_per_second, burst FROM partner_states WHERE rate_per_second IS NOT NULL")
    )
    return {row.partner: (float(row.rate_per_second), row.burst) for row in rows}


def list_partners(session: Session, partner_types: list[str]) -> list[dict[str, Any]]:
    """Return how every kind of partner is doing, for people."""
    rows = session.execute(
        text(
            """
            SELECT t.partner, CASE WHEN s.paused_at IS NOT NULL THEN 'paused' WHEN s.open_until > now() THEN 'open'
                    WHEN s.opened > 0 THEN 'probing' ELSE 'ok' END AS state,
                s.paused_reason, s.paused_by, s.paused_at, s.failures, s.open_until, s.concurrency, s.rate_per_second,
                (SELECT count(*) FROM jobs WHERE jobs.partner = t.partner AND jobs.state = 'ready') AS waiting
            FROM unnest(CAST(:types AS text[])) AS t(partner) LEFT JOIN partner_states s USING (partner) ORDER BY 1
            """
        ),
        {"types": partner_types},
    )
    return [dict(row._mapping) for row in rows]
