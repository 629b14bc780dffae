"""Feature flags: on until switched off, seen by every process within seconds, each switch with an audit row."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask

from api import flags as api_flags
from api.auth import public
from db.session import transaction
from domain import flags
from domain.errors import NotFound
from tests.cli.conftest import Usher
from tests.conftest import Database
from tests.stack import rows, scalar

ROOT = Path(__file__).parents[2]


def is_on(name: str) -> bool:
    with transaction() as session:
        return flags.enabled(session, name)


def test_all_are_on_until_one_is_switched_off_and_each_switch_is_audited(
    usher: Usher,
    database: Database,
) -> None:
    assert all(is_on(name) for name in flags.FLAGS)
    assert usher("flags", "off", "quizzes", "--reason", "revised", "--actor", "staff@example.com").code == 0
    assert [name for name in flags.FLAGS if not is_on(name)] == ["quizzes"]
    assert "already" in usher("flags", "off", "quizzes").out
    assert "already" in usher("flags", "on", "streaks").out
    listed = {row["name"]: row["enabled"] for row in usher("flags", "list", "--json").json()}
    assert listed == {name: name != "quizzes" for name in flags.FLAGS}
    assert usher("flags", "on", "quizzes").code == 0
    assert is_on("quizzes")
    assert rows("SELECT actor, action, subject_id, reason FROM staff_actions ORDER BY created_at") == [
        ("staff@example.com", "flag.off", "quizzes", "revised"),
        ("command line", "flag.on", "quizzes", None),
    ]


def test_a_name_that_is_none_is_refused(usher: Usher, database: Database) -> None:
    answer = usher("flags", "off", "quizes")
    assert (answer.code, "quizzes" in answer.err) == (1, True)
    assert scalar("SELECT count(*) FROM feature_flags") == 0
    with pytest.raises(NotFound), transaction() as session:
        flags.enabled(session, "quizes")
    with pytest.raises(NotFound):
        api_flags.requires("quizes")


def test_a_switch_elsewhere_is_seen_when_the_cache_is_old(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_on("streaks")
    with transaction() as session:
        session.execute(flags.SWITCH, {"name": "streaks", "enabled": False})
    assert is_on("streaks"), "as read a moment ago"
    monkeypatch.setattr(flags, "CACHED", -1.0)
    assert not is_on("streaks")


def test_a_switch_that_is_rolled_back_changes_nothing(database: Database) -> None:
    with transaction() as session:
        assert flags.switch(session, "streaks", on=False, actor="staff")
        session.rollback()
    assert is_on("streaks")
    assert scalar("SELECT count(*) FROM staff_actions") == 0


def test_the_routes_of_a_feature_that_is_off_answer_404(app: Flask, usher: Usher) -> None:
    view = api_flags.requires("quizzes")(public(lambda: "open"))
    app.add_url_rule("/quizzes-for-this-test", view_func=view, endpoint="quizzes_for_this_test")
    caller = app.test_client()
    assert caller.get("/quizzes-for-this-test").text == "open"
    usher("flags", "off", "quizzes")
    answer = caller.get("/quizzes-for-this-test")
    assert (answer.status_code, answer.get_json()["code"]) == (404, "feature_off")
    usher("flags", "on", "quizzes")
    assert caller.get("/quizzes-for-this-test").status_code == 200
