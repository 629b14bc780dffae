"""Small charts as SVG: bars and lines with axes. What they show is also said in words and stands in a table beneath.

Only the geometry is computed here; `ops/chart.html` writes it. Lengths are in the units of the viewBox.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

WIDTH, HEIGHT = 720, 220
LEFT, RIGHT, TOP, BOTTOM = 62, 8, 14, 34
# Labels of the x-axis that fit side by side.
LABELS = 7


@dataclass(frozen=True)
class Series:
    """One row of figures. `kind` is the class that it is drawn with: first or second. None: there is no figure."""

    kind: str
    name: str
    values: Sequence[float | None]
    # What the table says instead of the bare figure.
    said: Sequence[str]


@dataclass(frozen=True)
class Bar:
    """A rectangle and what it stands for."""

    x: float
    y: float
    width: float
    height: float
    kind: str


@dataclass(frozen=True)
class Line:
    """Points that belong together: runs of them, since where there is no figure there is no line."""

    kind: str
    runs: list[str]
    points: list[tuple[float, float]]


@dataclass(frozen=True)
class Chart:
    """A chart ready to be written."""

    id: str
    title: str
    summary: str
    head: str
    labels: Sequence[str]
    series: Sequence[Series]
    ticks: list[tuple[float, str]]
    marks: list[tuple[float, str]]
    bars: list[Bar] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM


def bars(
    id: str,
    title: str,
    summary: str,
    head: str,
    labels: Sequence[str],
    series: Sequence[Series],
    short: Sequence[str] = (),
) -> Chart:
    """Return a chart of bars side by side for each label; `head` names the labels, `short` stands under the axis."""
    top = _top(series)
    slot = (WIDTH - LEFT - RIGHT) / max(1, len(labels))
    width = min(28.0, slot * 0.8 / len(series))
    drawn = [
        Bar(round(LEFT + slot * at + (slot - width * len(series)) / 2 + width * number, 1), _y(value, top), round(width, 1),
            round(HEIGHT - BOTTOM - _y(value, top), 1), row.kind)
        for number, row in enumerate(series)
        for at, value in enumerate(row.values)
        if value
    ]  # fmt: skip
    return Chart(
        id, title, summary, head, labels, series, _ticks(top), _marks(short or labels, slot), bars=drawn
    )


def lines(
    id: str,
    title: str,
    summary: str,
    head: str,
    labels: Sequence[str],
    series: Sequence[Series],
    short: Sequence[str] = (),
    unit: str = "",
) -> Chart:
    """Return a chart of lines over the labels; `unit` is written behind the figures of the axis."""
    top = _top(series)
    slot = (WIDTH - LEFT - RIGHT) / max(1, len(labels))
    drawn = []
    for row in series:
        runs: list[list[tuple[float, float]]] = [[]]
        for at, value in enumerate(row.values):
            if value is None:
                runs.append([])
            else:
                runs[-1].append((round(LEFT + slot * (at + 0.5), 1), _y(value, top)))
        paths = [" ".join(f"{x},{y}" for x, y in run) for run in runs if len(run) > 1]
        drawn.append(Line(row.kind, paths, [point for run in runs for point in run]))
    marks = _marks(short or labels, slot)
    return Chart(id, title, summary, head, labels, series, _ticks(top, unit), marks, lines=drawn)


def _top(series: Sequence[Series]) -> float:
    """Return the upper end of the axis: a round figure at or above the largest one."""
    largest = max((value for row in series for value in row.values if value is not None), default=0)
    if largest <= 0:
        return 4
    step = 10.0 ** math.floor(math.log10(largest))
    return next(step * part for part in (1, 2, 4, 6, 8, 10) if step * part >= largest)


def _y(value: float, top: float) -> float:
    return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top), 1)


def _ticks(top: float, unit: str = "") -> list[tuple[float, str]]:
    return [(_y(value, top), f"{value:g}{unit}") for value in (0, top / 2, top)]


def _marks(labels: Sequence[str], slot: float) -> list[tuple[float, str]]:
    every = math.ceil(len(labels) / LABELS) or 1
    return [(round(LEFT + slot * (at + 0.5), 1), label) for at, label in enumerate(labels) if at % every == 0]
