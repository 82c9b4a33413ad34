"""Concurrent writers share few writes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack

import pytest

from airflow_provider_dingtalk.jobs.checkpoint import MemoryCheckpoint
from airflow_provider_dingtalk.jobs.checkpoint_writer import (
    CHECK_INTERVAL,
    FAST_WRITE,
    MAX_DELAY,
    SHORT_DELAY,
    CheckpointWriter,
)
from airflow_provider_dingtalk.jobs.recall_results import RECALLED, KeyResult, KeyState
from tests.clock import VirtualClock

pytestmark = pytest.mark.anyio


class GatedCheckpoint(MemoryCheckpoint):
    """Checkpoint that writes when the test allows it."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[set[str]] = []
        self._gate = asyncio.Semaphore(0)

    async def write(self, key_results: Mapping[str, KeyResult]) -> None:
        self.writes.append(set(key_results))
        await self._gate.acquire()
        await super().write(key_results)

    async def let_one_through(self) -> None:
        self._gate.release()
        await settle()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_what_comes_during_a_write_goes_with_the_next_and_waits_for_no_other() -> None:
    checkpoint = GatedCheckpoint()
    checkpoint_writer = CheckpointWriter(checkpoint.write, VirtualClock())
    async with asyncio.TaskGroup() as group:

        def writer(key: str) -> asyncio.Task[None]:
            return group.create_task(checkpoint_writer.write({key: RECALLED}))

        first = writer("a")
        await settle()
        second = [writer("b"), writer("c"), writer("d")]
        await settle()
        await checkpoint.let_one_through()
        assert first.done() and checkpoint.writes == [{"a"}, {"b", "c", "d"}]
        last = writer("e")
        await settle()
        await checkpoint.let_one_through()
        assert all(task.done() for task in second), "theirs is written: they do not wait for somebody else's"
        assert checkpoint.writes[2:] == [{"e"}] and not last.done()
        await checkpoint.let_one_through()


async def test_what_was_not_written_is_written_by_whoever_comes_next() -> None:
    class Failing(MemoryCheckpoint):
        fails = True

        async def write(self, key_results: Mapping[str, KeyResult]) -> None:
            if self.fails:
                raise ConnectionError
            await super().write(key_results)

    checkpoint = Failing()
    checkpoint_writer = CheckpointWriter(checkpoint.write, VirtualClock())
    with pytest.raises(ConnectionError):
        await checkpoint_writer.write({"a": RECALLED})
    checkpoint.fails = False
    await checkpoint_writer.write({})
    assert set(checkpoint.results) == {"a"}


async def test_what_was_learned_during_a_write_that_failed_is_what_counts() -> None:
    class Failing(MemoryCheckpoint):
        fails = True

        async def write(self, key_results: Mapping[str, KeyResult]) -> None:
            if self.fails:
                checkpoint_writer.note({"a": RECALLED})
                raise ConnectionError
            await super().write(key_results)

    checkpoint = Failing()
    checkpoint_writer = CheckpointWriter(checkpoint.write, VirtualClock())
    with pytest.raises(ConnectionError):
        await checkpoint_writer.write({"a": KeyResult(KeyState.IN_DOUBT, final=False)})
    checkpoint.fails = False
    await checkpoint_writer.write({})
    assert checkpoint.results == {"a": RECALLED}


async def test_one_failure_is_that_of_all_who_wait_and_not_of_those_who_come_later() -> None:
    attempts: list[set[str]] = []

    class Away(MemoryCheckpoint):
        is_away = True

        async def write(self, key_results: Mapping[str, KeyResult]) -> None:
            attempts.append(set(key_results))
            await settle()
            if self.is_away:
                raise ConnectionError
            await super().write(key_results)

    checkpoint = Away()
    checkpoint_writer = CheckpointWriter(checkpoint.write, VirtualClock())
    waiting = [asyncio.ensure_future(checkpoint_writer.write({key: RECALLED})) for key in "abc"]
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [ConnectionError] * 3
    assert len(attempts) == 1, "each attempt may wait for minutes"
    with pytest.raises(ConnectionError):
        await checkpoint_writer.write({"d": RECALLED})
    checkpoint.is_away = False
    await checkpoint_writer.write({})
    assert attempts[1:] == [{"a", "b", "c", "d"}] * 2
    assert set(checkpoint.results) == {"a", "b", "c", "d"}


