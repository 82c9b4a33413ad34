"""A bounded pool of workers on one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

Item = TypeVar("Item")


async def work_through(
    items: Iterable[Item],
    work: Callable[[Item], Awaitable[object]],
    *,
    workers: int,
    around: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> None:
    """Work through items side by side, in their order of beginning.

    An error of one worker ends the others, and is raised.

    :param workers: Items under way at once at most.
    :param around: Entered by each worker before the first of them begins.
    """
    todo = iter(items)

    async def worker() -> None:
        with around():
            # Let all be counted before the first one begins.
            await asyncio.sleep(0)
            for item in todo:
                await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(worker())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
