"""A bounded pool of workers on one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

Item = TypeVar("Item")


async def run_workers(
    items: Iterable[Item],
    work: Callable[[Item], Awaitable[object]],
    *,
    workers: int,
    around: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> None:
    """Process items concurrently, starting them in order.

    After an error no further item begins. The items in flight end, because an answer that is not awaited is lost, and
    then the first error is raised.

    :param workers: Maximum items in flight.
    :param around: Factory of a context manager, which each worker enters before the first item begins.
    """
    todo = iter(items)
    errors: list[Exception] = []

    async def worker() -> None:
        with around():
            # All workers are to enter before the first item begins, so yield once.
            await asyncio.sleep(0)
            for item in todo:
                try:
                    await work(item)
                except Exception as error:
                    errors.append(error)
                if errors:
                    return

    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(worker())
    if errors:
        raise errors[0]
