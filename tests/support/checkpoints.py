"""Checkpoints that watch their writes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from airflow_provider_dingtalk.jobs.checkpoint import MemoryCheckpoint
from airflow_provider_dingtalk.jobs.recall_results import KeyResult


class WatchedCheckpoint(MemoryCheckpoint):
    """Checkpoint that yields as one on disk does, records writes, and can act at one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[dict[str, KeyResult]] = []
        self.under_way = 0

    async def at(self, write: int) -> None:
        """Called with the number of each write, from 1, before it counts."""

    async def write(self, key_results: Mapping[str, KeyResult]) -> None:
        assert not self.under_way, "one write at a time"
        self.under_way += 1
        try:
            await asyncio.sleep(0)
            await self.at(len(self.writes) + 1)
            self.writes.append(dict(key_results))
            await super().write(key_results)
        finally:
            self.under_way -= 1
