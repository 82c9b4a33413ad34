"""Many write at once, and few writes are made."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from airflow_provider_dingtalk.messaging.ledger import LONGEST_HELD_BACK, PART_HELD_BACK, Journal, MemoryLedger
from airflow_provider_dingtalk.messaging.verdicts import RECALLED, Verdict
from tests.clock import VirtualClock

pytestmark = pytest.mark.anyio


class GatedLedger(MemoryLedger):
    """Writes when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[set[str]] = []
        self._gate = asyncio.Semaphore(0)

    async def write(self, verdicts: Mapping[str, Verdict]) -> None:
        self.writes.append(set(verdicts))
        await self._gate.acquire()
        await super().write(verdicts)

    async def let_one_through(self) -> None:
        self._gate.release()
        await settle()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_what_comes_during_a_write_goes_with_the_next_and_waits_for_no_other() -> None:
    ledger = GatedLedger()
    journal = Journal(ledger, VirtualClock())
    async with asyncio.TaskGroup() as group:

        def writer(key: str) -> asyncio.Task[None]:
            return group.create_task(journal.write({key: RECALLED}))

        first = writer("a")
        await settle()
        second = [writer("b"), writer("c"), writer("d")]
        await settle()
        await ledger.let_one_through()
        assert first.done() and ledger.writes == [{"a"}, {"b", "c", "d"}]
        last = writer("e")
        await settle()
        await ledger.let_one_through()
        assert all(task.done() for task in second), "theirs is written: they do not wait for somebody else's"
        assert ledger.writes[2:] == [{"e"}] and not last.done()
        await ledger.let_one_through()


async def test_what_was_not_written_is_written_by_whoever_comes_next() -> None:
    class Failing(MemoryLedger):
        fails = True

        async def write(self, verdicts: Mapping[str, Verdict]) -> None:
            if self.fails:
                raise ConnectionError
            await super().write(verdicts)

    ledger = Failing()
    journal = Journal(ledger, VirtualClock())
    with pytest.raises(ConnectionError):
        await journal.write({"a": RECALLED})
    ledger.fails = False
    await journal.write({})
    assert set(ledger.verdicts) == {"a"}


@pytest.mark.parametrize(
    ("took", "held_back"), [(0.0, 0.0), (0.012, 0.012 * PART_HELD_BACK), (1.0, LONGEST_HELD_BACK)]
)
async def test_after_a_write_that_took_long_the_next_one_is_held_back_for_a_moment(
    took: float, held_back: float
) -> None:
    clock = VirtualClock()

    class Slow(MemoryLedger):
        async def write(self, verdicts: Mapping[str, Verdict]) -> None:
            clock.advance(took)
            await super().write(verdicts)

    journal = Journal(Slow(), clock)
    await journal.write({"a": RECALLED})
    began = clock.monotonic()
    await journal.write({"b": RECALLED})
    assert clock.monotonic() - began == pytest.approx(took + held_back, abs=1e-6)
