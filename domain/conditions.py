"""The language in which achievements say what they take: counters that have reached something, joined by and, or, k of n.

    {"v": 1, "when": {"all": [{"counter": "level", "gte": 5}, {"counter": "lessons.completed", "gte": 10}]}}

There is no `not` and no `<`: a condition that holds goes on holding while counters grow, so it is no matter how often,
how late or in which order it is looked at. Pure.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from fractions import Fraction
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StrictInt, model_validator

from db.models.achievements import COUNTERS

# Bytes of a condition as JSON, how deep its nodes may stand in each other, and how many there may be.
MOST_BYTES, DEEPEST, MOST_NODES = 8 * 1024, 5, 50
MOST_DAYS = 366
# Counters of facts that belong to a course, and those that are one figure without a time.
OF_COURSES = frozenset(
    {
        "lessons.completed",
        "courses.completed",
        "quizzes.passed",
        "quizzes.perfect",
        "assignments.passed",
        "assignments.on_time",
        "certificates.earned",
    }
)
TIMELESS = frozenset({"xp.total", "level", "streak.longest"})
FORMS = ({"all"}, {"any"}, {"at_least", "of"}, {"counter", "gte"})


class Measure(NamedTuple):
    """What a leaf looks at: a counter, in one course, within so many days or from a time until before another."""

    counter: str
    course: str | None = None
    days: int | None = None
    start: datetime | None = None
    end: datetime | None = None

    @property
    def is_whole(self) -> bool:
        """Say whether all that there is counts, so that the cached counter is the answer."""
        return self[1:] == (None, None, None, None)


def check_counter(name: str) -> str:
    """Return the name of a counter; raise `ValueError` for any other."""
    if name not in COUNTERS:
        raise ValueError(f"must be one of {', '.join(COUNTERS)}")
    return name


def check_id(raw: str) -> str:
    """Return a uuid in its usual form; raise `ValueError` for anything else."""
    try:
        return str(uuid.UUID(raw))
    except ValueError:
        raise ValueError("must be a uuid") from None


class Part(BaseModel):
    """A part of a condition; what is not named here is refused."""

    model_config = ConfigDict(extra="forbid")


class Scope(Part):
    """Only what belongs to this course of our own or of a partner."""

    course: Annotated[str, AfterValidator(check_id), Field(json_schema_extra={"format": "uuid"})]


class Window(Part):
    """The most within any `days` days, or what happened from `from` until before `until`."""

    days: StrictInt | None = Field(None, ge=1, le=MOST_DAYS)
    start: AwareDatetime | None = Field(None, alias="from")
    end: AwareDatetime | None = Field(None, alias="until")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.days is None) == (self.start is None) or (self.start is None) != (self.end is None):
            raise ValueError("must have days, or from and until")
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ValueError("until must be later than from")
        return self


class Node(Part):
    """One of: `all` of some, `any` of some, `at_least` so many `of` some, or a `counter` that is `gte` a number."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [*sorted(form)]} for form in FORMS]})

    all: list[Node] | None = Field(None, min_length=1)
    any: list[Node] | None = Field(None, min_length=1)
    at_least: StrictInt | None = Field(None, ge=1)
    of: list[Node] | None = Field(None, min_length=1)
    counter: (
        Annotated[str, AfterValidator(check_counter), Field(json_schema_extra={"enum": list(COUNTERS)})]
        | None
    ) = None
    gte: StrictInt | None = Field(None, ge=1, le=10**12)
    scope: Scope | None = None
    window: Window | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = {name for name in type(self).model_fields if getattr(self, name) is not None}
        if given - {"scope", "window"} not in FORMS:
            raise ValueError("must be all, any, at_least with of, or counter with gte, and only one of these")
        if given & {"scope", "window"} and self.counter is None:
            raise ValueError("scope and window belong to a counter")
        if self.at_least is not None and self.at_least > len(self.of or ()):
            raise ValueError("at_least is more than there are of")
        self._check_counter()
        return self

    def _check_counter(self) -> None:
        if self.scope is not None and self.counter not in OF_COURSES:
            raise ValueError(f"{self.counter} is not counted by course")
        if self.window is not None and self.counter in TIMELESS:
            raise ValueError(f"{self.counter} is not counted by time")
        if self.counter == "xp.season" and (self.window is None or self.window.start is None):
            raise ValueError("xp.season needs a window with from and until")

    @property
    def children(self) -> list[Node]:
        """Return the nodes that stand in this one; none in a leaf."""
        return self.all or self.any or self.of or []

    @property
    def needed(self) -> int:
        """Return how many of the children have to hold."""
        return len(self.children) if self.all else 1 if self.any else self.at_least or 0

    @property
    def measure(self) -> Measure:
        """Return what a leaf looks at."""
        window = self.window or Window.model_construct()
        course = None if self.scope is None else self.scope.course
        return Measure(self.counter or "", course, window.days, window.start, window.end)


