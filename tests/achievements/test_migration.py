"""Revision 0008 goes down with data in it and up again; what follows from the facts comes back, and is not paid twice."""

from __future__ import annotations

import tasks.gamification
import tasks.xp  # noqa: F401 - registers the kinds
from db.migrate import downgrade, upgrade
from db.session import transaction
from domain import achievement_seeds, achievements
from domain.levels import SQRT
from tests.achievements.conftest import unlocked
from tests.conftest import Database
from tests.stack import rows, scalar
from tests.xp.conftest import assert_proven, complete, make_school
from workers.job import run_due


def test_down_and_up_again_with_data(database: Database) -> None:
    with transaction() as session:
        achievement_seeds.seed(session)
    school = make_school()
    complete(school)
    while run_due(["achievements.backfill", "xp.after_award", "gamification.settle"]):
        pass
    before = unlocked(school.students[0]), scalar("SELECT total_xp FROM users")
    assert before == ([("lessons", 1)], 60)
    downgrade(database.engine, "0007")
    assert rows("SELECT kind FROM jobs WHERE kind LIKE 'achievements.%' OR kind LIKE 'gamification.%'") == []
    complete(school, 1)
    upgrade(database.engine)
    with transaction() as session:
        achievement_seeds.seed(session)
    with transaction() as session:
        achievements.rebuild_batch(session, SQRT, xp_per_day=0)
    assert (unlocked(school.students[0]), scalar("SELECT total_xp FROM users")) == (before[0], 110)
    assert_proven()
