"""`usher courses` and `usher xp multiplier`."""

from __future__ import annotations

import tasks.xp  # noqa: F401 - registers the kinds
from tests.cli.conftest import Usher
from tests.conftest import Database
from tests.stack import rows, scalar
from tests.xp.conftest import assert_proven, complete, make_school, totals

WHO = ("--reason", "a good cause", "--actor", "staff@example.com")


def test_a_course_is_looked_at_and_then_deleted(usher: Usher, database: Database) -> None:
    school = make_school(lessons=1)
    complete(school)
    found = usher("courses", "delete", school.course, "--dry-run", "--json").json()
    assert (found["learners"], found["awards"], found["xp"]) == (1, 2, 250)
    assert found["state"] == "nothing was changed"
    assert usher("courses", "delete", school.course).code == 2
    assert totals() == [(250, 1, 1)]
    assert "deleted" in usher("courses", "delete", school.course, *WHO).out
    assert totals() == [(0, 0, 1)]
    assert rows("SELECT actor, action, reason, detail ->> 'xp' FROM staff_actions") == [
        ("staff@example.com", "courses.delete", "a good cause", "250")
    ]
    assert usher("courses", "delete", school.course, *WHO).code == 1
    assert_proven()


def test_a_multiplier_is_added_listed_and_ended(usher: Usher, database: Database) -> None:
    school = make_school()
    added = usher(
        *("xp", "multiplier", "add", "weekend", "1.5", "--until", "2999-01-01", "--course", school.course),
        *(*WHO, "--json"),
    ).json()
    assert (added["factor"], added["state"], added["course_id"]) == (15_000, "holds", school.course)
    assert added["ends_at"] == "2999-01-01T00:00:00+00:00"
    assert complete(school).awarded == 75
    [listed] = usher("xp", "multiplier", "list", "--json").json()
    assert listed["id"] == added["id"]
    assert "weekend has ended" in usher("xp", "multiplier", "end", added["id"], *WHO).out
    assert complete(school, 1).awarded == 50
    assert usher("xp", "multiplier", "end", added["id"], *WHO).code == 1
    assert scalar("SELECT count(*) FROM staff_actions WHERE subject_type = 'xp_multiplier'") == 2


def test_a_multiplier_that_is_none_is_a_wrong_call(usher: Usher, database: Database) -> None:
    for factor, until, more in (
        ("1", "2999-01-01", ()),
        ("many", "2999-01-01", ()),
        ("1.00001", "2999-01-01", ()),
        ("NaN", "2999-01-01", ()),
        ("2", "soon", ()),
        ("2", "2001-01-01", ()),
        ("2", "2999-01-01", ("--category", "MANUAL")),
    ):
        answer = usher("xp", "multiplier", "add", "x", factor, "--until", until, *more, *WHO)
        assert answer.code == 2, (factor, until, more)
    assert rows("SELECT * FROM xp_multipliers") == []