class SlowCheckpoint(MemoryCheckpoint):
    """Checkpoint with slow writes that records their start times."""

    def __init__(self, clock: VirtualClock, took: float) -> None:
        super().__init__()
        self.writes: list[tuple[float, set[str]]] = []
        self._clock = clock
        self._took = took

    async def write(self, key_results: Mapping[str, KeyResult]) -> None:
        self.writes.append((self._clock.monotonic(), set(key_results)))
        self._clock.advance(self._took)
        await super().write(key_results)


async def write_after(delays: Mapping[str, float], *, took: float, idle: int = 0) -> list[tuple[float, set[str]]]:
    """Return the writes after a first one, with their start times and keys.

    :param delays: Seconds after the first write at which each key's writer comes.
    :param took: Seconds that a write takes.
    :param idle: Number of more writers that do not write; default 0.
    """
    clock = VirtualClock()
    checkpoint = SlowCheckpoint(clock, took)
    checkpoint_writer = CheckpointWriter(checkpoint.write, clock)
    await checkpoint_writer.write({"first": RECALLED})
    began = clock.monotonic()

    async def one(key: str, delay: float) -> None:
        if delay:
            await clock.sleep(delay)
        await checkpoint_writer.write({key: RECALLED})

    with ExitStack() as writers:
        for _ in range(len(delays) + idle):
            writers.enter_context(checkpoint_writer.writer())
        async with asyncio.TaskGroup() as group:
            for key, delay in delays.items():
                group.create_task(one(key, delay))
    asked = clock.monotonic()
    await checkpoint_writer.write({"last": RECALLED})
    assert checkpoint.writes.pop() == (asked, {"last"}), "there is nobody left to wait for"
    return [(round(moment - began, 6), keys) for moment, keys in checkpoint.writes[1:]]


async def test_where_writes_are_short_nobody_waits() -> None:
    writes = await write_after({"a": 0.0, "b": 0.3}, took=FAST_WRITE / 2, idle=8)
    assert [keys for _, keys in writes] == [{"a"}, {"b"}]
    assert [moment for moment, _ in writes] == pytest.approx([0.0, 0.3], abs=FAST_WRITE)


async def test_where_they_are_long_half_of_the_writers_go_together() -> None:
    writes = await write_after({"a": 0.0, "b": 0.1, "c": 0.2}, took=0.02, idle=3)
    assert [keys for _, keys in writes] == [{"a", "b", "c"}]
    assert writes[0][0] == pytest.approx(0.2, abs=SHORT_DELAY)


async def test_who_is_alone_does_not_wait_and_all_together_for_a_moment_at_most() -> None:
    assert await write_after({"a": 0.0}, took=0.02) == [(0.0, {"a"})]
    assert await write_after({"a": 0.0, "b": 0.0}, took=0.02) == [(CHECK_INTERVAL, {"a", "b"})]
    (moment, keys), *_ = await write_after({"a": 0.0, "b": 0.0}, took=0.02, idle=2)
    assert keys == {"a", "b"}
    assert moment == pytest.approx(SHORT_DELAY, abs=CHECK_INTERVAL)


async def test_nobody_waits_for_long() -> None:
    writes = await write_after({"a": 0.0, "b": 0.1}, took=0.02, idle=3)
    assert [keys for _, keys in writes] == [{"a", "b"}]
    assert writes[0][0] == pytest.approx(MAX_DELAY, abs=2 * CHECK_INTERVAL)
