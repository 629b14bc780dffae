"""Deployments as they happen: the fault harness' stack and sizes, and nginx before the api."""

from __future__ import annotations

import pytest

from tests.faults.conftest import size, stack

__all__ = ["size", "stack"]


@pytest.fixture
def only_in_full(request: pytest.FixtureRequest) -> None:
    """For what takes more than some seconds."""
    if not request.config.getoption("full"):
        pytest.skip("takes long: --full")
