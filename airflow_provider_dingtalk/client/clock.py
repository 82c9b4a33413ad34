"""Clock interface for code that waits or reads the time.

Tests pass their own clock, so that they need not wait.
"""

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

    async def sleep(self, seconds: float) -> None:
        """Wait for a number of seconds."""


class SystemClock:
    """Clock of the operating system."""

    def now(self) -> float:
        """Return the time in seconds since the epoch, UTC."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds since an arbitrary moment; they never decrease."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait for a number of seconds."""
        await asyncio.sleep(seconds)
