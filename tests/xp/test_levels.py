"""The curves at their edges, in Python and in the database."""

from __future__ import annotations

import random

import pytest

from domain import levels
from tests.conftest import Database
from tests.stack import rows

TABLE = levels.make_table(1, [0, 100, 250, 1000])


@pytest.mark.parametrize(
    ("xp", "level"),
    [
        (-1, 0),
        (0, 0),
        (99, 0),
        (100, 1),
        (399, 1),
        (400, 2),
        (650, 2),
        (899, 2),
        (900, 3),
        (1599, 3),
        (1600, 4),
    ],
)
def test_the_square_root_at_its_edges(xp: int, level: int) -> None:
    assert levels.SQRT.level(xp) == level


@pytest.mark.parametrize(("xp", "level"), [(-5, 1), (0, 1), (99, 1), (100, 2), (1600, 17)])
def test_the_line_at_its_edges(xp: int, level: int) -> None:
    assert levels.LINEAR.level(xp) == level


@pytest.mark.parametrize(
    ("xp", "level"), [(-1, 1), (0, 1), (99, 1), (100, 2), (249, 2), (1000, 4), (9**9, 4)]
)
def test_a_table_at_its_edges(xp: int, level: int) -> None:
    assert TABLE.level(xp) == level


def test_650_xp_on_the_square_root_are_250_of_500_in_level_2() -> None:
    assert levels.stand(levels.SQRT, 650) == levels.Standing(650, 2, 250, 500)
    assert levels.stand(levels.LINEAR, 650) == levels.Standing(650, 7, 50, 100)


def test_a_negative_total_shows_as_nothing_and_a_last_level_has_no_next() -> None:
    assert levels.stand(levels.SQRT, -30) == levels.Standing(0, 0, 0, 100)
    assert levels.stand(TABLE, 1200) == levels.Standing(1200, 4, 200, None)


@pytest.mark.parametrize("spec", ["", "cubic", "table:1:5,10", "table:1:0,10,10", "table:1:", "table:x:0"])
def test_a_curve_that_is_none_is_refused(spec: str) -> None:
    with pytest.raises(ValueError):
        levels.parse(spec)


def test_the_square_root_is_exact_for_large_totals() -> None:
    for level in (94_906_265, 10**7, 3_000_000):
        assert levels.SQRT.level(100 * level * level) == level
        assert levels.SQRT.level(100 * level * level - 1) == level - 1


def test_the_database_gives_the_same_levels(database: Database) -> None:
    random.seed(7)
    for curve in (levels.SQRT, levels.LINEAR, TABLE):
        edges = [at for level in range(1, 60) if (at := curve.threshold(level)) is not None]
        totals = [*(at + step for at in edges for step in (-1, 0, 1)), *random.sample(range(10**9), 500), -7]
        found = rows(
            "SELECT xp, xp_level(xp, :curve) FROM unnest(CAST(:totals AS bigint[])) AS xp",
            curve=curve.spec,
            totals=totals,
        )
        assert [(xp, curve.level(xp)) for xp in totals] == found
