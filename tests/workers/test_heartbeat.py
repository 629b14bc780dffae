"""A worker's signs of life: which queues, whether it has the broker, and none any more once it has ended."""

from __future__ import annotations

import signal

import pytest

from tests.e2e.conftest import stack
from tests.stack import Stack, rows, wait_until
from workers.queues import all_queues

__all__ = ["stack"]
pytestmark = pytest.mark.e2e


def test_a_worker_signs_while_it_lives_and_signs_off(stack: Stack) -> None:
    stack.start_worker("worker")
    wait_until(lambda: rows("SELECT 1 FROM worker_nodes"), 30)
    [(node, queues, connected)] = rows("SELECT node, queues, connected FROM worker_nodes")
    assert (node, sorted(queues), connected) == ("worker@test", sorted(all_queues()), True)
    stack.kill("worker", signal.SIGTERM)
    wait_until(lambda: rows("SELECT 1 FROM worker_nodes") == [], 30)
