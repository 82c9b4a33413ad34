"""What a row of the benchmark is, and what it gives back: the same shape for all, so that one table holds them.

A row measures; it never says what the figure should have been. Goals stand beside the figures, as data, and
whether one holds is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One figure of a row.

    :param what: What was measured.
    :param value: The figure; the median, where there were several runs.
    :param unit: Of the figure.
    :param goal: What must hold, in words; empty for a figure that stands there for comparison.
    :param holds: Whether it does. None: there is no goal.
    """

    what: str
    value: float
    unit: str = ""
    goal: str = ""
    holds: bool | None = None


def at_most(what: str, value: float, limit: float, unit: str = "") -> Figure:
    """A figure that must not be higher than a limit."""
    return Figure(what, value, unit, f"≤ {limit:g}{_with_blank(unit)}", value <= limit)


def at_least(what: str, value: float, limit: float, unit: str = "") -> Figure:
    """A figure that must not be lower than a limit."""
    return Figure(what, value, unit, f"≥ {limit:g}{_with_blank(unit)}", value >= limit)


def exactly(what: str, value: float, wanted: float, unit: str = "") -> Figure:
    """A figure that must be this one."""
    return Figure(what, value, unit, f"{wanted:g}{_with_blank(unit)}", value == wanted)


def beside(what: str, value: float, unit: str = "") -> Figure:
    """A figure without a goal, for comparison."""
    return Figure(what, value, unit)


def _with_blank(unit: str) -> str:
    return f" {unit}" if unit and unit != "×" else unit


@dataclass
class Result:
    """What a row gives back.

    :param figures: Medians over the runs, in the order in which they are read.
    :param runs: Each run as it was measured.
    :param notes: What a reader must know to judge the figures: how many runs, what was bounded.
    """

    figures: list[Figure]
    runs: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Row:
    """One row: what it measures, and how.

    :param name: How it is called on the command line.
    :param title: What it measures, in a sentence.
    :param measure: Measures; told whether to be quick, which takes a tenth of the time and proves little.
    """

    name: str
    title: str
    measure: Callable[[bool], Result]


def median_of(runs: Sequence[dict[str, Any]], name: str) -> float:
    """The median of one figure over runs."""
    return float(median(run[name] for run in runs))
