"""Checkpoint writer of a job, with few writes for many calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Generic, TypeVar

from airflow_provider_dingtalk.client.clock import Clock

Name = TypeVar("Name")
State = TypeVar("State")

#: Duration of a write in seconds, up to which the next write is not delayed.
FAST_WRITE = 0.002
#: Seconds between two checks for further waiting writers.
CHECK_INTERVAL = 0.004
#: Seconds for which a write is delayed if half of the writers wait for it, and at most.
SHORT_DELAY, MAX_DELAY = 0.02, 0.5


class CheckpointWriter(Generic[Name, State]):
    """Writer to a checkpoint, with one write for all pending updates.

    If the last write took over 2 ms, the next one is delayed. The delay ends after 0.5 s, after 20 ms if half of
    the writers wait, and at once if all wait. After a crash, at most one call of each writer is in doubt.

    :param store: Function that stores results.
    :param short_delay: Seconds of the delay if half of the writers wait; default 0.02.
    """

    def __init__(
        self,
        store: Callable[[Mapping[Name, State]], Awaitable[None]],
        clock: Clock,
        short_delay: float = SHORT_DELAY,
    ) -> None:
        self._store = store
        self._clock = clock
        self._short_delay = short_delay
        self._unwritten: dict[Name, State] = {}
        self._lock = asyncio.Lock()
        self._requested = self._done = 0
        #: Number of requests that the last failed write covers, and its error.
        self._failed = 0
        self._error: Exception | None = None
        self._writers = self._waiting = 0
        self._duration = 0.0

    @contextmanager
    def writer(self) -> Iterator[None]:
        """Register a caller that will write repeatedly."""
        self._writers += 1
        try:
            yield
        finally:
            self._writers -= 1

    def note(self, results: Mapping[Name, State]) -> None:
        """Add results to the next write."""
        self._unwritten.update(results)

    async def write(self, results: Mapping[Name, State]) -> None:
        """Write results, together with all that were noted before.

        :raises CheckpointError: If they were not written.
        """
        self.note(results)
        self._requested += 1
        number = self._requested
        self._waiting += 1
        try:
            async with self._lock:
                # The previous holder of the lock may have written these too, or failed to.
                if number > self._done:
                    await self._write_all_once(number)
        finally:
            self._waiting -= 1

    async def _write_all_once(self, number: int) -> None:
        """Write for a request, unless the write for it failed already: one outage fails all that wait."""
        if self._error is not None and number <= self._failed:
            raise self._error
        try:
            await self._write_all()
        except Exception as error:
            self._failed, self._error = self._requested, error
            raise

    async def _write_all(self) -> None:
        await self._wait_for_writers()
        began = self._clock.monotonic()
        writing, self._unwritten = self._unwritten, {}
        number = self._requested
        try:
            if writing:
                await self._store(writing)
        except BaseException:
            # The next holder of the lock must write these, so they become pending again.
            self._unwritten = {**writing, **self._unwritten}
            raise
        self._done = number
        self._duration = self._clock.monotonic() - began

    async def _wait_for_writers(self) -> None:
        began = self._clock.monotonic()
        while self._duration > FAST_WRITE and self._waiting < self._writers:
            delay = self._short_delay if 2 * self._waiting >= self._writers else MAX_DELAY
            if self._clock.monotonic() - began >= delay:
                break
            await self._clock.sleep(CHECK_INTERVAL)
