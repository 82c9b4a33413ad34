"""Clock interface for code that waits or reads the time; tests pass their own and need not wait."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Source of time, with a way to wait."""

    def now(self) -> float:
        """Return the time in seconds since the epoch, UTC."""

    def monotonic(self) -> float:
        """Return seconds since an arbitrary moment; they never decrease."""

    async def sleep(self, seconds: float, /) -> None:
        """Wait for a number of seconds."""


class SystemClock:
    """Clock of the operating system."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)
    sleep = staticmethod(asyncio.sleep)
