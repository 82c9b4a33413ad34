"""Pace: at most so many calls a second, per app and API.

DingTalk counts 20 calls a second per app and API (standard edition), in windows whose shape it does not tell:
https://open.dingtalk.com/document/development/how-to-process-api-throttling-on-the-dingtalk-server
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from airflow_provider_dingtalk.api.clock import Clock, SystemClock

#: DingTalk-imposed limit of the standard edition.
DEFAULT_CALLS_PER_SECOND = 20.0
#: The window in which DingTalk counts, in seconds.
WINDOW = 1.0


class Pace:
    """Slots for the calls to one API. A slot is free again one window after its call *ended*.

    Anchored at the answer, the pace holds whatever the shape of DingTalk's window: it counted the call
    somewhere between our sending it and its answering.

    :param calls_per_second: Calls DingTalk allows; below one, a single slot that takes longer to come back.
    """

    def __init__(self, calls_per_second: float, clock: Clock) -> None:
        self._clock = clock
        self._window = WINDOW if calls_per_second >= 1 else WINDOW / calls_per_second
        self._free_at: deque[float] = deque([float("-inf")] * max(1, int(calls_per_second)))
        self._slots = asyncio.Semaphore(len(self._free_at))
        self._not_before = float("-inf")

    def hold(self, seconds: float) -> None:
        """Let no call begin for so many seconds: DingTalk just said there were too many."""
        self._not_before = max(self._not_before, self._clock.monotonic() + seconds)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a slot and hold it for the length of a call."""
        async with self._slots:
            # The oldest slot is always the first to be free, so that waiting on it is fair and enough.
            free_at = self._free_at.popleft()
            called = False
            try:
                while (wait := max(free_at, self._not_before) - self._clock.monotonic()) > 0:
                    await self._clock.sleep(wait)
                called = True
                yield
            finally:
                if called:
                    self._free_at.append(self._clock.monotonic() + self._window)
                else:
                    self._free_at.appendleft(free_at)


class Limiter:
    """A pace for each API of one app.

    :param calls_per_second: Calls DingTalk allows per API; ``0`` or less: no limit.
    """

    def __init__(self, calls_per_second: float = DEFAULT_CALLS_PER_SECOND, clock: Clock | None = None) -> None:
        clock = clock or SystemClock()
        self._unlimited = calls_per_second <= 0
        self._paces: defaultdict[str, Pace] = defaultdict(lambda: Pace(calls_per_second, clock))

    @asynccontextmanager
    async def slot(self, api: str) -> AsyncIterator[None]:
        """Wait until a call to ``api`` may begin, and count it until one window after it ended."""
        if self._unlimited:
            yield
            return
        async with self._paces[api].slot():
            yield

    def hold(self, api: str, seconds: float) -> None:
        """Let no call to ``api`` begin for so many seconds."""
        if not self._unlimited:
            self._paces[api].hold(seconds)
