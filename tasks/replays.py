"""Bulk replays, turn by turn."""

from __future__ import annotations

from domain import replays
from partners.registry import provider_types
from workers.job import JobRun, job


@job("replay.run")
def run_batch(run: JobRun) -> None:
    """Take a bulk replay one turn further; it comes back until it has ended."""
    next_turn = run.checkpoint(lambda session: replays.advance(session, run.subject_id, provider_types()))
    if next_turn is not None:
        run.come_back(next_turn)
