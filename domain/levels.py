"""Levels: a curve says from how many XP each level starts. Pure; the database's `xp_level` gives the same answers."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import isqrt

from settings import get_settings

TABLE = re.compile(r"table:(\d{1,4}):(0(?:,\d{1,12})*)")


@dataclass(frozen=True)
class Curve:
    """`level(xp)` is the highest level whose `threshold` is at most max(0, xp); `start` is the level of 0 XP.

    `spec` is the curve as the setting has it. `threshold` is None beyond the last level of a table.
    """

    spec: str
    start: int
    level: Callable[[int], int]
    threshold: Callable[[int], int | None]

    @property
    def name(self) -> str:
        """Return the kind of curve: sqrt, linear or table."""
        return self.spec.partition(":")[0]


@dataclass(frozen=True)
class Standing:
    """Where a total stands. `next_level_xp` is what the whole level takes, None on the last level of a table."""

    total_xp: int
    level: int
    current_level_xp: int
    next_level_xp: int | None


SQRT = Curve("sqrt", 0, lambda xp: isqrt(max(0, xp) // 100), lambda level: 100 * level * level)
LINEAR = Curve("linear", 1, lambda xp: max(0, xp) // 100 + 1, lambda level: 100 * (level - 1))


@lru_cache(maxsize=8)
def parse(spec: str) -> Curve:
    """Return the curve `sqrt`, `linear`, or `table:START:0,T1,T2,...`; raise `ValueError` for anything else."""
    if spec in ("sqrt", "linear"):
        return SQRT if spec == "sqrt" else LINEAR
    found = TABLE.fullmatch(spec)
    if found is None:
        raise ValueError("must be sqrt, linear, or table:START:0,T1,T2,... with rising numbers")
    return make_table(int(found[1]), [int(part) for part in found[2].split(",")])


def current_curve() -> Curve:
    """Return the curve that `LEVEL_CURVE` names."""
    return parse(get_settings().level_curve)


def make_table(start: int, thresholds: list[int]) -> Curve:
    """Return a curve of given thresholds, the first of them 0; raise `ValueError` where they do not rise."""
    if thresholds[:1] != [0] or any(a >= b for a, b in pairwise(thresholds)):
        raise ValueError("thresholds must start at 0 and rise")

    def threshold(level: int) -> int | None:
        return thresholds[level - start] if start <= level < start + len(thresholds) else None

    spec = f"table:{start}:{','.join(map(str, thresholds))}"
    return Curve(spec, start, lambda xp: start - 1 + bisect_right(thresholds, max(0, xp)), threshold)


def stand(curve: Curve, xp: int) -> Standing:
    """Return level and progress of a total: 650 on sqrt is level 2 with 250 of 500. A negative total counts as 0."""
    total = max(0, xp)
    level = curve.level(total)
    begin, end = curve.threshold(level) or 0, curve.threshold(level + 1)
    return Standing(total, level, total - begin, None if end is None else end - begin)
