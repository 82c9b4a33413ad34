"""Rows of the benchmark and their results, in one format for one table.

A row measures. Its goals are data beside the figures, and the code computes if a goal holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One figure of a row.

    :param what: Label of the figure.
    :param value: The measured value; the median of several runs.
    :param unit: Unit of the value; default none.
    :param goal: The goal as text; empty for a figure without a goal.
    :param holds: True if the goal holds. None: there is no goal.
    """

    what: str
    value: float
    unit: str = ""
    goal: str = ""
    holds: bool | None = None


def at_most(what: str, value: float, limit: float, unit: str = "") -> Figure:
    """Return a figure that must not exceed a limit."""
    return Figure(what, value, unit, f"≤ {limit:g}{_with_blank(unit)}", value <= limit)


def at_least(what: str, value: float, limit: float, unit: str = "") -> Figure:
    """Return a figure that must not be below a limit."""
    return Figure(what, value, unit, f"≥ {limit:g}{_with_blank(unit)}", value >= limit)


def exactly(what: str, value: float, wanted: float, unit: str = "") -> Figure:
    """Return a figure that must equal a value."""
    return Figure(what, value, unit, f"{wanted:g}{_with_blank(unit)}", value == wanted)


def beside(what: str, value: float, unit: str = "") -> Figure:
    """Return a figure without a goal, for comparison."""
    return Figure(what, value, unit)


def _with_blank(unit: str) -> str:
    return f" {unit}" if unit and unit != "×" else unit


@dataclass
class Result:
    """Result of a row.

    :param figures: Medians of the runs, in the order of the table.
    :param runs: The measurements of each run.
    :param notes: Conditions of the measurement for the reader, e.g. the number of runs.
    """

    figures: list[Figure]
    runs: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Row:
    """One row of the benchmark.

    :param name: Name on the command line.
    :param title: Title in the table.
    :param measure: Function that measures. Its argument True makes a quick run, a tenth of the work, which only
        shows that the row runs.
    """

    name: str
    title: str
    measure: Callable[[bool], Result]


def median_of(runs: Sequence[dict[str, Any]], name: str) -> float:
    """Return the median of one figure over runs."""
    return float(median(run[name] for run in runs))
