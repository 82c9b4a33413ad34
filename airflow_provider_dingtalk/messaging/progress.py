"""Progress in the log: a line when work begins, and one every few seconds."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from airflow_provider_dingtalk.api.clock import Clock

#: Seconds between two lines.
INTERVAL = 5.0


def calls_made(used: Mapping[str, int]) -> int:
    """How many requests a bill counts: those that were throttled stand in it twice, by what they were for too."""
    return sum(number for name, number in used.items() if name != "throttled")


class Progress:
    """Says how far a piece of work is: counts, rate, calls used, time left.

    :param what: The work, e.g. ``Recall``.
    :param total: Messages in all.
    """

    def __init__(self, log: logging.Logger, what: str, total: int, clock: Clock) -> None:
        self._log = log
        self._what = what
        self._total = total
        self._clock = clock
        self._began = self._said = clock.monotonic()

    def begin(self, calls: int) -> None:
        """Say what is ahead."""
        self._log.info("%s of %s messages in about %s API calls.", self._what, f"{self._total:,}", f"{calls:,}")

    @property
    def is_due(self) -> bool:
        """Whether it is time for a line."""
        return self._clock.monotonic() - self._said >= INTERVAL

    def tell(self, done: int, used: Mapping[str, int]) -> None:
        """Say how far it is."""
        self._said = self._clock.monotonic()
        self._log.info("%s: %s", self._what, self._line(done, used))

    def _line(self, done: int, used: Mapping[str, int]) -> str:
        seconds = max(self._clock.monotonic() - self._began, 1e-6)
        calls = calls_made(used)
        left = f"about {(self._total - done) * seconds / done:.0f} s left" if done else "time left unknown"
        return (
            f"{done:,} of {self._total:,} messages ({done / max(self._total, 1):.0%}), {done / seconds:.1f}/s, "
            f"{calls:,} calls ({calls / seconds:.1f}/s, {used.get('throttled', 0)} throttled), {left}."
        )
