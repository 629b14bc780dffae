"""The audit of partner calls: what a job asked of a partner is written with the job's next commit."""

from __future__ import annotations

import json

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.jobs import Claim
from partners.hooks import CallRecord

INSERT = text(
    """
    INSERT INTO partner_calls (partner, method, path_template, status, outcome, duration_ms, attempt, job_id, subject_id,
        request, answer)
    VALUES (:partner, :method, :path_template, :status, :outcome, :duration_ms, :attempt, :job_id, :subject_id,
        CAST(:request AS jsonb), CAST(:answer AS jsonb))
    """
)
BULKY_KINDS = frozenset({"progress.sync", "progress.sync_one", "partner.reconcile"})


class Calls:
    """The calls that a job has made since its last commit; threads of the job share it."""

    def __init__(self, held: Claim) -> None:
        self._held = held
        self._records: list[CallRecord] = []

    def note(self, record: CallRecord) -> None:
        """Note a call. Reading progress is noted only where it went wrong: there are too many to keep."""
        if record.outcome != "ok" or self._held.kind not in BULKY_KINDS:
            self._records.append(record)

    def write(self, session: Session) -> None:
        """Write what was noted; it is forgotten here once it is written."""
        if self._records:
            records, self._records = self._records, []
            session.execute(INSERT, [_row(record, self._held) for record in records])


def _row(call: CallRecord, held: Claim) -> dict[str, object]:
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
        "request": None if call.request is None else json.dumps(call.request),
        "answer": None if call.answer is None else json.dumps(call.answer),
    }
