"""Figures: gathered over alternating rounds, printed as one JSON line each. Progress goes to standard error."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from dataclasses import dataclass, field
from typing import Any

SUBJECT = "usher"

Values = dict[str, float]


@dataclass(frozen=True)
class Plan:
    """How much to measure."""

    rounds: int
    quick: bool


@dataclass
class Figure:
    """One figure of Usher's and of its references, round by round.

    Each round holds one value of each, so a ratio compares what was measured within seconds of each other.
    """

    name: str
    case: str
    unit: str
    values: dict[str, list[float]] = field(default_factory=dict)
    details: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, who: str, value: float, **details: float) -> None:
        """Note one round's value, and what else was seen of it."""
        self.values.setdefault(who, []).append(value)
        for name, number in details.items():
            self.details.setdefault(who, {}).setdefault(name, []).append(number)
        say(f"    {who}: {value:,.4g} {self.unit}")

    def print(self) -> None:
        """Print the line: median, range and, for a reference, the ratio: Usher's value divided by the reference's."""
        line = {"figure": self.name, "case": self.case, "unit": self.unit}
        print(json.dumps(line | {who: self._summary(who) for who in self.values}), flush=True)

    def _summary(self, who: str) -> dict[str, Any]:
        values = self.values[who]
        summary: dict[str, Any] = {
            "median": _median(values),
            "range": [_short(min(values)), _short(max(values))],
        }
        ours = self.values.get(SUBJECT)
        if who != SUBJECT and ours:
            summary["ratio"] = _median([mine / its for mine, its in zip(ours, values, strict=True) if its])
        return summary | {name: _median(numbers) for name, numbers in self.details.get(who, {}).items()}


def print_context(plan: Plan) -> None:
    """Print what the figures depend on."""
    line = {
        "figure": "context",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "cores": os.cpu_count(),
        "load": _short(os.getloadavg()[0]),
        "python": sys.version.split()[0],
        "rounds": plan.rounds,
        "quick": plan.quick,
    }
    print(json.dumps(line), flush=True)


def say(line: str) -> None:
    """Tell whoever waits what is going on."""
    print(line, file=sys.stderr, flush=True)


def percentile(values: list[float], share: float) -> float:
    """Return the value below which `share` (0 to 1) of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _median(values: list[float]) -> float | None:
    return _short(statistics.median(values)) if values else None


def _short(value: float) -> float:
    return float(f"{value:.4g}")
