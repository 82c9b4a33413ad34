"""A clock for tests: sleeping moves it, and takes no time."""

from __future__ import annotations

import asyncio


class VirtualClock:
    """Clock that advances only by :meth:`sleep` and :meth:`advance`.

    :param start: Seconds since the epoch; default 1,780,000,000.
    :param turns: Number of turns of the event loop in which others run before a sleep moves the clock; default 1.
    """

    def __init__(self, start: float = 1_780_000_000.0, *, turns: int = 1) -> None:
        self._now = start
        self._turns = turns

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += seconds

    async def sleep(self, seconds: float) -> None:
        wake_at = self._now + seconds
        # Others run first: who sleeps side by side sleeps at the same time.
        for _ in range(self._turns):
            await asyncio.sleep(0)
        self._now = max(self._now, wake_at)
