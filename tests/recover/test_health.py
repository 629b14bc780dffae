"""A worker's health is known without the broker."""

from __future__ import annotations

import pytest

from db.session import transaction
from tests.conftest import Database
from tests.recover.clock import pass_time
from workers import health
from workers.heartbeat import SIGN


def test_a_worker_is_well_while_it_gives_signs_of_life_whether_it_has_the_broker_or_not(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USHER_NODE", "worker@here")  # And the broker's address leads nowhere.
    assert health.check_worker() == "worker@here gave no sign of life for 45 s"
    with transaction() as session:
        session.execute(SIGN, {"node": "worker@here", "queues": ["mail"], "connected": False})
    assert health.check_worker() is None
    pass_time(hours=1)
    assert health.main(["worker"]) == 1
