"""The language of conditions: what it takes, what it refuses before looking closer, and what it says."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from db.models.achievements import COUNTERS
from domain.conditions import (
    DEEPEST,
    MOST_BYTES,
    MOST_NODES,
    Condition,
    Measure,
    Node,
    check_limits,
    holds,
    leaves,
    progress,
)

LEVEL = {"counter": "level", "gte": 5}
LESSONS = {"counter": "lessons.completed", "gte": 10}
COURSE = "fcb4bdce-1314-538a-9499-5b2c9dd7868b"
SEASON = {"from": "2026-01-01T00:00:00Z", "until": "2026-04-01T00:00:00Z"}


def condition(when: Any) -> Condition:
    return Condition.model_validate({"v": 1, "when": when})


def nested(depth: int, form: str = "all") -> dict[str, Any]:
    """Return a leaf under so many nodes, without recursion."""
    when: dict[str, Any] = LEVEL
    for _ in range(depth - 1):
        when = {form: [when]}
    return {"v": 1, "when": when}


@pytest.mark.parametrize(
    "when",
    [
        LEVEL,
        {"all": [LEVEL, LESSONS]},
        {"any": [LEVEL, {"all": [LESSONS]}]},
        {"at_least": 2, "of": [LEVEL, LESSONS, {"counter": "xp.total", "gte": 100}]},
        {**LESSONS, "scope": {"course": COURSE}, "window": {"days": 7}},
        {"counter": "xp.season", "gte": 500, "window": SEASON},
    ],
)
def test_what_the_language_knows_is_taken_and_kept_as_it_was(when: dict[str, Any]) -> None:
    assert condition(when).to_json() == {"v": 1, "when": when}


@pytest.mark.parametrize(
    ("when", "pointer", "word"),
    [
        ({"not": LEVEL}, ("when", "not"), "not permitted"),
        ({"counter": "level", "lt": 5}, ("when", "lt"), "not permitted"),
        ({"counter": "level"}, ("when",), "counter with gte"),
        ({"counter": "level", "gte": 0}, ("when", "gte"), "greater"),
        ({"counter": "level", "gte": 1.5}, ("when", "gte"), "integer"),
        ({"counter": "level", "gte": True}, ("when", "gte"), "integer"),
        ({"counter": "lessons.begun", "gte": 1}, ("when", "counter"), "must be one of"),
        ({"all": []}, ("when", "all"), "at least 1"),
        ({"all": [LEVEL], "any": [LEVEL]}, ("when",), "only one"),
        ({"at_least": 3, "of": [LEVEL, LESSONS]}, ("when",), "more than there are"),
        ({"all": [LEVEL], "window": {"days": 3}}, ("when",), "belong to a counter"),
        ({**LEVEL, "window": {"days": 3}}, ("when",), "not counted by time"),
        ({**LEVEL, "scope": {"course": COURSE}}, ("when",), "not counted by course"),
        ({**LESSONS, "scope": {"course": "math"}}, ("when", "scope", "course"), "uuid"),
        ({**LESSONS, "window": {"days": 3, **SEASON}}, ("when", "window"), "days, or from"),
        (
            {**LESSONS, "window": {"from": SEASON["until"], "until": SEASON["from"]}},
            ("when", "window"),
            "later",
        ),
        ({"counter": "xp.season", "gte": 1}, ("when",), "from and until"),
        ("level > 5", ("when",), "valid"),
    ],
)
def test_what_it_does_not_know_is_refused_at_its_place(
    when: Any, pointer: tuple[str, ...], word: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        condition(when)
    errors = {error["loc"]: error["msg"] for error in refused.value.errors()}
    assert word in errors[pointer]


def test_another_version_is_refused() -> None:
    with pytest.raises(ValidationError):
        Condition.model_validate({"v": 2, "when": LEVEL})


@pytest.mark.parametrize("form", ["all", "scope", "when", "window"])
def test_a_document_400_deep_is_refused_before_any_validator_sees_it(form: str) -> None:
    deep: Any = LEVEL
    for _ in range(400):
        deep = {form: deep if form in ("scope", "when", "window") else [deep]}
    lists: Any = LEVEL
    for _ in range(100_000):
        lists = [lists]
    for when in (deep, lists):
        with pytest.raises(ValueError, match=f"more than {DEEPEST} nodes deep"):
            check_limits({"v": 1, "when": when})
        with pytest.raises(ValidationError, match="nodes deep"):
            condition(when)


def test_the_limits_are_exact() -> None:
    Condition.model_validate(nested(DEEPEST))
    with pytest.raises(ValidationError, match="nodes deep"):
        Condition.model_validate(nested(DEEPEST + 1))
    scoped = {**LESSONS, "scope": {"course": COURSE}, "window": {"days": 7}}
    # One node holds the others; what scope and window hold is none.
    condition({"all": [scoped] * (MOST_NODES - 1)})
    with pytest.raises(ValidationError, match=f"more than {MOST_NODES} nodes"):
        condition({"all": [scoped] * MOST_NODES})
    with pytest.raises(ValidationError, match=f"larger than {MOST_BYTES} bytes"):
        condition({**LEVEL, "note": "x" * MOST_BYTES})


def test_progress_is_exact() -> None:
    when = condition({"all": [LEVEL, LESSONS]}).when
    values = {Measure("level"): 2, Measure("lessons.completed"): 25}
    assert progress(when, values) == Fraction(7, 10)
    assert not holds(when, values)
    third = condition({"counter": "lessons.completed", "gte": 3}).when
    assert progress(third, {Measure("lessons.completed"): 2}) == Fraction(2, 3)
    two = condition({"at_least": 2, "of": [LEVEL, LESSONS, {"counter": "xp.total", "gte": 100}]}).when
    assert progress(two, {**values, Measure("xp.total"): 50}) == Fraction(3, 4)
    assert progress(third, {Measure("lessons.completed"): -4}) == 0


LEAF = st.builds(
    lambda name, gte: {"counter": name, "gte": gte},
    st.sampled_from(COUNTERS[:1] + COUNTERS[2:]),
    st.integers(1, 9),
)
WHEN = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.builds(
            lambda form, of: {form: of},
            st.sampled_from(["all", "any"]),
            st.lists(inner, min_size=1, max_size=3),
        ),
        st.lists(inner, min_size=1, max_size=3).flatmap(
            lambda of: st.integers(1, len(of)).map(lambda k: {"at_least": k, "of": of})
        ),
    ),
    max_leaves=6,
)
VALUES = st.fixed_dictionaries({name: st.integers(0, 10) for name in COUNTERS})


def node(when: dict[str, Any]) -> Node:
    return Node.model_validate(when)


@given(WHEN, VALUES, VALUES)
@settings(max_examples=200, deadline=None)
def test_a_condition_that_holds_goes_on_holding_while_counters_grow(
    when: dict[str, Any], before: dict[str, int], more: dict[str, int]
) -> None:
    found = node(when)
    now = {Measure(name): value for name, value in before.items()}
    later = {Measure(name): before[name] + value for name, value in more.items()}
    assert holds(found, later) or not holds(found, now)
    assert progress(found, later) >= progress(found, now)
    assert holds(found, now) == (progress(found, now) == 1)
    assert {leaf.counter for leaf in leaves(found)} <= set(COUNTERS)
