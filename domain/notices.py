"""What staff and programs are told of an alert: figures and words, nothing of any person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from domain.errors import NotFound

RUNBOOK = "docs/runbook.md"
# Of each kind: the entry of the runbook, which is the name that Prometheus' rule has too, and what it says.
ENTRIES = {
    "payment_not_ready": ("UsherPaymentNotReady", "somebody paid and cannot learn yet"),
    "queue_unclaimed": ("UsherQueueUnclaimed", "nobody takes work of the queue {0}"),
    "beat_silent": ("UsherBeatSilent", "no turn of the schedule is taken"),
    "relay_silent": ("UsherRelaySilent", "no relay gives a sign of life"),
    "partner_paused": ("UsherPartnerPaused", "{0} is paused"),
    "partner_circuit_open": ("UsherPartnerCircuitOpen", "the circuit of {0} is open"),
    "xp_drift": ("UsherXpDrift", "XP totals differed from the ledger"),
}
EVENTS = {"opened": "", "again": "again: ", "resolved": "over: "}
LOAD = text("SELECT * FROM alerts WHERE id = :id")


@dataclass(frozen=True)
class Notice:
    """What is told: a sentence, a text for a mail, and the body for a program."""

    summary: str
    text: str
    body: dict[str, Any]


def compose(session: Session, alert_id: str, event: str) -> Notice:
    """Return the notice of an alert's `event` (`opened`, `again:{n}`, `resolved`); raise `NotFound`."""
    row = session.execute(LOAD, {"id": alert_id}).one_or_none()
    if row is None:
        raise NotFound(f"there is no alert {alert_id}")
    entry, words = ENTRIES[row.kind]
    name = event.partition(":")[0]
    summary = EVENTS[name] + words.format(row.subject)
    figures = "".join(f"{key}: {value}\n" for key, value in sorted(row.figures.items()))
    body = {
        "id": f"{alert_id}:{event}",
        "alert_id": alert_id,
        "event": name,
        "kind": row.kind,
        "subject": row.subject or None,
        "summary": summary,
        "opened_at": row.opened_at.isoformat(),
        "resolved_at": None if row.resolved_at is None else row.resolved_at.isoformat(),
        "figures": row.figures,
        "runbook": f"{RUNBOOK}#{entry.lower()}",
    }
    told = f"{summary[0].upper()}{summary[1:]}, since {row.opened_at:%Y-%m-%d %H:%M} UTC.\n\n{figures}"
    return Notice(summary, f"{told}\nWhat it means and what to press: {body['runbook']}\n", body)
