"""Awards, reversals, activity, edits and jobs at once: nobody waits for ever, nothing is lost, nothing is given twice."""

from __future__ import annotations

import contextlib
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

import tasks.gamification
import tasks.xp  # noqa: F401 - registers the kinds
from db.session import transaction
from domain import achievement_catalogue, achievements, counters, xp_corrections
from domain.errors import DomainError
from domain.levels import SQRT
from tests.achievements.conftest import at_least, make
from tests.stack import rows, scalar
from tests.streaks.conftest import be_active
from tests.xp.conftest import School, complete, make_school
from workers.job import run_due

pytestmark = pytest.mark.usefixtures("proven")

KINDS = ["xp.after_award", counters.SETTLE, achievement_catalogue.BACKFILL]
STANDING = """
    SELECT a.id FROM xp_transactions a WHERE a.user_id = :user AND a.source_type = 'LESSON' AND a.kind = 'award'
        AND NOT EXISTS (SELECT 1 FROM xp_transactions r WHERE r.reverses_id = a.id) LIMIT 1
"""


def act(school: School, choice: random.Random) -> None:
    student = choice.randrange(len(school.students))
    kind = choice.random()
    if kind < 0.4:
        complete(school, choice.randrange(len(school.lessons)), student)
    elif kind < 0.55:
        for (entry,) in rows(STANDING, user=school.students[student]):
            with transaction() as session:
                xp_corrections.reverse(session, SQRT, str(entry), reason="reversed_by_staff")
    elif kind < 0.65:
        be_active(school.students[student], choice.randrange(4))
    else:
        run_due(KINDS)


def write(school: School, seed: int) -> None:
    choice = random.Random(seed)
    for _ in range(40):
        with contextlib.suppress(DomainError):
            act(school, choice)


def test_whatever_comes_at_once_ends_as_the_facts_say() -> None:
    school = make_school(students=3, lessons=4)
    make("one", at_least("lessons.completed", 1), xp_reward=10, revocable=True)
    make("three", at_least("lessons.completed", 3), xp_reward=20)
    make("rich", at_least("xp.total", 200), xp_reward=30)
    make("many", at_least("achievements.unlocked", 2), xp_reward=40, revocable=True)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda seed: write(school, seed), range(4)))
    assert rows("SELECT kind, last_error FROM jobs WHERE last_error IS NOT NULL") == []
    while run_due(KINDS):
        pass
    assert (
        rows("SELECT kind, state, last_error FROM jobs WHERE state <> 'done' AND kind = ANY(:k)", k=KINDS)
        == []
    )
    assert scalar("SELECT count(*) FROM user_counters WHERE stale") == 0
    state = "SELECT user_id, name, value FROM user_counters WHERE value <> 0 ORDER BY 1, 2"
    held = "SELECT user_id, achievement_id FROM user_achievements ORDER BY 1, 2"
    before = rows(state), rows(held)
    with transaction() as session:
        achievements.rebuild_batch(session, SQRT, xp_per_day=0)
    assert (rows(state), rows(held)) == before
    # Whoever has a revocable one has its XP, once, and nobody else has.
    paid = """
        SELECT t.user_id, t.source_id::uuid FROM xp_transactions t
        WHERE t.category = 'ACHIEVEMENT' AND t.kind = 'award'
            AND NOT EXISTS (SELECT 1 FROM xp_transactions r WHERE r.reverses_id = t.id) ORDER BY 1, 2
    """
    assert rows(paid) == before[1]
