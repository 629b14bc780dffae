"""The audit of partner calls: what a job asked of a partner is written with the job's next commit."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy.orm import Session

from db import lean
from db.jobs import Claim
from partners.hooks import CallRecord

INSERT = lean.Statement(
    "insert_partner_calls",
    """
    INSERT INTO partner_calls (partner, method, path_template, status, outcome, duration_ms, attempt, job_id, subject_id,
        request, answer)
    SELECT partner, method, path_template, status, outcome, duration_ms, attempt, job_id, subject_id, request, answer
    FROM jsonb_to_recordset({calls}) AS c(
        partner text, method text, path_template text, status int, outcome text, duration_ms int, attempt int,
        job_id uuid, subject_id uuid, request jsonb, answer jsonb)
    """,
    calls="jsonb",
)
BULKY_KINDS = frozenset({"progress.sync", "progress.sync_one", "partner.reconcile"})

Row = dict[str, object]


class Calls:
    """The calls that a job has made and not written yet; threads of the job share it."""

    def __init__(self, held: Claim) -> None:
        self._held = held
        self._rows: list[Row] = []

    def note(self, record: CallRecord) -> None:
        """Note a call. Reading progress is noted only where it went wrong: there are too many to keep."""
        if record.outcome != "ok" or self._held.kind not in BULKY_KINDS:
            self._rows.append(_row(record, self._held))

    def noted(self) -> list[Row]:
        """Return what was noted, for `write`."""
        return self._rows.copy()

    def forget(self, written: Sequence[Row]) -> None:
        """Forget those that were written, the first that were noted."""
        del self._rows[: len(written)]


def write(session: Session, rows: Sequence[Row]) -> None:
    """Write calls, of one job or of several."""
    if rows:
        lean.execute(session, INSERT, {"calls": json.dumps(rows)})


def _row(call: CallRecord, held: Claim) -> Row:
    return {
        "partner": call.partner,
        "method": call.method,
        "path_template": call.path_template,
        "status": call.status,
        "outcome": call.outcome,
        "duration_ms": round(call.duration_ms),
        "attempt": held.attempts + 1,
        "job_id": held.id,
        "subject_id": held.subject_id,
        "request": call.request,
        "answer": call.answer,
    }
