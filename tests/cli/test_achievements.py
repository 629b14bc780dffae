"""`usher achievements`."""

from __future__ import annotations

import tasks.gamification
import tasks.xp  # noqa: F401 - registers the kinds
from domain import achievement_seeds
from tests.cli.conftest import Usher
from tests.conftest import Database
from tests.stack import rows
from tests.xp.conftest import complete, make_school
from workers.job import run_due


def test_the_common_achievements_are_made_once_and_reach_who_earned_them(
    usher: Usher, database: Database
) -> None:
    complete(make_school())
    assert usher("achievements", "seed", "--json").json() == {"made": list(achievement_seeds.COMMON)}
    assert "All of them are there" in usher("achievements", "seed").out
    while run_due(["achievements.backfill", "xp.after_award", "gamification.settle"]):
        pass
    found = usher("achievements", "list", "--json").json()
    assert len(found) == len(achievement_seeds.COMMON)
    assert [item["code"] for item in found if item["holders"]] == ["lessons"]
    assert rows("SELECT total_xp FROM users") == [(60,)]
    assert "lessons" in usher("achievements", "list").out


def test_caches_are_built_anew(usher: Usher, database: Database) -> None:
    complete(make_school(students=2))
    answer = usher("achievements", "rebuild", "--json")
    assert (answer.code, answer.json()) == (0, {"users": 2, "differed": 1})
    assert "2 users built anew, 0 had" in usher("achievements", "rebuild").out