class Condition(Part):
    """What an achievement, or a tier of it, takes. At most 8 kB, 5 nodes deep, 50 nodes."""

    v: Literal[1]
    when: Node

    @model_validator(mode="before")
    @classmethod
    def _limit(cls, document: Any) -> Any:
        check_limits(document)
        return document

    def to_json(self) -> dict[str, Any]:
        """Return the condition as it is stored and answered."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def check_limits(document: Any) -> None:
    """Raise `ValueError` for a document that is too large to look at: before any validation, and without recursion."""
    nodes, waiting = 0, [(document, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > DEEPEST:
            raise ValueError(f"must not be more than {DEEPEST} nodes deep")
        nodes += isinstance(value, dict)
        for name, item in value.items() if isinstance(value, dict) else [("", value)]:
            if name in ("scope", "window") and isinstance(item, dict):
                # No node, and nothing stands below it: what does has the depth that is refused.
                waiting += [(below, DEEPEST + 1) for below in item.values() if isinstance(below, dict | list)]
                continue
            inside = item if isinstance(item, list) else [item]
            waiting += [(below, depth + 1) for below in inside if isinstance(below, dict | list)]
    # The document itself is no node.
    if nodes - 1 > MOST_NODES:
        raise ValueError(f"must not have more than {MOST_NODES} nodes")
    if len(json.dumps(document, default=str, separators=(",", ":")).encode()) > MOST_BYTES:
        raise ValueError(f"must not be larger than {MOST_BYTES} bytes")


def leaves(node: Node) -> Iterator[Node]:
    """Yield the leaves of a condition, in order."""
    if not node.children:
        yield node
    for child in node.children:
        yield from leaves(child)


def progress(node: Node, values: Mapping[Measure, int]) -> Fraction:
    """Return how much of a condition is done, exactly: 1 where it holds and only there.

    A leaf counts by its share, k of n by the mean of the k that are furthest.
    """
    if not node.children:
        target = node.gte or 1
        return Fraction(min(max(values[node.measure], 0), target), target)
    furthest = sorted((progress(child, values) for child in node.children), reverse=True)[: node.needed]
    return sum(furthest, Fraction(0)) / node.needed


def holds(node: Node, values: Mapping[Measure, int]) -> bool:
    """Say whether a condition holds."""
    if not node.children:
        return values[node.measure] >= (node.gte or 1)
    return sum(holds(child, values) for child in node.children) >= node.needed


def to_sql(node: Node, count: Callable[[Measure], str]) -> str:
    """Return the SQL that says whether a condition holds, `count` giving that of what a leaf looks at."""
    if not node.children:
        return f"({count(node.measure)} >= {node.gte})"
    parts = [to_sql(child, count) for child in node.children]
    if node.all or node.any:
        return f"({(' AND ' if node.all else ' OR ').join(parts)})"
    return f"({' + '.join(f'{part}::integer' for part in parts)} >= {node.needed})"
