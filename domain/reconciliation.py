"""Comparisons with Stripe and with partners: which are due, how far each came, and what it found.

Each is a row, and a job that works it off; the row keeps the place, so a killed comparison goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from db import jobs
from domain import findings
from domain.errors import NotFound

STRIPE = "stripe"
RECONCILE_STRIPE = "stripe.reconcile"
RECONCILE_PARTNER = "partner.reconcile"

# How far back the daily comparison with Stripe looks: disputes come months after the sale.
REACH = timedelta(days=180)
# How far Stripe lets events be listed.
EVENTS_REACH = timedelta(days=30)
# What the hourly comparison reads again, so that what was lost here after its last look is found.
OVERLAP = timedelta(days=1)
# What is younger may still be on its way to us and is left to the next run; whoever asks by hand wants it all.
UNDER_WAY = timedelta(minutes=15)

LOAD = text(
    "SELECT id, scope, occasion, since, phase, place, looked_at, created_at AS started_at, finished_at"
    " FROM reconciliations WHERE id = :id"
)
INSERT = text(
    """
    INSERT INTO reconciliations (scope, occasion, since) VALUES (
        :scope, :occasion, coalesce(CAST(:since AS timestamptz), now() - CAST(:reach AS interval))
    ) RETURNING id
    """
)
# Whether a comparison is under way, when the last scheduled one that got through began, and when the last daily one did.
STANDING = text(
    """
    SELECT
        EXISTS (
            SELECT 1 FROM reconciliations r JOIN jobs j ON j.kind = :kind AND j.business_key = r.id::text
            WHERE r.scope = :scope AND r.finished_at IS NULL AND j.state IN ('ready', 'running')
        ) AS under_way,
        max(created_at) AS asked,
        max(created_at) FILTER (WHERE finished_at IS NOT NULL AND occasion <> 'asked') AS scheduled,
        max(created_at) FILTER (WHERE finished_at IS NOT NULL AND occasion = 'daily') AS daily,
        now() AS now
    FROM reconciliations WHERE scope = :scope
    """
)


@dataclass(frozen=True)
class Reconciliation:
    """One comparison and where it stands."""

    id: str
    scope: str
    occasion: str
    since: datetime
    phase: str | None
    place: str | None
    looked_at: int
    started_at: datetime
    finished_at: datetime | None

    @property
    def until(self) -> datetime | None:
        """Return up to when things should have reached us; None for a comparison that somebody asked for."""
        return None if self.occasion == "asked" else self.started_at - UNDER_WAY


@dataclass(frozen=True)
class Asked:
    """A comparison that was asked for, and its job."""

    id: str
    job_id: str


def ask_stripe(session: Session, *, since: datetime | None = None, occasion: str = "asked") -> Asked:
    """Ask for a comparison with Stripe; without `since` it looks as far back as it can be useful."""
    return _ask(session, STRIPE, occasion, since, RECONCILE_STRIPE, "control", None)


def ask_partner(session: Session, provider_type: str, *, occasion: str = "asked") -> Asked:
    """Ask for a comparison with a partner's roster; raise `NotFound` when no partner is of this type."""
    known = session.scalar(
        text("SELECT count(*) FROM partner_lms_providers WHERE provider_type = :type"),
        {"type": provider_type},
    )
    if not known:
        raise NotFound(f"there is no partner of the type {provider_type!r}")
    queue = f"sync.{provider_type}"
    return _ask(session, provider_type, occasion, None, RECONCILE_PARTNER, queue, provider_type)


def schedule_stripe(session: Session) -> Asked | None:
    """Ask for the comparison with Stripe when it is due, every hour, once a day as far back as it can be useful."""
    standing = session.execute(STANDING, {"scope": STRIPE, "kind": RECONCILE_STRIPE}).one()
    if standing.under_way or _is_younger(standing.asked, standing.now, timedelta(hours=1)):
        return None
    if not _is_younger(standing.daily, standing.now, timedelta(days=1)):
        return ask_stripe(session, occasion="daily")
    since = max(standing.scheduled - OVERLAP, standing.now - EVENTS_REACH)
    return ask_stripe(session, since=since, occasion="hourly")


def schedule_partners(session: Session, provider_types: Sequence[str]) -> list[str]:
    """Ask for the comparison with every active partner that was not compared for a day; return their types."""
    active = session.scalars(
        text(
            "SELECT DISTINCT provider_type FROM partner_lms_providers"
            " WHERE active AND provider_type = ANY(:types) ORDER BY 1"
        ),
        {"types": list(provider_types)},
    ).all()
    due = [provider_type for provider_type in active if _is_partner_due(session, provider_type)]
    for provider_type in due:
        ask_partner(session, provider_type, occasion="daily")
    return due


def load(session: Session, run_id: str) -> Reconciliation:
    """Return a comparison; raise `NotFound`."""
    row = session.execute(LOAD, {"id": run_id}).one_or_none()
    if row is None:
        raise NotFound(f"there is no reconciliation {run_id}")
    return Reconciliation(**row._mapping)


def save_place(session: Session, run_id: str, phase: str, place: str | None, looked_at: int = 0) -> None:
    """Remember how far a comparison came, and how much it looked at on the way."""
    session.execute(
        text(
            "UPDATE reconciliations SET phase = :phase, place = :place, looked_at = looked_at + :looked_at"
            " WHERE id = :id"
        ),
        {"id": run_id, "phase": phase, "place": place, "looked_at": looked_at},
    )


def finish(session: Session, run_id: str) -> None:
    """Note that a comparison is through, and forget what is no longer of use."""
    session.execute(
        text("UPDATE reconciliations SET finished_at = now(), phase = NULL, place = NULL WHERE id = :id"),
        {"id": run_id},
    )
    session.execute(text("DELETE FROM reconciliation_pages WHERE reconciliation_id = :id"), {"id": run_id})
    session.execute(
        text("DELETE FROM reconciliations WHERE created_at < now() - :days * interval '1 day'"),
        {"days": findings.KEPT_DAYS},
    )
    findings.forget_old(session)


def report(session: Session, run_id: str) -> dict[str, Any]:
    """Return what a comparison did: since when, how much it looked at, what it repaired, what needs a person."""
    run = load(session, run_id)
    return {
        "id": run.id,
        "scope": run.scope,
        "since": run.since,
        "looked_at": run.looked_at,
        "repaired": findings.list_repaired(session, run.id),
        "needs_person": findings.list_open(session, run.scope),
    }


def _ask(
    session: Session,
    scope: str,
    occasion: str,
    since: datetime | None,
    kind: str,
    queue: str,
    partner: str | None,
) -> Asked:
    run_id = str(
        session.scalar(
            INSERT,
            {"scope": scope, "occasion": occasion, "since": since, "reach": f"{REACH.days} days"},
        )
    )
    job_id = jobs.enqueue(
        session, jobs.Enqueue(kind, run_id, queue=queue, subject_id=run_id, partner=partner)
    )
    return Asked(run_id, str(job_id))


def _is_partner_due(session: Session, provider_type: str) -> bool:
    standing = session.execute(STANDING, {"scope": provider_type, "kind": RECONCILE_PARTNER}).one()
    return not standing.under_way and not _is_younger(standing.asked, standing.now, timedelta(days=1))


def _is_younger(at: datetime | None, now: datetime, age: timedelta) -> bool:
    return at is not None and now - at < age
