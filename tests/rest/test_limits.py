"""What a configuration declares is kept by all workers together, unless staff set something else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import settings as settings_module
from db.session import transaction
from domain import partner_health
from domain.partner_health import health_of_all
from partners.errors import Throttled
from partners.registry import Limits, declared_limits, get_partner
from settings import get_settings
from tests.cli.conftest import Usher, usher
from tests.conftest import Database
from workers.limits import SharedLimits
from workers.windows import windows

__all__ = ["usher"]

SLOW = """
adapter: rest
verified: {level: own-protocol, against: a test}
base_url: https://slow.example
options:
  auth: {kind: none}
  limits: {per_minute: 6, burst: 2, concurrency: 9}
  operations:
    check: {method: GET, path: /}
"""


@pytest.fixture(autouse=True)
def _folder(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "slow.yaml").write_text(SLOW)
    monkeypatch.setenv("PARTNERS_DIR", str(tmp_path))
    settings_module.get_settings.cache_clear()
    get_partner.cache_clear()
    yield
    get_partner.cache_clear()


def test_a_declared_rate_is_kept_across_processes() -> None:
    first, second = SharedLimits(), SharedLimits()
    first("slow", "key")
    second("slow", "key")
    with pytest.raises(Throttled) as caught:
        first("slow", "key")
    assert caught.value.after is not None
    assert 1 < caught.value.after <= 15
    first("slow", "another credential")


def test_what_staff_set_counts() -> None:
    with transaction() as session:
        partner_health.set_limits(session, "slow", concurrency=5, rate_per_second=1000, burst=50)
        health = health_of_all(session)
    limits = SharedLimits()
    for _ in range(20):
        limits("slow", "key")
    assert windows(["enroll.slow"], health, get_settings())["enroll.slow"] < 5


def test_a_declared_concurrency_is_kept_by_the_relay() -> None:
    found = windows(["enroll.slow", "enroll.sandbox"], {}, get_settings())
    assert found["enroll.slow"] < 9 < found["enroll.sandbox"]


def test_who_declares_nothing_or_is_played_by_the_sandbox_has_no_limits() -> None:
    assert declared_limits("sandbox") == declared_limits("hsi") == declared_limits("nobody") == Limits()
    assert declared_limits("slow") == Limits(0.1, 2, 9)


def test_what_is_declared_is_listed(usher: Usher) -> None:
    [row] = [row for row in usher("partner", "list", "--json").json() if row["partner"] == "slow"]
    assert (row["rate_per_second"], row["concurrency"], row["verified"]) == (0.1, 9, "own-protocol")
