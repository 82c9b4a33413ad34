"""Pool of workers: order, bound, errors."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from airflow_provider_dingtalk.jobs.worker_pool import run_workers

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("workers", [1, 3, 50])
async def test_each_item_is_done_once_in_order_with_a_bounded_number_in_flight(workers: int) -> None:
    begun: list[int] = []
    in_flight, most = 0, 0

    async def work(item: int) -> None:
        nonlocal in_flight, most
        begun.append(item)
        in_flight += 1
        most = max(most, in_flight)
        await asyncio.sleep(0)
        in_flight -= 1

    await run_workers(range(20), work, workers=workers)
    assert begun == list(range(20))
    assert most == min(workers, 20)


async def test_after_an_error_those_in_flight_end_and_no_other_begins() -> None:
    begun: list[str] = []
    ended: list[str] = []
    has_failed = asyncio.Event()

    async def work(item: str) -> None:
        begun.append(item)
        if item.startswith("bad"):
            has_failed.set()
            raise ValueError(item)
        await has_failed.wait()
        await asyncio.sleep(0)
        ended.append(item)

    with pytest.raises(ValueError, match=r"^bad$"):
        await run_workers(["one", "bad", "two", "bad too", "never begun"], work, workers=4)
    assert begun == ["one", "bad", "two", "bad too"]
    assert sorted(ended) == ["one", "two"]


async def test_a_cancellation_cancels_all_that_are_in_flight() -> None:
    cancelled: list[int] = []

    async def work(item: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(item)

    pool = asyncio.ensure_future(run_workers(range(5), work, workers=2))
    for _ in range(5):
        await asyncio.sleep(0)
    pool.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pool
    assert sorted(cancelled) == [0, 1]


async def test_every_worker_enters_its_context_before_the_first_item_begins() -> None:
    events: list[str] = []

    @contextmanager
    def around() -> Iterator[None]:
        events.append("enter")
        yield
        events.append("leave")

    async def work(item: int) -> None:
        events.append(f"item {item}")

    await run_workers(range(2), work, workers=3, around=around)
    assert events == ["enter"] * 3 + ["item 0", "item 1"] + ["leave"] * 3
