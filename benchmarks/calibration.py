"""Calibration by the CPU time of a fixed loop.

Goals in CPU time are multiples of this loop's time in the same run, so they hold on a slow machine and in a slow hour.
"""

from __future__ import annotations

import time
from statistics import median

#: Number of rounds, and of additions in each round.
ROUNDS, ADDITIONS = 9, 1_000_000


def loop_ms() -> float:
    """Return the CPU time of the loop in milliseconds, median of the rounds."""
    return median(_round() for _ in range(ROUNDS))


def _round() -> float:
    began = time.process_time()
    total = 0
    for number in range(ADDITIONS):
        total += number
    return (time.process_time() - began) * 1000


def note(before: float, after: float) -> str:
    """Describe the machine's speed around a row, for its notes."""
    return (
        f"Calibration: a Python loop of {ADDITIONS:,} additions took {before:.1f} ms of CPU before this row and "
        f"{after:.1f} ms after it. Figures in ms and in % of a core move with it; ratios do not."
    )
