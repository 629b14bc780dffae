"""`usher xp`."""

from __future__ import annotations

import pytest
from sqlalchemy import text

import settings as settings_module
from db.session import transaction
from domain import demo
from tests.cli.conftest import Usher
from tests.conftest import Database
from tests.xp.conftest import complete, make_school, totals


def drift() -> None:
    with transaction() as session:
        session.execute(text("ALTER TABLE users DISABLE TRIGGER xp_totals_guard_update"))
        session.execute(text("UPDATE users SET total_xp = 7"))
        session.execute(text("ALTER TABLE users ENABLE TRIGGER xp_totals_guard_update"))


def test_the_totals_are_proven_and_repaired(usher: Usher, database: Database) -> None:
    complete(make_school())
    assert usher("xp", "verify", "--json").json() == {"users": 1, "drifts": [], "repaired": False}
    drift()
    found = usher("xp", "verify")
    assert (found.code, "1 differ" in found.out) == (1, True)
    assert usher("xp", "verify", "--repair").code == 0
    assert usher("xp", "verify").code == 0
    assert totals() == [(50, 0, 0)]


def test_levels_follow_the_curve_when_it_is_changed(
    usher: Usher, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    school = make_school(lessons=2)
    complete(school)
    complete(school, 1)
    for curve, level in (("linear", 4), ("table:5:0,10,20", 7), ("sqrt", 1)):
        monkeypatch.setenv("LEVEL_CURVE", curve)
        settings_module.get_settings.cache_clear()
        assert usher("xp", "recompute-levels").code == 0
        assert totals() == [(300, level, level)]
        assert usher("xp", "verify").code == 0


def test_a_curve_that_is_none_is_named_at_the_start(
    usher: Usher, usher_env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEVEL_CURVE", "cubic")
    settings_module.get_settings.cache_clear()
    answer = usher("xp", "verify")
    assert (answer.code, "LEVEL_CURVE" in answer.err) == (2, True)


def test_somebody_is_shown(usher: Usher, database: Database) -> None:
    with transaction() as session:
        demo.seed(session)
    assert usher("xp", "show", "Ana@example.com", "--json").json()["total_xp"] == 0
    assert "level_curve" in usher("xp", "show", "ana@example.com").out
    assert usher("xp", "show", "nobody@example.com").code == 1
