"""Ledgers: where a running recall writes down how far it is, so that a killed task goes on where it stopped.

The rule that makes it safe: the intent is written *before* the call goes out, the outcome after. What a crash
leaves as an intent may or may not have been carried out, and is recalled again. An intent that cannot be
written means that the call is not made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from airflow_provider_dingtalk.messaging.verdicts import Verdict


class Ledger(Protocol):
    """A place that outlives the task."""

    async def load(self) -> Mapping[str, Verdict]:
        """What earlier tries wrote, by message key."""

    async def write(self, verdicts: Mapping[str, Verdict]) -> None:
        """Keep these. An exception stops the recall before anything else is sent."""


class MemoryLedger:
    """A ledger that lives as long as its process: for scripts and tests."""

    def __init__(self) -> None:
        self.verdicts: dict[str, Verdict] = {}

    async def load(self) -> Mapping[str, Verdict]:
        """What earlier runs in this process wrote."""
        return dict(self.verdicts)

    async def write(self, verdicts: Mapping[str, Verdict]) -> None:
        """Keep these."""
        self.verdicts.update(verdicts)


class Journal:
    """Writes to a ledger, one write at a time, and in one write all that came together meanwhile."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._unwritten: dict[str, Verdict] = {}
        self._one_at_a_time = asyncio.Lock()

    def note(self, verdicts: Mapping[str, Verdict]) -> None:
        """Have these written with the next write."""
        self._unwritten.update(verdicts)

    async def write(self, verdicts: Mapping[str, Verdict]) -> None:
        """Return when these, and all noted before, are written."""
        self.note(verdicts)
        async with self._one_at_a_time:
            # Whoever held the lock before may have written ours too.
            if self._unwritten:
                writing, self._unwritten = self._unwritten, {}
                try:
                    await self._ledger.write(writing)
                except BaseException:
                    # Others wait for these too: they must not take them for written.
                    self._unwritten = writing | self._unwritten
                    raise
